//! Per-thread state: everything the tracker keeps for one thread, and how an event finds it.
//!
//! Record side. One `ThreadState` has one writer, the thread that runs on it; readers (`control`) look at its counters while they
//! hold the registry. A thread registers at its first tracked event. When it ends, its figures move to the shared shard and its
//! pages to the pools, so memory follows the threads that are alive. Threads without a state (ended ones, or no memory left) are
//! counted in the shared shard directly (`gate::unusual`).

mod fork;
mod registry;
mod shared;
mod site_cache;

use crate::record::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};
use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::hint::black_box;
use core::ptr::{self, NonNull};

pub(crate) use self::fork::NoFork;
pub(crate) use self::registry::{Registry, count, is_initialised, state_count};
pub(crate) use self::shared::{
    copied_shared, make_shared_row, shared_growth, shared_growth_rows, shared_row, shared_rows,
};
use self::site_cache::{SITE_BITS, SITE_SETS, SiteSet};
use super::block::{Birth, CONTEXT_BITS, Stamp};
use super::call::SlotRing;
use super::counters::{Counter, NodeRow, Row};
use super::frame::{MAX_DEPTH, OpenCall};
use super::free::Spares;
use super::growth::{GrowthRow, LastTable};
use super::pages::{Directory, Pool};
use super::scope::{self, MAX_NODES, ScopeSlot};
use super::stack::StackState;
use super::watch::Watch;
use super::{observe, settings};
use crate::ids::ContextId;

pub(crate) const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;
pub(crate) const SCOPES: usize = 64;

/// What an event looks at first.
#[repr(C)]
struct Head {
    /// 0 when the thread can record an event the usual way.
    occupied: AtomicU64,
    /// An allocation in mode `sampled` that brings `sampled_bytes` to this or more has something to look at: see `sample`. 0 when the next one
    /// has in any case, and always where `occupied` is not 0 for other reasons than an event.
    /// Set to 0 by another thread that changes the interval, else written by the thread alone.
    look_at: Counter,
    /// Bytes granted by this thread in mode `sampled`, sampled or not, reallocations included, ever.
    sampled_bytes: Counter,
}

/// The thread is between the first and the last step of recording an event: whoever allocates then (a signal handler) is
/// counted in the shared shard.
const BUSY: u64 = 1;
/// One `InTracker` guard.
const INSIDE: u64 = 2;
/// Allocations are denied on the thread, or made to fail: see `watch`. Above all guards there can be.
const WATCHED: u64 = 1 << 32;
/// An iteration is observed: see `observe`.
const OBSERVED: u64 = 1 << 33;
/// Every iteration is to be observed.
const OBSERVES_ALL: u64 = 1 << 34;

/// Why the events of a thread take the rare path while it could record them the usual way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attention(u64);

impl Attention {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) fn is_any(self) -> bool {
        self.0 != 0
    }
}

