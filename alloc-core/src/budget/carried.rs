//! Who counts for which measurement: a running measurement as all threads share it, and work that handles carry to it.
//!
//! Read side; called by `measure`, and by `carry` where handles are made and entered. Each thread knows which measurement it works
//! for. When that changes (a measurement begins or ends, carried work is entered or left), what the thread's counters moved since the last change
//! is added to the measurement it worked for and to those around it. So nothing is counted twice, and work that a thread takes up while it
//! waits for other work counts where it belongs.
//!
//! Carried work runs as an async call of the record side (`record::measure::CarriedCall`), which the measurement ends: until then
//! others may free what it granted. Cost: about 100 ns per piece of carried work; a thread-local look-up when no measurement runs.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::inside::inside_tracker;
use crate::record::measure::{CarriedCall, CarriedWork, Counts, Place};
use crate::record::poll::CallState;

/// A measurement, as every thread that works for it sees it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The measurement that this one runs inside.
    outer: Option<Arc<Shared>>,
    counts: [AtomicU64; 5],
    /// Pieces of carried work and inner measurements that have begun and not ended.
    running: AtomicUsize,
    has_ended: AtomicBool,
    /// Other work than the measurement's ran inside its call: peak and retained are upper bounds.
    was_left: AtomicBool,
    /// More pieces of carried work at once than there are sites for.
    overflow: AtomicBool,
    /// Carried work, of this one or one inside, that has no figures of its own: peak and retained are not known.
    lost: AtomicBool,
    /// Calls of carried work of inner measurements that have ended, and the sum of their peaks.
    inner_calls: AtomicUsize,
    inner_peak: AtomicU64,
    carried: Mutex<CarriedCalls>,
}

#[derive(Debug, Default)]
struct CarriedCalls {
    /// Calls between two pieces of work, and the node that they run in.
    waiting: Vec<(Option<Place>, CarriedCall)>,
}

