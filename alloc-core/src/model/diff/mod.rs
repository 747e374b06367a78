//! The difference of two snapshots, by site and by scope.
//!
//! Called by the user through [`SnapshotDiff::between`]; printed by `report`. Read side. Invariants: every figure of a
//! scope or of the total is the sum of contexts, so sites and scopes add up to the same totals; nothing is dropped: what
//! is in one snapshot only counts from, or to, zero. Cost: linear in contexts and frames, a hash look-up each. Leaves
//! out symbols: call `Snapshot::resolve` on both sides first, or match within one build.
#![forbid(unsafe_code)]

mod frames;
mod scopes;
mod sites;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use self::frames::FrameTable;
use self::scopes::ScopeTable;
use self::sites::SiteTable;
pub(crate) use self::sums::add_counters;
use self::sums::{Pair, Side};
use super::{Counters, Frame, Module, ProcessInfo, SampleSum, Snapshot};
use crate::inside::inside_tracker;

/// What changed from one snapshot to a later one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotDiff {
    /// How the two were matched, and what follows for the figures.
    pub basis: DiffBasis,
    /// The earlier side.
    pub before: DiffSide,
    /// The later side.
    pub after: DiffSide,
    /// Over the whole program.
    pub totals: Change,
    /// Samples behind the estimated part of `totals`; `None` when nothing was sampled, and across runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<WindowSamples>,
    /// One entry per call stack with a change, largest retained bytes first.
    pub sites: Vec<SiteDiff>,
    /// The scopes of both sides; parents come before their children, the first is the root.
    pub scopes: Vec<ScopeDiff>,
    /// Distinct frames. `SiteDiff::stack` points here.
    pub frames: Vec<Frame>,
    /// Modules of these frames, as the later side has them where it does.
    pub modules: Vec<Module>,
}

/// One of the two snapshots of a diff.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffSide {
    /// Run and program.
    pub process: ProcessInfo,
    /// Wall clock, milliseconds since 1970.
    pub taken_at_unix_ms: u64,
    /// Milliseconds since the first allocation of the process.
    pub uptime_ms: u64,
    /// See `Snapshot::epoch`.
    pub epoch: u32,
    /// Sums over its contexts.
    pub totals: Counters,
    /// Largest live bytes until then.
    pub peak_bytes: u64,
}

/// How the sites of two snapshots were matched, and how far the figures can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffBasis {
    /// What counts as the same site.
    pub matching: Matching,
    /// True when every figure is exact: one run, the right order, epochs intact, every event recorded, no samples.
    pub exact: bool,
    /// Why not, and what to know about the matching: whole sentences, lower-case, for people.
    pub notes: Vec<String>,
}

/// What counts as the same site in a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Matching {
    /// Two moments of one run: the same return addresses.
    SameRun,
    /// Two runs of one build: the same offsets in modules of the same build id.
    SameBuild,
    /// Different builds, or no call stack that would tell: the same symbols, files and lines, where a module's build id differs.
    DifferentBuild,
}

/// Change of the figures of a site, a scope or the program, after minus before.
///
/// Within one run the figures are what happened in the window. Across runs they compare two totals, and can be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Requests granted (events), reallocations not in it.
    pub allocations: i64,
    /// Reallocations granted (events).
    pub reallocations: i64,
    /// Blocks freed (events).
    pub frees: i64,
    /// Bytes granted: allocations, and the new size of every reallocation.
    pub bytes: i64,
    /// Bytes released: frees, and the old size of every reallocation.
    pub freed_bytes: i64,
    /// Bytes that reallocations copied to a new address.
    pub copied_bytes: i64,
    /// Net growth: live blocks after minus before.
    pub net_blocks: i64,
    /// Net growth in bytes.
    pub net_bytes: i64,
    /// The net growth and the turnover, told apart. `None` across runs and in the wrong order.
    pub window: Option<WindowChange>,
}

