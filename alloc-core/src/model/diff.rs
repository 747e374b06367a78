//! The difference of two snapshots, by site and by scope.
//!
//! Called by the user through [`SnapshotDiff::between`]; printed by `report`. Read side. Invariants: every figure of a
//! scope or of the total is the sum of contexts, so sites and scopes add up to the same totals; nothing is dropped: what
//! is in one snapshot only counts from, or to, zero. Cost: linear in contexts and frames, a hash look-up each. Leaves
//! out symbols: call `Snapshot::resolve` on both sides first, or match within one build.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{CallStats, Context, Counters, Frame, Module, ProcessInfo, ScopeNodeId, Snapshot};
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
    /// True when every figure is exact: one run, the right order, epochs intact.
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
    /// Different builds: the same symbols, files and lines, where a module's build id differs.
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

/// Change at one call stack, over all scopes it was seen in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SiteDiff {
    /// Indices into `SnapshotDiff::frames`, innermost first; `None` when no stack was recorded.
    pub stack: Option<Vec<u32>>,
    /// The change.
    pub change: Change,
}

/// Change of one scope node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        }

        let has_window = cut.is_some();
        let mut totals = Pair::default();
        for pair in &own {
            totals.before.add_sums(&pair.before);
            totals.after.add_sums(&pair.after);
        }
        let own: Vec<Change> = own.iter().map(|pair| pair.change(has_window)).collect();
        let notes = notes(before, after, matching, wrong_order, &frames);
        let inexact_epochs = has_window && !(before.epochs_exact && after.epochs_exact);
        Self {
            basis: DiffBasis {
                matching,
                exact: has_window && !inexact_epochs,
                notes,
            },
            before: DiffSide::of(before, totals.before.counters),
            after: DiffSide::of(after, totals.after.counters),
            totals: totals.change(has_window),
            sites: sites.finish(has_window),
            scopes: scopes.finish(&own),
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

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// Sums of contexts of one snapshot.
#[derive(Clone, Copy, Default)]
struct Sums {
    counters: Counters,
    /// Over the epochs up to the cut.
    older_blocks: i64,
    older_bytes: i64,
    older_frees: i64,
    older_granted_bytes: i64,
}

impl Sums {
    fn add(&mut self, context: &Context, cut: Option<u32>) {
        let mut sums = Self {
            counters: context.counters,
            ..Self::default()
        };
        for change in context
            .older
            .iter()
            .filter(|change| cut.is_some_and(|cut| change.epoch <= cut))
        {
            sums.add_older(
                change.blocks,
                change.bytes,
                change.frees as i64,
                change.granted_bytes as i64,
            );
        }
        self.add_sums(&sums);
    }

    fn add_sums(&mut self, other: &Self) {
        add_counters(&mut self.counters, &other.counters);
        self.add_older(
            other.older_blocks,
            other.older_bytes,
            other.older_frees,
            other.older_granted_bytes,
        );
    }

    fn add_older(&mut self, blocks: i64, bytes: i64, frees: i64, granted_bytes: i64) {
        self.older_blocks = self.older_blocks.wrapping_add(blocks);
        self.older_bytes = self.older_bytes.wrapping_add(bytes);
        self.older_frees = self.older_frees.wrapping_add(frees);
        self.older_granted_bytes = self.older_granted_bytes.wrapping_add(granted_bytes);
    }
}

/// Adds figure by figure. Wraps rather than panics: a file may hold anything.
pub(crate) fn add_counters(sum: &mut Counters, more: &Counters) {
    let Counters {
        total_allocations,
        total_reallocations,
        total_frees,
        total_bytes,
        freed_bytes,
        copied_bytes,
        live_blocks,
        live_bytes,
        bytes_at_peak,
    } = more;
    for (sum, more) in [
        (&mut sum.total_allocations, total_allocations),
        (&mut sum.total_reallocations, total_reallocations),
        (&mut sum.total_frees, total_frees),
        (&mut sum.total_bytes, total_bytes),
        (&mut sum.freed_bytes, freed_bytes),
        (&mut sum.copied_bytes, copied_bytes),
        (&mut sum.live_blocks, live_blocks),
        (&mut sum.live_bytes, live_bytes),
        (&mut sum.bytes_at_peak, bytes_at_peak),
    ] {
        *sum = sum.wrapping_add(*more);
    }
}

/// The same site or scope on both sides.
#[derive(Clone, Copy, Default)]
struct Pair {
    before: Sums,
    after: Sums,
}

impl Pair {
    fn side(&mut self, side: Side) -> &mut Sums {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }

    fn change(&self, has_window: bool) -> Change {
        let (b, a) = (&self.before.counters, &self.after.counters);
        let mut change = Change {
            allocations: minus(a.total_allocations, b.total_allocations),
            reallocations: minus(a.total_reallocations, b.total_reallocations),
            frees: minus(a.total_frees, b.total_frees),
            bytes: minus(a.total_bytes, b.total_bytes),
            freed_bytes: minus(a.freed_bytes, b.freed_bytes),
            copied_bytes: minus(a.copied_bytes, b.copied_bytes),
            net_blocks: minus(a.live_blocks, b.live_blocks),
            net_bytes: minus(a.live_bytes, b.live_bytes),
            window: None,
        };
        if has_window {
            let older_blocks = self.after.older_blocks.wrapping_sub(self.before.older_blocks);
            let older_bytes = self.after.older_bytes.wrapping_sub(self.before.older_bytes);
            let older_frees = self.after.older_frees.wrapping_sub(self.before.older_frees);
            let older_granted = self
                .after
                .older_granted_bytes
                .wrapping_sub(self.before.older_granted_bytes);
            let retained_bytes = change.net_bytes.wrapping_sub(older_bytes);
            change.window = Some(WindowChange {
                retained_blocks: change.net_blocks.wrapping_sub(older_blocks),
                retained_bytes,
                churn_blocks: change.frees.wrapping_sub(older_frees),
                churn_bytes: change.bytes.wrapping_sub(older_granted).wrapping_sub(retained_bytes),
                older_blocks,
                older_bytes,
            });
        }
        change
    }
}

/// Difference of two counters that count up, as a signed figure.
fn minus(after: u64, before: u64) -> i64 {
    after.wrapping_sub(before) as i64
}

fn matching(before: &Snapshot, after: &Snapshot) -> Matching {
    if before.process.run_id == after.process.run_id {
        return Matching::SameRun;
    }
    let known: HashMap<&str, ()> = build_ids(before).map(|id| (id, ())).collect();
    let used = |snapshot: &Snapshot| {
        let mut used = vec![false; snapshot.modules.len()];
        for frame in &snapshot.frames {
            if let Some(flag) = frame.module.and_then(|module| used.get_mut(module as usize)) {
                *flag = true;
            }
        }
        used
    };
    let matches = |module: &Module| !module.build_id.is_empty() && known.contains_key(module.build_id.as_str());
    let all_match = used(after)
        .iter()
        .zip(&after.modules)
        .all(|(used, module)| !used || matches(module));
    if all_match {
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
            notes.push(
                "two runs of different builds: the figures compare totals since each start, and what was retained \
                 cannot be told"
                    .to_owned(),
            );
            notes.push(format!(
                "sites in {} are matched by function, file and line: code that moved counts as another site",
                frames.strangers.join(", ")
            ));
        }
    }
    if frames.unresolved > 0 {
        notes.push(format!(
            "{} frames have no symbols and cannot be matched across these builds: resolve both snapshots before \
             saving them",
            frames.unresolved
        ));
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

/// What makes two frames the same. The string slices borrow from the snapshots.
#[derive(PartialEq, Eq, Hash)]
enum FrameKey<'a> {
    /// Module by load address, path and build id: one run.
    Address(u64, &'a str, &'a str, u64),
    /// Build id and offset: one build.
    Build(&'a str, u64),
    /// Function, file and line of each source frame.
    Source(Vec<(&'a str, &'a str, u32)>),
    /// Nothing is known that holds across builds: numbered, and equal to itself only.
    Unknown(usize),
}

/// The frames of both snapshots in one table.
struct FrameTable<'a> {
    matching: Matching,
    /// Build ids that both sides have.
    shared: HashMap<&'a str, ()>,
    /// File names of modules that only match by source, for the notes.
    strangers: Vec<String>,
    /// Frames that could not be matched for want of symbols.
    unresolved: usize,
    index: HashMap<FrameKey<'a>, u32>,
    frames: Vec<Frame>,
    modules: Vec<Module>,
    module_index: HashMap<(&'a str, &'a str), u32>,
}

impl<'a> FrameTable<'a> {
    fn new(matching: Matching, before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let known: HashMap<&str, ()> = build_ids(before).map(|id| (id, ())).collect();
        Self {
            matching,
            shared: build_ids(after)
                .filter(|id| known.contains_key(id))
                .map(|id| (id, ()))
                .collect(),
            strangers: Vec::new(),
            unresolved: 0,
            index: HashMap::new(),
            frames: Vec::new(),
            modules: Vec::new(),
            module_index: HashMap::new(),
        }
    }

    fn intern(&mut self, snapshot: &'a Snapshot, frame: &'a Frame) -> u32 {
        let module = frame.module.and_then(|module| snapshot.modules.get(module as usize));
        let key = self.key(module, frame);
        let next = self.frames.len() as u32;
        let at = *self.index.entry(key).or_insert(next);
        if at == next {
            let module = module.map(|module| self.intern_module(module));
            self.frames.push(Frame {
                module,
                offset: frame.offset,
                symbols: frame.symbols.clone(),
            });
        } else if self.frames[at as usize].symbols.is_empty() {
            self.frames[at as usize].symbols.clone_from(&frame.symbols);
        }
        at
    }

    fn key(&mut self, module: Option<&'a Module>, frame: &'a Frame) -> FrameKey<'a> {
        if self.matching == Matching::SameRun {
            let (address, path, build_id) =
                module.map_or((0, "", ""), |m| (m.load_address, m.path.as_str(), m.build_id.as_str()));
            return FrameKey::Address(address, path, build_id, frame.offset);
        }
        if let Some(module) = module.filter(|module| self.shared.contains_key(module.build_id.as_str())) {
            return FrameKey::Build(&module.build_id, frame.offset);
        }
        let name = module.map_or("no module", |module| file_name(&module.path));
        if !self.strangers.iter().any(|known| known == name) {
            self.strangers.push(name.to_owned());
        }
        if frame.symbols.is_empty() {
            self.unresolved += 1;
            return FrameKey::Unknown(self.unresolved);
        }
        FrameKey::Source(
            frame
                .symbols
                .iter()
                .map(|s| (s.function.as_str(), s.file.as_str(), s.line))
                .collect(),
        )
    }

    fn intern_module(&mut self, module: &'a Module) -> u32 {
        let next = self.modules.len() as u32;
        let at = *self
            .module_index
            .entry((&module.path, &module.build_id))
            .or_insert(next);
        if at == next {
            self.modules.push(module.clone());
        }
        at
    }
}