impl Shared {
    pub(crate) fn inside(outer: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            outer,
            ..Self::default()
        })
    }

    fn add(&self, counts: Counts) {
        let figures = [
            counts.allocations,
            counts.bytes,
            counts.reallocations,
            counts.frees,
            counts.copied_bytes,
        ];
        for level in self.levels() {
            for (sum, figure) in level.counts.iter().zip(figures) {
                sum.fetch_add(figure, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let [allocations, bytes, reallocations, frees, copied_bytes] =
            std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed));
        Counts {
            allocations,
            bytes,
            reallocations,
            frees,
            copied_bytes,
        }
    }

    /// This one and those around it, from the inside.
    fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |level| level.outer.as_deref())
    }

    /// Something begins that must be over before the measurement, and those around it, end. False: it has ended already.
    pub(crate) fn begin_part(&self) -> bool {
        // ORDERING: SeqCst, with `end`: either this sees the end, or the end sees this.
        for level in self.levels() {
            level.running.fetch_add(1, Ordering::SeqCst);
        }
        let is_open = !self.has_ended();
        if !is_open {
            self.end_part();
        }
        is_open
    }

    pub(crate) fn end_part(&self) {
        for level in self.levels() {
            level.running.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// The first that has not ended, of `shared` and those around it; what begins here and now is a part of it.
    pub(crate) fn begin_part_of(shared: Option<&Arc<Self>>) -> Option<&Arc<Self>> {
        let mut levels = std::iter::successors(shared, |level| level.outer.as_ref());
        levels.find(|level| level.begin_part())
    }

    /// Ends the measurement for all threads; gives what is still running.
    pub(crate) fn end(&self) -> usize {
        self.has_ended.store(true, Ordering::SeqCst);
        self.running.load(Ordering::SeqCst)
    }

    /// Work of `target` runs inside the call of this measurement, and of those around it that it is no part of.
    fn leave_for(&self, target: Option<&Arc<Self>>) {
        let mut left = Some(self);
        while let Some(level) = left.filter(|level| !target.is_some_and(|target| target.is_inside(level))) {
            level.was_left.store(true, Ordering::Relaxed);
            left = level.outer.as_deref();
        }
    }

    fn is_inside(&self, around: &Self) -> bool {
        self.levels().any(|level| std::ptr::eq(level, around))
    }

    pub(crate) fn was_left(&self) -> bool {
        self.was_left.load(Ordering::Relaxed)
    }

    pub(crate) fn has_overflown(&self) -> bool {
        self.overflow.load(Ordering::Relaxed)
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Carried work has no figures of its own: here, and in the measurements around, neither.
    fn lose(&self, figures: fn(&Self) -> &AtomicBool) {
        for level in self.levels() {
            figures(level).store(true, Ordering::Relaxed);
        }
    }

    fn carried(&self) -> MutexGuard<'_, CarriedCalls> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the calls of carried work, inside the measurement's scope. Gives how many there were, and the sums of their peaks and of
    /// how many are upper bounds.
    pub(crate) fn end_carried(&self) -> (usize, u64, u64) {
        inside_tracker(|| {
            let waiting = std::mem::take(&mut self.carried().waiting);
            let (mut peak, mut upper_bounds) = (0, 0);
            let count = waiting.len() + self.inner_calls.load(Ordering::Relaxed);
            for (_, call) in waiting {
                let (figures, state) = call.end();
                peak += figures.peak;
                upper_bounds += figures.upper_bound;
                spare_states().push(state);
            }
            peak += self.inner_peak.load(Ordering::Relaxed);
            if let Some(outer) = &self.outer {
                outer.inner_calls.fetch_add(count, Ordering::Relaxed);
                outer.inner_peak.fetch_add(peak, Ordering::Relaxed);
            }
            (count, peak, upper_bounds)
        })
    }

    fn enter_call(&self) -> Option<(Option<Place>, CarriedWork)> {
        inside_tracker(|| {
            let place = Place::here();
            let mut carried = self.carried();
            if let Some(at) = carried.waiting.iter().rposition(|(of, _)| *of == place) {
                let (_, call) = carried.waiting.swap_remove(at);
                drop(carried);
                return Some((place, call.enter()));
            }
            drop(carried);
            let spare = || spare_states().pop();
            let call = CarriedCall::new(|| spare().unwrap_or_else(|| Box::leak(Box::new(CallState::NEW))));
            if call.is_none() {
                self.lose(|level| &level.overflow);
            }
            Some((place, call?.enter()))
        })
    }

    fn leave_call(&self, (place, work): (Option<Place>, CarriedWork)) {
        inside_tracker(|| {
            let (call, has_figures) = work.leave();
            if !has_figures {
                self.lose(|level| &level.lost);
            }
            // Ended meanwhile: what it left alive concerns the measurement around.
            for level in self.levels() {
                // Asked under the lock that `end_carried` takes after the end: so the call is either taken there or not put there.
                let mut carried = level.carried();
                if !level.has_ended() {
                    carried.waiting.push((place, call));
                    return;
                }
            }
            let (_, state) = call.end();
            spare_states().push(state);
        });
    }
}

/// States of ended calls, for the next ones.
fn spare_states() -> MutexGuard<'static, Vec<&'static mut CallState>> {
    static SPARE: Mutex<Vec<&'static mut CallState>> = Mutex::new(Vec::new());
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread works for.
#[derive(Default)]
struct Here {
    measurement: Option<Arc<Shared>>,
    /// The thread's counters when it began to.
    since: Counts,
}

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here { measurement: None, since: Counts::ZERO }) };
}

thread_local! {
    /// True while `HERE` has a measurement.
    ///
    /// PERF: without a destructor, so that it is read by one load; carrying a scope cost 75 instructions more without it.
    static IS_MEASURED: Cell<bool> = const { Cell::new(false) };
}

