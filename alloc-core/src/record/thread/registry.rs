//! The list of all thread states: registering, ending, folding, and fork.
//!
//! Record side. LOCK: the registry, taken by snapshots and, without ever waiting, by ending threads; never while a stack is captured.

use crate::record::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, spin_loop};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use super::current::{UNKNOWN, WITHOUT, set_current};
use super::fork;
use super::shared::{make_shared_growth, shared_row};
use super::{ENDED, FOLDED, GROWTH_POOL, LIVE, NODE_POOL, ROW_POOL, ThreadState, UNUSED};
use crate::ids::{ContextId, ScopeNodeId};
use crate::record::block::Stamp;
use crate::record::counters::LOSSES;
use crate::record::{arena, context, frame, observe, peak, sample, scope, settings, stack, sys, waiting};

static FIRST: AtomicPtr<ThreadState> = AtomicPtr::new(ptr::null_mut());
static REGISTRY: AtomicBool = AtomicBool::new(false);
static THREADS: AtomicU32 = AtomicU32::new(0);
/// States in the list: as many threads as were alive at once.
static STATES: AtomicU32 = AtomicU32::new(0);
/// States of each status; hints, so that nobody walks the list in vain.
static UNUSED_STATES: AtomicU32 = AtomicU32::new(0);
static ENDED_STATES: AtomicU32 = AtomicU32::new(0);
static READY_TO_RECORD: AtomicU32 = AtomicU32::new(0);
static EXIT_KEY: AtomicU64 = AtomicU64::new(u64::MAX);

/// True once the tables exist. The first caller makes them.
#[cold]
#[inline(never)]
pub(crate) fn is_initialised() -> bool {
    const RUNNING: u32 = 1;
    const READY: u32 = 2;
    const FAILED: u32 = 3;
    match READY_TO_RECORD.compare_exchange(0, RUNNING, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            settings::init();
            let made = context::init() && scope::init();
            if let Some(key) = sys::thread_exit_key(on_thread_exit) {
                EXIT_KEY.store(u64::from(key), Ordering::Relaxed);
                sys::at_exit(forget_thread_exits);
            }
            if settings::report_path().is_some() || settings::snapshot_path().is_some() {
                sys::at_exit(crate::AT_EXIT);
            }
            sys::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
            stack::init_process();
            if !made {
                // No memory for the tables: the program goes on as if nothing was installed.
                settings::set_mode(settings::Mode::Off);
            }
            READY_TO_RECORD.store(if made { READY } else { FAILED }, Ordering::Release);
            made
        }
        Err(state) => state == READY,
    }
}

#[cold]
pub(super) fn register() -> Option<&'static ThreadState> {
    // Until we are through, whatever this thread allocates (it should be nothing) is counted in the shared shard.
    set_current(NonNull::from(&WITHOUT.0));
    if !is_initialised() {
        // Another thread is making the tables this very moment: try again at the next event.
        set_current(NonNull::from(&UNKNOWN.0));
        return None;
    }
    let state = take_over().or_else(make)?;
    let index = THREADS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    state.index.store(index, Ordering::Relaxed);
    state.salt.set(u64::from(index).wrapping_mul(0x2545_f491_4f6c_dd1d));
    state.last_serial.set(u64::from(index) << 40);
    state.random.set(state.salt.get() | 1);
    observe::prepare_windows(state);
    sample::prepare(state);
    state.go_on_with(Stamp::NONE);
    let Some(root) = state.node_row(ScopeNodeId::ROOT.0) else {
        set_ended(state);
        return None;
    };
    state.set_scope(root);
    peak::begin(state);
    // SAFETY: this thread has just taken the state, so nobody else touches its stack state.
    stack::init_thread(unsafe { &mut *state.stack.get() });
    state.status.store(LIVE, Ordering::Release);
    set_current(NonNull::from(state).cast());
    // The threads of a model end by hand.
    if cfg!(not(allocscope_model))
        && let Ok(key) = u32::try_from(EXIT_KEY.load(Ordering::Relaxed))
    {
        sys::arm_thread_exit(key as libc::pthread_key_t, ptr::from_ref(state).cast());
    }
    Some(state)
}

/// A state whose thread has ended. Its figures have been moved to the shared shard or, when whoever holds the registry is busy, are
/// still there: then the new thread counts on where the old one stopped. So there are as many states as threads were alive at once, and at most one
/// more, which was just being emptied.
fn take_over() -> Option<&'static ThreadState> {
    let state = take(UNUSED, &UNUSED_STATES).or_else(|| {
        if ENDED_STATES.load(Ordering::Relaxed) == 0 {
            return None;
        }
        if let Some(registry) = Registry::try_lock() {
            registry.fold_ended();
        }
        take(UNUSED, &UNUSED_STATES).or_else(|| take(ENDED, &ENDED_STATES))
    })?;
    // SAFETY: the calling thread has just taken the state, so nobody else looks at its stack; zero bytes are a valid StackState.
    unsafe { ptr::write_bytes(state.stack.get(), 0, 1) };
    // Their records name the thread before as the one that runs them.
    put_spare_stamps(state);
    state.last_table.forget();
    // A guard that was forgotten ends with its thread.
    state.watch.forget();
    state.vacate();
    Some(state)
}