/// The part of a path after the last separator.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// The call stacks of both snapshots in one table.
#[derive(Default)]
struct SiteTable {
    index: HashMap<Option<Vec<u32>>, usize>,
    figures: Vec<Pair>,
}

impl SiteTable {
    fn intern(&mut self, stack: Option<Vec<u32>>) -> usize {
        let next = self.figures.len();
        let at = *self.index.entry(stack).or_insert(next);
        if at == next {
            self.figures.push(Pair::default());
        }
        at
    }

    fn finish(self, has_window: bool) -> Vec<SiteDiff> {
        let mut sites: Vec<SiteDiff> = self
            .index
            .into_iter()
            .map(|(stack, at)| SiteDiff {
                stack,
                change: self.figures[at].change(has_window),
            })
            .filter(|site| !site.change.is_zero())
            .collect();
        // The stack at the end makes the order total: the same snapshots always give the same text.
        sites.sort_unstable_by(|a, b| {
            let rank = |site: &SiteDiff| {
                let retained = site
                    .change
                    .window
                    .map_or(site.change.net_bytes, |window| window.retained_bytes);
                (retained, site.change.bytes, site.change.allocations)
            };
            rank(b).cmp(&rank(a)).then_with(|| a.stack.cmp(&b.stack))
        });
        sites
    }
}

