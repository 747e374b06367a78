//! What measurements need of the record side: scope sites to run in, the thread's own counters, and what a call came to.
//!
//! Record side; called by `budget` only. A measurement is a call of a scope site of its own, so its peak and what it retains are
//! computed as for any other call, and its blocks lie under a scope node of its own. Sites are lent out one measurement at a
//! time, because nodes are never given back. Events are counted by differences of the thread's counters.
//! Cost: a few loads; nothing while no measurement runs. Leaves out: who counts for whom (`budget::carried`).

use crate::record::atomic::{AtomicU64, Ordering};
use core::ptr::NonNull;

use super::counters::{LOSSES, NodeRow};
use super::enter::{self, ScopeGuard};
use super::peak;
use super::poll::{self, CallState, PollGuard};
use super::scope::{self, ScopeSite};
use super::thread::{self, Registry, ThreadState};
use crate::ids::ScopeNodeId;

/// Measurements that can exist at once.
pub(crate) const MAX_MEASUREMENTS: usize = 512;
/// Pieces of carried work that can run at once, in all measurements.
pub(crate) const MAX_CARRIED: usize = 1024;

static SITES: [ScopeSite; MAX_MEASUREMENTS] = sites("measurement");
static CARRIED: [ScopeSite; MAX_CARRIED] = sites("carried work");

/// Sites of one name, told apart by their lines.
const fn sites<const N: usize>(name: &'static str) -> [ScopeSite; N] {
    let mut sites = [const { ScopeSite::new("", "", 0) }; N];
    let mut at = 0;
    while at < N {
        #[expect(clippy::indexing_slicing, reason = "a constant: a wrong index would not compile")]
        {
            sites[at] = ScopeSite::new(name, "", at as u32 + 1);
        }
        at += 1;
    }
    sites
}

const WORDS: usize = MAX_MEASUREMENTS / 64;
const CARRIED_WORDS: usize = MAX_CARRIED / 64;
static TAKEN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static USED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
/// Taken apart from each other in all measurements: a node inside another one of the same scope would be that one.
static CARRIED_TAKEN: [AtomicU64; CARRIED_WORDS] = [const { AtomicU64::new(0) }; CARRIED_WORDS];

/// Takes the first bit that is not set.
fn take_bit(words: &[AtomicU64]) -> Option<usize> {
    for (at, word) in words.iter().enumerate() {
        // ORDERING: Acquire: pairs with the Release in `give_bit`: what the last user did is over.
        let before = word.fetch_update(Ordering::Acquire, Ordering::Relaxed, |bits| {
            Some(bits | bits.checked_add(1)?)
        });
        if let Ok(before) = before {
            return Some(at * 64 + before.trailing_ones() as usize);
        }
    }
    None
}

fn give_bit(words: &[AtomicU64], index: usize) {
    if let Some(word) = words.get(index / 64) {
        word.fetch_and(!(1 << (index % 64)), Ordering::Release);
    }
}

/// A scope site that one measurement has for itself until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    site: &'static ScopeSite,
    index: usize,
    /// True when an earlier measurement ran on the site: its rows are not empty.
    pub(crate) is_used: bool,
}

impl Lease {
    /// The first site that is free; `None` when all are taken.
    pub(crate) fn take() -> Option<Self> {
        let index = take_bit(&TAKEN)?;
        let bit = 1 << (index % 64);
        let was_used = USED.get(index / 64)?.fetch_or(bit, Ordering::Relaxed);
        Some(Self {
            site: SITES.get(index)?,
            index,
            is_used: was_used & bit != 0,
        })
    }

    pub(crate) fn site(&self) -> &'static ScopeSite {
        self.site
    }

    /// Id of the site as a scope.
    pub(crate) fn scope(&self) -> u32 {
        self.site.id()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        give_bit(&TAKEN, self.index);
    }
}

/// Events that one thread has executed, ever; a difference of two is what it did in between. Exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    pub(crate) reallocations: u64,
    pub(crate) frees: u64,
    pub(crate) copied_bytes: u64,
}

