//! Single-writer counters and the rows made of them; which numbers are exact is said at each field.
//!
//! Record side. A `Counter` of a live thread is written by that thread alone, with a plain load and store; any thread may read.
//! The shared shard (`thread::shared`) is written by many, with `add_shared`. Cost: one memory operand each.

use super::pages::PageRow;
use crate::ids::ContextId;
use crate::record::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A 64-bit figure with one writer at a time. Signed figures use the same bits.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub(crate) fn signed(&self) -> i64 {
        self.get() as i64
    }
    /// For readers on other threads.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        // ORDERING: pairs with the Release in `add`: who sees a free here sees the allocation of that block afterwards.
        self.0.load(Ordering::Acquire)
    }
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    /// Stores a figure that says that others, stored before, are what they are now: who sees it with `read` sees them.
    #[inline(always)]
    pub(crate) fn set_last(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
    /// Adds; the calling thread is the only writer.
    #[inline(always)]
    pub(crate) fn add(&self, amount: u64) {
        // ORDERING: Release: see `read`. On x86 it is the same plain store.
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Release);
    }
    #[inline(always)]
    pub(crate) fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
    /// Adds where many threads write.
    pub(crate) fn add_shared(&self, amount: u64) {
        if amount != 0 {
            self.0.fetch_add(amount, Ordering::AcqRel);
        }
    }
    /// Counts one where many threads write. Gives what it was before.
    pub(crate) fn next_shared(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel)
    }
    /// Raises a signed figure where many threads write.
    pub(crate) fn raise_shared(&self, value: i64) {
        let mut now = self.0.load(Ordering::Relaxed);
        while value > now as i64 {
            match self
                .0
                .compare_exchange_weak(now, value as u64, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
    }
}

/// What one thread did to one context. A free on another thread goes to that thread's row: single rows may wrap below
/// zero, their sum over threads may not.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct Row {
    /// Requests granted. Exact.
    pub(crate) allocations: Counter,
    /// Bytes granted, by allocations and as the new size of reallocations. Exact.
    pub(crate) granted_bytes: Counter,
    /// Blocks freed. Exact.
    pub(crate) frees: Counter,
    /// Bytes released, by frees and as the old size of reallocations. Exact.
    pub(crate) released_bytes: Counter,
    /// Reallocations that this context received: each is also a block received. Exact.
    pub(crate) reallocations: Counter,
    /// Blocks that a reallocation took away from this context (to itself included). Exact.
    pub(crate) handed_over: Counter,
    /// `granted - released` at the process peak, valid while `mark` carries the thread's `peak_mark`. Accuracy: as the peak.
    pub(crate) at_peak: Counter,
    /// Low half: the scope node the context belongs to, 0 until the row's first use. High half: see `at_peak`.
    pub(crate) mark: Counter,
}

const _: () = assert!(size_of::<Row>() == 64);

impl Row {
    #[inline(always)]
    pub(crate) fn live_bytes(&self) -> u64 {
        self.granted_bytes.get().wrapping_sub(self.released_bytes.get())
    }
    #[inline(always)]
    pub(crate) fn node(&self) -> u32 {
        self.mark.get() as u32
    }
    /// Keeps what the row held at the last process peak, before an event changes it.
    ///
    /// PERF: rebasing on touch instead of copying every row at each peak makes the at-peak column O(1) per event.
    #[inline(always)]
    pub(crate) fn rebase(&self, peak_mark: u32) {
        let mark = self.mark.get();
        if (mark >> 32) as u32 != peak_mark {
            self.at_peak.set(self.live_bytes());
            self.mark.set_last((mark & 0xffff_ffff) | (u64::from(peak_mark) << 32));
        }
    }
    /// Live bytes at the last process peak; `None`: that is now.
    pub(crate) fn bytes_at_peak(&self, peak_mark: Option<u32>) -> u64 {
        if peak_mark == Some((self.mark.read() >> 32) as u32) {
            self.at_peak.read()
        } else {
            self.live_bytes()
        }
    }
}

/// What one thread did in one scope node, and what it needs to enter the node.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct NodeRow {
    /// 1 while a call of this node is on this thread's stack: with it the next call is recursive.
    pub(crate) open: Counter,
    /// Calls begun, recursive ones included.
    pub(crate) entered: Counter,
    /// Calls ended, recursive ones left out; the figures down to `upper_bound` are sums and maxima over these.
    pub(crate) completed: Counter,
    pub(crate) allocations: Counter,
    pub(crate) bytes: Counter,
    pub(crate) sum_peak: Counter,
    pub(crate) max_allocations: Counter,
    pub(crate) max_bytes: Counter,
    pub(crate) max_peak: Counter,
    pub(crate) retained_bytes: Counter,
    pub(crate) max_retained: Counter,
    pub(crate) upper_bound: Counter,
    /// Inclusive live bytes not yet published to the node, and the largest they were since the last publication.
    pub(crate) delta: Counter,
    pub(crate) delta_max: Counter,
    /// The same for blocks of the node itself.
    pub(crate) own_delta: Counter,
    pub(crate) own_delta_max: Counter,
    /// The thread's row of the node's context without a stack.
    pub(crate) row: AtomicPtr<Row>,
    /// What this node and the thread mix into the keys of the thread's site cache.
    pub(crate) salt: Counter,
    /// Calls that have to be entered before another one is observed.
    pub(crate) observe_at: Counter,
    /// Granted in mode `sampled`, sampled or not: requests, bytes (of reallocations, too), and reallocations. Exact.
    pub(crate) sampled_allocations: Counter,
    pub(crate) sampled_bytes: Counter,
    pub(crate) sampled_reallocations: Counter,
    pub(crate) context: AtomicU32,
    /// 0 until the row's first use.
    pub(crate) node: AtomicU32,
}

impl NodeRow {
    /// The context of the node's blocks without a call stack.
    #[inline(always)]
    pub(crate) fn context(&self) -> ContextId {
        ContextId(self.context.load(Ordering::Relaxed))
    }
}

/// What was seen and not recorded where it belongs. Written by many threads, rarely.
pub(crate) struct Losses {
    /// Counted under "other": a full table, or an allocation that interrupted the tracker.
    pub(crate) other_allocations: Counter,
    /// Frees, in other modes, of blocks granted while tracking was off, or not sampled.
    pub(crate) untracked_frees: Counter,
    /// Headers that made no sense.
    pub(crate) corrupt_headers: Counter,
    /// Not recorded at all.
    pub(crate) dropped_events: Counter,
    /// Scopes that were entered and have no node: the table of nodes was full. What they did is the enclosing scope's.
    pub(crate) refused_scopes: Counter,
    /// Calls nested too deeply to be measured each for itself. What they did is counted everywhere else.
    pub(crate) unmeasured_calls: Counter,
}

pub(crate) static LOSSES: Losses = Losses {
    other_allocations: Counter::new(),
    untracked_frees: Counter::new(),
    corrupt_headers: Counter::new(),
    dropped_events: Counter::new(),
    refused_scopes: Counter::new(),
    unmeasured_calls: Counter::new(),
};

// SAFETY: every field is an atomic integer or a nullable atomic pointer, and `repr(C)` puts a `Counter` first.
unsafe impl PageRow for Row {}
// SAFETY: as for `Row`.
unsafe impl PageRow for NodeRow {}