/// The scope trees of both snapshots in one.
struct ScopeTable<'a> {
    matching: Matching,
    by_id: HashMap<ScopeNodeId, usize>,
    by_path: HashMap<(Option<usize>, &'a str), usize>,
    nodes: Vec<ScopePair<'a>>,
}

struct ScopePair<'a> {
    parent: Option<usize>,
    name: &'a str,
    file: &'a str,
    line: u32,
    before: CallStats,
    after: CallStats,
    peak_before: u64,
    peak_after: u64,
}

impl<'a> ScopeTable<'a> {
    fn new(matching: Matching) -> Self {
        Self {
            matching,
            by_id: HashMap::new(),
            by_path: HashMap::new(),
            nodes: Vec::new(),
        }
    }

    /// Adds one side's scopes; returns where each of its ids went.
    fn enter(&mut self, side: Side, snapshot: &'a Snapshot) -> HashMap<ScopeNodeId, usize> {
        let mut places: HashMap<ScopeNodeId, usize> = HashMap::with_capacity(snapshot.scopes.len());
        if snapshot.scopes.is_empty() && self.nodes.is_empty() {
            self.nodes.push(ScopePair::new(None, "", "", 0));
        }
        for scope in &snapshot.scopes {
            let parent = scope.parent.map(|parent| places.get(&parent).copied().unwrap_or(0));
            let next = self.nodes.len();
            let at = match self.matching {
                Matching::SameRun => *self.by_id.entry(scope.id).or_insert(next),
                _ => *self.by_path.entry((parent, &scope.name)).or_insert(next),
            };
            if at == next {
                self.nodes
                    .push(ScopePair::new(parent, &scope.name, &scope.file, scope.line));
            }
            let node = &mut self.nodes[at];
            let (calls, peak) = match side {
                Side::Before => (&mut node.before, &mut node.peak_before),
                Side::After => (&mut node.after, &mut node.peak_after),
            };
            add_calls(calls, &scope.calls);
            *peak = (*peak).max(scope.peak_bytes);
            places.insert(scope.id, at);
        }
        places
    }