impl Counts {
    pub(crate) const ZERO: Self = Self {
        allocations: 0,
        bytes: 0,
        reallocations: 0,
        frees: 0,
        copied_bytes: 0,
    };

    /// Of the calling thread; `None` when it has no state, so that nothing is known of it.
    pub(crate) fn now() -> Option<Self> {
        let thread = thread::current_or_register()?;
        Some(Self {
            allocations: thread.allocations.get(),
            bytes: thread.bytes(),
            reallocations: thread.reallocations.get(),
            frees: thread.frees.get().wrapping_add(thread.untracked_frees.get()),
            copied_bytes: thread.copied_bytes.get(),
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            allocations: self.allocations.wrapping_sub(before.allocations),
            bytes: self.bytes.wrapping_sub(before.bytes),
            reallocations: self.reallocations.wrapping_sub(before.reallocations),
            frees: self.frees.wrapping_sub(before.frees),
            copied_bytes: self.copied_bytes.wrapping_sub(before.copied_bytes),
        }
    }
}

/// Sums over the calls that have ended on one thread, in one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) completed: u64,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    pub(crate) peak: u64,
    pub(crate) retained: u64,
    pub(crate) upper_bound: u64,
}

impl Calls {
    fn of(row: &NodeRow) -> Self {
        Self {
            completed: row.completed.get(),
            allocations: row.allocations.get(),
            bytes: row.bytes.get(),
            peak: row.sum_peak.get(),
            retained: row.retained_bytes.get(),
            upper_bound: row.upper_bound.get(),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            completed: self.completed.wrapping_sub(before.completed),
            allocations: self.allocations.wrapping_sub(before.allocations),
            bytes: self.bytes.wrapping_sub(before.bytes),
            peak: self.peak.wrapping_sub(before.peak),
            retained: self.retained.wrapping_sub(before.retained),
            upper_bound: self.upper_bound.wrapping_sub(before.upper_bound),
        }
    }
}

/// A scope node as a place where calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// Where entering `site` leads to from here; `None` when nothing would be recorded.
    #[inline]
    pub(crate) fn inside(site: &'static ScopeSite) -> Option<Self> {
        let thread = enter::usable_thread()?;
        let row = scope::target(thread, site)?;
        Some(Self(row.node.load(Ordering::Relaxed)))
    }

    /// Where `guard` has entered a call of its own, and what the calls that ended there on the calling thread came to before it; `None` for a
    /// part of another call, and when nothing is recorded.
    #[inline(always)]
    pub(crate) fn entered(guard: &ScopeGuard) -> Option<(Self, Calls)> {
        let row = guard.row()?;
        Some((Self(row.node.load(Ordering::Relaxed)), Calls::of(row)))
    }

    /// Id of the node.
    pub(crate) fn id(self) -> ScopeNodeId {
        ScopeNodeId(self.0)
    }

    /// What the calls that ended here on the calling thread came to.
    #[inline]
    pub(crate) fn calls(self) -> Calls {
        let row = thread::current_or_register().and_then(|thread: &'static ThreadState| thread.node_row(self.0));
        row.map(Calls::of).unwrap_or_default()
    }

    /// Live bytes of the scope here, inclusive, whoever granted and freed them.
    ///
    /// Far below `ceiling` other threads are not asked: what they have not published is at most two publication steps each. Exact when
    /// they are asked and at rest. LIMIT: while they cannot be asked (mostly because a snapshot is being taken), what they may have freed and
    /// not published is subtracted: the figure is then too small, but never too large.
    pub(crate) fn live_bytes(self, ceiling: u64) -> u64 {
        let Some(info) = scope::node_info(self.0) else { return 0 };
        let unpublished = |thread: &ThreadState| -> i64 {
            let Some(row) = thread.nodes.get(self.0 as usize) else {
                return 0;
            };
            // After the node's own figure: see `peak::take_delta`.
            match peak::Stretch::and(thread, || row.delta.signed()) {
                Some((delta, stretch)) if scope::is_around(self.0, stretch.node) => delta + stretch.change,
                Some((delta, _)) => delta,
                None => -2 * peak::FLUSH_BYTES,
            }
        };
        let live = info.live.read() as i64;
        let own = live + thread::current().map_or(0, unpublished);
        let margin = i64::from(thread::state_count()) * 2 * peak::FLUSH_BYTES;
        let sum = if i64::try_from(ceiling).is_ok_and(|ceiling| own.saturating_add(margin) > ceiling) {
            match Registry::lock_soon() {
                // Read anew: what others publish meanwhile may be missed, but is never seen twice.
                Some(registry) => info.live.read() as i64 + registry.threads().map(unpublished).sum::<i64>(),
                None => own - margin,
            }
        } else {
            own
        };
        sum.max(0) as u64
    }

    /// The node that the calling thread is in.
    pub(crate) fn here() -> Option<Self> {
        let thread = enter::usable_thread()?;
        Some(Self(thread.scope().node.load(Ordering::Relaxed)))
    }
}

