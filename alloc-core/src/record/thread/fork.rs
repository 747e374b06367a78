//! What no fork may interrupt: a child has one thread, and a lock that another one held is never released there.
//!
//! Record side; called by the fork hooks of `registry`, and by the read side around the few steps that take a lock which is not ours
//! alone: the loader's (its list of modules), and that of the list of exceeded budgets. Nobody waits without end: who does not get its
//! turn in time goes on without. LIMIT: the loader's lock may be held by code that is not ours (a thread inside `dlopen`); a child forked
//! at that moment cannot take snapshots, nor can it load libraries. It allocates and counts all the same.

use crate::record::atomic::{AtomicBool, Ordering};

use crate::record::sys;

/// Held by whoever must not be interrupted by a fork, and by a forking thread.
static TURN: AtomicBool = AtomicBool::new(false);

/// While it lives no other thread forks.
pub(crate) struct NoFork {
    is_held: bool,
}

impl NoFork {
    /// Waits for others that do the same, or that fork, but not for ever: one of them may wait for the calling thread.
    pub(crate) fn begin() -> Self {
        Self { is_held: take_turn() }
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        if self.is_held {
            end_turn();
        }
    }
}

/// True when the turn is the caller's now.
pub(super) fn take_turn() -> bool {
    const TURNS: u32 = 10_000;
    for _ in 0..TURNS {
        // ORDERING: Acquire: pairs with the Release in `end_turn`.
        if !TURN.swap(true, Ordering::Acquire) {
            return true;
        }
        sys::yield_now();
    }
    false
}

/// Only for who has the turn, or in a child, where nobody else can have it.
pub(super) fn end_turn() {
    TURN.store(false, Ordering::Release);
}