    fn finish(self, own: &[Change]) -> Vec<ScopeDiff> {
        let mut inclusive = own.to_vec();
        for at in (1..self.nodes.len()).rev() {
            // A parent comes before its children, so its sum is complete when its turn comes.
            if let Some(parent) = self.nodes[at].parent {
                let child = inclusive[at];
                inclusive[parent].add(&child);
            }
        }
        let figures = own.iter().zip(inclusive);
        let describe = |(node, (own, inclusive)): (ScopePair<'_>, (&Change, Change))| ScopeDiff {
            parent: node.parent.map(|parent| parent as u32),
            name: node.name.to_owned(),
            file: node.file.to_owned(),
            line: node.line,
            own: *own,
            inclusive,
            entered: minus(node.after.entered, node.before.entered),
            completed: minus(node.after.completed, node.before.completed),
            call_allocations: minus(node.after.allocations, node.before.allocations),
            call_bytes: minus(node.after.bytes, node.before.bytes),
            call_peak_bytes: minus(node.after.sum_peak_bytes, node.before.sum_peak_bytes),
            call_retained_bytes: minus(node.after.retained_bytes, node.before.retained_bytes),
            peak_bytes_before: node.peak_before,
            peak_bytes_after: node.peak_after,
        };
        self.nodes.into_iter().zip(figures).map(describe).collect()
    }
}

impl<'a> ScopePair<'a> {
    fn new(parent: Option<usize>, name: &'a str, file: &'a str, line: u32) -> Self {
        let none = CallStats::default();
        Self {
            parent,
            name,
            file,
            line,
            before: none,
            after: none,
            peak_before: 0,
            peak_after: 0,
        }
    }
}

