//! Iterations that are observed: each of their blocks is followed from its allocation to its end.
//!
//! Record side. Which blocks an iteration makes, how many live at once, which die inside it, and how they grow cannot be told from
//! counters; to follow every block of every iteration would cost more than the allocations themselves. So iterations (calls of a
//! scope of kind request or loop) are *sampled*: while one is observed, its thread is under attention (`thread`), each event takes the
//! rare path of the gate, and `gate::unusual` tells the functions below. All other iterations pay nothing per event.
//! Besides, each thread opens a *window* now and then, in which its next allocations are observed wherever they are made.
//!
//! - `prepare` and `look_ahead` say when a call of a row is to be observed; `enter` asks, and `frame` begins, leaves, resumes and ends
//!   the observation with the call. Between the polls of an async call it waits in the call's entry in `waiting`.
//! - `iteration` is what is kept while one runs, `table` the blocks of it, `sums` what observed iterations come to.
//!
//! Invariants: an observation is written by the thread that runs its call, and by nobody while the call waits; one that waits too long may be
//! taken for another call (`pool`). Bounded: so many observations at once, so many blocks and sites in each; what finds no room is counted.
//! Cost: some 100 ns per event of an observed iteration. Leaves out: verdicts (`findings`).

mod iteration;
mod pool;
mod sums;
mod table;

use crate::record::atomic::{AtomicU8, Ordering};

pub(crate) use self::pool::Handle;
#[cfg(all(test, allocscope_model))]
pub(crate) use self::pool::memory;
pub(crate) use self::sums::{LoopRow, RECENT, rows};
use super::counters::NodeRow;
use super::thread::ThreadState;
use super::{scope, settings};
use crate::ids::{ContextId, ScopeKind};

/// Which iterations are observed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Observing {
    /// The first ones of each loop, then ever fewer.
    Auto,
    All,
    None,
}

impl Observing {
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"auto" => Some(Self::Auto),
            b"all" => Some(Self::All),
            b"none" => Some(Self::None),
            _ => None,
        }
    }
}

static OBSERVING: AtomicU8 = AtomicU8::new(Observing::Auto as u8);

pub(super) fn set_observing(to: Observing) {
    OBSERVING.store(to as u8, Ordering::Relaxed);
}

fn observing() -> Observing {
    match OBSERVING.load(Ordering::Relaxed) {
        0 => Observing::Auto,
        1 => Observing::All,
        _ => Observing::None,
    }
}

/// `NodeRow::observe_at` of a row whose calls are no iterations.
const NEVER: u64 = u64::MAX;
/// Calls until another attempt when too many are observed.
const PATIENCE: u64 = 16;

/// The thread's row of `node` was made.
pub(super) fn prepare(thread: &ThreadState, row: &NodeRow, node: u32) {
    let is_loop = matches!(scope::kind_of(node), ScopeKind::Request | ScopeKind::Loop);
    row.observe_at.set(if is_loop && observing() != Observing::None {
        // As for any other call: a program may start a thread for each request.
        gap(thread, node) - 1
    } else {
        NEVER
    });
}

/// A call of the row has ended: when enough have been entered since the last one that was observed, the next one is.
///
/// PERF: asked here and not on entry, where it would cost calls without events, too.
#[inline(always)]
pub(super) fn look_ahead(thread: &ThreadState, row: &NodeRow) {
    if row.entered.get() >= row.observe_at.get() {
        scope::forget_target(thread, row);
    }
}

/// True when the call that is about to begin, and is counted in `entered` already, is to be observed.
pub(super) fn is_due(thread: &ThreadState, row: &NodeRow) -> bool {
    let at = row.observe_at.get();
    // A call inside one of the same node is a part of it.
    at != NEVER
        && row.open.get() == 0
        && (row.entered.get() > at || thread.observes_all())
        // There, most blocks cannot be followed.
        && !settings::is_sampled()
}

/// How many calls of `node` to let pass until the next one is observed: none of the first, then ever more, at random, so that nothing
/// periodic is missed.
fn gap(thread: &ThreadState, node: u32) -> u64 {
    let observed = scope::node_info(node).map_or(0, |info| info.observed.get());
    let mean = match observed {
        _ if observing() == Observing::All => 1,
        0..64 => 1,
        64..512 => 16,
        _ => 256,
    };
    1 + thread.random() % (2 * mean - 1)
}

