//! Joins the two sides: reads the record side's tables into the read side's plain data.
//!
//! The only file that imports from both. What runs here is ordinary Rust that may allocate; `InTracker` keeps it apart from
//! the program's own figures.
#![forbid(unsafe_code)]

mod growth;
mod loops;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ids::{ContextId, ScopeId, ScopeKind, ScopeNodeId};
use crate::model::{
    CallStats, Context, Counters, EpochChange, Error, Frame, Growth, Module, ProcessInfo, SCHEMA_VERSION, ScopeNode,
    Snapshot, Stack, TrackerStats, add_counters, write_atomically,
};
use crate::record::counters::{LOSSES, NodeRow, Row};
use crate::record::epoch::Effect;
use crate::record::peak::{self, Stretch};
use crate::record::settings::{self, Mode};
use crate::record::sys;
use crate::record::thread::{self, InTracker, Registry, ThreadState};
use crate::record::{arena, context, epoch, scope, stack};
use crate::symbolize::identity;

impl Snapshot {
    /// Takes a snapshot of everything recorded since tracking began. From any thread, at any time.
    ///
    /// # Accuracy
    /// With no other thread running the numbers are exact. Else each thread's counters are exact, threads are read one after
    /// another, and events during the call may be half visible; live figures are never negative.
    ///
    /// # Overhead
    /// O(threads × contexts); no other thread waits for it. Frames are not resolved: see [`Snapshot::resolve`].
    ///
    /// # Errors
    /// [`Error::is_not_installed`] when no [`TrackingAllocator`](crate::TrackingAllocator) is this program's global allocator: never a
    /// silent zero.
    pub fn take() -> Result<Self, Error> {
        let _inside = InTracker::enter();
        stack::sync_with_loader();
        if is_installed() {
            Ok(collect())
        } else {
            Err(Error::not_installed())
        }
    }
}

/// Asks the global allocator for memory and looks whether our gate saw it. The caller is inside the tracker.
pub(crate) fn is_installed() -> bool {
    static PROVEN: AtomicBool = AtomicBool::new(false);
    if PROVEN.load(Ordering::Relaxed) {
        return true;
    }
    if settings::mode() == Mode::Off {
        // Nothing is recorded, so a probe would show nothing; that the gate was used at all must do.
        return thread::is_used();
    }
    let Some(before) = thread::own_allocations() else {
        // A thread that has no state, at the memory ceiling or at its end, counts nothing of its own.
        return thread::is_used();
    };
    drop(black_box(Box::new(black_box(0u64))));
    let is_seen = thread::own_allocations() != Some(before);
    PROVEN.store(is_seen, Ordering::Relaxed);
    is_seen
}

/// Sums over threads for one context.
#[derive(Clone, Copy, Default)]
struct Sum {
    allocations: u64,
    granted_bytes: u64,
    frees: u64,
    released_bytes: u64,
    reallocations: u64,
    handed_over: u64,
    copied_bytes: u64,
    at_peak: u64,
}

impl Sum {
    fn subtract(&mut self, before: &Self) {
        for (now, before) in [
            (&mut self.allocations, before.allocations),
            (&mut self.granted_bytes, before.granted_bytes),
            (&mut self.frees, before.frees),
            (&mut self.released_bytes, before.released_bytes),
            (&mut self.reallocations, before.reallocations),
            (&mut self.handed_over, before.handed_over),
            (&mut self.copied_bytes, before.copied_bytes),
        ] {
            *now = now.wrapping_sub(before);
        }
    }

    fn add_free_side(&mut self, row: &Row) {
        self.frees = self.frees.wrapping_add(row.frees.read());
        self.handed_over = self.handed_over.wrapping_add(row.handed_over.read());
        self.released_bytes = self.released_bytes.wrapping_add(row.released_bytes.read());
    }

    fn add_allocation_side(&mut self, row: &Row) {
        self.allocations = self.allocations.wrapping_add(row.allocations.read());
        self.reallocations = self.reallocations.wrapping_add(row.reallocations.read());
        self.granted_bytes = self.granted_bytes.wrapping_add(row.granted_bytes.read());
    }

