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
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};

use super::block::{Birth, CONTEXT_BITS, Stamp};
use super::call::SlotRing;
use super::counters::{Counter, GrowthRow, LOSSES, NodeRow, Row};
use super::frame::{MAX_DEPTH, OpenCall};
use super::free::Spares;
use super::index::Lazy;
use super::pages::{Directory, PAGE, Pool};
use super::scope::{self, MAX_NODES, ScopeSlot};
use super::stack::StackState;
use super::watch::Watch;
use super::{arena, frame, peak, settings, sys, waiting};
use crate::ids::{ContextId, ScopeNodeId};

pub(crate) const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;
/// Sets of the cache of sites, two slots each.
const SITE_SETS: usize = 1 << SITE_BITS;
const SITE_BITS: u32 = 11;
pub(crate) const SCOPES: usize = 64;

/// One entry of a thread's cache from (stack, scope node) to its row.
///
/// PERF: the row's address and the context in one word, so that four entries share a cache line.
#[derive(Default)]
pub(crate) struct SiteSlot {
    key: AtomicU64,
    /// The address of the row, without the low bits that its alignment makes 0, and below them the context.
    found: AtomicU64,
}

/// Two slots: the key looked for last stands in the first.
#[derive(Default)]
#[repr(align(32))]
pub(crate) struct SiteSet {
    first: SiteSlot,
    second: SiteSlot,
}

const ROW_SHIFT: u32 = align_of::<Row>().trailing_zeros();

impl SiteSet {
    /// Address of the row under `key`, and the context, if the first slot has them.
    #[inline(always)]
    pub(crate) fn get(&self, key: u64) -> Option<(*const Row, ContextId)> {
        if self.first.key.load(Ordering::Relaxed) != key {
            return None;
        }
        let found = self.first.found.load(Ordering::Relaxed);
        let row = (found >> CONTEXT_BITS << ROW_SHIFT) as usize;
        Some((row as *const Row, ContextId(found as u32 & ((1 << CONTEXT_BITS) - 1))))
    }

    /// Moves what the second slot has under `key` to the first, if that is where it is.
    pub(crate) fn promote(&self, key: u64) -> bool {
        let found = self.second.found.load(Ordering::Relaxed);
        let is_here = self.second.key.load(Ordering::Relaxed) == key;
        if is_here {
            self.push(key, found);
        }
        is_here
    }

    /// Remembers a row and its context in place of the key looked for least recently.
    pub(crate) fn put(&self, key: u64, row: &'static Row, context: ContextId) {
        let address = ptr::from_ref(row).addr() as u64 >> ROW_SHIFT;
        // LIMIT: rows at addresses that need more than 48 bits are looked up every time.
        if address >> (64 - CONTEXT_BITS) == 0 {
            self.push(key, (address << CONTEXT_BITS) | u64::from(context.0));
        }
    }

