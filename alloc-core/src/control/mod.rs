//! Joins the two sides: reads the record side's tables into the read side's plain data.
//!
//! The only folder that imports from both. What runs here is ordinary Rust that may allocate; `InTracker` keeps it apart from
//! the program's own figures.
#![forbid(unsafe_code)]

mod baseline;
mod exit;
mod growth;
mod ids;
mod loops;
mod nodes;
mod samples;
mod stacks;
mod tables;
mod terminal;

use std::ffi::OsString;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use self::baseline::Baseline;
pub(crate) use self::exit::{at_exit, on_denied};
use self::ids::{Ascending, Places};
use self::nodes::{add_inclusive, places_of, read_nodes};
use self::samples::OlderEffects;
use self::stacks::StackTable;
pub(crate) use self::tables::{Reading, Sum, read_tables};
use crate::ids::{ContextId, ScopeNodeId};
use crate::model::{
    Context, Counters, EpochChange, Error, ProcessInfo, SCHEMA_VERSION, ScopeNode, Snapshot, Stacks, TrackerStats,
    add_counters,
};
use crate::record::counters::LOSSES;
use crate::record::epoch::Effect;
use crate::record::settings::{self, Mode};
use crate::record::sys;
use crate::record::thread::{self, InTracker};
use crate::record::{arena, context, epoch, stack};

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

fn collect() -> Snapshot {
    let Reading {
        epoch: ended,
        sums,
        mut nodes,
        open,
        peak_bytes,
        untracked_frees,
        mut growth,
        samples,
    } = read_tables();
    let own = sums
        .get(ContextId::TRACKER.0 as usize)
        .map(Sum::counters)
        .unwrap_or_default();
    let (mut older, older_samples) = older_changes();
    let mut lifetimes = loops::read_lifetimes();
    let mut stacks = StackTable::new(sums.len());
    let mut contexts = Vec::with_capacity(sums.len());
    let mut places = Places::of(sums.len());
    let (mut truncated_stacks, mut foreign_stacks) = (0, 0);
    let node_places = places_of(&nodes);
    for (id, sum) in (0..).zip(&sums) {
        let Some(info) = context::info(ContextId(id)).filter(|_| sum.is_used()) else {
            continue;
        };
        let Some(node) = node_places.get(info.node()) else {
            continue;
        };
        let counters = sum.counters();
        truncated_stacks += u64::from(info.is_truncated());
        foreign_stacks += u64::from(info.is_foreign());
        add_counters(&mut nodes[node].own, &counters);
        let stack = (!info.frames().is_empty()).then(|| stacks.intern(info));
        let mut changes = Vec::new();
        while let Some(change) = older.next_of(id) {
            changes.push(change);
        }
        places.put(id, contexts.len());
        contexts.push(Context {
            older: changes,
            growth: stack.and_then(|_| growth.next_of(id)).map(Box::new),
            lifetimes: lifetimes.next_of(id).map(Box::new),
            ..context_of(info.node(), stack, counters)
        });
    }
    let mut totals = Counters::default();
    for node in &nodes {
        add_counters(&mut totals, &node.own);
    }
    let loops = loops::read(&nodes, &open, &places);
    let sampled = samples.add_to(&mut contexts, &mut stacks, &mut nodes, &node_places, &older_samples);
    add_counters(&mut totals, &sampled);
    let sampling = samples.sampling(&nodes);
    add_inclusive(&mut nodes, &node_places);
    samples::add_inclusive(&mut nodes, &node_places);
    if let Some(root) = nodes.first_mut() {
        root.peak_bytes = peak_bytes;
    }
    let mut snapshot = without_contexts(nodes, peak_bytes);
    (snapshot.stacks, snapshot.frames, snapshot.modules) = stacks.finish();
    snapshot.tracker = TrackerStats {
        own_live_bytes: own.live_bytes,
        own_live_blocks: own.live_blocks,
        contexts: contexts.len() as u64,
        other_allocations: LOSSES.other_allocations.read(),
        truncated_stacks,
        foreign_stacks,
        untracked_frees,
        corrupt_headers: LOSSES.corrupt_headers.read(),
        dropped_events: LOSSES.dropped_events.read(),
        refused_scopes: LOSSES.refused_scopes.read(),
        unmeasured_calls: LOSSES.unmeasured_calls.read(),
        ..snapshot.tracker
    };
    Snapshot {
        epoch: ended,
        epochs_exact: epoch::is_exact(),
        sampling,
        totals,
        budgets: crate::budget::exceeded(),
        loops,
        contents: crate::contents::observed(),
        contexts,
        ..snapshot
    }
}

