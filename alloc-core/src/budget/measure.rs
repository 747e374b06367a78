//! Measuring a closure, a future, or code between two lines.
//!
//! Called by users and by everything else in `budget`. Read side. A measurement is a call of a scope of its own (`record::measure`), so
//! it sees the calling thread, and what handles carry to it (`carried`), and nothing else. Cost: about 1.5 µs to begin
//! and end, and a pass over the table of contexts when the scope was used before.
#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use super::carried::{self, Shared};
use super::usage::{Origin, Usage};
use crate::control::{self, Baseline};
use crate::future;
use crate::inside::inside_tracker;
use crate::model::Error;
use crate::record::enter::{self, ScopeGuard};
use crate::record::measure::{self, Calls, Counts, Lease, MAX_MEASUREMENTS, Place};
use crate::record::settings::{self, Mode};

/// Runs `work` and says what it allocated.
///
/// Counted is what the calling thread does inside, and work that scope handles made inside carry to other threads, tasks and pools.
/// What a plain `std::thread::spawn` does is not. Neither is work entered through a handle made outside: it belongs there. Measurements
/// inside are independent, and part of this one.
///
/// # Accuracy
/// Exact, whatever other threads do. The peak is exact while no work is carried; else it is an upper bound: the sum of the peaks of
/// what runs at once. See [`Usage`].
///
/// # Overhead
/// About 1.5 µs.
///
/// # Errors
/// When the figures would be wrong, and never a silent zero: no `TrackingAllocator` installed, tracking `off` meanwhile, events lost, or
/// carried work that is still running at the end. In the first two cases `work` may not have been run.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, budget::measure};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let (text, usage) = measure(|| String::with_capacity(100))?;
/// assert_eq!((usage.allocations, usage.bytes, usage.retained_bytes), (1, 100, 100));
/// # drop(text);
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn measure<R>(work: impl FnOnce() -> R) -> Result<(R, Usage), Error> {
    let running = Running::begin()?;
    let result = work();
    let usage = running.end()?;
    Ok((result, usage))
}

/// Polls `future` to its end and says what it allocated, on whatever threads it was polled.
///
/// What it spawns counts when a scope handle carries it. See [`measure()`].
///
/// # Errors
/// As [`measure()`].
pub async fn measure_async<F: Future>(future: F) -> Result<(F::Output, Usage), Error> {
    let mut begun = Begun::new()?;
    let mut future = pin!(future);
    let shared = Arc::clone(&begun.shared);
    // What was carried ends with the call, in its scope, wherever the last poll is: its survivors are the call's.
    let whole = async {
        let output = future.as_mut().await;
        (output, shared.end(), shared.end_carried())
    };
    let mut tracked = pin!(future::track(begun.lease.site(), whole));
    let mut place = None;
    let mut calls = Calls::default();
    let (output, still_running, carried) = poll_fn(|context| {
        if place.is_none() {
            place = Place::inside(begun.lease.site());
        }
        let before = place.map(Place::calls).unwrap_or_default();
        let poll = {
            let _turn = Turn::enter(&begun.shared);
            tracked.as_mut().poll(context)
        };
        let ended = place.map(Place::calls).unwrap_or_default().since(before);
        if ended.completed != 0 {
            calls = ended;
        }
        poll
    })
    .await;
    begun.finish(calls, still_running, carried).map(|usage| (output, usage))
}

/// While it lives, the calling thread works for a measurement. Also when a poll panics.
struct Turn(Option<Arc<Shared>>);

impl Turn {
    fn enter(shared: &Arc<Shared>) -> Self {
        Self(carried::turn_to(shared))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = carried::switch(self.0.take());
    }
}

const SAMPLED: &str = "in mode sampled, what is freed and alive is estimated, and budgets are exact; call \
                       alloc_core::set_mode(Mode::Exact), or unset ALLOCSCOPE_MODE";

/// What every form of measurement has while it runs.
struct Begun {
    lease: Arc<Lease>,
    baseline: Arc<Baseline>,
    shared: Arc<Shared>,
    outer: Option<Arc<Shared>>,
    dropped_events: u64,
    times_off: u32,
    times_sampled: u32,
}

impl Begun {
    fn new() -> Result<Self, Error> {
        inside_tracker(|| {
            if !control::is_installed() {
                return Err(Error::not_installed_to_measure());
            }
            if settings::mode() == Mode::Off {
                return Err(is_off());
            }
            if settings::mode() == Mode::Sampled {
                return Err(refused(SAMPLED));
            }
            if Counts::now().is_none() || Place::here().is_none() || !carried::is_known() {
                return Err(refused(
                    "this thread has no counters, because it is ending or the tracker is at its memory ceiling; raise \
                     ALLOCSCOPE_MEMORY_MIB",
                ));
            }
            let Some(lease) = Lease::take() else {
                return Err(Error::not_measured(format!(
                    "{MAX_MEASUREMENTS} measurements or their `Usage` values are alive, and there can be no more; drop some"
                )));
            };
            let baseline = if lease.is_used {
                Baseline::read(lease.scope())
            } else {
                Baseline::empty()
            };
            let outer = Shared::begin_part_of(carried::current().as_ref()).cloned();
            Ok(Self {
                lease: Arc::new(lease),
                baseline: Arc::new(baseline),
                shared: Shared::inside(outer.clone()),
                outer,
                dropped_events: measure::dropped_events(),
                times_off: settings::times_off(),
                times_sampled: settings::times_sampled(),
            })
        })
    }

