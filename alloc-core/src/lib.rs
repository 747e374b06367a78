//! Allocscope.

mod ids;
pub mod model;
pub mod report;
mod symbolize;

pub use model::{Error, Snapshot, SnapshotDiff};
pub use report::{DiffReport, Rank, Report};