/// The measurement that the calling thread works for.
#[inline]
pub(crate) fn current() -> Option<Arc<Shared>> {
    if IS_MEASURED.get() { current_measured() } else { None }
}

#[cold]
#[inline(never)]
fn current_measured() -> Option<Arc<Shared>> {
    // At the very end of a thread there is nothing to know.
    HERE.try_with(|here| here.borrow().measurement.clone()).ok().flatten()
}

/// Makes the calling thread work for `next`, and gives what it worked for.
pub(crate) fn switch(next: Option<Arc<Shared>>) -> Option<Arc<Shared>> {
    HERE.try_with(|here| {
        let mut here = here.borrow_mut();
        let now = Counts::now().unwrap_or_default();
        if let Some(measurement) = &here.measurement {
            measurement.add(now.since(here.since));
        }
        here.since = now;
        IS_MEASURED.set(next.is_some());
        std::mem::replace(&mut here.measurement, next)
    })
    .ok()
    .flatten()
}

/// As `switch`, for a poll of the future that `shared` measures, wherever it is polled.
pub(crate) fn turn_to(shared: &Arc<Shared>) -> Option<Arc<Shared>> {
    if let Some(left) = current() {
        left.leave_for(Some(shared));
    }
    switch(Some(Arc::clone(shared)))
}

/// False at the very end of a thread: nobody would hear what it works for.
pub(crate) fn is_known() -> bool {
    HERE.try_with(|_| ()).is_ok()
}

fn is_same(a: Option<&Arc<Shared>>, b: Option<&Arc<Shared>>) -> bool {
    a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
}

/// What a scope handle carries of the measurement it was made in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Option<Arc<Shared>>);

impl Token {
    /// Of the calling thread.
    pub(crate) fn here() -> Self {
        Self(current())
    }

    /// Works for the token's measurement until the guard is dropped. The scope that the work is charged to is entered already.
    #[inline]
    pub(crate) fn enter(&self) -> Work {
        if self.0.is_none() && !IS_MEASURED.get() {
            return Work::NOTHING;
        }
        self.enter_measured()
    }

    #[cold]
    #[inline(never)]
    fn enter_measured(&self) -> Work {
        let before = current();
        // A measurement that has ended counts nothing more, but the one around it may.
        let mut levels = std::iter::successors(self.0.as_ref(), |level| level.outer.as_ref());
        let target = levels.find(|level| !level.has_ended());
        if is_same(before.as_ref(), target) {
            return Work::NOTHING;
        }
        let target = Shared::begin_part_of(target);
        if let Some(left) = &before {
            left.leave_for(target);
        }
        let call = target.and_then(|target| target.enter_call());
        let _ = switch(target.cloned());
        Work {
            state: Some(inside_tracker(|| {
                Box::new(Entered {
                    before,
                    target: target.cloned(),
                    call,
                })
            })),
            _not_send: PhantomData,
        }
    }
}

/// Carried work that runs on this thread. On drop the thread works again for what it worked for before.
pub(crate) struct Work {
    // Boxed, so that a guard of nothing is one word.
    state: Option<Box<Entered>>,
    _not_send: PhantomData<*const ()>,
}

struct Entered {
    before: Option<Arc<Shared>>,
    target: Option<Arc<Shared>>,
    call: Option<(Option<Place>, CarriedWork)>,
}

impl Work {
    const NOTHING: Self = Self {
        state: None,
        _not_send: PhantomData,
    };
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

impl Drop for Work {
    #[inline]
    fn drop(&mut self) {
        if let Some(entered) = self.state.take() {
            leave(*entered);
        }
    }
}

#[cold]
#[inline(never)]
fn leave(entered: Entered) {
    let Entered { before, target, call } = entered;
    drop(switch(before));
    let Some(target) = target else { return };
    if let Some(call) = call {
        target.leave_call(call);
    }
    target.end_part();
}