    fn counters(&self) -> Counters {
        Counters {
            total_allocations: self.allocations,
            total_reallocations: self.reallocations,
            total_frees: self.frees,
            total_bytes: self.granted_bytes,
            freed_bytes: self.released_bytes,
            copied_bytes: self.copied_bytes,
            live_blocks: (self.allocations + self.reallocations).saturating_sub(self.frees + self.handed_over),
            live_bytes: self.granted_bytes.saturating_sub(self.released_bytes),
            bytes_at_peak: (self.at_peak as i64).max(0) as u64,
        }
    }
}

/// Everything that must be read while no thread is folded or reused.
struct Reading {
    epoch: u32,
    sums: Vec<Sum>,
    nodes: Vec<ScopeNode>,
    peak_bytes: u64,
    untracked_frees: u64,
    growth: HashMap<u32, Growth>,
}

fn shared_copied(context: ContextId) -> u64 {
    thread::shared_growth(context).map_or(0, |row| row.copied_bytes.read())
}

fn read_tables() -> Reading {
    let registry = Registry::lock();
    registry.fold_ended();
    let ended = epoch::end();
    let count = context::count() as usize;
    let mut sums = vec![Sum::default(); count];
    let shared = |index: usize| thread::shared_row(ContextId(index as u32));
    // All frees of all threads first, then all allocations: so no context's live figures come out below zero.
    for thread in registry.threads() {
        thread.rows.for_each(|index, row| {
            if let Some(sum) = sums.get_mut(index) {
                sum.add_free_side(row);
            }
        });
    }
    for (index, sum) in sums.iter_mut().enumerate() {
        if let Some(row) = shared(index) {
            sum.add_free_side(row);
        }
    }
    let serial = peak::serial();
    for (index, sum) in sums.iter_mut().enumerate() {
        if let Some(row) = shared(index) {
            sum.add_allocation_side(row);
            sum.at_peak = sum.at_peak.wrapping_add(row.bytes_at_peak(serial));
            sum.copied_bytes += shared_copied(ContextId(index as u32));
        }
    }
    // The list is read again: threads that began meanwhile may have granted what was freed above.
    for thread in registry.threads() {
        thread.rows.for_each(|index, row| {
            if let Some(sum) = sums.get_mut(index) {
                sum.add_allocation_side(row);
                sum.at_peak = sum.at_peak.wrapping_add(thread.bytes_at_peak(row));
            }
        });
        thread.growth.for_each(|index, row| {
            if let Some(sum) = sums.get_mut(index) {
                sum.copied_bytes += row.copied_bytes.read();
            }
        });
    }
    let threads: Vec<&ThreadState> = registry.threads().collect();
    Reading {
        epoch: ended,
        sums,
        nodes: read_nodes(&threads),
        growth: growth::read(&threads, count),
        peak_bytes: peak::of_process(threads.iter().copied()),
        untracked_frees: LOSSES.untracked_frees.read()
            + threads.iter().map(|thread| thread.untracked_frees.read()).sum::<u64>(),
    }
}