/// Everything the tracker keeps for one thread. INVARIANT: zeroed memory is a valid, unused state.
#[repr(C, align(64))]
pub(crate) struct ThreadState {
    head: Head,
    /// `Row::mark` of a row that needs no attention: the peak mark, and the node whose events are pending. A value that no
    /// row has while the running call has no record yet.
    pub(crate) expected_mark: Counter,
    /// Requests granted by this thread, ever; bytes granted (reallocations included) in modes that track every block, and bytes released.
    pub(crate) allocations: Counter,
    pub(crate) granted: Counter,
    pub(crate) released: Counter,
    /// Largest `net` since it was last folded into `call_max` and `pending_max`. Signed.
    pub(crate) run_max: Counter,
    /// While `net` stays between the two, neither a peak nor a publication is due. Signed.
    pub(crate) window_low: Counter,
    pub(crate) window_high: Counter,
    /// From so many bytes granted on, the next allocations are observed: see `observe::open_window`.
    pub(crate) window_at: Counter,
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
    pub(crate) last_table: LastTable,
    pub(crate) untracked_frees: Counter,
    pub(crate) watch: Watch,
    /// Bits of the innermost observation that runs on the thread; see `observe`.
    pub(crate) observing: AtomicU32,
    random: Counter,
    /// The allocation that brings `sampled_bytes` to this or more is a sample.
    pub(crate) sample_at: Counter,
    /// What that was drawn with, and from; and not 0 when it is to be drawn again.
    pub(crate) sample_interval: AtomicU32,
    pub(crate) draws_again: AtomicU32,
    pub(crate) sample_random: Counter,
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
pub(crate) const LIVE: u32 = 1;
pub(crate) const ENDED: u32 = 2;
/// Ended, and its figures are being moved by whoever holds the registry.
pub(crate) const FOLDED: u32 = 3;

/// `own_bits` of a call that has no record yet.
pub(crate) const LAZY_BITS: u64 = Birth::new(0, Stamp::LAZY).bits();
/// A mark that no row has.
const UNEXPECTED: u64 = u64::MAX;

/// What stands for the state of a thread that has none: occupied, so that nobody looks further.
struct Nobody(Head);
/// Not registered yet.
static UNKNOWN: Nobody = Nobody(Head::occupied());
/// Ended, or no memory left: counted in the shared shard from now on.
static WITHOUT: Nobody = Nobody(Head::occupied());

impl Head {
    const fn occupied() -> Self {
        Self {
            occupied: AtomicU64::new(BUSY),
            look_at: Counter::new(),
            sampled_bytes: Counter::new(),
        }
    }
}

/// Points to a `Head` that is the first field of a `ThreadState` unless it is one of the two `Nobody`.
#[cfg_attr(allocscope_model, allow(dead_code, reason = "models keep it elsewhere"))]
#[derive(Clone, Copy)]
struct StatePointer(NonNull<Head>);

// SAFETY: the address of a `static` is not null.
#[cfg(not(allocscope_model))]
const NOBODY_YET: NonNull<Head> = unsafe { NonNull::new_unchecked((&raw const UNKNOWN.0).cast_mut()) };

#[cfg(not(allocscope_model))]
thread_local! {
    // `const` and without a destructor: reading it never allocates, registers or fails, to the very end of the thread.
    static STATE: Cell<StatePointer> = const { Cell::new(StatePointer(NOBODY_YET)) };
}

/// What `STATE` is where threads are those of a model.
#[cfg(allocscope_model)]
static STATES: [AtomicPtr<Head>; 16] = [const { AtomicPtr::new((&raw const UNKNOWN.0).cast_mut()) }; 16];

static ROW_POOL: Pool = Pool::new();
static GROWTH_POOL: Pool = Pool::new();
static NODE_POOL: Pool = Pool::new();

/// The calling thread's state, if it has one and is not occupied: the usual case of every event.
#[inline(always)]
pub(crate) fn unoccupied() -> Option<&'static ThreadState> {
    let state = state_pointer();
    // SAFETY: `state` points to a `Head` in any case.
    if unsafe { &*state }.occupied.load(Ordering::Relaxed) != 0 {
        return None;
    }
    // SAFETY: the two `Nobody` are always occupied, so this is a pointer that `register` made from a whole state.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

/// The calling thread's state, if an allocation of `size` bytes in mode `sampled` is no sample and has nothing else to look at: the usual
/// case in that mode.
///
/// PERF: one compare for all of it.
#[inline(always)]
pub(crate) fn unsampled(size: u64) -> Option<&'static ThreadState> {
    let state = state_pointer();
    // SAFETY: `state` points to a `Head` in any case.
    let head = unsafe { &*state };
    if head.sampled_bytes.get().wrapping_add(size) >= head.look_at.get() {
        return None;
    }
    // SAFETY: the two `Nobody` always have something to look at, so this is a pointer that `register` made from a whole state.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

/// The calling thread's state if it can record an event, and what else is to be done about the event: for paths that are not hot.
#[inline(always)]
pub(crate) fn recording() -> Option<(&'static ThreadState, Attention)> {
    match unoccupied() {
        Some(thread) => Some((thread, Attention::NONE)),
        None => attended(),
    }
}

/// The calling thread's state, if nothing but attention occupies it.
#[cold]
#[inline(never)]
pub(crate) fn attended() -> Option<(&'static ThreadState, Attention)> {
    let thread = current()?;
    let attention = thread.attention();
    (attention.is_any() && !thread.is_busy() && !thread.is_inside()).then_some((thread, attention))
}

/// The calling thread's state, if it has one.
pub(crate) fn current() -> Option<&'static ThreadState> {
    let state = state_pointer();
    if ptr::eq(state, &raw const UNKNOWN.0) || ptr::eq(state, &raw const WITHOUT.0) {
        return None;
    }
    // SAFETY: as in `unoccupied`.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

#[cfg(not(allocscope_model))]
#[inline(always)]
fn state_pointer() -> *const Head {
    STATE.with(Cell::get).0.as_ptr()
}

#[cfg(not(allocscope_model))]
fn set_current(state: NonNull<Head>) {
    STATE.with(|current| current.set(StatePointer(state)));
}

#[cfg(allocscope_model)]
fn state_pointer() -> *const Head {
    STATES[crate::record::atomic::model::thread()].load(Ordering::Relaxed)
}

#[cfg(allocscope_model)]
fn set_current(state: NonNull<Head>) {
    STATES[crate::record::atomic::model::thread()].store(state.as_ptr(), Ordering::Relaxed);
}

/// The calling thread's state, made now if this is its first event.
#[cold]
#[inline(never)]
pub(crate) fn current_or_register() -> Option<&'static ThreadState> {
    let state = state_pointer();
    if ptr::eq(state, &raw const UNKNOWN.0) {
        registry::register()
    } else {
        current()
    }
}

/// The end of a model's thread.
#[cfg(allocscope_model)]
pub(crate) fn end_current() {
    if let Some(state) = current() {
        registry::end(state);
    }
}

