//! Plain data: what a snapshot says, and the difference of two.
//!
//! Read side. Filled by `control`, consumed by `analysis`, `symbolize` and `report`. Holds no addresses that mean
//! anything outside the run that wrote them: a frame is a module and an offset.
#![forbid(unsafe_code)]

mod contents;
mod diff;
mod error;
mod estimate;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod iterations;
mod stacks;
mod write;

use serde::{Deserialize, Serialize};

pub use crate::ids::{ScopeId, ScopeKind, ScopeNodeId};
pub use contents::{ContentStats, contents_built_at};
pub use diff::{Change, DiffBasis, DiffSide, Matching, ScopeDiff, SiteDiff, SnapshotDiff, WindowChange, WindowSamples};
pub use error::Error;
pub(crate) use estimate::is_enough;
pub use estimate::{Estimate, LEAST_SAMPLES, SampleSum, Samples, Sampling};
pub use iterations::{FreedBefore, LoopSite, LoopStats, Temporaries};
pub use stacks::{Stack, Stacks};

pub(crate) use diff::add_counters;
pub(crate) use write::write_atomically;

/// Version of the JSON schema that this build writes. Documented in `docs/snapshot-format.md`.
pub const SCHEMA_VERSION: u32 = 1;

/// State of everything recorded, at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Which run of which program this is.
    pub process: ProcessInfo,
    /// Wall clock, milliseconds since 1970.
    pub taken_at_unix_ms: u64,
    /// Milliseconds since the first allocation of the process.
    pub uptime_ms: u64,
    /// Blocks granted before this snapshot carry this epoch or a smaller one, blocks granted after it a larger one.
    pub epoch: u32,
    /// False once epochs ran out or the table of survivors overflowed: "allocated since" is then inexact.
    pub epochs_exact: bool,
    /// Mode at the moment of the snapshot: `exact`, `scopes`, `sampled` or `off`.
    pub mode: String,
    /// True when the tracker has been `off` since the first allocation: live figures then miss blocks.
    pub was_off: bool,
    /// How samples were taken; `None` when the program has never been in mode `sampled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Sums over the program, the tracker's own blocks excluded.
    pub totals: Counters,
    /// Largest live bytes of the program since tracking began. With samples, of an estimate, which chance makes larger rather than smaller.
    pub peak_bytes: u64,
    /// The tree of scopes; parents come before their children. The first is the root ("whole program").
    pub scopes: Vec<ScopeNode>,
    /// One entry for every (scope node, call stack) that allocated, the tracker's own excluded.
    pub contexts: Vec<Context>,
    /// Distinct call stacks, innermost frame first. `Context::stack` points here.
    pub stacks: Stacks,
    /// Distinct frames. `Stack::frames` points here.
    pub frames: Vec<Frame>,
    /// Executable and libraries that frames lie in.
    pub modules: Vec<Module>,
    /// Functions of which a call was over its budget, most such calls first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetStats>,
    /// What was seen of iterations, one entry for every loop that had one observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loops: Vec<LoopStats>,
    /// What `observe_contents!` saw, one entry for each place and path of scopes, in the order of the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<ContentStats>,
    /// What the tracker itself holds and lost.
    pub tracker: TrackerStats,
}

/// A function with `#[track_memory(budget(...))]` of which a call was over the budget. A limit that is `None` was not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BudgetStats {
    /// Name of the scope.
    pub name: String,
    /// Source file of it.
    pub file: String,
    /// Line in it.
    pub line: u32,
    /// Calls that were over one limit or several.
    pub calls_over: u64,
    /// Limit for requests granted in a call.
    pub allocations: Option<u64>,
    /// Most requests granted, of the calls that were over any limit; so with the `worst_` figures below.
    pub worst_allocations: u64,
    /// Limit for bytes granted in a call.
    pub bytes: Option<u64>,
    /// Most bytes granted.
    pub worst_bytes: u64,
    /// Limit for a call's peak.
    pub peak_bytes: Option<u64>,
    /// Largest peak.
    pub worst_peak_bytes: u64,
    /// Limit for what is alive at a call's end.
    pub retained_bytes: Option<u64>,
    /// Most retained.
    pub worst_retained_bytes: u64,
    /// Ceiling for what is alive of all calls together.
    #[serde(default)]
    pub bounded_bytes: Option<u64>,
    /// Most alive.
    #[serde(default)]
    pub worst_live_bytes: u64,
}