fn read_nodes(threads: &[&'static ThreadState]) -> Vec<ScopeNode> {
    let ids = (ScopeNodeId::ROOT.0..scope::node_count()).filter(|&id| id != ScopeNodeId::TRACKER.0);
    ids.filter_map(|id| {
        let info = scope::node_info(id)?;
        let rows: Vec<(&ThreadState, &NodeRow)> = threads
            .iter()
            .filter_map(|thread| Some((*thread, thread.nodes.get(id as usize)?)))
            .collect();
        let (peak_bytes, self_peak_bytes) = node_peaks(id, info, &rows);
        let mut node = ScopeNode {
            id: ScopeNodeId(id),
            parent: (id != ScopeNodeId::ROOT.0).then(|| ScopeNodeId(info.parent())),
            scope: ScopeId(info.scope()),
            name: "whole program".to_owned(),
            file: String::new(),
            line: 0,
            kind: ScopeKind::Function,
            own: Counters::default(),
            inclusive: Counters::default(),
            peak_bytes,
            self_peak_bytes,
            calls: read_calls(&info.total, rows.iter().map(|(_, row)| *row)),
        };
        if let Some(site) = scope::site_info(info.scope()).filter(|_| info.scope() != 0) {
            (node.name, node.file, node.line) = (site.name().to_owned(), site.file().to_owned(), site.line());
            node.kind = site.kind();
        }
        Some(node)
    })
    .collect()
}

/// Inclusive and own peak of a node: what was published, or what a thread has reached since.
///
/// Bytes move from the stretch to the row to the node, and are gone from one before they are added to the next: read the other way round,
/// they may be missed while they move, but are never seen twice.
fn node_peaks(id: u32, info: &scope::NodeInfo, rows: &[(&ThreadState, &NodeRow)]) -> (u64, u64) {
    let (live, own_live) = (info.live.read() as i64, info.own_live.read() as i64);
    let (mut now, mut own_now) = (live, own_live);
    let (mut highest, mut own_highest) = (0, 0);
    for (thread, row) in rows {
        let [inclusive, own] = [(&row.delta, &row.delta_max), (&row.own_delta, &row.own_delta_max)]
            .map(|(delta, max)| (delta.read() as i64, max.read() as i64));
        let stretch = Stretch::of(thread);
        let top = |(delta, max): (i64, i64), counts: bool| {
            let (change, highest) = if counts {
                (stretch.change, stretch.highest)
            } else {
                (0, 0)
            };
            (delta + change, max.max(delta + highest))
        };
        let (change, peak) = top(inclusive, scope::is_around(id, stretch.node));
        now += change;
        highest = peak.max(highest);
        let (change, peak) = top(own, stretch.node == id);
        own_now += change;
        own_highest = peak.max(own_highest);
    }
    let largest =
        |published: i64, now: i64, live: i64, highest: i64| published.max(now).max(live + highest).max(0) as u64;
    (
        largest(info.peak.signed(), now, live, highest),
        largest(info.own_peak.signed(), own_now, own_live, own_highest),
    )
}

fn read_calls<'a>(total: &'a NodeRow, rows: impl Iterator<Item = &'a NodeRow>) -> CallStats {
    let mut calls = CallStats::default();
    for row in rows.chain([total]) {
        calls.entered += row.entered.read();
        calls.completed += row.completed.read();
        calls.allocations += row.allocations.read();
        calls.bytes += row.bytes.read();
        calls.sum_peak_bytes += row.sum_peak.read();
        calls.retained_bytes += row.retained_bytes.read();
        calls.upper_bound_calls += row.upper_bound.read();
        calls.max_allocations = calls.max_allocations.max(row.max_allocations.read());
        calls.max_bytes = calls.max_bytes.max(row.max_bytes.read());
        calls.max_peak_bytes = calls.max_peak_bytes.max(row.max_peak.read());
        calls.max_retained_bytes = calls.max_retained_bytes.max(row.max_retained.read());
    }
    calls
}

