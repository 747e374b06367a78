//! What a measurement found.
//!
//! Made by `measure`. Read side. The figures are copies; the sites are read from the tables when they are asked for. Cost of these: a
//! pass over the contexts, and reading debug information (tens of milliseconds).
#![forbid(unsafe_code)]

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::control::Baseline;
use crate::inside::inside_tracker;
use crate::model::Snapshot;
use crate::record::measure::Lease;
use crate::report::site_usages;

/// What a measured piece of code allocated, on the calling thread and in carried work.
///
/// # Accuracy
/// Exact, except where [`is_peak_exact`](Self::is_peak_exact) and [`is_retained_exact`](Self::is_retained_exact) say otherwise.
///
/// There can be 512 measurements and `Usage` values at a time: keep the figures you need, not thousands of these.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Usage {
    /// Requests granted (events). Reallocations are not in it.
    pub allocations: u64,
    /// Requested bytes granted: allocations, and the new size of every reallocation.
    pub bytes: u64,
    /// Reallocations granted (events).
    pub reallocations: u64,
    /// Blocks that the measured code freed (events), whoever had granted them.
    pub frees: u64,
    /// Bytes that reallocations copied to a new address.
    pub copied_bytes: u64,
    /// Largest (granted - freed) since the beginning. With carried work, the sum of the peaks of what may run at once.
    pub peak_bytes: u64,
    /// Bytes granted in it and alive at its end, the returned value included.
    pub retained_bytes: u64,
    /// False: `peak_bytes` is an upper bound, because work was carried, or because work of others ran inside.
    pub is_peak_exact: bool,
    /// False: `retained_bytes` is an upper bound, because work of others, entered through their handles, ran inside.
    pub is_retained_exact: bool,
    pub(crate) origin: Option<Arc<Origin>>,
}

/// Where the rows of a measurement are.
pub(crate) struct Origin {
    pub(super) lease: Arc<Lease>,
    pub(super) baseline: Arc<Baseline>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

/// What one line of code allocated in a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SiteUsage {
    /// Source file as the debug information has it; empty when unknown.
    pub file: String,
    /// Line, 0 when unknown.
    pub line: u32,
    /// Short name of the function.
    pub function: String,
    /// The collection that is built there, `HashSet<u64>`, when the stack says so.
    pub collection: Option<String>,
    /// Requests granted (events).
    pub allocations: u64,
    /// Reallocations granted (events).
    pub reallocations: u64,
    /// Requested bytes granted.
    pub bytes: u64,
    /// Bytes of it that are alive now.
    pub live_bytes: u64,
}

impl Usage {
    /// What was counted inside, by scope and call stack, as a snapshot that [`Snapshot::report`] takes. Not resolved.
    ///
    /// # Accuracy
    /// Live figures are those of this moment, not of the measurement's end. Peaks of scopes are not in it.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let origin = self.origin.as_ref()?;
        Some(inside_tracker(|| {
            origin.baseline.snapshot_since(origin.lease.scope(), self.peak_bytes)
        }))
    }

    /// The lines of code that allocated, most bytes first.
    ///
    /// # Overhead
    /// Reads debug information: tens of milliseconds.
    pub fn sites(&self) -> Vec<SiteUsage> {
        inside_tracker(|| {
            let Some(mut snapshot) = self.snapshot() else {
                return Vec::new();
            };
            snapshot.resolve();
            site_usages(&snapshot)
        })
    }
}