/// Events that were not recorded at all, anywhere.
pub(crate) fn dropped_events() -> u64 {
    LOSSES.dropped_events.read()
}

/// An async call whose polls are the pieces of carried work that one measurement hands to other threads, one after another.
///
/// Its last poll is an empty one, by the measurement itself when it ends: until then its record tells what of its blocks is alive, whoever
/// frees them, and after it the survivors are the measurement's own.
#[derive(Debug)]
pub(crate) struct CarriedCall {
    /// INVARIANT: from `new`, valid for ever, and used through this value alone.
    state: NonNull<CallState>,
    site: &'static ScopeSite,
    index: usize,
}

// SAFETY: `state` blocks the auto trait; it is this value's alone, and a `CallState` may move between threads.
unsafe impl Send for CarriedCall {}

impl CarriedCall {
    /// `None` when too many are running. The state that `state` gives is used again once the call has ended.
    pub(crate) fn new(state: impl FnOnce() -> &'static mut CallState) -> Option<Self> {
        let index = take_bit(&CARRIED_TAKEN)?;
        let site = CARRIED.get(index)?;
        let state = state();
        *state = CallState::NEW;
        Some(Self {
            state: NonNull::from(state),
            site,
            index,
        })
    }

    /// Enters it for one piece of work, from the scope that the calling thread is in.
    pub(crate) fn enter(self) -> CarriedWork {
        let mut state = self.state;
        // SAFETY: the INVARIANT; the guard lives in `CarriedWork`, which lends the value to nobody until the guard is gone.
        let state = unsafe { state.as_mut() };
        CarriedWork {
            guard: poll::enter_poll(self.site, state),
            call: self,
        }
    }

    /// Ends it on the calling thread, inside the scope of the measurement. Gives its peak, and its memory back.
    pub(crate) fn end(self) -> (Calls, &'static mut CallState) {
        let mut state = self.state;
        // SAFETY: the INVARIANT: nobody else uses it, and this value is consumed.
        let state = unsafe { state.as_mut() };
        let place = state.place().map(Place);
        let before = place.map(Place::calls).unwrap_or_default();
        if place.is_some() {
            let mut poll = poll::enter_poll(self.site, state);
            poll.is_last();
        }
        give_bit(&CARRIED_TAKEN, self.index);
        (place.map(Place::calls).unwrap_or_default().since(before), state)
    }
}

/// A piece of carried work that runs.
pub(crate) struct CarriedWork {
    guard: PollGuard<'static>,
    call: CarriedCall,
}

impl CarriedWork {
    /// Leaves it, until the next piece. False when it was left out of order, or entered in too many scopes inside each other: the call
    /// has no figures for this piece.
    pub(crate) fn leave(self) -> (CarriedCall, bool) {
        let has_figures = self.guard.has_figures();
        drop(self.guard);
        (self.call, has_figures)
    }
}