    fn push(&self, key: u64, found: u64) {
        for (to, from) in [
            (&self.second.key, &self.first.key),
            (&self.second.found, &self.first.found),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.first.key.store(key, Ordering::Relaxed);
        self.first.found.store(found, Ordering::Relaxed);
    }
}

/// The first word of a state: 0 when the thread can record an event the usual way.
#[repr(C)]
struct Occupied(AtomicU64);

/// The thread is between the first and the last step of recording an event: whoever allocates then (a signal handler) is
/// counted in the shared shard.
const BUSY: u64 = 1;
/// One `InTracker` guard.
const INSIDE: u64 = 2;
/// The thread is watched: see `watch`. Above all guards there can be.
const WATCHED: u64 = 1 << 32;

/// Everything the tracker keeps for one thread. INVARIANT: zeroed memory is a valid, unused state.
#[repr(C, align(64))]
pub(crate) struct ThreadState {
    occupied: Occupied,
    /// `Row::mark` of a row that needs no attention: the peak mark, and the node whose events are pending. A value that no
    /// row has while the running call has no record yet.
    pub(crate) expected_mark: Counter,
    /// Requests granted, bytes granted (reallocations included) and bytes released by this thread, ever.
    pub(crate) allocations: Counter,
    pub(crate) granted: Counter,
    pub(crate) released: Counter,
    /// Largest `net` since it was last folded into `call_max` and `pending_max`. Signed.
    pub(crate) run_max: Counter,
    /// While `net` stays between the two, neither a peak nor a publication is due. Signed.
    pub(crate) window_low: Counter,
    pub(crate) window_high: Counter,
    /// Stamp of the next block, as the bits of a birth.
    pub(crate) birth_bits: Counter,
    /// Stamp of the blocks that the running call counts as its own, likewise: that of no block while it has no record.
    pub(crate) own_bits: Counter,
    /// What `granted - released` leaves out of the running call's own bytes: releases of other calls' blocks. Signed.
    pub(crate) correction: Counter,
    /// Blocks freed by this thread, ever.
    pub(crate) frees: Counter,
    /// Row of the current scope node.
    scope: AtomicPtr<NodeRow>,
    pub(crate) rows: Directory<Row>,
    // What scopes use.
    /// Calls on the thread's stack, and how many of them, from the outside, had an event: see `frame`.
    pub(crate) depth: AtomicU32,
    pub(crate) opened: AtomicU32,
    /// Number of the last entry into a scope. No two entries of a process have the same (while it has had fewer than 16 million threads).
    pub(crate) last_serial: Counter,
    pub(crate) scopes: [ScopeSlot; SCOPES],
    /// `peak_mark` and `pending_node` as a row's mark has them.
    usual_mark: Counter,
    /// Largest `net` in the innermost open call. Signed.
    pub(crate) call_max: Counter,
    pub(crate) calls: [OpenCall; MAX_DEPTH],
    /// Parts that are entered outside all calls.
    pub(crate) parts: AtomicU32,
    /// Stamps with records as good as new.
    pub(crate) spare_stamps: Spares,
    pub(crate) spare_waiting: Spares,
    pub(crate) nodes: Directory<NodeRow>,
    pub(crate) slots: SlotRing,
    // What peaks use; see `peak`.
    pub(crate) peak_mark: AtomicU32,
    pub(crate) pending_node: AtomicU32,
    pub(crate) pending_base: Counter,
    pub(crate) pending_max: Counter,
    pub(crate) published: Counter,
    pub(crate) live_at_publication: Counter,
    pub(crate) peak_net: Counter,
    /// Not 0 once `peak_net` is a new peak of this thread's.
    pub(crate) raised: AtomicU32,
    /// Not 0 while the process is at a new peak of this thread's, and nothing was released since.
    pub(crate) climbing: AtomicU32,
    pub(crate) seen_serial: AtomicU32,
    /// Odd while the three figures of the publication change.
    pub(crate) version: AtomicU32,
    // The rest.
    pub(crate) growth: Directory<GrowthRow>,
    pub(crate) untracked_frees: Counter,
    pub(crate) watch: Watch,
    /// Reallocations that this thread executed, ever, and the bytes that they copied.
    pub(crate) reallocations: Counter,
    pub(crate) copied_bytes: Counter,
    index: AtomicU32,
    salt: Counter,
    status: AtomicU32,
    next: AtomicPtr<ThreadState>,
    pub(crate) stack: UnsafeCell<StackState>,
    pub(crate) sites: [SiteSet; SITE_SETS],
}

const UNUSED: u32 = 0;
const LIVE: u32 = 1;
const ENDED: u32 = 2;

/// `own_bits` of a call that has no record yet.
pub(crate) const LAZY_BITS: u64 = Birth::new(0, Stamp::LAZY).bits();
/// A mark that no row has.
const UNEXPECTED: u64 = u64::MAX;

/// What stands for the state of a thread that has none: occupied, so that nobody looks further.
struct Nobody(Occupied);
/// Not registered yet.
static UNKNOWN: Nobody = Nobody(Occupied(AtomicU64::new(BUSY)));
/// Ended, or no memory left: counted in the shared shard from now on.
static WITHOUT: Nobody = Nobody(Occupied(AtomicU64::new(BUSY)));

// SAFETY: the pointer is to a `static` or to a state: both live as long as the process and may be used from any thread.
unsafe impl Sync for StatePointer {}

/// Points to an `Occupied` that is the first field of a `ThreadState` unless it is one of the two `Nobody`.
#[derive(Clone, Copy)]
struct StatePointer(*const Occupied);

thread_local! {
    // `const` and without a destructor: reading it never allocates, registers or fails, to the very end of the thread.
    static STATE: Cell<StatePointer> = const { Cell::new(StatePointer(&raw const UNKNOWN.0)) };
}

static FIRST: AtomicPtr<ThreadState> = AtomicPtr::new(ptr::null_mut());
static REGISTRY: AtomicBool = AtomicBool::new(false);
static THREADS: AtomicU32 = AtomicU32::new(0);
/// States of each status; hints, so that nobody walks the list in vain.
static UNUSED_STATES: AtomicU32 = AtomicU32::new(0);
static ENDED_STATES: AtomicU32 = AtomicU32::new(0);
static READY_TO_RECORD: AtomicU32 = AtomicU32::new(0);
static EXIT_KEY: AtomicU64 = AtomicU64::new(u64::MAX);

static SHARED_ROWS: [Lazy<Row>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];
static SHARED_GROWTH: [Lazy<GrowthRow>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];
static ROW_POOL: Pool = Pool::new();
static GROWTH_POOL: Pool = Pool::new();
static NODE_POOL: Pool = Pool::new();

/// The calling thread's state, if it has one and is not occupied: the usual case of every event.
#[inline(always)]
pub(crate) fn unoccupied() -> Option<&'static ThreadState> {
    let state = STATE.with(Cell::get).0;
    // SAFETY: `state` points to an `Occupied` in any case.
    if unsafe { &*state }.0.load(Ordering::Relaxed) != 0 {
        return None;
    }
    // SAFETY: the two `Nobody` are always occupied, so this is a pointer that `register` made from a whole state.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

/// The calling thread's state, if it has one.
pub(crate) fn current() -> Option<&'static ThreadState> {
    let state = STATE.with(Cell::get).0;
    if ptr::eq(state, &raw const UNKNOWN.0) || ptr::eq(state, &raw const WITHOUT.0) {
        return None;
    }
    // SAFETY: as in `unoccupied`.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

fn set_current(state: *const Occupied) {
    STATE.with(|current| current.set(StatePointer(state)));
}

/// The calling thread's state, made now if this is its first event.
#[cold]
#[inline(never)]
pub(crate) fn current_or_register() -> Option<&'static ThreadState> {
    let state = STATE.with(Cell::get).0;
    if ptr::eq(state, &raw const UNKNOWN.0) {
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
fn register() -> Option<&'static ThreadState> {
    // Until we are through, whatever this thread allocates (it should be nothing) is counted in the shared shard.
    set_current(&raw const WITHOUT.0);
    if !is_initialised() {
        // Another thread is making the tables this very moment: try again at the next event.
        set_current(&raw const UNKNOWN.0);
        return None;
    }
    let state = reuse().inspect(|state| clear_stack(state)).or_else(make)?;
    let index = THREADS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    state.index.store(index, Ordering::Relaxed);
    state.salt.set(u64::from(index).wrapping_mul(0x2545_f491_4f6c_dd1d));
    state.last_serial.set(u64::from(index) << 40);
    state.go_on_with(Stamp::NONE);
    let Some(root) = state.node_row(ScopeNodeId::ROOT.0) else {
        state.status.store(UNUSED, Ordering::Release);
        UNUSED_STATES.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    state.set_scope(root);
    peak::begin(state);
    // SAFETY: this thread has just taken the state, so nobody else touches its stack state.
    super::stack::init_thread(unsafe { &mut *state.stack.get() });
    state.status.store(LIVE, Ordering::Release);
    set_current(ptr::from_ref(state).cast());
    if let Ok(key) = u32::try_from(EXIT_KEY.load(Ordering::Relaxed)) {
        sys::arm_thread_exit(key as libc::pthread_key_t, ptr::from_ref(state).cast());
    }
    Some(state)
}

/// Forgets the stack of the thread that had the state before.
fn clear_stack(state: &ThreadState) {
    // SAFETY: the calling thread has just taken the state, so nobody else looks at it; zero bytes are a valid StackState.
    unsafe { ptr::write_bytes(state.stack.get(), 0, 1) };
}

/// A state whose thread has ended and been counted.
fn reuse() -> Option<&'static ThreadState> {
    let take = || {
        if UNUSED_STATES.load(Ordering::Relaxed) == 0 {
            return None;
        }
        states().find(|state| {
            // ORDERING: Acquire: pairs with the Release in `fold_ended`: the state is empty.
            let taken = state
                .status
                .compare_exchange(UNUSED, LIVE, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
            if taken {
                UNUSED_STATES.fetch_sub(1, Ordering::Relaxed);
            }
            taken
        })
    };
    take().or_else(|| {
        if ENDED_STATES.load(Ordering::Relaxed) != 0 {
            Registry::lock_soon()?.fold_ended();
        }
        take()
    })
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

impl ThreadState {
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    /// Stamp of the running call.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> Stamp {
        Birth::from_bits(self.own_bits.get()).stamp()
    }

    /// The call `stamp` is the running one from now on. Every call on the thread's stack is open.
    #[inline(always)]
    pub(crate) fn go_on_with(&self, stamp: Stamp) {
        let bits = Birth::new(0, stamp).bits();
        self.own_bits.set(bits);
        self.birth_bits.set(if stamp.is_recorded() { bits } else { 0 });
        self.expected_mark.set(if bits == LAZY_BITS {
            UNEXPECTED
        } else {
            self.usual_mark.get()
        });
    }

    /// The same for the stamp of a record.
    #[inline(always)]
    pub(crate) fn go_on_with_record(&self, stamp: Stamp) {
        let bits = Birth::new(0, stamp).bits();
        self.own_bits.set(bits);
        self.birth_bits.set(bits);
        self.expected_mark.set(self.usual_mark.get());
    }

    /// The next event needs attention, whatever it is.
    #[inline(always)]
    pub(crate) fn expect_nothing(&self) {
        self.expected_mark.set(UNEXPECTED);
    }

    /// Undoes `expect_nothing`. `before` is what `expected_mark` was; the marks may have moved on since.
    #[inline(always)]
    pub(crate) fn expect_again(&self, before: u64) {
        self.expected_mark.set(if before == UNEXPECTED {
            UNEXPECTED
        } else {
            self.usual_mark.get()
        });
    }

    /// Brings `expected_mark` up to date after `peak_mark` or `pending_node` has changed. It may be `UNEXPECTED` without need, never
    /// the other way round.
    pub(crate) fn expect(&self) {
        let mark = u64::from(self.peak_mark.load(Ordering::Relaxed)) << 32;
        let node = u64::from(self.pending_node.load(Ordering::Relaxed));
        self.usual_mark.set(mark | node);
        let is_open = self.opened.load(Ordering::Relaxed) == self.depth.load(Ordering::Relaxed);
        self.expected_mark.set(if is_open && self.own_bits.get() != LAZY_BITS {
            mark | node
        } else {
            UNEXPECTED
        });
    }

    /// Granted minus released by this thread. Signed.
    #[inline(always)]
    pub(crate) fn net(&self) -> i64 {
        self.granted.get().wrapping_sub(self.released.get()) as i64
    }

    /// Row of the scope node that allocations belong to now.
    #[inline(always)]
    pub(crate) fn scope(&self) -> &'static NodeRow {
        // SAFETY: `set_scope` stored a row of this thread before the state became current; it lives while the thread does.
        unsafe { &*self.scope.load(Ordering::Relaxed) }
    }

    #[inline(always)]
    pub(crate) fn scope_pointer(&self) -> &AtomicPtr<NodeRow> {
        &self.scope
    }

    #[inline(always)]
    pub(crate) fn set_scope(&self, row: &'static NodeRow) {
        self.scope.store(ptr::from_ref(row).cast_mut(), Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn occupy(&self) {
        self.occupied.0.store(BUSY, Ordering::Relaxed);
        // A signal handler on this thread sees the mark before anything that follows.
        compiler_fence(Ordering::SeqCst);
    }

    /// Ends what `occupy` began; only from an unoccupied state can it have begun.
    #[inline(always)]
    pub(crate) fn vacate(&self) {
        compiler_fence(Ordering::SeqCst);
        self.occupied.0.store(0, Ordering::Relaxed);
    }

    /// Runs `record` as one event on a thread that may be inside the tracker; the rare paths' form of `occupy`.
    pub(crate) fn occupied_for<R>(&self, record: impl FnOnce() -> R) -> R {
        self.occupied.0.fetch_or(BUSY, Ordering::Relaxed);
        let result = record();
        self.occupied.0.fetch_and(!BUSY, Ordering::Relaxed);
        result
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.occupied.0.load(Ordering::Relaxed) & BUSY != 0
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.occupied.0.load(Ordering::Relaxed) % WATCHED >= INSIDE
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.occupied.0.load(Ordering::Relaxed) & WATCHED != 0
    }

    pub(crate) fn watch_from_now_on(&self) {
        self.occupied.0.fetch_or(WATCHED, Ordering::Relaxed);
    }

    pub(crate) fn watch_no_more(&self) {
        self.occupied.0.fetch_and(!WATCHED, Ordering::Relaxed);
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
        // SAFETY: ROW_POOL holds pages of rows only; the caller is the owner of this state.
        unsafe { self.rows.make(context.0 as usize, MAX_CONTEXTS, &ROW_POOL) }
    }

    /// The row of a scope node, made if need be.
    #[inline(always)]
    pub(crate) fn node_row(&'static self, node: u32) -> Option<&'static NodeRow> {
        match self.nodes.get(node as usize) {
            Some(row) if row.node.load(Ordering::Relaxed) == node => Some(row),
            _ => self.make_node_row(node),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_node_row(&'static self, node: u32) -> Option<&'static NodeRow> {
        let context = scope::node_info(node)?.context();
        let row = self.row(ContextId(context))?;
        // SAFETY: NODE_POOL holds pages of node rows only; the caller owns this state.
        let made = unsafe { self.nodes.make(node as usize, MAX_NODES, &NODE_POOL) }?;
        made.row.store(ptr::from_ref(row).cast_mut(), Ordering::Relaxed);
        made.salt
            .set(self.salt.get() ^ u64::from(node).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        made.context.store(context, Ordering::Relaxed);
        made.node.store(node, Ordering::Release);
        Some(made)
    }

    /// Counts bytes that a reallocation copied.
    pub(crate) fn copied(&'static self, context: ContextId, bytes: u64) {
        self.copied_bytes.add(bytes);
        let row = match self.growth.get(context.0 as usize) {
            Some(row) => Some(row),
            // SAFETY: GROWTH_POOL holds pages of growth rows only; the caller owns this state.
            None => unsafe { self.growth.make(context.0 as usize, MAX_CONTEXTS, &GROWTH_POOL) },
        };
        match row {
            Some(row) => row.copied_bytes.add(bytes),
            None => copied_shared(context, bytes),
        }
    }

    /// Where the cache of sites may have `key`.
    #[inline(always)]
    pub(crate) fn site(&self, key: u64) -> &SiteSet {
        // SAFETY: so many top bits are below SITE_SETS.
        unsafe { self.sites.get_unchecked((key >> (64 - SITE_BITS)) as usize) }
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
            thread.occupied.0.fetch_add(INSIDE, Ordering::Relaxed);
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
            thread.occupied.0.fetch_sub(INSIDE, Ordering::Relaxed);
        }
    }
}

/// What the read side has allocated on this thread, ever: the probe that tells whether we are the global allocator.
///
/// `None` on a thread without a state, which counts nothing of its own.
pub(crate) fn own_allocations() -> Option<u64> {
    current_or_register()?
        .row(ContextId::TRACKER)
        .map(|row| row.allocations.get())
}

/// Set by the first allocation that goes through any `TrackingAllocator`.
static IS_USED: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_used() {
    if !IS_USED.load(Ordering::Relaxed) && !IS_USED.swap(true, Ordering::SeqCst) {
        settings::decide_about_scopes();
    }
}

/// True once any `TrackingAllocator` has been asked for memory.
pub(crate) fn is_used() -> bool {
    IS_USED.load(Ordering::SeqCst)
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
    set_current(&raw const WITHOUT.0);
    // SAFETY: the value armed in `register` is a state, which lives as long as the process.
    let Some(state) = (unsafe { state.cast::<ThreadState>().as_ref() }) else {
        return;
    };
    peak::flush(state);
    frame::forget_calls(state);
    // ORDERING: Release: whoever folds the state sees all that its thread wrote.
    state.status.store(ENDED, Ordering::Release);
    ENDED_STATES.fetch_add(1, Ordering::Relaxed);
    // When a snapshot holds the registry, the next snapshot or thread does the work.
    if let Some(registry) = Registry::lock_soon() {
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

    /// For threads that begin or end: lets the few steps of another such thread pass, but does not wait for a snapshot.
    fn lock_soon() -> Option<Self> {
        Self::lock_within(64)
    }

    fn lock_within(turns: u32) -> Option<Self> {
        for _ in 0..turns {
            if let Some(registry) = Self::try_lock() {
                return Some(registry);
            }
            sys::yield_now();
        }
        None
    }

    /// For the read side: waits for another snapshot, or for a thread that is just beginning or ending.
    pub(crate) fn lock() -> Self {
        loop {
            if let Some(registry) = Self::try_lock() {
                return registry;
            }
            sys::yield_now();
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
        for state in states().filter(|state| state.status.load(Ordering::Acquire) == ENDED) {
            fold(state);
            ENDED_STATES.fetch_sub(1, Ordering::Relaxed);
            // ORDERING: Release: who takes the state finds it empty.
            state.status.store(UNUSED, Ordering::Release);
            UNUSED_STATES.fetch_add(1, Ordering::Relaxed);
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
    state.rows.for_each(|context, row| {
        if row.node() == 0 {
            return;
        }
        let Some(total) = shared_row(ContextId(context as u32)) else {
            return;
        };
        total.rebase(serial);
        total.at_peak.add_shared(state.bytes_at_peak(row));
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
    while let Some(stamp) = state.spare_stamps.take() {
        state.slots.put(Stamp(stamp).slot());
    }
    while let Some(index) = state.spare_waiting.take() {
        waiting::put_shared(index);
    }
    state.slots.drain();
    scope::forget_scopes(&state.scopes);
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
    state.vacate();
}

// Fork: the child has one thread. States of the others stay as they are: their blocks are in the child's memory too.

static HELD_FOR_FORK: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn before_fork() {
    // Not for ever: the thread that takes a snapshot may itself wait for a lock that the forking thread holds.
    const TURNS: u32 = 10_000;
    let held = Registry::lock_within(TURNS).map(core::mem::forget).is_some();
    HELD_FOR_FORK.store(held, Ordering::Relaxed);
}

unsafe extern "C" fn after_fork_in_parent() {
    if HELD_FOR_FORK.load(Ordering::Relaxed) {
        drop(Registry(()));
    }
}

unsafe extern "C" fn after_fork_in_child() {
    // Whoever held it does not exist here.
    drop(Registry(()));
}
