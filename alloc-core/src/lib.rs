//! **Allocscope**: drop one `static` into a program and every allocation is accounted for: which call stack made it, which
//! scope it belongs to, whether it is still alive, and what it cost.
//!
//! ```
//! use alloc_core::{Snapshot, SnapshotDiff, TrackingAllocator, track_memory};
//!
//! #[global_allocator]
//! static ALLOC: TrackingAllocator = TrackingAllocator::new();
//!
//! #[track_memory]
//! fn squares(n: u64) -> Vec<u64> {
//!     (0..n).map(|i| i * i).collect()
//! }
//!
//! fn main() -> Result<(), alloc_core::Error> {
//!     let before = Snapshot::take()?;
//!     let kept = squares(1000);
//!     let mut after = Snapshot::take()?;
//!     after.resolve(); // names for addresses
//!     let diff = SnapshotDiff::between(&before, &after);
//!     println!("{}", diff.report());
//!     drop(kept);
//!     Ok(())
//! }
//! ```
//!
//! # What is counted
//! See `docs/accounting.md` for every figure, its unit and its accuracy; `docs/scopes-and-async.md` for scopes; `docs/overhead.md`
//! for what it costs.
//!
//! # Features
//! None is on by default; each adds what it says and changes nothing else.
//!
//! | feature | adds |
//! |---|---|
//! | `stream` | `track_stream!`, `track_items!` and `CarryStream` |
//! | `tokio` | [`carry`]`::tokio`: tasks that stay in the scope that spawned them |
//! | `budgets` | `#[allocation_test]` without limits: they stand in a checked-in file |
//! | `rayon` | [`carry`]`::rayon`: jobs that do |
//! | `export` | [`export`]: files for DHAT's viewer, Chrome DevTools, speedscope, and collapsed stacks |
//! | `flamegraph` | the same for flame graphs, and differential ones, as SVG |
//! | `html` | the same for a one-file report for browsers |
//! | `offline` | `Snapshot::resolve_with`: names for addresses out of files, for snapshots of other processes and of stripped binaries |
//! | `pprof` | the same for `go tool pprof` and what else reads its profiles |
//! | `tracing` | `tracing::layer()`: the spans of a program that is instrumented for `tracing` become scopes |
//!
//! # Environment
//! | variable | values | default |
//! |---|---|---|
//! | `ALLOCSCOPE_MODE` | `exact`, `scopes`, `sampled`, `off` | `exact` |
//! | `ALLOCSCOPE_SAMPLE_INTERVAL` | mean bytes between two samples, as `512KiB`: 16 bytes to 1 TiB | `512KiB` |
//! | `ALLOCSCOPE_SAMPLE_RATE` | samples a second at most, 0 for any number | 10000; 0 with a seed |
//! | `ALLOCSCOPE_SAMPLE_SEED` | seed of the draws: the same samples again | drawn |
//! | `ALLOCSCOPE_DEPTH` | frames kept per stack, 1 to 128 | 64 |
//! | `ALLOCSCOPE_REPORT` | path of a report written at exit, `-` for stderr; the [ending](export::Format) says in which format, `%p` is the process's id | none |
//! | `ALLOCSCOPE_RANK` | what that report is ranked by: `bytes`, `allocations`, `live`, `peak`, `copied`, `temporary` | `bytes` |
//! | `ALLOCSCOPE_TOP` | how many sites it shows | 10 |
//! | `ALLOCSCOPE_SNAPSHOT` | path of a snapshot written at exit, `-` for stderr | none |
//! | `ALLOCSCOPE_OBSERVE` | which iterations are observed: `auto`, `all`, `none` | `auto` |
//! | `ALLOCSCOPE_MEMORY_MIB` | ceiling of the tracker's own memory | 256 |
//!
//! They are read at the first allocation, and ignored in programs that run with more rights than their caller.
#![warn(missing_docs)]

// So that the paths the macro writes mean this crate inside it, too.
extern crate self as alloc_core;

pub mod budget;
pub mod carry;
pub mod contents;
mod control;
pub mod export;
pub mod findings;
mod future;
mod ids;
mod inside;
mod iterations;
pub mod model;
#[cfg(all(test, allocscope_model))]
mod models;
mod progress;
mod record;
pub mod report;
mod symbolize;
#[cfg(feature = "tracing")]
pub mod tracing;
mod turn;

