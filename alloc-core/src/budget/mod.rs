//! Measurements and budgets: what a piece of code allocates, and what it may.
//!
//! Called by users and by the code of our macros; read side. Imports `record::measure` (counters and calls of the record side),
//! `control` (rows) and `report` (texts). Invariants: figures are exact or refused, never silently incomplete; what this module allocates is the
//! tracker's own. Cost: nothing while no measurement runs. Leaves out the attributes (`alloc-macros`).
//!
//! See `docs/budgets.md`.
#![forbid(unsafe_code)]

mod assert;
mod benchmark;
mod call;
pub(crate) mod carried;
mod deny;
mod fail;
#[cfg(feature = "budgets")]
mod file;
mod guards;
mod limits;
mod measure;
pub(crate) mod passes;
mod process;
mod rebuilds;
#[cfg(feature = "tokio")]
mod runtime;
mod test;
mod usage;

pub use assert::{Subject, check};
pub use benchmark::{Benchmark, Spread, benchmark};
pub use call::{BudgetGuard, CallBudget, OnExceed, enter_with_budget};
pub(crate) use call::{CallCheck, exceeded};
pub(crate) use deny::denied_text;
pub use deny::{DenyGuard, OnDenied, deny_allocations, permit};
pub use fail::{FailGuard, fail_allocation, fail_allocations_from};
#[cfg(feature = "budgets")]
pub use file::read_budgets;
pub use limits::{Amount, Check, Limit, Metric, parse_size, within};
pub use measure::{Profile, measure, measure_async};
pub use process::{ProcessUsage, measure_process};
pub use rebuilds::{RebuildCheck, check_rebuilds};
#[cfg(feature = "tokio")]
pub use test::run_in_runtime;
pub use test::{
    Argument, Failed, OtherOutcome, Outcome, Recorded, ResultOutcome, Sample, Sampled, TestArgument, TestSettings,
    run_future, run_futures, run_once, run_samples, without_crate,
};
pub use usage::{SiteUsage, Usage};
