//! Measuring the whole process: every thread, whoever it works for.
//!
//! Called by users, under a name that says so. Read side. Two snapshots and their difference. Cost: O(threads × contexts), twice.
#![forbid(unsafe_code)]

use crate::inside::inside_tracker;
use crate::model::{Error, Snapshot, SnapshotDiff};

/// What all threads of the process did while a piece of code ran.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessUsage {
    /// Requests granted (events), reallocations left out.
    pub allocations: u64,
    /// Requested bytes granted: allocations, and the new size of every reallocation.
    pub bytes: u64,
    /// Reallocations granted (events).
    pub reallocations: u64,
    /// Blocks freed (events).
    pub frees: u64,
    /// Bytes that reallocations copied to a new address.
    pub copied_bytes: u64,
    /// Live bytes at the end minus live bytes at the beginning. Signed.
    pub net_growth_bytes: i64,
    /// The same by site and by scope, retained apart from churn. Not resolved.
    pub diff: SnapshotDiff,
}

/// Runs `work` and says what *the whole process* allocated meanwhile: neighbouring tests, the test harness and background threads
/// included. For budgets use [`measure()`](super::measure()), which sees none of them.
///
/// # Accuracy
/// Exact when no other thread runs; else what other threads do at the beginning and the end may be half visible. In mode `sampled`, frees
/// and growth are estimates, and `diff.basis` says so. There is no peak: the process's is that since its start.
///
/// # Errors
/// [`Error::is_not_installed`] when no `TrackingAllocator` is the global allocator, and [`Error::is_not_measured`] when tracking is off.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, budget::measure_process};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let (words, usage) = measure_process(|| std::thread::spawn(|| vec![1; 1000]).join())?;
/// assert!(usage.bytes >= 4000);
/// # drop(words);
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn measure_process<R>(work: impl FnOnce() -> R) -> Result<(R, ProcessUsage), Error> {
    let before = tracked()?;
    let result = work();
    let after = tracked()?;
    let usage = inside_tracker(|| {
        let (old, new) = (&before.totals, &after.totals);
        ProcessUsage {
            allocations: new.total_allocations.saturating_sub(old.total_allocations),
            bytes: new.total_bytes.saturating_sub(old.total_bytes),
            reallocations: new.total_reallocations.saturating_sub(old.total_reallocations),
            frees: new.total_frees.saturating_sub(old.total_frees),
            copied_bytes: new.copied_bytes.saturating_sub(old.copied_bytes),
            net_growth_bytes: new.live_bytes as i64 - old.live_bytes as i64,
            diff: SnapshotDiff::between(&before, &after),
        }
    });
    Ok((result, usage))
}

/// A snapshot, unless tracking is off: what is counted then is nothing.
fn tracked() -> Result<Snapshot, Error> {
    let snapshot = Snapshot::take()?;
    if snapshot.mode == "off" {
        return Err(super::measure::is_off());
    }
    Ok(snapshot)
}