pub use alloc_macros::{allocation_test, track_memory, tracked};
#[cfg(feature = "stream")]
pub use carry::CarryStream;
pub use carry::{CarryFuture, EnteredScope, InScope, ScopeHandle, current};
pub use findings::findings;
pub use ids::{ScopeId, ScopeKind, ScopeNodeId};
pub use model::{Error, Snapshot, SnapshotDiff};
pub use record::allocator::TrackingAllocator;
pub use record::enter::ScopeGuard;
pub use record::sample::{sample_interval, set_sample_interval};
pub use record::settings::{Mode, UnknownMode, mode, set_mode};
#[cfg(feature = "offline")]
pub use symbolize::Resolved;

/// What the record side runs when the program ends; it knows nothing else of the read side.
static AT_EXIT: extern "C" fn() = control::at_exit;

/// What the record side runs when an allocation is made where that aborts the program.
static ON_DENIED: fn(u32, usize) = control::on_denied;

/// Enters a scope that lasts until the returned [`ScopeGuard`] is dropped.
///
/// `scope!("name")` gives it a name; `scope!()` names it by file and line. Bind the guard: `let _scope = scope!("parse");`.
///
/// # Overhead
/// As a `#[track_memory]` function: about 100 instructions in all; nothing in mode `off`.
#[cfg(feature = "tracking")]
#[macro_export]
macro_rules! scope {
    () => {
        $crate::scope!(::core::concat!(::core::file!(), ":", ::core::line!()))
    };
    ($name:expr) => {{
        static __ALLOCSCOPE_SITE: $crate::__private::ScopeSite =
            $crate::__private::ScopeSite::new($name, ::core::file!(), ::core::line!());
        $crate::__private::enter(&__ALLOCSCOPE_SITE)
    }};
}

/// One iteration of a loop or a server, until the returned [`ScopeGuard`] is dropped: for code that `#[track_memory(request)]` and
/// `#[track_memory(loops)]` cannot stand on.
///
/// A [`scope!`] whose calls count as iterations: what collections they build again and again is found (see `docs/rebuilds.md`).
///
/// ```
/// use alloc_core::{TrackingAllocator, iteration};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let jobs = ["one", "two"];
/// for job in jobs {
///     let _iteration = iteration!("job");
///     println!("{}", job.to_uppercase());
/// }
/// ```
///
/// # Overhead
/// As [`scope!`]; more while an iteration is observed.
#[cfg(feature = "tracking")]
#[macro_export]
macro_rules! iteration {
    () => {
        $crate::iteration!(::core::concat!(::core::file!(), ":", ::core::line!()))
    };
    ($name:expr) => {{
        static __ALLOCSCOPE_SITE: $crate::__private::ScopeSite =
            $crate::__private::ScopeSite::turn($name, ::core::file!(), ::core::line!());
        $crate::__private::enter(&__ALLOCSCOPE_SITE)
    }};
}

/// No iteration: this build has no feature `tracking`. The guard is empty.
#[cfg(not(feature = "tracking"))]
#[macro_export]
macro_rules! iteration {
    () => {
        $crate::__private::no_scope()
    };
    ($name:expr) => {{
        const _: &str = $name;
        $crate::__private::no_scope()
    }};
}

/// An iterator whose items are iterations: what happens between one item and the next is one of them.
///
/// `for job in iterations!("jobs", queue.drain(..)) { .. }`. What `next` itself does is outside. The iterator is not `Send`, because it
/// holds the guard of the iteration that runs.
///
/// ```
/// use alloc_core::{TrackingAllocator, iterations};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let lengths: Vec<usize> = iterations!("words", ["a", "bc"]).map(str::len).collect();
/// assert_eq!(lengths, [1, 2]);
/// ```
///
/// # Overhead
/// As [`iteration!`] for each item.
#[cfg(feature = "tracking")]
#[macro_export]
macro_rules! iterations {
    ($name:expr, $items:expr $(,)?) => {{
        static __ALLOCSCOPE_SITE: $crate::__private::ScopeSite =
            $crate::__private::ScopeSite::turn($name, ::core::file!(), ::core::line!());
        $crate::__private::iterations(&__ALLOCSCOPE_SITE, $items)
    }};
}

/// The items as they are: this build has no feature `tracking`.
#[cfg(not(feature = "tracking"))]
#[macro_export]
macro_rules! iterations {
    ($name:expr, $items:expr $(,)?) => {{
        const _: &str = $name;
        ::core::iter::IntoIterator::into_iter($items)
    }};
}

