//! The hot-path report of one snapshot: which lines allocate, in which scopes. The sites, heaviest first, and the JSON; the text is in `text`.
//!
//! Called by `Report`, and the sites by the explanations of budgets. Read side. Cost: linear in contexts and frames, and a sort.
#![forbid(unsafe_code)]

mod text;

use std::collections::HashMap;

use serde_json::{Value, json};

pub(super) use self::text::{callers, text};
use super::rank::in_short_lived;
use super::sites::{Conduits, Enclosing, Folder};
use super::units::fraction;
use super::{REPORT_VERSION, Report, sampled};
use crate::model::{Counters, Samples, ScopeNode, ScopeNodeId, Snapshot, add_counters};

/// One site: all contexts of one line and collection.
#[derive(Clone, Default)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) counters: Counters,
    /// What the report ranks by.
    pub(super) weight: u64,
    /// Bytes in blocks that were freed before eight more allocations, estimated.
    temporary: u64,
    /// Behind the estimated part of the counters.
    samples: Option<Samples>,
    contexts: usize,
    /// Stack of the context that weighs most.
    pub(super) stack: Option<usize>,
    stack_weight: u64,
    /// Bytes granted by scope, most first.
    scopes: Vec<(usize, u64)>,
}

pub(super) struct Table<'a> {
    pub(super) folder: Folder<'a>,
    /// Heaviest first.
    pub(super) rows: Vec<Row>,
    /// Sum of the rows' weights.
    pub(super) whole: u64,
    parents: Vec<Option<usize>>,
}

pub(super) fn table<'a>(report: &Report<'a>) -> Table<'a> {
    let snapshot = report.snapshot;
    let place: HashMap<ScopeNodeId, usize> = snapshot.scopes.iter().map(|scope| scope.id).zip(0..).collect();
    let parents: Vec<Option<usize>> = (0..)
        .zip(&snapshot.scopes)
        .map(|(at, scope)| {
            // Parents come first; anything else would be a cycle.
            let parent = scope
                .parent
                .and_then(|parent| place.get(&parent).copied())
                .filter(|parent| *parent < at);
            parent.or((at > 0).then_some(0))
        })
        .collect();

    let mut folder = Folder::new(
        &snapshot.frames,
        &snapshot.modules,
        &report.options.own,
        Conduits::Named,
    );
    let mut rows: Vec<Row> = Vec::new();
    let mut whole = 0_u64;
    let mut line_of: Vec<Option<usize>> = vec![None; snapshot.stacks.len()];
    let mut by_scope: HashMap<(usize, usize), u64> = HashMap::new();
    let weights = report.rank.weights(snapshot);
    let temporary = in_short_lived(snapshot);
    for ((context, weight), temporary) in snapshot.contexts.iter().zip(weights).zip(temporary) {
        let scope = place.get(&context.scope).copied().unwrap_or(0);
        let stack = context
            .stack
            .and_then(|stack| Some((stack as usize, snapshot.stacks.get(stack as usize)?.frames)));
        let enclosing = std::iter::successors(Some(scope), |&at| parents.get(at).copied().flatten())
            .filter_map(|at| snapshot.scopes.get(at))
            .map(|scope| Enclosing {
                name: &scope.name,
                file: &scope.file,
                line: scope.line,
            });
        let line = match stack {
            None => folder.fold(None, enclosing),
            Some((at, frames)) => *line_of[at].get_or_insert_with(|| folder.fold(Some(frames), enclosing)),
        };
        if line >= rows.len() {
            rows.resize_with(line + 1, Row::default);
        }
        let row = &mut rows[line];
        row.line = line;
        row.contexts += 1;
        add_counters(&mut row.counters, &context.counters);
        row.weight = row.weight.wrapping_add(weight);
        row.temporary = row.temporary.saturating_add(temporary);
        whole = whole.wrapping_add(weight);
        if let Some(samples) = &context.samples {
            row.samples.get_or_insert_default().add(samples);
        }
        let granted = by_scope.entry((line, scope)).or_default();
        *granted = granted.wrapping_add(context.counters.total_bytes);
        if row.stack.is_none() || weight > row.stack_weight {
            (row.stack, row.stack_weight) = (stack.map(|(at, _)| at), weight);
        }
    }
    for ((line, scope), granted) in by_scope {
        rows[line].scopes.push((scope, granted));
    }
    for row in &mut rows {
        row.scopes
            .sort_unstable_by_key(|&(scope, granted)| (u64::MAX - granted, scope));
    }
    if let Some(sampling) = &snapshot.sampling {
        for row in rows.iter_mut().filter(|row| row.samples.is_some()) {
            sampled::limit(&mut row.counters, &snapshot.totals);
            row.temporary = row.temporary.min(sampling.bytes);
            for (_, granted) in &mut row.scopes {
                *granted = snapshot.totals.total_bytes.min(*granted);
            }
        }
    }
    let lines = folder.lines();
    rows.sort_by(|a, b| {
        let weight = |row: &Row| (row.weight, row.counters.total_bytes, row.counters.total_allocations);
        let name = |row: &Row| {
            let line = &lines[row.line];
            (&line.file, line.line, &line.function, &line.instead, &line.collection)
        };
        weight(b).cmp(&weight(a)).then_with(|| name(a).cmp(&name(b)))
    });
    Table {
        folder,
        rows,
        whole,
        parents,
    }
}

