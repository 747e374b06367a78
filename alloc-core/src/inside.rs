//! Hands the record side's guard to the read side: what runs under it counts as the tracker's own, not as the program's.
//!
//! The one thing the read side may know of the record side. Every public function of the read side that builds something large
//! runs under it; memory handed to the caller is subtracted again when the caller drops it.
#![forbid(unsafe_code)]

use crate::record::thread::InTracker;

/// Runs `work` with its allocations counted as the tracker's own.
pub(crate) fn inside_tracker<R>(work: impl FnOnce() -> R) -> R {
    let _inside = InTracker::enter();
    work()
}
