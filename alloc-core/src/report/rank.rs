//! What reports rank by and exports measure: the figure of a context, and what it is called.
//!
//! Called by the reports and by `export`. Read side; pure functions of a snapshot.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::Rank;
use crate::model::{Counters, Snapshot, Temporaries};

impl Rank {
    /// The figure of a sum of contexts. How soon blocks are freed is no counter: by bytes granted, then.
    pub(super) fn of_sum(self, counters: &Counters) -> u64 {
        match self {
            Self::Allocations => counters.total_allocations,
            Self::Bytes | Self::Temporary => counters.total_bytes,
            Self::Live => counters.live_bytes,
            Self::Peak => counters.bytes_at_peak,
            Self::Copied => counters.copied_bytes,
        }
    }

    /// The figure of each context, in the order of the snapshot.
    pub(crate) fn weights(self, snapshot: &Snapshot) -> Vec<u64> {
        let contexts = || snapshot.contexts.iter();
        if self != Self::Temporary {
            return contexts().map(|context| self.of_sum(&context.counters)).collect();
        }
        in_short_lived(snapshot)
    }

    pub(super) fn of_all(self) -> &'static str {
        match self {
            Self::Allocations => "of all allocations",
            Self::Bytes => "of all bytes granted",
            Self::Live => "of the bytes alive now",
            Self::Peak => "of the bytes at the peak",
            Self::Copied => "of all bytes copied",
            Self::Temporary => "of the bytes in short-lived blocks",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Allocations => "allocations",
            Self::Bytes => "bytes granted",
            Self::Live => "live bytes",
            Self::Peak => "bytes at the peak",
            Self::Copied => "bytes copied",
            Self::Temporary => "bytes in short-lived blocks, estimated",
        }
    }
}

/// Bytes of each context granted to blocks that were freed before eight more allocations, estimated.
pub(super) fn in_short_lived(snapshot: &Snapshot) -> Vec<u64> {
    let contexts = snapshot.contexts.iter().zip(followed(snapshot));
    contexts
        .map(|(context, (blocks, temporaries))| {
            let share = soon(temporaries) as f64 / blocks.max(1) as f64;
            (context.counters.total_bytes as f64 * share.min(1.0)).round() as u64
        })
        .collect()
}

/// Blocks of each context that were followed, and how soon they were freed: in the loop that saw most of it, else in windows.
pub(crate) fn followed(snapshot: &Snapshot) -> Vec<(u64, Temporaries)> {
    let mut in_loops: HashMap<u32, (u64, Temporaries)> = HashMap::new();
    for site in snapshot.loops.iter().flat_map(|stats| &stats.sites) {
        let known = in_loops.entry(site.context).or_default();
        if site.blocks > known.0 {
            *known = (site.blocks, site.temporaries);
        }
    }
    let in_windows = |at: usize| {
        let lifetimes = snapshot.contexts[at].lifetimes.as_deref().copied().unwrap_or_default();
        (lifetimes.blocks, lifetimes.temporaries)
    };
    (0..snapshot.contexts.len())
        .map(|at| in_loops.get(&(at as u32)).copied().unwrap_or_else(|| in_windows(at)))
        .collect()
}

/// Blocks freed before eight more allocations.
pub(crate) fn soon(temporaries: Temporaries) -> u64 {
    let Temporaries { none, one, four, eight } = temporaries;
    [none, one, four, eight].into_iter().fold(0, u64::saturating_add)
}
