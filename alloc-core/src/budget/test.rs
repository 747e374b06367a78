//! Running a test under its budget: `#[allocation_test]`.
//!
//! Called by the code of the attribute. Read side. Warms up, measures once or several times, and judges the smallest figures.
#![forbid(unsafe_code)]

use super::assert::{Subject, judge};
use super::limits::Check;
use super::measure::{measure, measure_async};
use super::usage::Usage;
use crate::inside::inside_tracker;
use crate::model::Error;

/// What the attribute says.
#[derive(Clone, Copy, Debug)]
pub struct TestSettings<'a> {
    /// The test.
    pub subject: Subject,
    /// Its limits.
    pub checks: &'a [Check],
    /// Where they stand when the attribute has none; `None`: nowhere.
    pub recorded: Option<Recorded>,
    /// Run once before anything is measured.
    pub warm_up: bool,
    /// Measured runs, at least 1; of each figure the smallest is judged.
    pub samples: u32,
    /// Worker threads of the runtime that async tests get.
    pub workers: usize,
}

/// Which budgets file a test's limits stand in.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Directory of the package.
    pub manifest_dir: &'static str,
    /// The test target.
    pub target: &'static str,
    /// Name of the test in it.
    pub test: &'static str,
    /// The package was built with debug assertions.
    pub is_debug: bool,
}

impl TestSettings<'_> {
    /// # Panics
    /// With an explanation when the budget was not kept, or the reason when it is not known.
    #[track_caller]
    fn finish<R>(&self, measured: Result<(R, Usage), Error>) -> R {
        let (value, usage) = match measured {
            Ok(measured) => measured,
            Err(error) => panic!(
                "{}:{}: {}: {error}",
                self.subject.file, self.subject.line, self.subject.what
            ),
        };
        let outcome = match self.recorded {
            Some(recorded) => judge_recorded(self.subject, recorded, &usage),
            None => judge(self.subject, &usage, self.checks),
        };
        match outcome {
            Ok(()) => value,
            Err(text) => panic!("{text}"),
        }
    }
}

#[cfg(feature = "budgets")]
fn judge_recorded(subject: Subject, recorded: Recorded, usage: &Usage) -> Result<(), String> {
    super::file::judge_recorded(subject, recorded, usage)
}

#[cfg(not(feature = "budgets"))]
fn judge_recorded(_: Subject, recorded: Recorded, _: &Usage) -> Result<(), String> {
    Err(format!(
        "{} has no limits; write some, as #[allocation_test(allocations <= 12)], or turn on alloc-core's feature `budgets` to keep them in a \
         file",
        recorded.test
    ))
}

/// The smaller of each figure. Sites are those of the run with the fewest allocations.
fn smallest(best: Option<Usage>, usage: Usage) -> Usage {
    let Some(best) = best else { return usage };
    let (base, other) = if (usage.allocations, usage.bytes) < (best.allocations, best.bytes) {
        (usage, best)
    } else {
        (best, usage)
    };
    Usage {
        allocations: base.allocations.min(other.allocations),
        bytes: base.bytes.min(other.bytes),
        reallocations: base.reallocations.min(other.reallocations),
        frees: base.frees.min(other.frees),
        copied_bytes: base.copied_bytes.min(other.copied_bytes),
        peak_bytes: base.peak_bytes.min(other.peak_bytes),
        retained_bytes: base.retained_bytes.min(other.retained_bytes),
        is_peak_exact: base.is_peak_exact && other.is_peak_exact,
        is_retained_exact: base.is_retained_exact && other.is_retained_exact,
        origin: base.origin,
    }
}

/// A test that is measured once, without warming up.
#[track_caller]
pub fn run_once<R>(settings: &TestSettings<'_>, body: impl FnOnce() -> R) -> R {
    settings.finish(measure(body))
}

/// A test that can be run several times.
#[track_caller]
pub fn run<R>(settings: &TestSettings<'_>, mut body: impl FnMut() -> R) -> R {
    if settings.warm_up {
        drop(body());
    }
    repeat(settings, || measure(&mut body))
}

#[track_caller]
fn repeat<R>(settings: &TestSettings<'_>, mut sample: impl FnMut() -> Result<(R, Usage), Error>) -> R {
    let mut best = None;
    let mut left = settings.samples.max(1);
    loop {
        let (value, usage) = match sample() {
            Ok(measured) => measured,
            Err(error) => return settings.finish(Err(error)),
        };
        let usage = inside_tracker(|| smallest(best.take(), usage));
        left -= 1;
        if left == 0 {
            return settings.finish(Ok((value, usage)));
        }
        best = Some(usage);
    }
}

/// A test that another attribute runs in an async runtime of its own.
pub async fn run_future<F: Future>(settings: &TestSettings<'_>, body: F) -> F::Output {
    settings.finish(measure_async(body).await)
}

/// An async test in a Tokio runtime made for it, whose threads all count.
#[cfg(feature = "tokio")]
#[track_caller]
pub fn run_in_runtime<F: Future>(settings: &TestSettings<'_>, mut body: impl FnMut() -> F) -> F::Output {
    if settings.warm_up {
        drop(super::runtime::run(settings.workers, &mut body));
    }
    repeat(settings, || super::runtime::run(settings.workers, &mut body))
}

/// `tests::parses` of `my_crate::tests::parses`.
pub const fn without_crate(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at] == b':' && bytes[at + 1] == b':' {
            return path.split_at(at + 2).1;
        }
        at += 1;
    }
    path
}