/// What events did to blocks of earlier epochs, and to samples of such.
fn older_changes() -> (Ascending<EpochChange>, OlderEffects) {
    let mut blocks: Vec<(u32, EpochChange)> = Vec::new();
    let mut samples = OlderEffects::default();
    epoch::for_each_change(|context, epoch, effect| {
        if context::info(context).is_some_and(|info| info.interval().is_some()) {
            samples.entry(context.0).or_default().push((epoch, effect));
            return;
        }
        let Effect {
            blocks: change,
            bytes,
            frees,
            granted_bytes,
        } = effect;
        let change = EpochChange {
            epoch,
            blocks: change,
            bytes,
            frees,
            granted_bytes,
        };
        blocks.push((context.0, change));
    });
    blocks.sort_by_key(|(_, change)| change.epoch);
    (Ascending::new(blocks), samples)
}

/// What was counted in a context, and nothing else.
fn context_of(node: u32, stack: Option<u32>, counters: Counters) -> Context {
    Context {
        scope: ScopeNodeId(node),
        stack,
        counters,
        older: Vec::new(),
        samples: None,
        older_samples: Vec::new(),
        growth: None,
        lifetimes: None,
    }
}

/// A snapshot of no contexts.
fn without_contexts(nodes: Vec<ScopeNode>, peak_bytes: u64) -> Snapshot {
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
        sampling: None,
        totals: Counters::default(),
        peak_bytes,
        budgets: Vec::new(),
        loops: Vec::new(),
        contents: Vec::new(),
        scopes: nodes,
        contexts: Vec::new(),
        stacks: Stacks::default(),
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

fn process_info() -> ProcessInfo {
    // No `OnceLock`: a child forked while another thread fills it would wait for ever.
    static RUN: AtomicU64 = AtomicU64::new(0);
    let random = sys::random().max(1);
    let run = match RUN.compare_exchange(0, random, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => random,
        Err(known) => known,
    };
    let pid = std::process::id();
    let executable = executable();
    let name = executable
        .as_deref()
        .and_then(|path| path.file_name())
        .unwrap_or_default();
    ProcessInfo {
        pid,
        // With the process id, because a forked child goes its own way.
        run_id: format!("{:016x}-{pid}", run),
        executable: name.to_string_lossy().into_owned(),
    }
}

/// The file of the running program, under the name it was started by: Linux says behind it that it was deleted when it was replaced since.
pub(crate) fn executable() -> Option<PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let path = std::env::current_exe().ok()?.into_os_string();
    let name = path.as_bytes().strip_suffix(b" (deleted)").unwrap_or(path.as_bytes());
    Some(OsString::from_vec(name.to_vec()).into())
}

/// The call stack of a context, as a snapshot of nothing else; `None` for a context without one. The caller is inside the tracker.
pub(crate) fn snapshot_of_context(context: u32, bytes: u64) -> Option<Snapshot> {
    stack::sync_with_loader();
    let info = context::info(ContextId(context)).filter(|_| context != 0)?;
    let mut snapshot = without_contexts(read_nodes(&[]), 0);
    let mut stacks = StackTable::new(1);
    let stack = (!info.frames().is_empty()).then(|| stacks.intern(info));
    let counters = Counters {
        total_allocations: 1,
        total_bytes: bytes,
        ..Counters::default()
    };
    snapshot.contexts.push(context_of(info.node(), stack, counters));
    (snapshot.stacks, snapshot.frames, snapshot.modules) = stacks.finish();
    snapshot.resolve();
    Some(snapshot)
}