/// Adds the sums among the call figures, which are the only ones a diff uses.
fn add_calls(sum: &mut CallStats, more: &CallStats) {
    for (sum, more) in [
        (&mut sum.entered, more.entered),
        (&mut sum.completed, more.completed),
        (&mut sum.allocations, more.allocations),
        (&mut sum.bytes, more.bytes),
        (&mut sum.sum_peak_bytes, more.sum_peak_bytes),
        (&mut sum.retained_bytes, more.retained_bytes),
    ] {
        *sum = sum.wrapping_add(more);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{EpochChange, fixture};
    use super::*;

    /// Small and good enough: xorshift64*.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
        }
    }

    /// One grant of bytes to a block: by its allocation or by a reallocation. The history is the naive model.
    struct Grant {
        context: usize,
        block: usize,
        bytes: u64,
        /// Time of the grant, and of its end by a free or by the next reallocation.
        from: u64,
        until: Option<u64>,
        /// It ended in a free.
        freed: bool,
        is_reallocation: bool,
    }

    const CONTEXTS: usize = 6;

    /// A program with `CONTEXTS` contexts, recorded twice: as the tracker does it, and as a list of grants.
    #[derive(Default)]
    struct Program {
        time: u64,
        epoch: u32,
        grants: Vec<Grant>,
        /// Grant that holds each living block, with the epoch and time of the block's first grant.
        living: Vec<(usize, u32)>,
        born: Vec<u64>,
        counters: [Counters; CONTEXTS],
        older: [BTreeMap<u32, EpochChange>; CONTEXTS],
    }

    impl Program {
        fn older(&mut self, context: usize, born: u32) -> Option<&mut EpochChange> {
            let none = EpochChange {
                epoch: born,
                blocks: 0,
                bytes: 0,
                frees: 0,
                granted_bytes: 0,
            };
            (self.epoch > born).then(|| self.older[context].entry(born).or_insert(none))
        }

        fn grant(&mut self, context: usize, block: usize, born: u32, bytes: u64, is_reallocation: bool) {
            let counters = &mut self.counters[context];
            if is_reallocation {
                counters.total_reallocations += 1;
            } else {
                counters.total_allocations += 1;
            }
            counters.total_bytes += bytes;
            counters.live_blocks += 1;
            counters.live_bytes += bytes;
            if let Some(older) = self.older(context, born) {
                older.blocks += 1;
                older.bytes += bytes as i64;
                older.granted_bytes += bytes;
            }
            self.living.push((self.grants.len(), born));
            let from = self.time;
            self.grants.push(Grant {
                context,
                block,
                bytes,
                from,
                until: None,
                freed: false,
                is_reallocation,
            });
        }

        /// Ends a random block's grant; returns block and epoch of birth.
        fn end(&mut self, at: usize, freed: bool) -> (usize, u32) {
            let (grant, born) = self.living.swap_remove(at);
            let time = self.time;
            let grant = &mut self.grants[grant];
            (grant.until, grant.freed) = (Some(time), freed);
            let (context, bytes, block) = (grant.context, grant.bytes, grant.block);
            let counters = &mut self.counters[context];
            counters.total_frees += u64::from(freed);
            counters.freed_bytes += bytes;
            counters.live_blocks -= 1;
            counters.live_bytes -= bytes;
            if let Some(older) = self.older(context, born) {
                older.blocks -= 1;
                older.bytes -= bytes as i64;
                older.frees += u64::from(freed);
            }
            (block, born)
        }

        fn step(&mut self, random: &mut Random) {
            self.time += 1;
            let context = random.below(CONTEXTS as u64) as usize;
            let bytes = 1 + random.below(1000);
            match random.below(10) {
                0..5 => {
                    let (block, born) = (self.born.len(), self.epoch);
                    self.born.push(self.time);
                    self.grant(context, block, born, bytes, false);
                }
                choice if !self.living.is_empty() => {
                    let at = random.below(self.living.len() as u64) as usize;
                    let (block, born) = self.end(at, choice < 8);
                    if choice >= 8 {
                        self.grant(context, block, born, bytes, true);
                    }
                }
                _ => {}
            }
        }

        /// Contexts 0 to 3 are on stacks 0 to 3 in the root; 4 and 5 are on stacks 0 and 1 in the scope `inner`.
        fn take(&mut self) -> (u64, Snapshot) {
            let mut snapshot = fixture::empty();
            snapshot.epoch = self.epoch;
            snapshot.uptime_ms = self.time;
            snapshot.modules.push(fixture::module("/bin/app", "b", 0x1000));
            snapshot.frames = (0..4).map(|at| fixture::frame(0, u64::from(at), "f", at)).collect();
            snapshot.stacks = (0..4).map(|at| fixture::stack(&[at])).collect();
            snapshot.scopes.push(fixture::scope(3, Some(1), "inner"));
            for context in 0..CONTEXTS {
                let (scope, stack) = place(context);
                let mut entry = fixture::context(if scope == 0 { 1 } else { 3 }, Some(stack as u32), 0);
                entry.counters = self.counters[context];
                entry.older = self.older[context].values().copied().collect();
                snapshot.contexts.push(entry);
            }
            self.epoch += 1;
            (self.time, snapshot)
        }

        /// The change in a window `(from, until]`, found by looking at every grant.
        fn brute_force(&self, from: u64, until: u64, counts: impl Fn(usize) -> bool) -> Change {
            let inside = |time: u64| from < time && time <= until;
            let mut change = Change {
                window: Some(WindowChange::default()),
                ..Change::default()
            };
            let window = change.window.as_mut().unwrap();
            for grant in self.grants.iter().filter(|grant| counts(grant.context)) {
                let bytes = grant.bytes as i64;
                let alive = |time: u64| grant.from <= time && grant.until.is_none_or(|end| end > time);
                let ended = grant.until.is_some_and(inside);
                if inside(grant.from) {
                    change.bytes += bytes;
                    if grant.is_reallocation {
                        change.reallocations += 1;
                    } else {
                        change.allocations += 1;
                    }
                }
                if ended {
                    change.freed_bytes += bytes;
                    change.frees += i64::from(grant.freed);
                }
                let net = i64::from(alive(until)) - i64::from(alive(from));
                change.net_blocks += net;
                change.net_bytes += net * bytes;
                if inside(self.born[grant.block]) {
                    if alive(until) {
                        window.retained_blocks += 1;
                        window.retained_bytes += bytes;
                    }
                    if ended {
                        window.churn_blocks += i64::from(grant.freed);
                        window.churn_bytes += bytes;
                    }
                } else {
                    window.older_blocks += net;
                    window.older_bytes += net * bytes;
                }
            }
            change
        }
    }

    /// Scope index and stack of a context.
    fn place(context: usize) -> (usize, usize) {
        if context < 4 { (0, context) } else { (1, context - 4) }
    }

    #[test]
    fn random_programs_agree_with_looking_at_every_grant() {
        for seed in 1..=40_u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut program = Program {
                epoch: 1,
                ..Program::default()
            };
            let mut taken = Vec::new();
            for _ in 0..400 {
                program.step(&mut random);
                if random.below(60) == 0 {
                    taken.push(program.take());
                }
            }
            taken.push(program.take());
            for (at, (from, before)) in taken.iter().enumerate() {
                for (until, after) in &taken[at..] {
                    let diff = SnapshotDiff::between(before, after);
                    assert!(diff.basis.exact && diff.basis.notes.is_empty());
                    assert_eq!(diff.totals, program.brute_force(*from, *until, |_| true), "seed {seed}");
                    for stack in 0..4_usize {
                        let frame = diff
                            .frames
                            .iter()
                            .position(|frame| frame.offset == stack as u64)
                            .unwrap() as u32;
                        let expected = program.brute_force(*from, *until, |context| place(context).1 == stack);
                        let site = diff.sites.iter().find(|site| site.stack.as_deref() == Some(&[frame]));
                        match site {
                            Some(site) => assert_eq!(site.change, expected, "seed {seed} stack {stack}"),
                            None => assert!(expected.is_zero(), "seed {seed} stack {stack}: {expected:?}"),
                        }
                    }
                    let inner = program.brute_force(*from, *until, |context| place(context).0 == 1);
                    assert_eq!(
                        (diff.scopes[1].own, diff.scopes[1].inclusive),
                        (inner, inner),
                        "seed {seed}"
                    );
                    let root = program.brute_force(*from, *until, |context| place(context).0 == 0);
                    assert_eq!(
                        (diff.scopes[0].own, diff.scopes[0].inclusive),
                        (root, diff.totals),
                        "seed {seed}"
                    );
                }
            }
        }
    }

    /// Two snapshots of one context each, of different runs.
    fn two_runs(build_before: &str, build_after: &str) -> (Snapshot, Snapshot) {
        let make = |run: &str, build: &str, load: u64, live: u64| {
            let mut snapshot = fixture::empty();
            snapshot.process.run_id = run.to_owned();
            snapshot.modules.push(fixture::module("/bin/app", build, load));
            snapshot.frames = vec![fixture::frame(0, 0x10, "f", 3), fixture::frame(0, 0x20, "main", 9)];
            snapshot.stacks = vec![fixture::stack(&[0, 1])];
            snapshot.scopes.push(fixture::scope(3, Some(1), "inner"));
            snapshot.contexts = vec![fixture::context(3, Some(0), live)];
            snapshot
        };
        (
            make("r1", build_before, 0x1000, 100),
            make("r2", build_after, 0x9000, 160),
        )
    }

    #[test]
    fn two_runs_of_one_build_match_by_offset_despite_other_addresses_and_lines() {
        let (mut before, mut after) = two_runs("b", "b");
        // The tables may be in any order, and one side need not be resolved.
        before.frames.reverse();
        before.stacks[0].frames = vec![1, 0];
        after.frames.iter_mut().for_each(|frame| frame.symbols.clear());
        after.scopes[1].id = ScopeNodeId(44);
        after.contexts[0].scope = ScopeNodeId(44);
        let diff = SnapshotDiff::between(&before, &after);
        assert_eq!((diff.basis.matching, diff.basis.exact), (Matching::SameBuild, false));
        assert_eq!(diff.sites.len(), 1);
        assert_eq!(
            (diff.sites[0].change.net_bytes, diff.sites[0].change.window),
            (60, None)
        );
        assert_eq!(
            diff.frames[0].symbols[0].function, "f",
            "symbols of the other side serve"
        );
        assert_eq!(diff.scopes[1].own.net_bytes, 60);
        assert!(
            diff.basis.notes[0].contains("matched by address"),
            "{:?}",
            diff.basis.notes
        );
    }

    #[test]
    fn different_builds_match_by_symbol_and_line_and_say_so() {
        let (before, mut after) = two_runs("b", "c");
        for frame in &mut after.frames {
            frame.offset += 0x700;
        }
        let diff = SnapshotDiff::between(&before, &after);
        assert_eq!(diff.basis.matching, Matching::DifferentBuild);
        assert_eq!((diff.sites.len(), diff.sites[0].change.net_bytes), (1, 60));
        assert!(
            diff.basis
                .notes
                .iter()
                .any(|note| note.contains("sites in app are matched by function, file and"))
        );

        // A line that moved is another site; nothing is lost.
        after.frames[0].symbols[0].line = 4;
        let diff = SnapshotDiff::between(&before, &after);
        let mut net: Vec<i64> = diff.sites.iter().map(|site| site.change.net_bytes).collect();
        net.sort_unstable();
        assert_eq!((net, diff.totals.net_bytes), (vec![-100, 160], 60));

        // Without symbols there is nothing to match by, and equal offsets mean nothing.
        let (mut before, after) = two_runs("b", "");
        before.frames[0].symbols.clear();
        let diff = SnapshotDiff::between(&before, &after);
        assert_eq!(diff.sites.len(), 2);
        assert!(
            diff.basis
                .notes
                .iter()
                .any(|note| note.starts_with("1 frames have no symbols"))
        );
    }

    #[test]
    fn the_wrong_order_is_said_and_nothing_is_called_retained() {
        let mut program = Program {
            epoch: 1,
            ..Program::default()
        };
        let mut random = Random(5);
        let (_, before) = program.take();
        (0..50).for_each(|_| program.step(&mut random));
        let (_, after) = program.take();
        let diff = SnapshotDiff::between(&after, &before);
        assert!(
            !diff.basis.exact && diff.basis.notes[0].contains("wrong order"),
            "{:?}",
            diff.basis
        );
        assert_eq!(diff.totals.window, None);
        assert_eq!(
            diff.totals.net_bytes,
            -SnapshotDiff::between(&before, &after).totals.net_bytes
        );
    }

    #[test]
    fn spent_epochs_make_the_diff_inexact() {
        let (before, mut after) = (fixture::empty(), fixture::empty());
        after.epochs_exact = false;
        let diff = SnapshotDiff::between(&before, &after);
        assert!(
            !diff.basis.exact && diff.basis.notes[0].contains("epochs ran out"),
            "{:?}",
            diff.basis
        );
    }

    #[test]
    fn contexts_without_a_stack_are_one_site() {
        let (before, mut after) = (fixture::empty(), fixture::empty());
        after.epoch = 2;
        after.contexts = vec![fixture::context(1, None, 10), fixture::context(1, None, 5)];
        let diff = SnapshotDiff::between(&before, &after);
        assert_eq!((diff.sites.len(), diff.sites[0].stack.clone()), (1, None));
        assert_eq!(diff.totals.window.unwrap().retained_bytes, 15);
    }
}