    /// Figures, or why there are none.
    fn finish(
        &mut self,
        calls: Calls,
        still_running: usize,
        (carried, carried_peak, carried_bounds): (usize, u64, u64),
    ) -> Result<Usage, Error> {
        inside_tracker(|| {
            if settings::times_off() != self.times_off || settings::mode() == Mode::Off {
                return Err(refused(
                    "tracking was switched off meanwhile; measure without calling set_mode(Mode::Off)",
                ));
            }
            if settings::times_sampled() != self.times_sampled {
                return Err(refused(SAMPLED));
            }
            let dropped = measure::dropped_events() - self.dropped_events;
            if dropped != 0 {
                return Err(Error::not_measured(format!(
                    "{dropped} events were dropped meanwhile; raise the tracker's memory ceiling, ALLOCSCOPE_MEMORY_MIB"
                )));
            }
            if still_running != 0 {
                return Err(Error::not_measured(format!(
                    "{still_running} pieces of work that scope handles or inner measurements carry are still running; join or await them \
                     before the measurement ends"
                )));
            }
            if self.shared.has_overflown() {
                return Err(refused(
                    "more than 1024 pieces of carried work ran at once; carry fewer and larger ones",
                ));
            }
            if self.shared.has_lost() {
                return Err(refused(
                    "carried work was left out of order, or ran in more than 64 scopes inside each other, so its peak and what it retains \
                     are not known; drop guards in reverse order",
                ));
            }
            if calls.completed != 1 {
                return Err(refused(
                    "its scope was left early, or scopes are nested too deeply; drop scope guards in reverse order",
                ));
            }
            if calls.upper_bound + carried_bounds != 0 {
                return Err(refused(
                    "too many call records are in use, so what is retained is not known; measure less at once",
                ));
            }
            let Counts {
                allocations,
                bytes,
                reallocations,
                frees,
                copied_bytes,
            } = self.shared.counts();
            Ok(Usage {
                allocations,
                bytes,
                reallocations,
                frees,
                copied_bytes,
                peak_bytes: calls.peak + carried_peak,
                retained_bytes: calls.retained,
                is_peak_exact: carried == 0 && !self.shared.was_left(),
                is_retained_exact: !self.shared.was_left(),
                origin: Some(Arc::new(Origin {
                    lease: Arc::clone(&self.lease),
                    baseline: Arc::clone(&self.baseline),
                })),
            })
        })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // The future was dropped before its end: nobody asks for the figures, but what was carried has to end, too.
        if !self.shared.has_ended() {
            self.shared.end();
            self.shared.end_carried();
        }
        if let Some(outer) = self.outer.take() {
            outer.end_part();
        }
    }
}

pub(super) fn is_off() -> Error {
    refused("tracking is off; call alloc_core::set_mode(Mode::Exact), or unset ALLOCSCOPE_MODE")
}

fn refused(reason: &str) -> Error {
    Error::not_measured(reason.to_owned())
}

/// A measurement that runs on the calling thread.
pub(super) struct Running {
    begun: Begun,
    place: Option<Place>,
    before: Calls,
    /// What the thread worked for, and the scope. `None` once ended.
    open: Option<(Option<Arc<Shared>>, ScopeGuard)>,
}

impl Running {
    pub(super) fn begin() -> Result<Self, Error> {
        let begun = Begun::new()?;
        let place = Place::inside(begun.lease.site());
        let before = place.map(Place::calls).unwrap_or_default();
        let guard = enter::enter(begun.lease.site());
        let outer = carried::switch(Some(Arc::clone(&begun.shared)));
        Ok(Self {
            begun,
            place,
            before,
            open: Some((outer, guard)),
        })
    }

    fn close(&mut self) -> Option<(usize, (usize, u64, u64))> {
        let (outer, guard) = self.open.take()?;
        let _ = carried::switch(outer);
        let still_running = self.begun.shared.end();
        let carried = self.begun.shared.end_carried();
        drop(guard);
        Some((still_running, carried))
    }

    pub(super) fn end(mut self) -> Result<Usage, Error> {
        let Some((still_running, carried)) = self.close() else {
            return Err(refused("it has ended already"));
        };
        let calls = self.place.map(Place::calls).unwrap_or_default().since(self.before);
        self.begun.finish(calls, still_running, carried)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The measured code panicked: nobody asks for the figures.
        let _ = self.close();
    }
}

/// A measurement of code that is no closure: from [`Profile::start`] to [`Profile::end`], on one thread.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, budget::Profile};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let profile = Profile::start("load")?;
/// let names = vec![String::from("a")];
/// let usage = profile.end()?;
/// assert_eq!(usage.allocations, 2);
/// # drop(names);
/// # Ok::<(), alloc_core::Error>(())
/// ```
#[must_use = "dropping a profile ends it without its figures"]
pub struct Profile {
    name: String,
    running: Running,
}

impl Profile {
    /// Begins. End it on the same thread, in reverse order with other profiles and scopes.
    ///
    /// # Errors
    /// As [`measure()`].
    pub fn start(name: &str) -> Result<Self, Error> {
        let name = inside_tracker(|| name.to_owned());
        Ok(Self {
            name,
            running: Running::begin()?,
        })
    }

    /// The name it was started with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends it, and says what was allocated since the start.
    ///
    /// # Errors
    /// As [`measure()`].
    pub fn end(self) -> Result<Usage, Error> {
        self.running.end()
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