/// What became of blocks granted in the window, apart from what happened to older blocks.
///
/// `net = retained + older`, in blocks and in bytes. A block counts where it is held: a reallocation passes it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WindowChange {
    /// First granted in the window and alive at its end.
    pub retained_blocks: i64,
    /// Bytes of these.
    pub retained_bytes: i64,
    /// First granted in the window and freed in it.
    pub churn_blocks: i64,
    /// Bytes granted to blocks of the window and released in it again, by a free or by growing on.
    pub churn_bytes: i64,
    /// Net change of blocks that existed before the window: received by reallocation minus freed or handed over.
    pub older_blocks: i64,
    /// The same in bytes: a collection that was there and grew is positive here.
    pub older_bytes: i64,
}

/// The samples of a window: what the estimates of a diff follow from. See [`SampleSum::estimated_bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WindowSamples {
    /// Granted in the window.
    pub granted: SampleSum,
    /// Of these, alive at its end. A reallocation is a new grant, unlike in mode `exact`.
    pub retained: SampleSum,
    /// Freed in the window before their thread had made more than eight further allocations.
    pub temporary: SampleSum,
}

impl WindowSamples {
    /// Adds other samples.
    pub fn add(&mut self, more: &Self) {
        self.granted.add(&more.granted);
        self.retained.add(&more.retained);
        self.temporary.add(&more.temporary);
    }
}

/// Change at one call stack, over all scopes it was seen in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SiteDiff {
    /// Indices into `SnapshotDiff::frames`, innermost first; `None` when no stack was recorded.
    pub stack: Option<Vec<u32>>,
    /// The change.
    pub change: Change,
    /// Samples behind the estimated part of `change`; `None` when nothing was sampled, and across runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<WindowSamples>,
}

/// Change of one scope node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScopeDiff {
    /// Index into `SnapshotDiff::scopes`; `None` for the root.
    pub parent: Option<u32>,
    /// Name given in the source.
    pub name: String,
    /// Source file of the scope, empty for the root.
    pub file: String,
    /// Line in it, 0 for the root.
    pub line: u32,
    /// Without the scopes inside it.
    pub own: Change,
    /// With them.
    pub inclusive: Change,
    /// Samples behind the estimated part of `own`; `None` when nothing was sampled, and across runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_samples: Option<WindowSamples>,
    /// The same for `inclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusive_samples: Option<WindowSamples>,
    /// Calls begun, after minus before.
    pub entered: i64,
    /// Calls ended; the figures below are about these.
    pub completed: i64,
    /// Allocations of the calls that ended.
    pub call_allocations: i64,
    /// Bytes granted in them.
    pub call_bytes: i64,
    /// Sum of their peaks.
    pub call_peak_bytes: i64,
    /// Bytes granted in a call and alive at its end, summed.
    pub call_retained_bytes: i64,
    /// Largest inclusive live bytes until `before`.
    pub peak_bytes_before: u64,
    /// Largest inclusive live bytes until `after`.
    pub peak_bytes_after: u64,
}

impl Change {
    /// True when nothing changed.
    pub fn is_zero(&self) -> bool {
        let still = |window: WindowChange| window == WindowChange::default();
        self.window.is_none_or(still) && Self { window: None, ..*self } == Self::default()
    }

    /// Adds another change, figure by figure. Wraps rather than panics: a file may hold anything.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.allocations, other.allocations),
            (&mut self.reallocations, other.reallocations),
            (&mut self.frees, other.frees),
            (&mut self.bytes, other.bytes),
            (&mut self.freed_bytes, other.freed_bytes),
            (&mut self.copied_bytes, other.copied_bytes),
            (&mut self.net_blocks, other.net_blocks),
            (&mut self.net_bytes, other.net_bytes),
        ] {
            *sum = sum.wrapping_add(more);
        }
        let Some(theirs) = other.window else { return };
        let ours = self.window.get_or_insert_default();
        for (sum, more) in [
            (&mut ours.retained_blocks, theirs.retained_blocks),
            (&mut ours.retained_bytes, theirs.retained_bytes),
            (&mut ours.churn_blocks, theirs.churn_blocks),
            (&mut ours.churn_bytes, theirs.churn_bytes),
            (&mut ours.older_blocks, theirs.older_blocks),
            (&mut ours.older_bytes, theirs.older_bytes),
        ] {
            *sum = sum.wrapping_add(more);
        }
    }
}

