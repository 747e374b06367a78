//! What is found: plain data, the same in code, in JSON and in text.
//!
//! Made by `judge` and `growth`, printed by `text`. Read side. The JSON is described in `docs/rebuilds.md`; adding a field does not change its
//! version.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ScopeKind, ScopeNodeId};

/// What to do about a line that builds the same thing in iteration after iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// One instance, emptied each time, would do for all iterations.
    ReuseInstance,
    /// It grows to about the same size each time: ask for that at once.
    ReserveCapacity,
    /// Several are alive at once, or they live across an `.await`: take them from a pool, or put them into an arena.
    Pool,
    /// The same value is made each time: make it once.
    CacheValue,
    /// Each iteration leaves something behind. Not a rebuild: whether it is a leak is judged elsewhere. Fails no gate.
    Retained,
}

impl Verdict {
    /// False for what is said for information only: [`Findings::check`](super::Findings::check) passes over it.
    pub fn fails_a_gate(self) -> bool {
        self != Self::Retained
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReuseInstance => "reuse the instance",
            Self::ReserveCapacity => "reserve the capacity",
            Self::Pool => "pool or arena",
            Self::CacheValue => "cache the value",
            Self::Retained => "retained per iteration",
        })
    }
}

/// A line that builds in iteration after iteration what it could keep, or get cheaper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The same as long as the loop, the function and the kind of collection are called the same: see `docs/rebuilds.md`.
    pub id: String,
    /// What to do.
    pub verdict: Verdict,
    /// 0 to 100: how sure it is times how much of the churn it is.
    pub severity: u8,
    /// The line to change.
    pub line: CodeLine,
    /// The loop whose iterations build it.
    pub iteration: Iteration,
    /// Observed iterations that built it, of all that were observed.
    pub presence: Share,
    /// Blocks that were freed in the iteration that made them, of all that were followed.
    pub confinement: Share,
    /// Most that were alive at once in nearly every iteration.
    pub at_once: AtOnce,
    /// Sizes that the blocks had in the end.
    pub final_bytes: Sizes,
    /// What it costs.
    pub cost: Cost,
    /// How it grows; `None` when it does not.
    pub growth: Option<Growth>,
    /// True when blocks were alive across an `.await` or went to another thread: what a thread keeps for itself cannot hold them.
    pub crosses: bool,
    /// How sure it is.
    pub confidence: Confidence,
    /// What the verdict rests on, a sentence each.
    pub evidence: Vec<String>,
    /// What to change.
    pub suggestion: Suggestion,
    /// What it holds, built on other lines and counted in its cost.
    pub with_it: Vec<Inner>,
    /// Loops around [`iteration`](Self::iteration) whose iterations build it too, innermost first.
    pub outer_loops: Vec<String>,
    /// Other paths of scopes on which the same loop builds it too; cost and evidence are those of the first.
    pub other_paths: Vec<Vec<String>>,
}

/// A line of code and what it builds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CodeLine {
    /// `src/fraud.rs:58`, or what stands in for it when no line is known.
    pub place: String,
    /// As the debug information has it; empty when unknown.
    pub file: String,
    /// 0 when unknown.
    pub line: u32,
    /// Short name of the function.
    pub function: String,
    /// `HashSet<u64>`; `None` when the stack does not say.
    pub collection: Option<String>,
    /// How it is built, where that matters for the advice: `clone`, `format!`, `Regex`.
    pub made_by: Option<String>,
}

/// The loop that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Iteration {
    /// The scope whose calls are the iterations.
    pub scope: ScopeNodeId,
    /// Its name.
    pub name: String,
    /// Requests, or turns of a loop.
    pub kind: ScopeKind,
    /// Source file of the scope.
    pub file: String,
    /// Line in it.
    pub line: u32,
    /// Names of the scopes it runs in, outermost first, itself last.
    pub path: Vec<String>,
    /// Iterations begun. Exact.
    pub seen: u64,
    /// Of these, observed to their end.
    pub observed: u64,
}

impl Iteration {
    /// `request`, `turn` or `iteration`.
    pub(super) fn noun(&self) -> &'static str {
        match self.kind {
            ScopeKind::Request => "request",
            ScopeKind::Loop => "turn",
            _ => "iteration",
        }
    }

    pub(super) fn nouns(&self) -> &'static str {
        match self.kind {
            ScopeKind::Request => "requests",
            ScopeKind::Loop => "turns",
            _ => "iterations",
        }
    }
}

