//! `#[track_memory(budget(...))]`: what a call of a function may allocate, checked at the end of every call.
//!
//! Called by the code of the attribute, through `__private`. Read side. A call's figures are those of its scope node's row, before and after
//! the call. Cost: reading the row twice per call, some 30 instructions; a call over its budget takes a lock.
//! Leaves out: calls that are part of an outer call of the same scope (recursion), which is the one that is checked.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::inside::inside_tracker;
use crate::model::BudgetStats;
use crate::record::enter::{self, ScopeGuard};
use crate::record::measure::{Calls, Place};
use crate::record::scope::ScopeSite;
use crate::record::thread::NoFork;

/// What happens when a call is over its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExceed {
    /// A line on stderr for the first such call of a function and for each that is worse than all before; all are counted.
    Warn,
    /// The call panics when it returns, unless the thread is panicking already.
    Panic,
    /// Counted, and shown in reports.
    Count,
}

const METRICS: usize = 5;

/// Limits for one call of a function, inclusive; `None`: no limit. Made by `#[track_memory(budget(...))]`, always as a `static`.
#[derive(Debug)]
pub struct CallBudget {
    allocations: Option<u64>,
    bytes: Option<u64>,
    peak: Option<u64>,
    retained: Option<u64>,
    bounded: Option<u64>,
    on_exceed: OnExceed,
    is_listed: AtomicBool,
    exceeded: AtomicU64,
    worst: [AtomicU64; METRICS],
}

impl CallBudget {
    /// No limits. When a call is over one that is added: panic in builds with debug assertions (`is_debug`), else count.
    #[must_use]
    pub const fn new(is_debug: bool) -> Self {
        Self {
            allocations: None,
            bytes: None,
            peak: None,
            retained: None,
            bounded: None,
            on_exceed: if is_debug { OnExceed::Panic } else { OnExceed::Count },
            is_listed: AtomicBool::new(false),
            exceeded: AtomicU64::new(0),
            worst: [const { AtomicU64::new(0) }; METRICS],
        }
    }

    /// At most so many requests granted.
    #[must_use]
    pub const fn allocations(mut self, limit: u64) -> Self {
        self.allocations = Some(limit);
        self
    }

    /// At most so many bytes granted.
    #[must_use]
    pub const fn bytes(mut self, limit: u64) -> Self {
        self.bytes = Some(limit);
        self
    }

    /// A peak of at most so many bytes.
    #[must_use]
    pub const fn peak(mut self, limit: u64) -> Self {
        self.peak = Some(limit);
        self
    }

    /// At most so many bytes granted in the call and alive at its end.
    #[must_use]
    pub const fn retained(mut self, limit: u64) -> Self {
        self.retained = Some(limit);
        self
    }

    /// At most so many bytes alive at a call's end of all calls together, in one place of the scope tree: a ceiling that the function
    /// declares for what it keeps.
    #[must_use]
    pub const fn bounded(mut self, limit: u64) -> Self {
        self.bounded = Some(limit);
        self
    }

    /// What happens when a call is over one of them.
    #[must_use]
    pub const fn on_exceed(mut self, on_exceed: OnExceed) -> Self {
        self.on_exceed = on_exceed;
        self
    }

    /// Metric, limit, what a call came to.
    fn figures(&self, call: Calls, live: u64) -> [(&'static str, Option<u64>, u64); METRICS] {
        [
            ("allocations", self.allocations, call.allocations),
            ("bytes", self.bytes, call.bytes),
            ("peak", self.peak, call.peak),
            ("retained", self.retained, call.retained),
            ("live", self.bounded, live),
        ]
    }

    /// Looks at a call that has ended.
    #[inline]
    fn check(&'static self, site: &'static ScopeSite, place: Place, call: Calls) {
        let is_over = |limit: Option<u64>, actual: u64| limit.is_some_and(|limit| actual > limit);
        // A retained figure that is an upper bound is no reason to complain.
        let retained = if call.upper_bound == 0 { call.retained } else { 0 };
        let live = self.bounded.map_or(0, |ceiling| place.live_bytes(ceiling));
        if is_over(self.allocations, call.allocations)
            || is_over(self.bytes, call.bytes)
            || is_over(self.peak, call.peak)
            || is_over(self.retained, retained)
            || is_over(self.bounded, live)
        {
            self.exceed(site, Calls { retained, ..call }, live);
        }
    }

    #[cold]
    #[inline(never)]
    fn exceed(&'static self, site: &'static ScopeSite, call: Calls, live: u64) {
        let message = inside_tracker(|| {
            if !self.is_listed.swap(true, Ordering::Relaxed) {
                with_list(|list| list.push((site, self)));
            }
            let mut is_news = self.exceeded.fetch_add(1, Ordering::Relaxed) == 0;
            for (worst, (_, limit, actual)) in self.worst.iter().zip(self.figures(call, live)) {
                let over = limit.is_some_and(|limit| actual > limit);
                is_news |= worst.fetch_max(actual, Ordering::Relaxed) < actual && over;
            }
            match self.on_exceed {
                OnExceed::Warn if is_news => {
                    let over = Over {
                        site,
                        budget: self,
                        call,
                        live,
                    };
                    // Not `eprintln!`, which panics when nobody reads any more: this runs in drops.
                    let _ = writeln!(std::io::stderr(), "allocscope: {over}");
                    None
                }
                OnExceed::Panic => Some(
                    Over {
                        site,
                        budget: self,
                        call,
                        live,
                    }
                    .to_string(),
                ),
                OnExceed::Warn | OnExceed::Count => None,
            }
        });
        if let Some(message) = message
            && !std::thread::panicking()
        {
            panic!("{message}");
        }
    }
}

/// `a call of store::load (src/store.rs:12) is over its budget: allocations 15 (limit 12)`.
struct Over {
    site: &'static ScopeSite,
    budget: &'static CallBudget,
    call: Calls,
    live: u64,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, file, line) = self.site.describe();
        write!(f, "a call of {name} ({file}:{line}) is over its budget:")?;
        let mut separator = " ";
        for (metric, limit, actual) in self.budget.figures(self.call, self.live) {
            let Some(limit) = limit.filter(|&limit| actual > limit) else {
                continue;
            };
            let unit = if metric == "allocations" { "" } else { " bytes" };
            write!(f, "{separator}{metric} {actual}{unit} (limit {limit}{unit})")?;
            separator = ", ";
        }
        Ok(())
    }
}

