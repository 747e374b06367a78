//! Per-thread state: everything the tracker keeps for one thread.
//!
//! Record side. One `ThreadState` has one writer, the thread that runs on it; readers (`control`) look at its counters while they
//! hold the registry. A thread registers at its first tracked event. When it ends, its figures move to the shared shard and its
//! pages to the pools, so memory follows the threads that are alive. Threads without a state (ended ones, or no memory left) are
//! counted in the shared shard directly (`gate::unusual`).

mod current;
mod fork;
mod installed;
mod registry;
mod shared;
mod site_cache;

use crate::record::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::cell::UnsafeCell;
use core::ptr;

use self::current::Head;
pub(crate) use self::current::{
    Attention, InTracker, current, current_or_register, recording, recording_or_register, unoccupied, unsampled,
};
#[cfg(all(test, allocscope_model))]
pub(crate) use self::current::{end_current, forked};
pub(crate) use self::fork::NoFork;
pub(crate) use self::installed::{ask_allocator, is_asking, is_used, own_allocations, set_used};
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
use super::observe;
use super::pages::{Directory, Pool};
use super::scope::{self, MAX_NODES, ScopeSlot};
use super::stack::StackState;
use super::watch::Watch;
use crate::ids::ContextId;

pub(crate) const MAX_CONTEXTS: usize = 1 << CONTEXT_BITS;
pub(crate) const SCOPES: usize = 64;

/// Everything the tracker keeps for one thread. INVARIANT: zeroed memory is a valid, unused state.
#[repr(C, align(64))]
pub(crate) struct ThreadState {
    head: Head,
    /// `Row::mark` of a row that needs no attention: the peak mark, and the node whose events are pending. A value that no
    /// row has while the running call has no record yet.
    pub(crate) expected_mark: Counter,
    /// Requests granted by this thread, ever; bytes granted (reallocations included) in modes that track every block, and bytes released.
    pub(crate) allocations: Counter,
    /// Row of the current scope node. PERF: all that an unsampled allocation needs of the state is in one cache line, up to here.
    scope: AtomicPtr<NodeRow>,
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
    /// Odd while a stretch is settled.
    pub(crate) settling: Counter,
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

static ROW_POOL: Pool = Pool::new();
static GROWTH_POOL: Pool = Pool::new();
static NODE_POOL: Pool = Pool::new();

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
        self.granted.get().wrapping_add(self.sampled_bytes())
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
        // Occupied, for a signal handler must not make the same page.
        self.occupied_for(|| {
            // SAFETY: ROW_POOL holds pages of rows only; the caller is the owner of this state.
            unsafe { self.rows.make(context.0 as usize, MAX_CONTEXTS, &ROW_POOL) }
        })
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
        let made = self.occupied_for(|| {
            // SAFETY: NODE_POOL holds pages of node rows only; the caller owns this state.
            unsafe { self.nodes.make(node as usize, MAX_NODES, &NODE_POOL) }
        })?;
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
            None => self.occupied_for(|| {
                // SAFETY: GROWTH_POOL holds pages of growth rows only; the caller owns this state.
                unsafe { self.growth.make(context.0 as usize, MAX_CONTEXTS, &GROWTH_POOL) }
            }),
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