/// Makes records as good as new ones that are taken with all their figures again.
fn put_spare_stamps(state: &ThreadState) {
    while let Some(stamp) = state.spare_stamps.take() {
        state.slots.put(Stamp(stamp).slot());
    }
}

/// A state of that status, of which there are about `hint`.
fn take(status: u32, hint: &AtomicU32) -> Option<&'static ThreadState> {
    if hint.load(Ordering::Relaxed) == 0 {
        return None;
    }
    states().find(|state| change_status(state, status, LIVE, hint))
}

/// True when the state was `from`, and is the caller's now.
fn change_status(state: &ThreadState, from: u32, to: u32, hint: &AtomicU32) -> bool {
    // ORDERING: Acquire: pairs with the Release of who ended or emptied the state: the caller sees all that was written to it.
    let is_changed = state
        .status
        .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
        .is_ok();
    if is_changed {
        hint.fetch_sub(1, Ordering::Relaxed);
    }
    is_changed
}

/// The state's figures are to be moved, or its next thread goes on with them.
fn set_ended(state: &ThreadState) {
    // Before the status: nobody takes one off that was not added.
    ENDED_STATES.fetch_add(1, Ordering::Relaxed);
    // ORDERING: Release: whoever folds the state, or takes it over, sees all that its thread wrote.
    state.status.store(ENDED, Ordering::Release);
}

fn make() -> Option<&'static ThreadState> {
    // SAFETY: zeroed memory is a valid ThreadState, see its INVARIANT.
    let state = unsafe { arena::take_zeroed::<ThreadState>(1) }?;
    // SAFETY: the memory is ours alone until linked, lives as long as the process, and is only shared from here on.
    let made = unsafe { state.as_ref() };
    made.status.store(LIVE, Ordering::Relaxed);
    STATES.fetch_add(1, Ordering::Relaxed);
    let mut first = FIRST.load(Ordering::Relaxed);
    loop {
        made.next.store(first, Ordering::Relaxed);
        // ORDERING: Release publishes `next` and `status`; pairs with the Acquire in `Registry::states`.
        match FIRST.compare_exchange_weak(first, state.as_ptr(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return Some(made),
            Err(now) => first = now,
        }
    }
}

fn states() -> impl Iterator<Item = &'static ThreadState> {
    // ORDERING: pairs with the Release in `make`.
    let mut next = FIRST.load(Ordering::Acquire);
    core::iter::from_fn(move || {
        // SAFETY: states are linked once, complete, and live as long as the process.
        let state = unsafe { next.as_ref() }?;
        next = state.next.load(Ordering::Relaxed);
        Some(state)
    })
}

/// Threads that have had a state so far.
pub(crate) fn count() -> u32 {
    THREADS.load(Ordering::Relaxed)
}

/// Threads that can have something unpublished.
pub(crate) fn state_count() -> u32 {
    STATES.load(Ordering::Relaxed)
}

// The end of a thread.

/// The program ends, or, when the tracker is in a library, that is unloaded: threads that end later must not look for
/// [`on_thread_exit`] there.
extern "C" fn forget_thread_exits() {
    if let Ok(key) = u32::try_from(EXIT_KEY.swap(u64::MAX, Ordering::Relaxed)) {
        sys::forget_thread_exit_key(key as libc::pthread_key_t);
    }
}

unsafe extern "C" fn on_thread_exit(state: *mut c_void) {
    // SAFETY: the value armed in `register` is a state, which lives as long as the process.
    if let Some(state) = unsafe { state.cast::<ThreadState>().as_ref() } {
        end(state);
    }
}

/// The calling thread, whose state it is, ends.
pub(super) fn end(state: &'static ThreadState) {
    set_current(NonNull::from(&WITHOUT.0));
    peak::flush(state);
    frame::forget_calls(state);
    set_ended(state);
    // When another thread holds the registry, the next snapshot or thread does the work.
    if let Some(registry) = Registry::try_lock() {
        registry.fold_ended();
    }
}

/// Exclusive access to the list of states: while it is held no state is folded or reused.
pub(crate) struct Registry(());

impl Registry {
    pub(crate) fn try_lock() -> Option<Self> {
        // ORDERING: Acquire: pairs with the Release in `drop`. The closure matters: a `Self` made in vain would unlock.
        (!REGISTRY.swap(true, Ordering::Acquire)).then(|| Self(()))
    }

    /// For checks of live bytes: lets the few steps of a thread that begins or ends pass, but does not wait for a snapshot.
    pub(crate) fn lock_soon() -> Option<Self> {
        for _ in 0..if cfg!(allocscope_model) { 2 } else { 64 } {
            if let Some(registry) = Self::try_lock() {
                return Some(registry);
            }
            wait_a_turn();
        }
        None
    }

