//! Per-thread state, the registry of all of it, thread exit and fork.
//!
//! Record side. One `ThreadState` has one writer, the thread that runs on it; readers (`control`) look at its counters while they
//! hold the registry. A thread registers at its first tracked event. When it ends, its figures move to the shared shard and its
//! pages to the pools, so memory follows the threads that are alive. Threads without a state (ended ones, or no memory left) are
//! counted in the shared shard directly (`gate`'s cold paths).
//!
//! LOCK: the registry, taken by snapshots and, without ever waiting, by ending threads; never while a stack is captured.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::block::{CONTEXT_BITS, Stamp};
use super::call::SlotRing;
use super::counters::{Counter, GrowthRow, LOSSES, NodeRow, Row};
use super::index::Lazy;
use super::pages::{Directory, PAGE, Pool};
use super::scope::{self, MAX_NODES, ScopeSlot};
use super::stack::StackState;
use super::{arena, peak, settings, sys};
use crate::ids::{ContextId, ScopeNodeId};

pub(crate) const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;
const SITES: usize = 1024;
pub(crate) const SCOPES: usize = 64;
const READY: usize = 16;
/// Scopes deep for which guards dropped out of order are told apart for certain.
const OPEN_FRAMES: usize = 128;

/// One entry of a thread's cache from (stack, scope node) to its row.
#[derive(Default)]
pub(crate) struct SiteSlot {
    pub(crate) key: AtomicU64,
    pub(crate) row: AtomicPtr<Row>,
    pub(crate) context: AtomicU32,
}

/// Everything the tracker keeps for one thread. INVARIANT: zeroed memory is a valid, unused state.
#[repr(C, align(64))]
pub(crate) struct ThreadState {
    /// Not 0 while this thread is between the first and the last step of recording an event: whoever allocates then (a
    /// signal handler) is counted in the shared shard.
    pub(crate) busy: AtomicU32,
    /// Depth of `InTracker` guards.
    inside: AtomicU32,
    /// `Row::mark` of a row that needs no attention: the peak mark, and the node whose events are pending.
    pub(crate) expected_mark: Counter,
    /// Granted minus released by this thread. Signed.
    pub(crate) net: Counter,
    /// Largest `net` since it was last folded into `call_max` and `pending_max`.
    pub(crate) run_max: Counter,
    /// While `net` stays in `[window_low, window_low + window_span]`, neither a peak nor a publication is due.
    pub(crate) window_low: Counter,
    pub(crate) window_span: Counter,
    /// Birth of the next block, but for its epoch.
    pub(crate) birth: Counter,
    /// Stamp of blocks that the running call may count as its own; see `Stamp`.
    own_stamp: AtomicU32,
    /// Context of the current scope node without a stack.
    pub(crate) scope_context: AtomicU32,
    /// Blocks and bytes of the running call, net. Signed.
    pub(crate) own_blocks: Counter,
    pub(crate) own_bytes: Counter,
    /// Executed by this thread, ever.
    pub(crate) allocations: Counter,
    pub(crate) bytes: Counter,
    /// Mixed into cache keys: changes with the scope node and with the owner of this state.
    pub(crate) site_salt: Counter,
    pub(crate) rows: Directory<Row>,
    // What scopes use.
    pub(crate) node: AtomicU32,
    pub(crate) depth: AtomicU32,
    /// Largest `net` in the running call. Signed.
    pub(crate) call_max: Counter,
    /// The running call lost aliases: its retained figures are upper bounds.
    pub(crate) upper_bound: AtomicU32,
    /// Number of the latest frame, and that of the open frame at each depth.
    pub(crate) serial: AtomicU32,
    pub(crate) open_frames: [AtomicU32; OPEN_FRAMES],
    pub(crate) ready_count: AtomicU32,
    pub(crate) ready: [AtomicU32; READY],
    pub(crate) scopes: [ScopeSlot; SCOPES],
    pub(crate) nodes: Directory<NodeRow>,
    pub(crate) slots: SlotRing,
    // What peaks use; see `peak`.
    pub(crate) pending_base: Counter,
    pub(crate) pending_max: Counter,
    pub(crate) published: Counter,
    pub(crate) live_at_publication: Counter,
    pub(crate) peak_net: Counter,
    /// Not 0 once `peak_net` is a new peak of this thread's.
    pub(crate) raised: AtomicU32,
    pub(crate) seen_serial: AtomicU32,
    // The rest.
    pub(crate) growth: Directory<GrowthRow>,
    pub(crate) untracked_frees: Counter,
    index: AtomicU32,
    salt: Counter,
    status: AtomicU32,
    next: AtomicPtr<ThreadState>,
    pub(crate) stack: UnsafeCell<StackState>,
    pub(crate) sites: [SiteSlot; SITES],
}

const UNUSED: u32 = 0;
const LIVE: u32 = 1;
const ENDED: u32 = 2;

