//! What no fork may interrupt: a child has one thread, and a lock that another one held is never released there.
//!
//! Record side; called by the fork hooks of `registry`, and by the read side around the few steps that take a lock which is not ours
//! alone: the loader's (its list of modules), and that of the list of exceeded budgets. Nobody waits without end: who does not get its
//! turn in seconds goes on without, and a child of such a fork leaves the loader alone. LIMIT: the loader's lock may be held by code that
//! is not ours (a thread inside `dlopen`); a child forked at that moment cannot take snapshots, nor can it load libraries. It allocates and
//! counts all the same.
#![forbid(unsafe_code)]

use crate::record::atomic::{AtomicBool, Ordering};

use crate::record::sys;

/// Held by whoever must not be interrupted by a fork, and by a forking thread.
static TURN: AtomicBool = AtomicBool::new(false);

/// In a child that was forked without a turn: the loader's lock may be held by a thread that is not there.
static LOADER_IS_LOST: AtomicBool = AtomicBool::new(false);

/// While it lives no other thread forks.
pub(crate) struct NoFork {
    is_held: bool,
}

impl NoFork {
    /// Waits for others that do the same, or that fork, but not for ever: one of them may wait for the calling thread.
    pub(crate) fn begin() -> Self {
        Self { is_held: take_turn() }
    }

    /// The same for who is about to take the loader's lock; `None` where that could be waiting for ever.
    pub(crate) fn begin_with_loader() -> Option<Self> {
        (!LOADER_IS_LOST.load(Ordering::Relaxed)).then(Self::begin)
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
    // ORDERING: Acquire: pairs with the Release in `end_turn`.
    wait_for(|| (!TURN.swap(true, Ordering::Acquire)).then_some(())).is_some()
}

/// What `attempt` gives, as soon as it gives something; `None` after some seconds. Whoever has it may not be running: on a busy machine
/// yielding alone is soon over.
pub(super) fn wait_for<T>(attempt: impl Fn() -> Option<T>) -> Option<T> {
    const YIELDS: u32 = 200;
    const NAPS: u32 = 20_000;
    for turn in 0..YIELDS + NAPS {
        if let Some(given) = attempt() {
            return Some(given);
        }
        if turn < YIELDS {
            sys::yield_now();
        } else {
            sys::nap();
        }
    }
    None
}

/// In the child of a fork: nobody else has the turn. The forking thread had it, or not.
pub(super) fn begin_child(had_turn: bool) {
    if !had_turn {
        LOADER_IS_LOST.store(true, Ordering::Relaxed);
    }
    end_turn();
}

/// Only for who has the turn.
pub(super) fn end_turn() {
    TURN.store(false, Ordering::Release);
}
