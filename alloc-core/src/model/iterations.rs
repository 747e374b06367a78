//! What was seen of iterations: calls of `request` scopes, turns of loops, and what they built.
//!
//! Filled by `control` from the record side's observations, consumed by `findings`. Read side. An iteration is *observed* when each of its
//! blocks was followed from its allocation on; which ones are, and how many, is said in `docs/rebuilds.md`. Figures of observed
//! iterations are a sample; what all iterations cost stands in [`Context::counters`](super::Context::counters), exactly.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::ids::ScopeNodeId;

/// What was seen of the iterations of one loop, on one path of scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoopStats {
    /// The scope whose calls are the iterations.
    pub scope: ScopeNodeId,
    /// Iterations that have ended, and those that ran on a thread at that moment. A call inside a call of the same loop (recursion) is part of
    /// it. Exact, but for what begins or ends on other threads meanwhile: of each thread one may be missed. None that waits at an `.await`,
    /// is nested too deeply to be a call of its own, or was forgotten: [`CallStats::entered`](super::CallStats::entered) has these.
    pub iterations: u64,
    /// Iterations that were observed to their end.
    pub observed: u64,
    /// The last observed iterations, of which [`LoopSite::recent`] tells: so many.
    #[serde(default)]
    pub recent: u64,
    /// Of the observed iterations, how many were suspended at an `.await` at least once.
    pub suspended: u64,
    /// Of these, how many went on on another thread.
    pub moved: u64,
    /// Events of observed iterations that were not followed, for lack of room.
    pub missed_events: u64,
    /// What the observed iterations allocated, one entry for every context.
    pub sites: Vec<LoopSite>,
}

/// What the observed iterations of one loop allocated in one context. All figures are sums over observed iterations.
///
/// A block is followed through its growths: reallocations, and tables that are replaced by a larger one. It counts where it was first
/// allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LoopSite {
    /// Index into [`Snapshot::contexts`](super::Snapshot::contexts).
    pub context: u32,
    /// Observed iterations that allocated here.
    pub present: u64,
    /// In which of the last observed iterations of the loop it did: a bit for each, 32 in a number, in an order that is the same for all sites
    /// of the loop (the observed iteration `n`, from 0 on, has bit `n` modulo their number). Sites that are one line of code were present
    /// together in as many as all their bits.
    pub recent: Vec<u32>,
    /// Requests granted (events); growths are not in it.
    pub allocations: u64,
    /// Bytes granted, growths included (each with its new size).
    pub bytes: u64,
    /// Growths (events).
    pub growths: u64,
    /// Bytes that growths had to copy: the old sizes.
    pub copied_bytes: u64,
    /// Blocks that were followed: of those that are alive at once the first 256; fewer for lack of room.
    pub blocks: u64,
    /// Of these, how many grew at least once.
    pub grown: u64,
    /// Of these, how many were freed in the iteration that made them, by the thread that ran it.
    pub confined: u64,
    /// Of these, how many were alive while the iteration was suspended at an `.await`.
    pub crossed_await: u64,
    /// Of these, how many were alive while the iteration went to another thread.
    pub crossed_threads: u64,
    /// Blocks freed soon after they were made.
    pub temporaries: Temporaries,
    /// Most blocks alive at once in one iteration; 256 stands for that or more.
    pub most_live: u64,
    /// Iterations in which never more than one block was alive.
    pub one_live: u64,
    /// Iterations in which at most 2 to 8 were.
    pub few_live: u64,
    /// Sizes that blocks had in the end, in bytes, ascending: a random sample.
    pub final_bytes: Vec<u64>,
    /// Contexts whose blocks were freed after these, in the same run of frees: what these may have been inside of.
    pub freed_before: Vec<FreedBefore>,
}

/// Blocks by how many allocations of the same iteration came between their own allocation and their free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Temporaries {
    /// None: freed before anything else was allocated.
    pub none: u64,
    /// One.
    pub one: u64,
    /// Two to four.
    pub four: u64,
    /// Five to eight.
    pub eight: u64,
}

/// A context, and how many blocks were freed before one of its own in the same run of frees (no allocation in between).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FreedBefore {
    /// Index into [`Snapshot::contexts`](super::Snapshot::contexts).
    pub context: u32,
    /// Blocks.
    pub blocks: u64,
}