    /// For the read side: waits for another snapshot, or for a thread that is just beginning or ending.
    pub(crate) fn lock() -> Self {
        loop {
            if let Some(registry) = Self::try_lock() {
                return registry;
            }
            wait_a_turn();
        }
    }

    /// States of threads that run, or have ended and are not folded yet.
    pub(crate) fn threads(&self) -> impl Iterator<Item = &'static ThreadState> {
        states().filter(|state| state.status.load(Ordering::Acquire) != UNUSED)
    }

    /// Moves the figures of ended threads to the shared shard.
    pub(crate) fn fold_ended(&self) {
        if ENDED_STATES.load(Ordering::Relaxed) == 0 {
            return;
        }
        for state in states().filter(|state| change_status(state, ENDED, FOLDED, &ENDED_STATES)) {
            fold(state);
            UNUSED_STATES.fetch_add(1, Ordering::Relaxed);
            // ORDERING: Release: who takes the state finds it empty.
            state.status.store(UNUSED, Ordering::Release);
        }
    }
}

fn wait_a_turn() {
    if cfg!(allocscope_model) {
        spin_loop();
    } else {
        sys::yield_now();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        REGISTRY.store(false, Ordering::Release);
    }
}

/// Moves all figures of an ended thread to the shared tables and empties its state. The caller holds the registry.
fn fold(state: &'static ThreadState) {
    let serial = peak::serial();
    let peak_mark = state.mark_at_peak();
    state.rows.for_each(|context, row| {
        if row.node() == 0 {
            return;
        }
        let Some(total) = shared_row(ContextId(context as u32)) else {
            return;
        };
        total.rebase(serial);
        total.at_peak.add_shared(row.bytes_at_peak(peak_mark));
        // The allocation side before the free side, as everywhere.
        total.allocations.add_shared(row.allocations.get());
        total.reallocations.add_shared(row.reallocations.get());
        total.granted_bytes.add_shared(row.granted_bytes.get());
        total.frees.add_shared(row.frees.get());
        total.handed_over.add_shared(row.handed_over.get());
        total.released_bytes.add_shared(row.released_bytes.get());
    });
    state.growth.for_each(|context, row| {
        if row.largest.get() | row.copied_bytes.get() == 0 && row.ended().all(|blocks| blocks == 0) {
            return;
        }
        match make_shared_growth(ContextId(context as u32)) {
            Some(total) => total.add_shared(row),
            None => LOSSES.dropped_events.add_shared(1),
        }
    });
    state.nodes.for_each(|node, row| scope::fold_node(node as u32, row));
    LOSSES.untracked_frees.add_shared(state.untracked_frees.get());
    state.untracked_frees.set(0);
    // SAFETY: the owner has ended and we hold the registry, so nobody looks at the pages; each pool has its own type.
    unsafe { state.rows.drain(&ROW_POOL) };
    // SAFETY: as above.
    unsafe { state.growth.drain(&GROWTH_POOL) };
    // SAFETY: as above.
    unsafe { state.nodes.drain(&NODE_POOL) };
    put_spare_stamps(state);
    while let Some(index) = state.spare_waiting.take() {
        waiting::put_shared(index);
    }
    state.slots.drain();
    scope::forget_scopes(&state.scopes);
    peak::fold(state);
    // All that a reader could add up: the state is visible again before its next thread has begun.
    for zero in [
        &state.allocations,
        &state.granted,
        &state.released,
        &state.frees,
        &state.reallocations,
        &state.copied_bytes,
        &state.correction,
        &state.run_max,
        &state.call_max,
        &state.pending_base,
        &state.pending_max,
        &state.published,
        &state.live_at_publication,
        &state.peak_net,
    ] {
        zero.set(0);
    }
}

// Fork: the child has one thread. States of the others stay as they are: their blocks are in the child's memory too.

thread_local! {
    // Each thread's own: two can fork at once (the C library runs the hooks without its lock), and only one of them has the registry.
    static HELD_FOR_FORK: Cell<bool> = const { Cell::new(false) };
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

unsafe extern "C" fn before_fork() {
    // Not for ever: the thread that takes a snapshot may itself wait for a lock that the forking thread holds.
    let held = fork::wait_for(Registry::try_lock).map(core::mem::forget).is_some();
    HELD_FOR_FORK.set(held);
    HAS_TURN.set(fork::take_turn());
}

unsafe extern "C" fn after_fork_in_parent() {
    if HAS_TURN.replace(false) {
        fork::end_turn();
    }
    if HELD_FOR_FORK.replace(false) {
        drop(Registry(()));
    }
}

unsafe extern "C" fn after_fork_in_child() {
    forked();
}

pub(super) fn forked() {
    // Whoever held it does not exist here, or is this thread.
    fork::begin_child(HAS_TURN.replace(false));
    HELD_FOR_FORK.set(false);
    drop(Registry(()));
    observe::forget_others();
}
