//! Asserting budgets: from a measurement and its limits to a panic that explains.
//!
//! Called by the code of `assert_budget!` and `#[allocation_test]`. Read side. Cost of a check that holds: nothing beyond the
//! measurement, unless the environment asks to record it. One that fails reads debug information.
#![forbid(unsafe_code)]

use super::limits::{Check, Metric};
use super::passes;
use super::usage::Usage;
use crate::inside::inside_tracker;
use crate::model::Error;
use crate::report::{Explained, Rank, explain};

/// Where an assertion stands, and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The measured expression, or the test's name.
    pub what: &'static str,
    /// Source file.
    pub file: &'static str,
    /// Line in it.
    pub line: u32,
}

/// Gives the value, if the measurement kept every limit.
///
/// # Panics
/// With an explanation when it did not, and with the reason when it was refused.
#[track_caller]
pub fn check<R>(subject: Subject, measured: Result<(R, Usage), Error>, checks: &[Check]) -> R {
    match measured {
        Ok((value, usage)) => {
            if let Err(text) = judge(subject, &usage, checks) {
                // While the value is alive: what is retained is still there to be named.
                panic!("{text}");
            }
            value
        }
        Err(error) => panic!("{}:{}: {}: {error}", subject.file, subject.line, subject.what),
    }
}

/// `Err`: why not.
pub(crate) fn judge(subject: Subject, usage: &Usage, checks: &[Check]) -> Result<(), String> {
    inside_tracker(|| {
        let Some(worst) = checks.iter().find(|check| !check.passes(usage)) else {
            passes::record(subject, usage);
            return Ok(());
        };
        let rank = match worst.metric {
            Metric::Retained => Rank::Live,
            Metric::Bytes | Metric::Peak | Metric::Copied => Rank::Bytes,
            Metric::Allocations | Metric::Reallocations | Metric::Frees => Rank::Allocations,
        };
        let snapshot = usage.snapshot().map(|mut snapshot| {
            snapshot.resolve();
            snapshot
        });
        let sites = snapshot.as_ref().map(crate::report::site_usages).unwrap_or_default();
        let explained = Explained {
            subject,
            usage,
            checks,
            rank,
            news: passes::news(subject, &sites),
            profile: snapshot.as_ref().map_or(passes::Written::NotAsked, |snapshot| {
                passes::write_profile(subject, snapshot)
            }),
        };
        Err(explain(&explained, snapshot.as_ref()))
    })
}

/// Measures an expression and panics with an explanation unless every limit is kept. Gives the expression's value.
///
/// `assert_budget!(expression, allocations <= 12, bytes <= "4 KiB", peak < 2048, retained == 0, frees in 1..=3)`: any subset of
/// the metrics `allocations`, `reallocations`, `frees`, `bytes`, `copied`, `peak` and `retained`; each with `<=`, `<`, `==` or
/// `in a..=b`; numbers as integers or as sizes in text. In async code, `assert_budget!(await future, ...)`.
///
/// # Accuracy
/// See [`budget::measure()`](crate::budget::measure()): this thread and what handles carry, and none of the neighbours.
///
/// # Panics
/// When a limit is not kept, and when the figures would be wrong (tracking is off, or not installed).
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, assert_budget};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let squares = assert_budget!(
///     (0..100_u64).map(|n| n * n).collect::<Vec<_>>(),
///     allocations == 1,
///     bytes <= "1 KiB",
///     retained in 800..=1000,
/// );
/// assert_eq!(squares[9], 81);
/// ```
#[macro_export]
macro_rules! assert_budget {
    (await $future:expr, $($limits:tt)+) => {
        $crate::__private::check(
            $crate::__private::Subject {
                what: ::core::stringify!($future),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            $crate::budget::measure_async($future).await,
            &$crate::__allocscope_checks!([] $($limits)+),
        )
    };
    ($work:expr, $($limits:tt)+) => {
        $crate::__private::check(
            $crate::__private::Subject {
                what: ::core::stringify!($work),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            $crate::budget::measure(|| $work),
            &$crate::__allocscope_checks!([] $($limits)+),
        )
    };
    ($work:expr $(,)?) => {
        ::core::compile_error!("found no limit; write at least one, as `allocations <= 12` or `bytes <= \"4 KiB\"`")
    };
}

/// Measures an expression and panics, naming the lines, if it allocates or reallocates anything. Gives the expression's value.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, assert_no_allocations};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let words = ["a", "bb", "ccc"];
/// let longest = assert_no_allocations!(words.iter().map(|word| word.len()).max());
/// assert_eq!(longest, Some(3));
/// ```
#[macro_export]
macro_rules! assert_no_allocations {
    (await $future:expr $(,)?) => {
        $crate::assert_budget!(await $future, allocations == 0, reallocations == 0)
    };
    ($work:expr $(,)?) => {
        $crate::assert_budget!($work, allocations == 0, reallocations == 0)
    };
}

/// `[checks so far] limit, limit, ...` to an array of checks.
#[doc(hidden)]
#[macro_export]
macro_rules! __allocscope_checks {
    ([$($done:tt)*] $(,)?) => { [$($done)*] };
    ([$($done:tt)*] $metric:ident <= $limit:expr $(, $($rest:tt)*)?) => {
        $crate::__allocscope_checks!([$($done)* $crate::__allocscope_check!($metric, AtMost, $limit),] $($($rest)*)?)
    };
    ([$($done:tt)*] $metric:ident < $limit:expr $(, $($rest:tt)*)?) => {
        $crate::__allocscope_checks!([$($done)* $crate::__allocscope_check!($metric, Below, $limit),] $($($rest)*)?)
    };
    ([$($done:tt)*] $metric:ident == $limit:expr $(, $($rest:tt)*)?) => {
        $crate::__allocscope_checks!([$($done)* $crate::__allocscope_check!($metric, Exactly, $limit),] $($($rest)*)?)
    };
    ([$($done:tt)*] $metric:ident in $range:expr $(, $($rest:tt)*)?) => {
        $crate::__allocscope_checks!([$($done)* $crate::__private::Check {
            metric: $crate::__allocscope_metric!($metric),
            limit: $crate::__private::within($range),
        },] $($($rest)*)?)
    };
    ([$($done:tt)*] $($found:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "found `", ::core::stringify!($($found)+),
            "` where a limit starts; write a metric, `<=`, `<`, `==` or `in a..=b`, as `allocations <= 12`"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __allocscope_check {
    ($metric:ident, $limit:ident, $amount:expr) => {
        $crate::__private::Check {
            metric: $crate::__allocscope_metric!($metric),
            limit: $crate::__private::Limit::$limit($crate::__private::Amount::amount($amount)),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __allocscope_metric {
    (allocations) => {
        $crate::__private::Metric::Allocations
    };
    (reallocations) => {
        $crate::__private::Metric::Reallocations
    };
    (frees) => {
        $crate::__private::Metric::Frees
    };
    (bytes) => {
        $crate::__private::Metric::Bytes
    };
    (copied) => {
        $crate::__private::Metric::Copied
    };
    (peak) => {
        $crate::__private::Metric::Peak
    };
    (retained) => {
        $crate::__private::Metric::Retained
    };
    ($other:ident) => {
        ::core::compile_error!(::core::concat!(
            "found the unknown metric `",
            ::core::stringify!($other),
            "`; accepted are `allocations`, `reallocations`, `frees`, `bytes`, `copied`, `peak` and `retained`"
        ))
    };
}