/// `STATE` of a thread that has no state and will get none.
const WITHOUT: *const ThreadState = ptr::without_provenance(1);

thread_local! {
    // `const` and without a destructor: reading it never allocates, registers or fails, to the very end of the thread.
    static STATE: Cell<*const ThreadState> = const { Cell::new(ptr::null()) };
}

static FIRST: AtomicPtr<ThreadState> = AtomicPtr::new(ptr::null_mut());
static REGISTRY: AtomicBool = AtomicBool::new(false);
static THREADS: AtomicU32 = AtomicU32::new(0);
static READY_TO_RECORD: AtomicU32 = AtomicU32::new(0);
static EXIT_KEY: AtomicU64 = AtomicU64::new(u64::MAX);

static SHARED_ROWS: [Lazy<Row>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];
static SHARED_GROWTH: [Lazy<GrowthRow>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];
static ROW_POOL: Pool = Pool::new();
static GROWTH_POOL: Pool = Pool::new();
static NODE_POOL: Pool = Pool::new();

/// The calling thread's state, if it has one.
#[inline(always)]
pub(crate) fn current() -> Option<&'static ThreadState> {
    let state = STATE.with(Cell::get);
    // SAFETY: a pointer above WITHOUT was stored by `register`; states live as long as the process.
    if state.addr() > 1 {
        Some(unsafe { &*state })
    } else {
        None
    }
}

/// The calling thread's state, made now if this is its first event.
#[cold]
#[inline(never)]
pub(crate) fn current_or_register() -> Option<&'static ThreadState> {
    if STATE.with(Cell::get).is_null() {
        register()
    } else {
        current()
    }
}

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
            let made = super::context::init() && scope::init();
            if let Some(key) = sys::thread_exit_key(on_thread_exit) {
                EXIT_KEY.store(u64::from(key), Ordering::Relaxed);
            }
            if settings::report_path().is_some() || settings::snapshot_path().is_some() {
                sys::at_exit(crate::AT_EXIT);
            }
            sys::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
            super::stack::init_process();
            READY_TO_RECORD.store(if made { READY } else { FAILED }, Ordering::Release);
            made
        }
        Err(state) => state == READY,
    }
}

#[cold]
fn register() -> Option<&'static ThreadState> {
    // Until we are through, whatever this thread allocates (it should be nothing) is counted in the shared shard.
    STATE.with(|state| state.set(WITHOUT));
    if !is_initialised() {
        // Another thread is making the tables this very moment: try again at the next event.
        STATE.with(|state| state.set(ptr::null()));
        return None;
    }
    let state = reuse().or_else(make)?;
    let index = THREADS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    state.index.store(index, Ordering::Relaxed);
    state.salt.set(u64::from(index).wrapping_mul(0x2545_f491_4f6c_dd1d));
    state.stop_at_root();
    peak::begin(state);
    // SAFETY: this thread has just taken the state, so nobody else touches its stack state.
    super::stack::init_thread(unsafe { &mut *state.stack.get() });
    state.status.store(LIVE, Ordering::Release);
    STATE.with(|current| current.set(state));
    if let Ok(key) = u32::try_from(EXIT_KEY.load(Ordering::Relaxed)) {
        sys::arm_thread_exit(key as libc::pthread_key_t, ptr::from_ref(state).cast());
    }
    Some(state)
}

/// A state whose thread has ended and been counted. Never waits.
fn reuse() -> Option<&'static ThreadState> {
    let registry = Registry::try_lock()?;
    let found = registry
        .states()
        .find(|state| state.status.load(Ordering::Relaxed) == UNUSED)?;
    found.status.store(LIVE, Ordering::Relaxed);
    Some(found)
}

fn make() -> Option<&'static ThreadState> {
    // SAFETY: zeroed memory is a valid ThreadState, see its INVARIANT.
    let state = unsafe { arena::take_zeroed::<ThreadState>(1) }?;
    // SAFETY: the memory is ours alone until linked, lives as long as the process, and is only shared from here on.
    let made = unsafe { state.as_ref() };
    made.status.store(LIVE, Ordering::Relaxed);
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

/// Threads that have had a state so far.
pub(crate) fn count() -> u32 {
    THREADS.load(Ordering::Relaxed)
}

impl ThreadState {
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.own_stamp.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set_stamp(&self, stamp: Stamp) {
        self.own_stamp.store(stamp.0, Ordering::Relaxed);
        let carried = if stamp.is_recorded() { stamp } else { Stamp::NONE };
        self.birth.set(super::block::Birth::new(0, carried).bits());
    }