/// Begins to observe the call of `row` that was just entered. `None` when too many are observed.
#[cold]
pub(super) fn begin(thread: &ThreadState, row: &NodeRow) -> Option<Handle> {
    let node = row.node.load(Ordering::Relaxed);
    let handle = pool::take(node, thread.observes_all());
    let gap = match handle {
        Some(_) => gap(thread, node),
        None => PATIENCE,
    };
    row.observe_at.set(row.entered.get() + gap - 1);
    if gap == 1 {
        // The very next one, which may begin before any call ends.
        scope::forget_target(thread, row);
    }
    enter(thread, handle?);
    handle
}

/// The call goes on on `thread`. False when its observation was given up meanwhile.
#[cold]
pub(super) fn resume(thread: &ThreadState, handle: Handle) -> bool {
    if !pool::resume(handle) {
        return false;
    }
    enter(thread, handle);
    true
}

/// Bytes that a thread grants, on average, between two windows; and before the first.
const WINDOW_BYTES: u64 = 4 << 20;
const FIRST_WINDOW_BYTES: u64 = 64 << 10;
/// Allocations that a window judges, and for how many it goes on, so that the last ones are judged, too.
const WINDOW: u32 = 64;
const WINDOW_END: u32 = WINDOW + 8;

/// Says where a new thread's first window opens.
pub(super) fn prepare_windows(thread: &ThreadState) {
    thread
        .window_at
        .set(thread.granted.get() + thread.random() % (2 * FIRST_WINDOW_BYTES));
}

/// Opens a window: the thread's next allocations are observed, wherever they are made, for what can be said of single blocks: how soon they
/// are freed.
///
/// PERF: where the next window opens is drawn in bytes granted, because that sum is in a register when the gate compares it.
#[cold]
pub(super) fn open_window(thread: &ThreadState) {
    let next = match observing() {
        Observing::None => u64::MAX,
        _ => thread.granted.get() + 1 + thread.random() % (2 * WINDOW_BYTES),
    };
    thread.window_at.set(next);
    if next == u64::MAX {
        return;
    }
    if thread.observing.load(Ordering::Relaxed) != 0 {
        // An observed iteration says more. If it is the window of a signal handler, the event that this one interrupted took the mark away.
        return thread.set_observed(true);
    }
    // The node 0 is no scope's.
    if let Some(handle) = pool::take(0, false) {
        if let Some(window) = pool::get(handle) {
            window.enter(thread, handle);
        }
        thread.set_observed(true);
    }
}

/// Closes the thread's window, which is the outermost observation on it.
#[cold]
fn close_window(thread: &ThreadState, window: &iteration::Iteration) {
    let Some(handle) = window.handle() else { return };
    unlink(thread, window);
    window.end(|window, site| sums::add(thread, window, site, 0));
    window.clear();
    pool::give(handle);
}

/// Takes an observation off the thread's chain, wherever it stands.
fn unlink(thread: &ThreadState, gone: &iteration::Iteration) {
    let mut place = &thread.observing;
    while let Some(iteration) = pool::running(place.load(Ordering::Relaxed)) {
        if core::ptr::eq(iteration, gone) {
            place.store(gone.outer(), Ordering::Relaxed);
            return;
        }
        place = iteration.outer_place();
    }
}

/// Allocations after which an iteration is observed no longer.
const LONGEST: u32 = 1 << 20;

/// The iteration does not seem to end: its thread shall not be slow for ever. LIMIT: what it did so far is counted as missed.
#[cold]
fn drop_long(thread: &ThreadState, long: &iteration::Iteration) {
    let Some(handle) = long.handle() else { return };
    unlink(thread, long);
    if let Some(info) = scope::node_info(long.node()) {
        info.missed_events.add_shared(u64::from(long.allocations()));
    }
    long.clear();
    pool::give(handle);
}

fn enter(thread: &ThreadState, handle: Handle) {
    thread.occupied_for(|| {
        if let Some(iteration) = pool::get(handle) {
            iteration.enter(thread, handle);
        }
    });
    thread.set_observed(true);
}

/// The call is left, for ever or until it is resumed. It was the innermost observed one.
#[cold]
pub(super) fn leave(thread: &ThreadState, handle: Handle) {
    thread.occupied_for(|| {
        if let Some(iteration) = pool::get(handle).filter(|_| pool::is_running(handle)) {
            iteration.leave(thread);
        }
    });
    thread.set_observed(thread.observing.load(Ordering::Relaxed) != 0);
}

/// The call was left at an `.await`.
pub(super) fn wait(handle: Handle) {
    // Else it was too long, and is observed no longer.
    if let Some(iteration) = pool::get(handle).filter(|_| pool::is_running(handle)) {
        iteration.wait();
        pool::wait(handle);
    }
}