fn collect() -> Snapshot {
    let Reading {
        epoch: ended,
        sums,
        mut nodes,
        peak_bytes,
        untracked_frees,
        mut growth,
    } = read_tables();
    let own = sums
        .get(ContextId::TRACKER.0 as usize)
        .map(Sum::counters)
        .unwrap_or_default();
    let mut older: HashMap<u32, Vec<EpochChange>> = HashMap::new();
    epoch::for_each_change(|context, epoch, effect| {
        let Effect {
            blocks,
            bytes,
            frees,
            granted_bytes,
        } = effect;
        older.entry(context.0).or_default().push(EpochChange {
            epoch,
            blocks,
            bytes,
            frees,
            granted_bytes,
        });
    });
    let mut stacks = StackTable::new();
    let mut contexts = Vec::new();
    let mut totals = Counters::default();
    let mut lifetimes = loops::read_lifetimes();
    // Places of contexts in the snapshot, by their ids.
    let mut places: HashMap<u32, u32> = HashMap::new();
    let (mut truncated_stacks, mut foreign_stacks) = (0, 0);
    let position: HashMap<u32, usize> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.id.0, index))
        .collect();
    for (id, sum) in sums.iter().enumerate() {
        let counters = sum.counters();
        let Some(info) = context::info(ContextId(id as u32)) else {
            continue;
        };
        let Some(&node) = position.get(&info.node()) else {
            continue;
        };
        if counters.total_allocations == 0 && counters.total_reallocations == 0 {
            continue;
        }
        truncated_stacks += u64::from(info.is_truncated());
        foreign_stacks += u64::from(info.is_foreign());
        add_counters(&mut totals, &counters);
        add_counters(&mut nodes[node].own, &counters);
        let mut older = older.remove(&(id as u32)).unwrap_or_default();
        older.sort_by_key(|change| change.epoch);
        let stack = (!info.frames().is_empty()).then(|| stacks.intern(info));
        places.insert(id as u32, contexts.len() as u32);
        contexts.push(Context {
            scope: nodes[node].id,
            stack,
            counters,
            older,
            growth: stack.and_then(|_| growth.remove(&(id as u32))),
            lifetimes: lifetimes.remove(&(id as u32)),
        });
    }
    let loops = loops::read(&nodes, &places);
    add_inclusive(&mut nodes, &position);
    if let Some(root) = nodes.first_mut() {
        root.peak_bytes = peak_bytes;
    }
    let (stacks, frames, modules) = stacks.finish();
    Snapshot {
        schema_version: SCHEMA_VERSION,
        process: process_info(),
        taken_at_unix_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
        uptime_ms: settings::uptime_ns() / 1_000_000,
        epoch: ended,
        epochs_exact: epoch::is_exact(),
        mode: settings::mode().to_string(),
        was_off: settings::was_off(),
        totals,
        peak_bytes,
        budgets: crate::budget::exceeded(),
        loops,
        contents: crate::contents::observed(),
        scopes: nodes,
        stacks,
        frames,
        modules,
        tracker: TrackerStats {
            tracker_bytes: arena::used() as u64,
            tracker_bytes_limit: arena::limit() as u64,
            own_live_bytes: own.live_bytes,
            own_live_blocks: own.live_blocks,
            threads: u64::from(thread::count()),
            contexts: contexts.len() as u64,
            other_allocations: LOSSES.other_allocations.read(),
            truncated_stacks,
            foreign_stacks,
            untracked_frees,
            corrupt_headers: LOSSES.corrupt_headers.read(),
            dropped_events: LOSSES.dropped_events.read(),
            refused_scopes: LOSSES.refused_scopes.read(),
            unmeasured_calls: LOSSES.unmeasured_calls.read(),
        },
        contexts,
    }
}

/// What one context counted before a measurement began on a site that others have used.
pub(crate) struct Baseline(HashMap<u32, Sum>);

/// The figures of all contexts below the nodes of `scope`, by context.
fn sums_inside(scope: u32) -> HashMap<u32, Sum> {
    // Asked once: other threads make nodes meanwhile.
    let nodes = scope::node_count();
    let mut is_inside = vec![false; nodes as usize];
    for node in ScopeNodeId::TRACKER.0 + 1..nodes {
        let Some(info) = scope::node_info(node) else { continue };
        is_inside[node as usize] = info.scope() == scope || is_inside[info.parent() as usize];
    }
    let registry = Registry::lock();
    registry.fold_ended();
    let mut sums = HashMap::new();
    for id in 0..context::count() {
        let Some(node) = context::node_of(ContextId(id)) else {
            continue;
        };
        if !is_inside.get(node as usize).is_some_and(|&inside| inside) {
            continue;
        }
        let mut sum = Sum::default();
        let mut add = |row: &Row, copied: u64| {
            sum.add_free_side(row);
            sum.add_allocation_side(row);
            sum.copied_bytes += copied;
        };
        for thread in registry.threads() {
            if let Some(row) = thread.rows.get(id as usize) {
                let copied = thread.growth.get(id as usize).map_or(0, |row| row.copied_bytes.read());
                add(row, copied);
            }
        }
        if let Some(row) = thread::shared_row(ContextId(id)) {
            add(row, shared_copied(ContextId(id)));
        }
        sums.insert(id, sum);
    }
    sums
}

impl Baseline {
    /// For a site that nobody has used.
    pub(crate) fn empty() -> Self {
        Self(HashMap::new())
    }

    /// What the nodes of `scope` have counted so far. The caller is inside the tracker.
    pub(crate) fn read(scope: u32) -> Self {
        Self(sums_inside(scope))
    }