/// Enters nothing: this build has no feature `tracking`. The guard is empty.
#[cfg(not(feature = "tracking"))]
#[macro_export]
macro_rules! scope {
    () => {
        $crate::__private::no_scope()
    };
    ($name:expr) => {{
        const _: &str = $name;
        $crate::__private::no_scope()
    }};
}

/// The stream as it is: this build has no feature `tracking`.
#[cfg(all(feature = "stream", not(feature = "tracking")))]
#[macro_export]
macro_rules! track_stream {
    ($stream:expr $(,)?) => {
        $stream
    };
    ($name:expr, $stream:expr $(,)?) => {{
        const _: &str = $name;
        $stream
    }};
}

/// Makes what a stream does for each item an iteration: from the first poll after the item before, until it is ready.
///
/// `track_items!("name", stream)`. What collections the stream builds again and again for its items is found (see `docs/rebuilds.md`); what is
/// done with the items is outside, and a `#[track_memory(request)]` function or a loop in a `#[track_memory(loops)]` one. The poll that
/// ends the stream counts as a call and is never observed. Feature `stream`.
///
/// # Overhead
/// As [`track_stream!`].
#[cfg(all(feature = "stream", feature = "tracking"))]
#[macro_export]
macro_rules! track_items {
    ($name:expr, $stream:expr $(,)?) => {{
        static __ALLOCSCOPE_SITE: $crate::__private::ScopeSite =
            $crate::__private::ScopeSite::turn($name, ::core::file!(), ::core::line!());
        $crate::__private::track_items(&__ALLOCSCOPE_SITE, $stream)
    }};
}

/// The stream as it is: this build has no feature `tracking`.
#[cfg(all(feature = "stream", not(feature = "tracking")))]
#[macro_export]
macro_rules! track_items {
    ($name:expr, $stream:expr $(,)?) => {{
        const _: &str = $name;
        $stream
    }};
}

/// Makes a stream a scope: its polls, up to the one that ends it, are one call.
///
/// `track_stream!("name", stream)` gives the scope a name; `track_stream!(stream)` names it by file and line. Dropping a stream
/// that has not ended ends the call; one that is polled on after its end begins another. What the stream yields and is
/// still alive when the call ends counts as retained. The stream is not boxed. Feature `stream`.
///
/// # Overhead
/// As an async `#[track_memory]` function: entering and leaving the scope once per poll.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, track_stream};
/// use futures_core::Stream;
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// fn tracked(lines: impl Stream<Item = String>) -> impl Stream<Item = String> {
///     track_stream!("lines", lines)
/// }
/// ```
#[cfg(all(feature = "stream", feature = "tracking"))]
#[macro_export]
macro_rules! track_stream {
    ($stream:expr $(,)?) => {
        $crate::track_stream!(::core::concat!(::core::file!(), ":", ::core::line!()), $stream)
    };
    ($name:expr, $stream:expr $(,)?) => {{
        static __ALLOCSCOPE_SITE: $crate::__private::ScopeSite =
            $crate::__private::ScopeSite::new($name, ::core::file!(), ::core::line!());
        $crate::__private::track_stream(&__ALLOCSCOPE_SITE, $stream)
    }};
}

/// For code that our macros write; not for use by hand.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "budgets")]
    pub use crate::budget::read_budgets;
    #[cfg(feature = "tokio")]
    pub use crate::budget::run_in_runtime;
    pub use crate::budget::{Amount, Check, Limit, Metric, Subject, check, within};
    pub use crate::budget::{
        Argument, Failed, OtherOutcome, Outcome, Recorded, ResultOutcome, Sample, Sampled, TestArgument, TestSettings,
        run_future, run_futures, run_once, run_samples, without_crate,
    };
    pub use crate::budget::{BudgetGuard, CallBudget, OnExceed, enter_with_budget};
    pub use crate::budget::{RebuildCheck, check_rebuilds};
    pub use crate::contents::{ContentSite, have_contents};
    pub use crate::future::{BudgetedFuture, TrackedFuture, track, track_with_budget};
    #[cfg(feature = "stream")]
    pub use crate::future::{TrackedStream, track_items, track_stream};
    pub use crate::iterations::{Iterations, iterations};
    pub use crate::record::enter::{ScopeGuard, enter, no_scope};
    pub use crate::record::observe::ObserveAll;
    pub use crate::record::scope::ScopeSite;
    pub use crate::record::stack::probe;
    pub use crate::turn::{InTurn, Never, Turn, TurnGuard, between, carry, in_turn};
}