/// Which run of which program a snapshot is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Operating system's process id.
    pub pid: u32,
    /// Random for every run: two snapshots with the same value are from the same run.
    pub run_id: String,
    /// File name of the executable, without its directory.
    pub executable: String,
}

/// What was counted for one context, or a sum of contexts.
///
/// # Accuracy
/// Exact, but for what was granted in mode `sampled` (`Snapshot::sampling`): of that, allocations, reallocations and bytes granted are
/// exact for scopes and for the program; live and freed figures, and all figures of a call stack, are estimates rounded to whole
/// numbers. `samples`, beside the counters, has what their 95 % intervals follow from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Requests granted (events). Reallocations are not in it.
    pub total_allocations: u64,
    /// Reallocations granted (events).
    pub total_reallocations: u64,
    /// Blocks freed (events).
    pub total_frees: u64,
    /// Requested bytes granted: allocations, and the new size of every reallocation.
    pub total_bytes: u64,
    /// Bytes released: frees, and the old size of every reallocation.
    pub freed_bytes: u64,
    /// Bytes that reallocations copied to a new address.
    pub copied_bytes: u64,
    /// Blocks granted and not yet freed.
    pub live_blocks: u64,
    /// Requested bytes of these blocks.
    pub live_bytes: u64,
    /// Live bytes at the moment of the process peak.
    pub bytes_at_peak: u64,
}

/// One scope on one path of scopes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScopeNode {
    /// Unique in the snapshot.
    pub id: ScopeNodeId,
    /// The scope it runs inside; `None` for the root.
    pub parent: Option<ScopeNodeId>,
    /// Site in the source; 0 for the root.
    pub scope: ScopeId,
    /// Name given in the source, by default `module::function`.
    pub name: String,
    /// Source file of the scope, empty for the root.
    pub file: String,
    /// Line in it, 0 for the root.
    pub line: u32,
    /// What one of its calls is. Files of older versions do not say and are read as functions.
    #[serde(default)]
    pub kind: ScopeKind,
    /// Counted in this scope and not in a scope inside it.
    pub own: Counters,
    /// `own` plus that of every scope inside.
    pub inclusive: Counters,
    /// Samples behind the estimated part of `own`; `None` when nothing was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_samples: Option<Samples>,
    /// The same for `inclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusive_samples: Option<Samples>,
    /// Largest inclusive live bytes.
    pub peak_bytes: u64,
    /// Largest live bytes of `own`.
    pub self_peak_bytes: u64,
    /// Figures per call.
    pub calls: CallStats,
}

/// Figures of the calls of one scope node. A recursive entry is part of the outermost call, and only `entered` counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallStats {
    /// Calls begun, recursive entries included.
    pub entered: u64,
    /// Calls ended; every figure below is about these.
    pub completed: u64,
    /// Allocations of all completed calls (inclusive of callees).
    pub allocations: u64,
    /// Bytes granted in all completed calls.
    pub bytes: u64,
    /// Most allocations in one call.
    pub max_allocations: u64,
    /// Most bytes granted in one call.
    pub max_bytes: u64,
    /// Sum of the calls' peaks, for the mean.
    pub sum_peak_bytes: u64,
    /// Largest (granted - freed) since entry in any one call. This, its sum and what is retained leave out what was granted in mode `sampled`.
    pub max_peak_bytes: u64,
    /// Bytes granted in a call and alive at its end, summed over calls.
    pub retained_bytes: u64,
    /// Largest retained bytes of one call.
    pub max_retained_bytes: u64,
    /// Calls whose peak and retained are upper bounds, because no call record was free.
    pub upper_bound_calls: u64,
}

/// What one call stack allocated inside one scope node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Context {
    /// Where in the scope tree.
    pub scope: ScopeNodeId,
    /// Index into `Snapshot::stacks`; `None` when no stack was recorded (`scopes` mode, full table).
    pub stack: Option<u32>,
    /// The figures.
    pub counters: Counters,
    /// Net changes by events on blocks of earlier epochs than the one the event happened in: what a diff needs to tell
    /// "allocated since" from the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<EpochChange>,
    /// Samples behind the estimated part of `counters`; `None` when nothing was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Box<Samples>>,
    /// Of the samples of earlier epochs, those that were freed in a later one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older_samples: Vec<OlderSamples>,
    /// How blocks grew that this stack made larger; `None` when none did, and without call stacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Box<Growth>>,
    /// How soon blocks were freed, of those that were followed; `None` when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetimes: Option<Box<Lifetimes>>,
}