type List = Vec<(&'static ScopeSite, &'static CallBudget)>;

/// Runs `work` on the budgets that a call was over. No child of a fork finds the list locked.
fn with_list<R>(work: impl FnOnce(&mut List) -> R) -> R {
    static LIST: Mutex<List> = Mutex::new(Vec::new());
    let _no_fork = NoFork::begin();
    work(&mut LIST.lock().unwrap_or_else(PoisonError::into_inner))
}

/// For snapshots: the budgets that calls were over, most calls first. The caller is inside the tracker.
pub(crate) fn exceeded() -> Vec<BudgetStats> {
    let listed = with_list(|list| list.clone());
    let mut stats: Vec<BudgetStats> = listed
        .iter()
        .map(|(site, budget)| {
            let (name, file, line) = site.describe();
            let [
                worst_allocations,
                worst_bytes,
                worst_peak_bytes,
                worst_retained_bytes,
                worst_live_bytes,
            ] = std::array::from_fn(|at| budget.worst[at].load(Ordering::Relaxed));
            BudgetStats {
                name: name.to_owned(),
                file: file.to_owned(),
                line,
                calls_over: budget.exceeded.load(Ordering::Relaxed),
                allocations: budget.allocations,
                worst_allocations,
                bytes: budget.bytes,
                worst_bytes,
                peak_bytes: budget.peak,
                worst_peak_bytes,
                retained_bytes: budget.retained,
                worst_retained_bytes,
                bounded_bytes: budget.bounded,
                worst_live_bytes,
            }
        })
        .collect();
    stats.sort_by(|a, b| b.calls_over.cmp(&a.calls_over).then_with(|| a.name.cmp(&b.name)));
    stats
}

/// A scope with a budget. Dropping it ends the call and checks it.
#[must_use = "the scope ends when the guard is dropped: bind it to a name (`_` alone drops it at once)"]
pub struct BudgetGuard {
    guard: Option<ScopeGuard>,
    place: Option<Place>,
    before: Calls,
    site: &'static ScopeSite,
    budget: &'static CallBudget,
}

impl fmt::Debug for BudgetGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetGuard")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Enters a scope until the guard is dropped, which checks the call against `budget`.
#[inline]
pub fn enter_with_budget(site: &'static ScopeSite, budget: &'static CallBudget) -> BudgetGuard {
    let guard = enter::enter(site);
    let (place, before) = Place::entered(&guard).unzip();
    BudgetGuard {
        guard: Some(guard),
        place,
        before: before.unwrap_or_default(),
        site,
        budget,
    }
}

impl Drop for BudgetGuard {
    #[inline]
    fn drop(&mut self) {
        drop(self.guard.take());
        check_since(self.place, self.before, self.site, self.budget);
    }
}

#[inline]
fn check_since(place: Option<Place>, before: Calls, site: &'static ScopeSite, budget: &'static CallBudget) {
    let Some(place) = place else { return };
    let call = place.calls().since(before);
    // Other than one: a recursive call, a poll that was not the last, or one on another thread than it began on.
    if call.completed == 1 {
        budget.check(site, place, call);
    }
}

/// Where the call of a future is counted; fixed at its first poll.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallCheck {
    place: Option<Place>,
    budget: &'static CallBudget,
}

impl CallCheck {
    pub(crate) fn new(budget: &'static CallBudget) -> Self {
        Self { place: None, budget }
    }

    /// Runs a poll, or the drop, of a call of `site`; checks the call if that ended it.
    #[inline]
    pub(crate) fn around<R>(&mut self, site: &'static ScopeSite, run: impl FnOnce() -> R) -> R {
        self.place = self.place.or_else(|| Place::inside(site));
        let before = self.place.map(Place::calls).unwrap_or_default();
        let result = run();
        check_since(self.place, before, site, self.budget);
        result
    }
}