impl SnapshotDiff {
    /// Compares two snapshots, of one run or of two.
    ///
    /// Across runs, sites match by module build id and offset; where a build id differs, by function, file and line, and
    /// [`DiffBasis::notes`] says so. Resolve both snapshots before comparing different builds.
    ///
    /// # Accuracy
    /// Within one run every figure is exact for the instants of the two snapshots, unless [`DiffBasis::exact`] is false.
    /// Events on other threads while a snapshot was being read may fall on either side of it.
    ///
    /// # Overhead
    /// Linear in the contexts and frames of both.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        inside_tracker(|| Self::compute(before, after))
    }

    fn compute(before: &Snapshot, after: &Snapshot) -> Self {
        let matching = matching(before, after);
        let wrong_order = matching == Matching::SameRun
            && (after.epoch, after.uptime_ms, after.taken_at_unix_ms)
                < (before.epoch, before.uptime_ms, before.taken_at_unix_ms);
        // Which epochs are "older"; `None` when there is no window to speak of.
        let cut = (matching == Matching::SameRun && !wrong_order).then_some(before.epoch);

        // The later side goes first: where both describe the same thing, its words are kept.
        let mut frames = FrameTable::new(matching, before, after);
        let mut scopes = ScopeTable::new(matching);
        let mut sites = SiteTable::default();
        let mut own: Vec<Pair> = Vec::new();
        for (side, snapshot) in [(Side::After, after), (Side::Before, before)] {
            let frame_of: Vec<u32> = snapshot
                .frames
                .iter()
                .map(|frame| frames.intern(snapshot, frame))
                .collect();
            let scope_of = scopes.enter(side, snapshot);
            let mut site_of: Vec<Option<usize>> = vec![None; snapshot.stacks.len()];
            own.resize_with(scopes.nodes.len(), Pair::default);
            for context in &snapshot.contexts {
                let site = match context
                    .stack
                    .and_then(|at| Some((at as usize, snapshot.stacks.get(at as usize)?)))
                {
                    None => sites.intern(None),
                    Some((at, stack)) => *site_of[at].get_or_insert_with(|| {
                        let known = stack
                            .frames
                            .iter()
                            .filter_map(|&frame| frame_of.get(frame as usize).copied());
                        sites.intern(Some(known.collect()))
                    }),
                };
                sites.figures[site].side(side).add(context, cut);
                let scope = scope_of.get(&context.scope).copied().unwrap_or(0);
                own[scope].side(side).add(context, cut);
            }
            if snapshot.sampling.is_some() {
                // Call stacks are estimates then, and scopes know better.
                own.iter_mut().for_each(|pair| pair.side(side).replace_counters());
                for scope in &snapshot.scopes {
                    if let Some(&at) = scope_of.get(&scope.id) {
                        add_counters(&mut own[at].side(side).counters, &scope.own);
                    }
                }
            }
        }

        let has_window = cut.is_some();
        let mut totals = Pair::default();
        for pair in &own {
            totals.before.add_sums(&pair.before);
            totals.after.add_sums(&pair.after);
        }
        let own_samples: Vec<_> = own.iter().map(|pair| pair.window_samples(has_window)).collect();
        let own: Vec<Change> = own.iter().map(|pair| pair.change(has_window)).collect();
        let notes = notes(before, after, matching, wrong_order, &frames);
        let is_sampled = before.sampling.is_some() || after.sampling.is_some();
        let inexact_epochs = has_window && !(before.epochs_exact && after.epochs_exact);
        let is_incomplete = after.was_off || after.tracker.dropped_events > before.tracker.dropped_events;
        Self {
            basis: DiffBasis {
                matching,
                exact: has_window && !inexact_epochs && !is_sampled && !is_incomplete,
                notes,
            },
            before: DiffSide::of(before, totals.before.counters),
            after: DiffSide::of(after, totals.after.counters),
            totals: totals.change(has_window),
            samples: totals.window_samples(has_window),
            sites: sites.finish(has_window),
            scopes: scopes.finish(&own, &own_samples),
            frames: frames.frames,
            modules: frames.modules,
        }
    }
}