/// How soon blocks were freed. A sample: each thread follows 64 allocations in a row, each time it has granted about
/// another 4 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Lifetimes {
    /// Blocks that were followed.
    pub blocks: u64,
    /// Of these, those that their thread freed before it had made eight more allocations.
    pub temporaries: Temporaries,
}

/// The growth of blocks that one call stack made larger, by reallocation or by allocating a larger hash table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Growth {
    /// Bytes of hash tables that were replaced by larger ones, so had to be moved. What reallocations copied is in
    /// [`Counters::copied_bytes`].
    pub rehashed_bytes: u64,
    /// Blocks by the size that they grew to and have kept since, or had when they were freed; ascending.
    pub ended: Vec<GrowthClass>,
}

/// Blocks that grew to about the same size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GrowthClass {
    /// Size in bytes. Exact for blocks that double from the same first size; else within a factor of two.
    pub bytes: u64,
    /// How many.
    pub blocks: u64,
}

/// Net change that later events made to the blocks of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochChange {
    /// Epoch in which the blocks were first granted.
    pub epoch: u32,
    /// Blocks received by reallocation minus blocks freed or handed over.
    pub blocks: i64,
    /// The same in bytes.
    pub bytes: i64,
    /// How many of these blocks were freed in a later epoch (events): what a diff subtracts to get at its churn.
    #[serde(default)]
    pub frees: u64,
    /// Bytes that reallocations in a later epoch granted to these blocks (the new sizes).
    #[serde(default)]
    pub granted_bytes: u64,
}

/// Samples of one epoch that were freed, or reallocated, in a later one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OlderSamples {
    /// Epoch in which the samples were taken.
    pub epoch: u32,
    /// Their sum. Without `blocks_variance`.
    pub freed: SampleSum,
}

/// A return address: module and offset, and what the symbols say once resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Frame {
    /// Index into `Snapshot::modules`; `None` when the address is in no known module.
    pub module: Option<u32>,
    /// Offset from the module's load address (link-time address of the instruction after the call); the bare address when `module` is `None`.
    pub offset: u64,
    /// Source frames at this address, innermost first: inlined functions, then the physical one. Empty: not resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<Symbol>,
}

/// One source frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Symbol {
    /// Demangled, without the hash.
    pub function: String,
    /// Source path as the debug information has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Line, 0 when unknown.
    #[serde(default)]
    pub line: u32,
}

/// Executable or shared library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Module {
    /// Path as the loader has it.
    pub path: String,
    /// GNU build id in hexadecimal; where the linker wrote none, `code-` and a hash of code and line tables; empty when
    /// neither is known.
    pub build_id: String,
    /// Load address in this run.
    pub load_address: u64,
    /// Its code; `None` where the loader does not say, and in files of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// The part of an executable or a library that is loaded to be run: what tools that read the file need to find an address in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Code {
    /// Where it begins, as a link-time address: [`Module::load_address`] is to be added.
    pub address: u64,
    /// Where it begins in the file.
    pub file_offset: u64,
    /// How long it is.
    pub bytes: u64,
}

impl Module {
    /// The part of the path after the last separator.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path)
    }
}

/// What the tracker holds itself, and what it could not record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrackerStats {
    /// Memory the record side has taken from the system, counted when handed to a table.
    pub tracker_bytes: u64,
    /// Ceiling of it.
    pub tracker_bytes_limit: u64,
    /// Live bytes that the tracker's read side holds in the program's heap.
    pub own_live_bytes: u64,
    /// Live blocks of it.
    pub own_live_blocks: u64,
    /// Threads seen so far.
    pub threads: u64,
    /// Contexts in use.
    pub contexts: u64,
    /// Allocations counted under "other" because a table was full, or because they interrupted the tracker itself.
    pub other_allocations: u64,
    /// Stacks that lost their outermost frames.
    pub truncated_stacks: u64,
    /// Stacks taken on a foreign stack.
    pub foreign_stacks: u64,
    /// Frees, in the other modes, of blocks that were granted while tracking was off, or not sampled.
    pub untracked_frees: u64,
    /// Block headers that made no sense; charged nowhere.
    pub corrupt_headers: u64,
    /// Events that were seen and not recorded.
    pub dropped_events: u64,
    /// Entries into scopes that did nothing because the table of scope nodes was full: what they did is the enclosing scope's.
    #[serde(default)]
    pub refused_scopes: u64,
    /// Calls without per-call figures of their own, because too many others were open around them or memory was short. What they
    /// allocated is counted in every other figure.
    #[serde(default)]
    pub unmeasured_calls: u64,
}