    /// What was counted below the nodes of `scope` since, as a snapshot of these contexts alone. The caller is inside the tracker.
    pub(crate) fn snapshot_since(&self, scope: u32, peak_bytes: u64) -> Snapshot {
        stack::sync_with_loader();
        let mut sums: Vec<(u32, Sum)> = sums_inside(scope).into_iter().collect();
        sums.sort_unstable_by_key(|&(id, _)| id);
        for (id, sum) in &mut sums {
            if let Some(before) = self.0.get(id) {
                sum.subtract(before);
            }
        }
        let nodes = read_nodes(&[]);
        let mut snapshot = empty_snapshot(nodes, peak_bytes);
        let mut stacks = StackTable::new();
        for (id, sum) in sums {
            let counters = sum.counters();
            let Some(info) = context::info(ContextId(id)) else {
                continue;
            };
            if counters.total_allocations == 0 && counters.total_reallocations == 0 {
                continue;
            }
            add_counters(&mut snapshot.totals, &counters);
            snapshot.contexts.push(Context {
                scope: ScopeNodeId(info.node()),
                stack: (!info.frames().is_empty()).then(|| stacks.intern(info)),
                counters,
                older: Vec::new(),
                growth: None,
                lifetimes: None,
            });
        }
        (snapshot.stacks, snapshot.frames, snapshot.modules) = stacks.finish();
        snapshot
    }
}

/// A snapshot of no contexts.
fn empty_snapshot(nodes: Vec<ScopeNode>, peak_bytes: u64) -> Snapshot {
    Snapshot {
        schema_version: SCHEMA_VERSION,
        process: process_info(),
        taken_at_unix_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
        uptime_ms: settings::uptime_ns() / 1_000_000,
        epoch: epoch::current(),
        epochs_exact: false,
        mode: settings::mode().to_string(),
        was_off: settings::was_off(),
        totals: Counters::default(),
        peak_bytes,
        budgets: Vec::new(),
        loops: Vec::new(),
        contents: Vec::new(),
        scopes: nodes,
        contexts: Vec::new(),
        stacks: Vec::new(),
        frames: Vec::new(),
        modules: Vec::new(),
        tracker: TrackerStats {
            tracker_bytes: arena::used() as u64,
            tracker_bytes_limit: arena::limit() as u64,
            threads: u64::from(thread::count()),
            ..TrackerStats::default()
        },
    }
}

/// Parents come before their children: from the back, every node is complete when it is added to its parent.
fn add_inclusive(nodes: &mut [ScopeNode], position: &HashMap<u32, usize>) {
    for node in nodes.iter_mut() {
        node.inclusive = node.own;
    }
    for index in (0..nodes.len()).rev() {
        let inclusive = nodes[index].inclusive;
        if let Some(&parent) = nodes[index].parent.and_then(|parent| position.get(&parent.0)) {
            add_counters(&mut nodes[parent].inclusive, &inclusive);
        }
    }
}

fn process_info() -> ProcessInfo {
    static RUN: OnceLock<u64> = OnceLock::new();
    let pid = std::process::id();
    let executable = std::env::current_exe().ok();
    let name = executable
        .as_deref()
        .and_then(|path| path.file_name())
        .unwrap_or_default();
    ProcessInfo {
        pid,
        // With the process id, because a forked child goes its own way.
        run_id: format!("{:016x}-{pid}", RUN.get_or_init(sys::random)),
        executable: name.to_string_lossy().into_owned(),
    }
}

/// Gives every distinct stack, frame and module of a snapshot its index.
struct StackTable {
    modules: Vec<(std::ops::RangeInclusive<usize>, Module)>,
    used_modules: Vec<Module>,
    module_index: HashMap<usize, u32>,
    frames: Vec<Frame>,
    frame_index: HashMap<usize, u32>,
    stacks: Vec<Stack>,
    stack_index: HashMap<(context::Frames, bool, bool), u32>,
}

