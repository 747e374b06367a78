//! `assert_no_rebuilds!`: a test that fails when a collection is rebuilt in iteration after iteration.
//!
//! Called by the code of the macro. Read side. The work runs in a scope site of its own (`record::measure`), as a measurement does, so
//! loops of other tests are told apart by their path of scopes; what earlier work on the same site left is subtracted. Cost: two snapshots, and reading
//! debug information when there are enough iterations to judge.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::assert::Subject;
use crate::control;
use crate::findings::{Baseline, Findings, Options, part};
use crate::inside::inside_tracker;
use crate::model::{LoopStats, Snapshot};
use crate::record::enter;
use crate::record::measure::{Lease, MAX_MEASUREMENTS, Place};
use crate::record::observe::ObserveAll;
use crate::record::settings::{self, Mode};

/// Iterations of one loop that must be seen before a test can say anything.
const ENOUGH: u64 = 30;

/// What [`assert_no_rebuilds!`](crate::assert_no_rebuilds) was told.
#[derive(Clone, Debug, Default)]
pub struct RebuildCheck {
    min_severity: u8,
    baseline: Option<PathBuf>,
}

impl RebuildCheck {
    /// Findings of a lower severity pass.
    #[must_use]
    pub fn min_severity(mut self, severity: u8) -> Self {
        self.min_severity = severity;
        self
    }

    /// Findings that this file accepts pass.
    #[must_use]
    pub fn baseline(mut self, path: impl AsRef<Path>) -> Self {
        self.baseline = Some(inside_tracker(|| path.as_ref().to_owned()));
        self
    }
}

/// Runs `work`, and gives its value if nothing in it is rebuilt.
///
/// # Panics
/// With the findings; with the reason when nothing can be said.
#[track_caller]
pub fn check_rebuilds<R>(subject: Subject, check: &RebuildCheck, work: impl FnOnce() -> R) -> R {
    let refuse = |reason: &str| -> ! {
        panic!(
            "{}:{}: failed to look for rebuilt collections: {reason}",
            subject.file, subject.line
        )
    };
    let begun = match inside_tracker(|| Begun::new(check)) {
        Ok(begun) => begun,
        Err(reason) => refuse(&reason),
    };
    let value = {
        let _scope = enter::enter(begun.lease.site());
        let _observing = ObserveAll::enter();
        work()
    };
    match inside_tracker(|| begun.end(check)) {
        Ok(None) => value,
        // While the value is alive: a panic in its destructor must not hide the findings.
        Ok(Some(found)) => panic!("{}:{}: {}: {found}", subject.file, subject.line, subject.what),
        Err(reason) => refuse(&reason),
    }
}

struct Begun {
    lease: Lease,
    place: Place,
    baseline: Baseline,
    before: Option<Snapshot>,
    times_off: u32,
}

impl Begun {
    fn new(check: &RebuildCheck) -> Result<Self, String> {
        if !control::is_installed() {
            return Err("no TrackingAllocator is this program's global allocator".to_owned());
        }
        if settings::mode() != Mode::Exact {
            return Err(format!(
                "the mode is {}, and lines are known in mode exact only; unset ALLOCSCOPE_MODE",
                settings::mode()
            ));
        }
        let baseline = match &check.baseline {
            Some(path) => Baseline::load(path).map_err(|error| error.to_string())?,
            None => Baseline::default(),
        };
        let Some(lease) = Lease::take() else {
            return Err(format!(
                "{MAX_MEASUREMENTS} measurements or their `Usage` values are alive, and there can be no more; drop some"
            ));
        };
        let Some(place) = Place::inside(lease.site()) else {
            return Err(
                "this thread has no counters, because it is ending or the tracker is at its memory ceiling; raise ALLOCSCOPE_MEMORY_MIB"
                    .to_owned(),
            );
        };
        let before = if lease.is_used {
            Some(Snapshot::take().map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(Self {
            lease,
            place,
            baseline,
            before,
            times_off: settings::times_off(),
        })
    }

    /// The findings, if there are any; or why nothing can be said.
    fn end(self, check: &RebuildCheck) -> Result<Option<String>, String> {
        if settings::times_off() != self.times_off || settings::mode() != Mode::Exact {
            return Err("the mode was changed meanwhile; leave it at exact".to_owned());
        }
        let snapshot = Snapshot::take().map_err(|error| error.to_string())?;
        let mut snapshot = part::part(snapshot, self.place.id(), self.before.as_ref());
        let observed = snapshot.loops.iter().map(|stats| stats.observed).max().unwrap_or(0);
        if observed < ENOUGH {
            return Err(too_few(&snapshot.loops, observed));
        }
        snapshot.resolve();
        let options = Options::default().min_severity(check.min_severity);
        let findings = Findings::of(&snapshot, &options);
        Ok(findings.check(&self.baseline).err().map(|found| found.to_string()))
    }
}

fn too_few(loops: &[LoopStats], observed: u64) -> String {
    if loops.is_empty() {
        return format!(
            "no iteration was seen in it; run at least {ENOUGH} calls of a #[track_memory(request)] function, or turns of a loop in a \
             #[track_memory(loops)] function"
        );
    }
    format!("nothing can be said with {observed} iterations; run at least {ENOUGH}")
}

/// Runs an expression and panics, with evidence and advice, if it rebuilds a collection in iteration after iteration. Gives the
/// expression's value.
///
/// Iterations are calls of `#[track_memory(request)]` functions and turns of loops in `#[track_memory(loops)]` functions. Counted are those
/// that the calling thread runs, and those of work that scope handles made inside carry to other threads. Right under plain `cargo test`, in
/// parallel.
///
/// `assert_no_rebuilds!(expression, min_severity = 20, baseline = "rebuilds.json")`: findings of a lower severity pass, and so do those that the file
/// accepts (its path is relative to the directory that the test runs in, which is the package's).
///
/// # Panics
/// With the findings; and when nothing can be said, because fewer than 30 iterations of any loop were seen: a test that cannot fail is
/// worse than none.
///
/// # Overhead
/// Every iteration inside is observed. Two snapshots, and reading debug information: tens of milliseconds in release builds.
#[macro_export]
macro_rules! assert_no_rebuilds {
    ($work:expr $(, $option:ident = $value:expr)* $(,)?) => {
        $crate::__private::check_rebuilds(
            $crate::__private::Subject {
                what: ::core::stringify!($work),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            &$crate::__private::RebuildCheck::default()$(.$option($value))*,
            || $work,
        )
    };
}