/// The call was left and has ended: its figures count.
#[cold]
pub(super) fn end(thread: &ThreadState, handle: Handle) {
    if !pool::is_running(handle) {
        return;
    }
    thread.occupied_for(|| {
        if let Some(iteration) = pool::get(handle) {
            if let Some(info) = scope::node_info(iteration.node()) {
                let number = info.observed.next_shared();
                info.suspended.add_shared(u64::from(iteration.was_suspended()));
                info.moved.add_shared(u64::from(iteration.was_moved()));
                info.missed_events.add_shared(iteration.missed_events());
                sums::forget_oldest(info, number);
                iteration.end(|iteration, site| sums::add(thread, iteration, site, number));
            }
            iteration.clear();
        }
    });
    pool::give(handle);
}

/// The call ended without its figures.
#[cold]
pub(super) fn give_up(handle: Handle) {
    if pool::resume(handle) || pool::is_running(handle) {
        if let Some(iteration) = pool::get(handle) {
            iteration.clear();
        }
        pool::give(handle);
    }
}

/// The thread has ended: nothing is observed on it any more.
pub(super) fn forget(thread: &ThreadState) {
    let mut next = thread.observing.swap(0, Ordering::Relaxed);
    while let Some(handle) = Handle::from_bits(next) {
        next = pool::get(handle).map_or(0, iteration::Iteration::outer);
        give_up(handle);
    }
}

/// The mode is `sampled` now, and most blocks cannot be followed: whatever is observed on the thread is given up.
#[cold]
pub(super) fn stop(thread: &ThreadState) {
    forget(thread);
    thread.set_observed(false);
}

/// In a forked process, which has this thread only.
pub(super) fn forget_others() {
    let mine = super::thread::current();
    pool::forget_others(|handle| {
        let mut next = mine.map_or(0, |thread| thread.observing.load(Ordering::Relaxed));
        while let Some(iteration) = pool::running(next) {
            if next == handle.0 {
                return true;
            }
            next = iteration.outer();
        }
        false
    });
}

/// Tells every iteration that is observed on the thread.
fn tell(thread: &ThreadState, event: impl Fn(&iteration::Iteration)) {
    thread.occupied_for(|| {
        let mut next = thread.observing.load(Ordering::Relaxed);
        while let Some(iteration) = pool::running(next) {
            // First: the event may end it.
            next = iteration.outer();
            event(iteration);
        }
    });
}

fn key(block: *mut u8) -> u64 {
    // The inner allocator's address, which tells blocks with the header in front, too.
    block.addr() as u64 & !15
}

/// A block was granted on a thread that is observed.
#[cold]
pub(super) fn granted(thread: &ThreadState, block: *mut u8, size: usize, context: ContextId) {
    tell(thread, |iteration| {
        iteration.granted(key(block), size as u64, context);
        if iteration.node() == 0 && iteration.allocations() >= WINDOW_END {
            close_window(thread, iteration);
        } else if iteration.allocations() >= LONGEST {
            drop_long(thread, iteration);
        }
    });
    thread.set_observed(thread.observing.load(Ordering::Relaxed) != 0);
}

/// A block is about to be freed.
#[cold]
pub(super) fn freed(thread: &ThreadState, block: *mut u8) {
    tell(thread, |iteration| iteration.freed(key(block)));
}

/// A block was reallocated.
#[cold]
pub(super) fn resized(thread: &ThreadState, from: *mut u8, to: *mut u8, size: usize, new_size: usize) {
    tell(thread, |iteration| {
        iteration.resized(key(from), key(to), size as u64, new_size as u64);
    });
}

/// While it lives, every iteration that the calling thread begins is observed: for tests, which have no time for a sample. Each event of
/// the thread takes the rare path meanwhile.
pub struct ObserveAll {
    thread: Option<&'static ThreadState>,
    was_on: bool,
    // Not Send: it belongs to the thread it was made on.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl core::fmt::Debug for ObserveAll {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ObserveAll").finish_non_exhaustive()
    }
}

impl ObserveAll {
    /// From now on, until it is dropped.
    #[must_use]
    pub fn enter() -> Self {
        let thread = super::thread::current_or_register();
        let was_on = thread.is_some_and(ThreadState::observes_all);
        if let Some(thread) = thread {
            thread.set_observes_all(true);
        }
        Self {
            thread,
            was_on,
            _not_send: core::marker::PhantomData,
        }
    }
}

impl Drop for ObserveAll {
    fn drop(&mut self) {
        // One that was made while another one lived leaves it to that one, in whatever order they are dropped.
        if let Some(thread) = self.thread.filter(|_| !self.was_on) {
            thread.set_observes_all(false);
        }
    }
}