impl StackTable {
    fn new() -> Self {
        let mut modules = Vec::new();
        sys::for_each_module(|module| {
            let path = if module.path.is_empty() {
                std::env::current_exe().map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned())
            } else {
                String::from_utf8_lossy(module.path).into_owned()
            };
            // The file's name as it can be opened: the loader gives the executable none.
            let build_id = match (module.build_id, module.path) {
                ([], []) => identity("/proc/self/exe"),
                ([], _) => identity(&path),
                (id, _) => Some(id.iter().map(|byte| format!("{byte:02x}")).collect()),
            }
            .unwrap_or_default();
            modules.push((
                module.range,
                Module {
                    path,
                    build_id,
                    load_address: module.load_address as u64,
                },
            ));
        });
        modules.sort_by_key(|(range, _)| *range.start());
        Self {
            modules,
            used_modules: Vec::new(),
            module_index: HashMap::new(),
            frames: Vec::new(),
            frame_index: HashMap::new(),
            stacks: Vec::new(),
            stack_index: HashMap::new(),
        }
    }

    fn intern(&mut self, info: &'static context::ContextInfo) -> u32 {
        let key = (info.frames(), info.is_truncated(), info.is_foreign());
        if let Some(&index) = self.stack_index.get(&key) {
            return index;
        }
        let frames = info.frames().iter().map(|address| self.frame(address)).collect();
        self.stacks.push(Stack {
            frames,
            truncated: info.is_truncated(),
            foreign: info.is_foreign(),
        });
        let index = self.stacks.len() as u32 - 1;
        self.stack_index.insert(key, index);
        index
    }

    fn frame(&mut self, address: usize) -> u32 {
        if let Some(&index) = self.frame_index.get(&address) {
            return index;
        }
        // The return address may be one past the end of the last function of a module.
        let after = self.modules.partition_point(|(range, _)| *range.start() < address);
        let found = after
            .checked_sub(1)
            .filter(|&index| self.modules[index].0.contains(&(address - 1)));
        let (module, offset) = match found {
            Some(index) => {
                let module = &self.modules[index].1;
                let used = *self.module_index.entry(index).or_insert_with(|| {
                    self.used_modules.push(module.clone());
                    self.used_modules.len() as u32 - 1
                });
                (Some(used), address as u64 - module.load_address)
            }
            None => (None, address as u64),
        };
        self.frames.push(Frame {
            module,
            offset,
            symbols: Vec::new(),
        });
        let index = self.frames.len() as u32 - 1;
        self.frame_index.insert(address, index);
        index
    }

    fn finish(self) -> (Vec<Stack>, Vec<Frame>, Vec<Module>) {
        (self.stacks, self.frames, self.used_modules)
    }
}

/// The call stack of a context, as a snapshot of nothing else; `None` for a context without one. The caller is inside the tracker.
pub(crate) fn snapshot_of_context(context: u32, bytes: u64) -> Option<Snapshot> {
    stack::sync_with_loader();
    let info = context::info(ContextId(context)).filter(|_| context != 0)?;
    let mut snapshot = empty_snapshot(read_nodes(&[]), 0);
    let mut stacks = StackTable::new();
    snapshot.contexts.push(Context {
        scope: ScopeNodeId(info.node()),
        stack: (!info.frames().is_empty()).then(|| stacks.intern(info)),
        counters: Counters {
            total_allocations: 1,
            total_bytes: bytes,
            ..Counters::default()
        },
        older: Vec::new(),
        growth: None,
        lifetimes: None,
    });
    (snapshot.stacks, snapshot.frames, snapshot.modules) = stacks.finish();
    snapshot.resolve();
    Some(snapshot)
}

/// Says on stderr which allocation was made where none may be; the record side ends the program after it.
pub(crate) fn on_denied(context: u32, size: usize) {
    let _inside = InTracker::enter();
    // Nothing may unwind out of an allocator.
    let text = std::panic::catch_unwind(|| crate::budget::denied_text(1, context, size as u64));
    if let Ok(text) = text {
        sys::write_stderr(format!("allocscope: {text}\n").as_bytes());
    }
}

/// Writes what the environment asked for when the program ends.
pub(crate) extern "C" fn at_exit() {
    if !settings::is_first_process() {
        // A forked child would write over its parent's report.
        return;
    }
    // A panic must not leave an `extern "C"` function.
    let outcome = std::panic::catch_unwind(|| {
        let mut snapshot = Snapshot::take()?;
        snapshot.resolve();
        if let Some(path) = settings::snapshot_path() {
            write_out(path, &snapshot.to_json()?)?;
        }
        if let Some(path) = settings::report_path() {
            write_out(path, &snapshot.report().to_string())?;
        }
        Ok::<(), Error>(())
    });
    if let Ok(Err(error)) = outcome {
        sys::write_stderr(format!("allocscope: nothing written at exit: {error}\n").as_bytes());
    }
}

fn write_out(path: &std::ffi::CStr, text: &str) -> Result<(), Error> {
    if path.to_bytes() == b"-" {
        sys::write_stderr(text.as_bytes());
        return Ok(());
    }
    let path = std::path::PathBuf::from(String::from_utf8_lossy(path.to_bytes()).into_owned());
    write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(|error| Error::io("write", &path, error))
}
