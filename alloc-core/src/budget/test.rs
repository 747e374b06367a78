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
    /// How often the test is run.
    fn runs(&self) -> u32 {
        self.samples.max(1) + u32::from(self.warm_up)
    }

    /// The value of a test that was measured once, judged unless it failed by itself.
    #[track_caller]
    fn finish<R>(&self, failed: Failed<R>, measured: Result<(R, Usage), Error>) -> R {
        match measured {
            Ok((value, _)) if failed(&value) => value,
            Ok((value, usage)) => {
                self.judge(&usage);
                value
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// # Panics
    /// With an explanation when the budget was not kept.
    #[track_caller]
    fn judge(&self, usage: &Usage) {
        let outcome = match self.recorded {
            Some(recorded) => judge_recorded(self.subject, recorded, usage),
            None => judge(self.subject, usage, self.checks),
        };
        if let Err(text) = outcome {
            panic!("{text}");
        }
    }

    /// # Panics
    /// With the reason why nothing is known.
    #[track_caller]
    fn refuse(&self, error: &Error) -> ! {
        panic!(
            "{}:{}: {}: {error}",
            self.subject.file, self.subject.line, self.subject.what
        )
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

/// Whether a test's value says that the test failed. Its budget is then not judged: the work was not done to its end, as after a panic.
pub type Failed<R> = fn(&R) -> bool;

/// What a test came to.
#[derive(Debug)]
pub struct Outcome<'a, T>(pub &'a T);

/// Of tests that return a `Result`.
pub trait ResultOutcome {
    /// An `Err`.
    fn is_failure(&self) -> bool;
}

impl<T, E> ResultOutcome for Outcome<'_, Result<T, E>> {
    fn is_failure(&self) -> bool {
        self.0.is_err()
    }
}

/// Of all other tests: taken where [`ResultOutcome`] does not fit, because it takes one reference more.
pub trait OtherOutcome {
    /// Never.
    fn is_failure(&self) -> bool;
}

impl<T> OtherOutcome for &Outcome<'_, T> {
    fn is_failure(&self) -> bool {
        false
    }
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
pub fn run_once<R>(settings: &TestSettings<'_>, body: impl FnOnce() -> R, failed: Failed<R>) -> R {
    settings.finish(failed, measure(body))
}

/// One run of a test.
#[derive(Debug)]
pub struct Sample {
    is_measured: bool,
}

/// What a run of a test came to; no figures for the one that warms up.
pub type Sampled<R> = Result<(R, Option<Usage>), Error>;

impl Sample {
    /// Runs the test.
    ///
    /// # Errors
    /// As [`measure()`].
    pub fn run<R>(self, body: impl FnOnce() -> R) -> Sampled<R> {
        if !self.is_measured {
            return Ok((body(), None));
        }
        measure(body).map(|(value, usage)| (value, Some(usage)))
    }

    /// Runs an async test.
    ///
    /// # Errors
    /// As [`measure()`].
    pub async fn run_future<F: Future>(self, body: F) -> Sampled<F::Output> {
        if !self.is_measured {
            return Ok((body.await, None));
        }
        measure_async(body).await.map(|(value, usage)| (value, Some(usage)))
    }
}

/// The runs of a test, and the smallest figures so far.
struct Samples<'a, R> {
    settings: &'a TestSettings<'a>,
    failed: Failed<R>,
    left: u32,
    best: Option<Usage>,
}

impl<'a, R> Samples<'a, R> {
    fn new(settings: &'a TestSettings<'a>, failed: Failed<R>) -> Self {
        Self {
            settings,
            failed,
            left: settings.runs(),
            best: None,
        }
    }

    fn next(&self) -> Sample {
        Sample {
            is_measured: self.left <= self.settings.samples.max(1),
        }
    }

    /// The test's value after the last run, judged, or after one that failed by itself.
    #[track_caller]
    fn finish(&mut self, sampled: Sampled<R>) -> Option<R> {
        self.left -= 1;
        let (value, usage) = match sampled {
            Ok(sampled) => sampled,
            Err(error) => self.settings.refuse(&error),
        };
        if (self.failed)(&value) {
            return Some(value);
        }
        self.best = inside_tracker(|| Some(smallest(self.best.take(), usage?)));
        if self.left > 0 {
            return None;
        }
        self.settings.judge(self.best.as_ref()?);
        Some(value)
    }
}

/// A test that is run several times, or makes something before it is measured.
#[track_caller]
pub fn run_samples<R>(settings: &TestSettings<'_>, mut body: impl FnMut(Sample) -> Sampled<R>, failed: Failed<R>) -> R {
    let mut samples = Samples::new(settings, failed);
    loop {
        if let Some(value) = samples.finish(body(samples.next())) {
            return value;
        }
    }
}

/// An argument of a test that is run several times. Each run takes one of its own; the last takes the one that was given.
#[derive(Debug)]
pub struct Argument<T> {
    given: Option<T>,
    runs: u32,
}

impl<T> Argument<T> {
    /// Keeps what was given.
    pub fn new(settings: &TestSettings<'_>, given: T) -> Self {
        Self {
            given: Some(given),
            runs: settings.runs(),
        }
    }

    /// The value for the only run.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn for_the_only_run(&mut self) -> T {
        self.given.take().expect("a test without samples is run once")
    }

    /// The value for the next run.
    ///
    /// # Panics
    /// When there were more runs than the test's settings say.
    pub fn for_the_next_run(&mut self) -> T
    where
        T: TestArgument,
    {
        self.runs = self.runs.saturating_sub(1);
        if self.runs == 0 {
            return self.for_the_only_run();
        }
        self.given.as_ref().expect("taken by the last run only").another()
    }
}

/// What a test that is run several times can take as an argument: everything that is `Clone`.
///
/// Only so that the compiler says what to do when it is not.
#[diagnostic::on_unimplemented(
    message = "found an argument of type `{Self}`, which is not `Clone`, and `warm_up` or `samples`, with which each run takes one of its own",
    label = "not `Clone`",
    note = "make it `Clone`, make the value in the test, remove `warm_up` and `samples`, or put #[allocation_test] below #[rstest]"
)]
pub trait TestArgument: Sized {
    /// One more of it.
    fn another(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> TestArgument for T {
    fn another(&self) -> Self {
        self.clone()
    }
}

/// A test that another attribute runs in an async runtime of its own.
pub async fn run_future<F: Future>(settings: &TestSettings<'_>, body: F, failed: Failed<F::Output>) -> F::Output {
    settings.finish(failed, measure_async(body).await)
}

/// The same, several times or with something to make before.
pub async fn run_futures<R>(
    settings: &TestSettings<'_>,
    mut body: impl AsyncFnMut(Sample) -> Sampled<R>,
    failed: Failed<R>,
) -> R {
    let mut samples = Samples::new(settings, failed);
    loop {
        if let Some(value) = samples.finish(body(samples.next()).await) {
            return value;
        }
    }
}

/// An async test in a Tokio runtime made for it, whose threads all count.
#[cfg(feature = "tokio")]
#[track_caller]
pub fn run_in_runtime<F: Future>(
    settings: &TestSettings<'_>,
    mut body: impl FnMut() -> F,
    failed: Failed<F::Output>,
) -> F::Output {
    let run = |sample: Sample| {
        let (value, usage) = super::runtime::run(settings.workers, body())?;
        Ok((value, sample.is_measured.then_some(usage)))
    };
    run_samples(settings, run, failed)
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