impl DiffSide {
    fn of(snapshot: &Snapshot, totals: Counters) -> Self {
        Self {
            process: snapshot.process.clone(),
            taken_at_unix_ms: snapshot.taken_at_unix_ms,
            uptime_ms: snapshot.uptime_ms,
            epoch: snapshot.epoch,
            totals,
            peak_bytes: snapshot.peak_bytes,
        }
    }
}

fn matching(before: &Snapshot, after: &Snapshot) -> Matching {
    if before.process.run_id == after.process.run_id {
        return Matching::SameRun;
    }
    let known: HashSet<&str> = build_ids(before).collect();
    let used = |snapshot: &Snapshot| {
        let mut used = vec![false; snapshot.modules.len()];
        for frame in &snapshot.frames {
            if let Some(flag) = frame.module.and_then(|module| used.get_mut(module as usize)) {
                *flag = true;
            }
        }
        used
    };
    let matches = |module: &Module| !module.build_id.is_empty() && known.contains(module.build_id.as_str());
    let used = used(after);
    let mut modules = used.iter().zip(&after.modules).filter(|(used, _)| **used).peekable();
    // Without a call stack nothing says which build it is.
    if modules.peek().is_some() && modules.all(|(_, module)| matches(module)) {
        Matching::SameBuild
    } else {
        Matching::DifferentBuild
    }
}

fn build_ids(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    snapshot
        .modules
        .iter()
        .map(|module| module.build_id.as_str())
        .filter(|id| !id.is_empty())
}

fn notes(
    before: &Snapshot,
    after: &Snapshot,
    matching: Matching,
    wrong_order: bool,
    frames: &FrameTable<'_>,
) -> Vec<String> {
    let mut notes = Vec::new();
    if wrong_order {
        notes.push(
            "the snapshots are in the wrong order: the figures run backwards, and what was retained cannot be told"
                .to_owned(),
        );
    }
    match matching {
        Matching::SameRun => {
            let epochs_exact = before.epochs_exact && after.epochs_exact;
            if !wrong_order && !epochs_exact {
                notes.push(
                    "epochs ran out, or the table of survivors was full: retained, churn and older are approximate"
                        .to_owned(),
                );
            }
        }
        Matching::SameBuild => notes.push(
            "two runs of one build, matched by address: the figures compare totals since each start, and what was \
             retained cannot be told"
                .to_owned(),
        ),
        Matching::DifferentBuild => {
            let runs = if after.frames.is_empty() {
                "two runs without call stacks, so that the builds cannot be compared; scopes are matched by name and file"
            } else {
                "two runs of different builds"
            };
            notes.push(format!(
                "{runs}: the figures compare totals since each start, and what was retained cannot be told"
            ));
            if !frames.strangers.is_empty() {
                notes.push(format!(
                    "sites in {} are matched by function, file and line: code that moved counts as another site",
                    frames.strangers.join(", ")
                ));
            }
        }
    }
    if frames.unresolved > 0 {
        notes.push(format!(
            "{} frames have no symbols and cannot be matched across these builds: resolve both snapshots before \
             saving them",
            frames.unresolved
        ));
    }
    if before.sampling.is_some() || after.sampling.is_some() {
        notes.push(
            "estimated from samples: all figures of call stacks, and what is alive, retained, freed or churned; allocations and bytes of scopes \
             and of the program are exact"
                .to_owned(),
        );
    }
    if before.was_off || after.was_off {
        notes.push("tracking was off for a time: blocks granted then are in no figure".to_owned());
    }
    if after.tracker.dropped_events > 0 {
        notes.push(format!(
            "{} events were seen and not recorded",
            after.tracker.dropped_events
        ));
    }
    notes
}