    /// Makes `node` the scope that allocations from now on belong to.
    #[inline(always)]
    pub(crate) fn set_node(&self, node: u32, context: u32) {
        self.node.store(node, Ordering::Relaxed);
        self.scope_context.store(context, Ordering::Relaxed);
        self.site_salt
            .set(self.salt.get() ^ u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }

    /// Leaves every scope.
    pub(crate) fn stop_at_root(&self) {
        self.set_node(ScopeNodeId::ROOT.0, ContextId::ROOT.0);
        self.set_stamp(Stamp::NONE);
        self.depth.store(0, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed) != 0
    }

    /// One word that is 0 when the thread can record an event the usual way.
    #[inline(always)]
    pub(crate) fn is_occupied(&self) -> bool {
        self.busy.load(Ordering::Relaxed) | self.inside.load(Ordering::Relaxed) != 0
    }

    /// The row of `context`, made if need be.
    #[inline(always)]
    pub(crate) fn row(&'static self, context: ContextId) -> Option<&'static Row> {
        match self.rows.get(context.0 as usize) {
            Some(row) => Some(row),
            None => self.make_row(context),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_row(&'static self, context: ContextId) -> Option<&'static Row> {
        // SAFETY: zero is a valid Row; ROW_POOL holds pages of rows only; the caller is the owner of this state.
        unsafe { self.rows.make(context.0 as usize, MAX_CONTEXTS, &ROW_POOL) }
    }

    /// The row of a scope node, made if need be.
    #[inline(always)]
    pub(crate) fn node_row(&'static self, node: u32) -> Option<&'static NodeRow> {
        match self.nodes.get(node as usize) {
            Some(row) => Some(row),
            // SAFETY: zero is a valid NodeRow; NODE_POOL holds pages of node rows only; the caller owns this state.
            None => unsafe { self.nodes.make(node as usize, MAX_NODES, &NODE_POOL) },
        }
    }

    /// Counts bytes that a reallocation copied.
    pub(crate) fn copied(&'static self, context: ContextId, bytes: u64) {
        let row = match self.growth.get(context.0 as usize) {
            Some(row) => Some(row),
            // SAFETY: zero is a valid GrowthRow; GROWTH_POOL holds pages of growth rows only; the caller owns this state.
            None => unsafe { self.growth.make(context.0 as usize, MAX_CONTEXTS, &GROWTH_POOL) },
        };
        match row {
            Some(row) => row.copied_bytes.add(bytes),
            None => copied_shared(context, bytes),
        }
    }

    pub(crate) fn site(&self, key: u64) -> &SiteSlot {
        let slot = (key >> 54) as usize;
        const _: () = assert!(SITES == 1 << (64 - 54));
        // SAFETY: the top ten bits are below SITES.
        unsafe { self.sites.get_unchecked(slot) }
    }
}

/// While it lives, what the calling thread allocates is counted as the tracker's own.
pub(crate) struct InTracker {
    thread: Option<&'static ThreadState>,
    // Not Send: it belongs to the thread it was made on.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl InTracker {
    pub(crate) fn enter() -> Self {
        let thread = current_or_register();
        if let Some(thread) = thread {
            thread
                .inside
                .store(thread.inside.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Self {
            thread,
            _not_send: core::marker::PhantomData,
        }
    }
}

impl Drop for InTracker {
    fn drop(&mut self) {
        if let Some(thread) = self.thread {
            thread
                .inside
                .store(thread.inside.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }
}

/// What the read side has allocated on this thread, ever: the probe that tells whether we are the global allocator.
pub(crate) fn own_allocations() -> u64 {
    let row = current_or_register().and_then(|thread| thread.row(ContextId::TRACKER));
    row.map_or(0, |row| row.allocations.get())
}

/// True once any `TrackingAllocator` has been asked for memory.
pub(crate) fn has_recorded() -> bool {
    READY_TO_RECORD.load(Ordering::Relaxed) != 0
}

// The shared shard.

fn shared<T>(table: &'static [Lazy<T>], context: ContextId) -> Option<&'static T> {
    let page: NonNull<T> = table.get(context.0 as usize / PAGE)?.get()?;
    // SAFETY: pages of the shared shard have PAGE rows and are never freed.
    Some(unsafe { page.add(context.0 as usize % PAGE).as_ref() })
}

/// Makes room for `context` in the shared shard, so that its figures always have a place to go.
pub(crate) fn make_shared_row(context: ContextId) -> bool {
    match SHARED_ROWS.get(context.0 as usize / PAGE) {
        // SAFETY: zero is a valid Row.
        Some(page) => unsafe { page.get_or_make(PAGE) }.is_some(),
        None => false,
    }
}

/// The row that threads without a state, and ended threads, share. Written with `add_shared` only.
pub(crate) fn shared_row(context: ContextId) -> Option<&'static Row> {
    shared(&SHARED_ROWS, context)
}

pub(crate) fn shared_copied_bytes(context: ContextId) -> u64 {
    shared(&SHARED_GROWTH, context).map_or(0, |row| row.copied_bytes.read())
}

pub(crate) fn copied_shared(context: ContextId, bytes: u64) {
    if let Some(page) = SHARED_GROWTH.get(context.0 as usize / PAGE) {
        // SAFETY: zero is a valid GrowthRow.
        let _ = unsafe { page.get_or_make(PAGE) };
    }
    match shared(&SHARED_GROWTH, context) {
        Some(row) => row.copied_bytes.add_shared(bytes),
        None => LOSSES.dropped_events.add_shared(1),
    }
}

// The end of a thread.

unsafe extern "C" fn on_thread_exit(state: *mut c_void) {
    STATE.with(|current| current.set(WITHOUT));
    // SAFETY: the value armed in `register` is a state, which lives as long as the process.
    let Some(state) = (unsafe { state.cast::<ThreadState>().as_ref() }) else {
        return;
    };
    peak::flush(state);
    // ORDERING: Release: whoever folds the state sees all that its thread wrote.
    state.status.store(ENDED, Ordering::Release);
    // When a snapshot holds the registry, the snapshot's end, or the next thread's, does the work.
    if let Some(registry) = Registry::try_lock() {
        registry.fold_ended();
    }
}

/// Exclusive access to the list of states: while it is held no state is folded or reused.
pub(crate) struct Registry(());

impl Registry {
    pub(crate) fn try_lock() -> Option<Self> {
        // ORDERING: Acquire: pairs with the Release in `drop`.
        (!REGISTRY.swap(true, Ordering::Acquire)).then_some(Self(()))
    }

    /// For the read side: waits for another snapshot, or for a thread that is just ending.
    pub(crate) fn lock() -> Self {
        loop {
            if let Some(registry) = Self::try_lock() {
                return registry;
            }
            std::thread::yield_now();
        }
    }

    fn states(&self) -> impl Iterator<Item = &'static ThreadState> {
        // ORDERING: pairs with the Release in `make`.
        let mut next = FIRST.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: states are linked once, complete, and live as long as the process.
            let state = unsafe { next.as_ref() }?;
            next = state.next.load(Ordering::Relaxed);
            Some(state)
        })
    }

    /// States of threads that run, or have ended and are not folded yet.
    pub(crate) fn threads(&self) -> impl Iterator<Item = &'static ThreadState> {
        self.states()
            .filter(|state| state.status.load(Ordering::Acquire) != UNUSED)
    }

    /// Moves the figures of ended threads to the shared shard.
    pub(crate) fn fold_ended(&self) {
        for state in self
            .states()
            .filter(|state| state.status.load(Ordering::Acquire) == ENDED)
        {
            fold(state);
            state.status.store(UNUSED, Ordering::Release);
        }
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
    let mark = state.peak_mark();
    let is_current = state.seen_serial.load(Ordering::Relaxed) == serial;
    state.rows.for_each(|context, row| {
        if row.node() == 0 {
            return;
        }
        let Some(total) = shared_row(ContextId(context as u32)) else {
            return;
        };
        total.rebase(serial);
        total.at_peak.add_shared(if is_current {
            row.bytes_at_peak(mark)
        } else {
            row.live_bytes()
        });
        // The allocation side before the free side, as everywhere.
        total.allocations.add_shared(row.allocations.get());
        total.reallocations.add_shared(row.reallocations.get());
        total.granted_bytes.add_shared(row.granted_bytes.get());
        total.frees.add_shared(row.frees.get());
        total.handed_over.add_shared(row.handed_over.get());
        total.released_bytes.add_shared(row.released_bytes.get());
    });
    state.growth.for_each(|context, row| {
        let bytes = row.copied_bytes.get();
        if bytes != 0 {
            copied_shared(ContextId(context as u32), bytes);
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
    for ready in state
        .ready
        .iter()
        .take(state.ready_count.swap(0, Ordering::Relaxed) as usize)
    {
        state.slots.put(Stamp(ready.load(Ordering::Relaxed)).slot());
    }
    state.slots.drain();
    for zero in [
        &state.net,
        &state.run_max,
        &state.own_blocks,
        &state.own_bytes,
        &state.published,
        &state.call_max,
    ] {
        zero.set(0);
    }
    state.allocations.set(0);
    state.bytes.set(0);
    state.inside.store(0, Ordering::Relaxed);
    state.busy.store(0, Ordering::Relaxed);
}

// Fork: the child has one thread. States of the others stay as they are: their blocks are in the child's memory too.

unsafe extern "C" fn before_fork() {
    core::mem::forget(Registry::lock());
}

unsafe extern "C" fn after_fork_in_parent() {
    drop(Registry(()));
}

unsafe extern "C" fn after_fork_in_child() {
    for pool in [&ROW_POOL, &GROWTH_POOL, &NODE_POOL] {
        pool.reset_after_fork();
    }
    drop(Registry(()));
}