/// The hook of a fork in the child, for models in which a thread is lost.
#[cfg(allocscope_model)]
pub(crate) fn forked() {
    registry::forked();
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

    /// Bytes granted by this thread, ever, in whatever mode; reallocations included.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> u64 {
        self.granted.get().wrapping_add(self.head.sampled_bytes.get())
    }

    #[inline(always)]
    pub(crate) fn sampled_bytes(&self) -> &Counter {
        &self.head.sampled_bytes
    }

    /// The next allocation in mode `sampled` has something to look at.
    #[inline(always)]
    pub(crate) fn look(&self) {
        self.head.look_at.set(0);
    }

    /// Allocations in mode `sampled` have nothing to look at before the next sample. The thread is occupied by an event alone, and all calls
    /// on its stack are open.
    #[inline(always)]
    pub(crate) fn look_at_sample(&self) {
        self.head.look_at.set(self.sample_at.get());
    }

    /// True when calls on the thread's stack are not open yet: see `frame`.
    #[inline(always)]
    pub(crate) fn has_unopened_calls(&self) -> bool {
        self.opened.load(Ordering::Relaxed) != self.depth.load(Ordering::Relaxed)
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
        self.head.occupied.store(BUSY, Ordering::Relaxed);
        // A signal handler on this thread sees the mark before anything that follows.
        compiler_fence(Ordering::SeqCst);
    }

    /// Ends what `occupy` began; only from an unoccupied state can it have begun.
    #[inline(always)]
    pub(crate) fn vacate(&self) {
        compiler_fence(Ordering::SeqCst);
        self.head.occupied.store(0, Ordering::Relaxed);
    }

    /// Runs `record` as one event on a thread that may be inside the tracker; the rare paths' form of `occupy`.
    pub(crate) fn occupied_for<R>(&self, record: impl FnOnce() -> R) -> R {
        self.head.occupied.fetch_or(BUSY, Ordering::Relaxed);
        let result = record();
        self.head.occupied.fetch_and(!BUSY, Ordering::Relaxed);
        result
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) & BUSY != 0
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) % WATCHED >= INSIDE
    }

    pub(crate) fn attention(&self) -> Attention {
        Attention(self.head.occupied.load(Ordering::Relaxed) & (WATCHED | OBSERVED | OBSERVES_ALL))
    }

    /// Puts the thread under attention again; whatever it is under now stays.
    pub(crate) fn attend(&self, attention: Attention) {
        self.head.occupied.fetch_or(attention.0, Ordering::Relaxed);
        self.look();
    }

    /// Ends what `occupy` began, on a thread that may be under attention.
    #[inline(always)]
    pub(crate) fn vacate_to(&self, attention: Attention) {
        compiler_fence(Ordering::SeqCst);
        self.head.occupied.store(attention.0, Ordering::Relaxed);
    }

    fn set_attention(&self, bit: u64, is_on: bool) {
        if is_on {
            self.head.occupied.fetch_or(bit, Ordering::Relaxed);
            self.look();
        } else {
            self.head.occupied.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_watched(&self, is_on: bool) {
        self.set_attention(WATCHED, is_on);
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) & OBSERVED != 0
    }

    pub(crate) fn set_observed(&self, is_on: bool) {
        self.set_attention(OBSERVED, is_on);
    }

    pub(crate) fn observes_all(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) & OBSERVES_ALL != 0
    }

    pub(crate) fn set_observes_all(&self, is_on: bool) {
        self.set_attention(OBSERVES_ALL, is_on);
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
        observe::prepare(self, made, node);
        made.node.store(node, Ordering::Release);
        Some(made)
    }

    /// Where the growth of a context's blocks is counted, made if need be.
    pub(crate) fn growth_row(&'static self, context: ContextId) -> Option<&'static GrowthRow> {
        match self.growth.get(context.0 as usize) {
            Some(row) => Some(row),
            // SAFETY: GROWTH_POOL holds pages of growth rows only; the caller owns this state.
            None => unsafe { self.growth.make(context.0 as usize, MAX_CONTEXTS, &GROWTH_POOL) },
        }
    }

    /// A number that is random enough to choose samples by.
    pub(crate) fn random(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state >> 11
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
            thread.head.occupied.fetch_add(INSIDE, Ordering::Relaxed);
            thread.look();
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
            thread.head.occupied.fetch_sub(INSIDE, Ordering::Relaxed);
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

thread_local! {
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Asks the program's allocator for a little memory: if it is ours, it hears of itself, and refuses, so that nothing is counted.
#[cold]
#[inline(never)]
pub(crate) fn ask_allocator() {
    let layout = Layout::new::<u64>();
    IS_ASKING.set(true);
    // SAFETY: the layout is not empty.
    let granted = black_box(unsafe { std::alloc::alloc(layout) });
    IS_ASKING.set(false);
    if !granted.is_null() {
        // SAFETY: granted above, for this layout.
        unsafe { std::alloc::dealloc(granted, layout) };
    }
}

/// True when the request of this thread is the one of `ask_allocator`.
pub(crate) fn is_asking() -> bool {
    IS_ASKING.get()
}

/// True once any `TrackingAllocator` has been asked for memory.
pub(crate) fn is_used() -> bool {
    IS_USED.load(Ordering::SeqCst)
}