impl Table<'_> {
    fn scope_path<'s>(&self, snapshot: &'s Snapshot, scope: usize) -> Vec<&'s str> {
        let up = std::iter::successors(Some(scope), |&at| self.parents.get(at).copied().flatten());
        let mut names: Vec<&str> = up
            .filter(|&at| at > 0)
            .filter_map(|at| Some(snapshot.scopes.get(at)?.name.as_str()))
            .collect();
        names.reverse();
        names
    }
}

/// Said instead of all figures.
const OFF: &str = "Nothing was recorded: tracking is off. ALLOCSCOPE_MODE=exact, or set_mode, turns it on.";

/// True when tracking is off, and was from the start.
fn is_empty(snapshot: &Snapshot) -> bool {
    snapshot.mode == "off" && snapshot.contexts.is_empty() && snapshot.totals.total_allocations == 0
}

/// That nothing has a name comes first.
fn notes(snapshot: &Snapshot, table: &Table<'_>) -> Vec<String> {
    if is_empty(snapshot) {
        return vec![format!("note: {OFF}")];
    }
    let mut notes = Vec::new();
    let of_names = table.folder.note().map(str::to_owned);
    let (first, last) = if table.folder.knows_addresses_only() {
        (of_names, None)
    } else {
        (None, of_names)
    };
    notes.extend(first);
    if snapshot.was_off {
        notes.push("note: tracking was off for a time; blocks granted then are in no figure.".to_owned());
    }
    if snapshot.mode == "scopes" && snapshot.stacks.is_empty() {
        notes.push("note: mode scopes records no call stacks; ALLOCSCOPE_MODE=exact does.".to_owned());
    }
    notes.extend(last);
    notes
}

pub(super) fn json(report: &Report<'_>) -> Value {
    let snapshot = report.snapshot;
    let table = table(report);
    let whole = table.whole;
    let program = sampled::Program::of(snapshot);
    let granted = snapshot.sampling.map_or(u64::MAX, |sampling| sampling.bytes);
    let sites: Vec<Value> = (1..)
        .zip(table.rows.iter().take(report.options.top))
        .map(|(rank, row): (usize, _)| {
            let line = &table.folder.lines()[row.line];
            let stack = row.stack.and_then(|stack| snapshot.stacks.get(stack));
            let scopes: Vec<Value> = row
                .scopes
                .iter()
                .map(|&(scope, granted)| json!({ "path": table.scope_path(snapshot, scope), "bytes": granted }))
                .collect();
            json!({
                "rank": rank,
                "share": fraction(row.weight, whole),
                "place": line.place(report.options.base()),
                "file": line.file,
                "line": line.line,
                "function": line.function,
                "collection": line.collection,
                "counters": row.counters,
                "temporary_bytes": row.temporary,
                "estimates": sampled::json(row.samples.as_ref(), granted),
                "contexts": row.contexts,
                "scopes": scopes,
                "stack": stack.map(|stack| table.folder.source_frames(stack.frames)).unwrap_or_default(),
            })
        })
        .collect();
    let scopes: Vec<Value> = (0..)
        .zip(&snapshot.scopes)
        .map(|(at, node): (usize, &ScopeNode)| {
            let mean = |sum: u64| {
                if node.calls.completed == 0 {
                    None
                } else {
                    Some(fraction(sum, node.calls.completed))
                }
            };
            json!({
                "id": node.id,
                "parent": node.parent,
                "path": table.scope_path(snapshot, at),
                "name": node.name,
                "file": node.file,
                "line": node.line,
                "kind": node.kind,
                "own": sampled::within(&node.own, node.own_samples.as_ref()),
                "inclusive": sampled::within(&node.inclusive, node.inclusive_samples.as_ref()),
                "peak_bytes": program.peak_of(at, node),
                "self_peak_bytes": node.self_peak_bytes,
                "own_estimates": sampled::json(node.own_samples.as_ref(), granted),
                "inclusive_estimates": sampled::json(node.inclusive_samples.as_ref(), granted),
                "calls": node.calls,
                "per_call": {
                    "allocations": mean(node.calls.allocations),
                    "bytes": mean(node.calls.bytes),
                    "peak_bytes": mean(node.calls.sum_peak_bytes),
                    "retained_bytes": mean(node.calls.retained_bytes),
                },
            })
        })
        .collect();
    json!({
        "report_version": REPORT_VERSION,
        "report": "hot_paths",
        "rank": report.rank.to_string(),
        "process": snapshot.process,
        "mode": snapshot.mode,
        "taken_at_unix_ms": snapshot.taken_at_unix_ms,
        "uptime_ms": snapshot.uptime_ms,
        "totals": program.totals,
        "live_bytes": program.live_bytes(),
        "freed_bytes": program.freed_bytes(),
        "sampling": snapshot.sampling,
        "estimates": sampled::json(snapshot.sampling.as_ref().map(|sampling| &sampling.samples), granted),
        "peak_bytes": program.peak.filter(|_| !is_empty(snapshot)),
        "site_count": table.rows.len(),
        "sites": sites,
        "scopes": scopes,
        "tracker": snapshot.tracker,
        "notes": notes(snapshot, &table),
    })
}