/// A share that was seen, and what it is at least with 95 % confidence (Wilson, one-sided).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Share {
    /// How many were.
    pub hits: u64,
    /// Of how many.
    pub of: u64,
    /// Lower bound, 0 to 1.
    pub lower_bound: f64,
}

impl Share {
    pub(super) fn new(hits: u64, of: u64) -> Self {
        let hits = hits.min(of);
        Self {
            hits,
            of,
            lower_bound: super::statistics::lower_bound(hits, of),
        }
    }

    /// What was seen, 0 to 1.
    pub fn value(self) -> f64 {
        crate::report::fraction(self.hits, self.of)
    }
}

/// How many were alive at once, in at least 95 % of the iterations that built any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum AtOnce {
    /// Never more than one.
    One,
    /// At most eight.
    Few {
        /// Most, in any iteration.
        most: u64,
    },
    /// More.
    Many {
        /// Most, in any iteration.
        most: u64,
    },
}

/// Sizes in bytes: of a random sample, except the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sizes {
    /// Median.
    pub p50: u64,
    /// Nine of ten are not larger.
    pub p90: u64,
    /// Largest of the sample.
    pub max: u64,
}

/// What a line costs, with what it holds. Per iteration: exact figures of all iterations, divided by their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Requests granted, per iteration.
    pub allocations: f64,
    /// Bytes granted, per iteration: allocations, and the new size of every reallocation.
    pub bytes: f64,
    /// Bytes that reallocations moved, per iteration. What a hash table copies when it grows is in [`Growth::copied_bytes`] only.
    pub copied_bytes: f64,
    /// Its part of the bytes that the loop granted and released, 0 to 1.
    pub share_of_loop: f64,
    /// Its part of the loop's allocations, 0 to 1.
    pub share_of_loop_allocations: f64,
    /// Its part of the bytes that the program granted and released, 0 to 1.
    pub share_of_program: f64,
    /// Its part of the program's allocations, 0 to 1.
    pub share_of_program_allocations: f64,
}

/// How blocks grow, by observed iterations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Growth {
    /// Growths per block.
    pub times: f64,
    /// Bytes copied by them, per iteration: the old sizes.
    pub copied_bytes: f64,
    /// Standard deviation of the final sizes by their mean; `None` when too few are known.
    pub variation: Option<f64>,
    /// What `with_capacity` is to be called with so that nine of ten do not grow, in elements; `None` when their size is not known.
    pub capacity: Option<u64>,
}

/// How sure a finding is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Confidence {
    /// `high`, `good` or `fair`.
    pub word: String,
    /// Product of the lower bounds of presence and confinement, 0 to 1; of presence alone where confinement does not matter.
    pub value: f64,
}

/// What to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// In words.
    pub explanation: String,
    /// In Rust; names of variables are examples. Empty when there is nothing to write.
    pub code: String,
}

/// A line whose blocks lie inside those of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inner {
    /// The line.
    pub line: CodeLine,
    /// Requests granted, per iteration of the finding's loop.
    pub allocations: f64,
    /// Bytes granted, per iteration.
    pub bytes: f64,
}

/// A line that looks like a finding, of a loop that was not observed often enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotEnough {
    /// The line.
    pub line: CodeLine,
    /// The loop.
    pub iteration: Iteration,
    /// Iterations that would be enough.
    pub needed: u64,
    /// Bytes granted, per iteration.
    pub bytes: f64,
}

/// A line whose blocks grow, anywhere in the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GrowthChains {
    /// The line.
    pub line: CodeLine,
    /// Blocks that grew at least once.
    pub chains: u64,
    /// Bytes that had to be copied: by reallocations to a new address, and from tables to larger ones.
    pub copied_bytes: u64,
    /// Sizes that they have in the end, or have now. Exact for blocks that double from the same first size; else within a factor of two.
    pub final_bytes: Sizes,
    /// `Vec::with_capacity(100)`, or how to compute it; a remark where a dependency makes and grows it.
    pub with_capacity: String,
}

/// A line whose blocks are freed soon after they were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShortLived {
    /// The line.
    pub line: CodeLine,
    /// Blocks that were followed.
    pub blocks: u64,
    /// Of these, freed before anything else was allocated.
    pub at_once: u64,
    /// Of these, freed before nine others were allocated, those included.
    pub soon: u64,
    /// Bytes granted by the line in all, whether followed or not. Exact.
    pub bytes: u64,
}
