//! The hot-path report of one snapshot: which lines allocate, in which scopes. The sites, heaviest first, and the JSON; the text is in `text`.
//!
//! Called by `Report`, and the sites by the explanations of budgets. Read side. Cost: linear in contexts and frames, and a sort.
#![forbid(unsafe_code)]

mod text;

use std::borrow::Cow;
#[cfg(feature = "html")]
use std::cmp::Reverse;
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
    nesting: Vec<Nesting>,
}

/// Names at either end of a path of scopes. What is between them is left out of longer ones: else a chain of scopes would take the square of its
/// length.
const PATH_END: usize = 16;

/// Where a scope is in the tree.
#[derive(Clone, Copy, Default)]
struct Nesting {
    /// Scopes that it is inside of, the root left out and itself counted.
    depth: usize,
    /// Of these the one at depth [`PATH_END`], or itself.
    outer: usize,
}

fn nesting(parents: &[Option<usize>]) -> Vec<Nesting> {
    let mut all: Vec<Nesting> = Vec::with_capacity(parents.len());
    for (at, parent) in parents.iter().enumerate() {
        let around = parent.map(|parent| all[parent]).unwrap_or_default();
        let depth = if at == 0 { 0 } else { around.depth + 1 };
        let outer = if depth > PATH_END { around.outer } else { at };
        all.push(Nesting { depth, outer });
    }
    all
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
        nesting: nesting(&parents),
        parents,
    }
}

impl Table<'_> {
    /// Names of a scope and of those around it, outermost first; of a path that is too long its ends, and between them how many are left out.
    fn scope_path<'s>(&self, snapshot: &'s Snapshot, scope: usize) -> Vec<Cow<'s, str>> {
        let up = |from: usize| {
            std::iter::successors(Some(from), |&at| self.parents.get(at).copied().flatten())
                .take_while(|&at| at > 0)
                .filter_map(|at| Some(Cow::Borrowed(snapshot.scopes.get(at)?.name.as_str())))
        };
        let Nesting { depth, outer } = self.nesting.get(scope).copied().unwrap_or_default();
        let mut names: Vec<_>;
        if depth <= 2 * PATH_END {
            names = up(scope).collect();
        } else {
            names = up(scope).take(PATH_END).collect();
            names.push(Cow::Owned(format!("({} more)", depth - 2 * PATH_END)));
            names.extend(up(outer));
        }
        names.reverse();
        names
    }

    /// The places of the heaviest sites, `most` by each figure that a reader may sort them by, in the order of the rows.
    #[cfg(feature = "html")]
    fn heaviest_by_each(&self, most: usize) -> Vec<usize> {
        let figures: [fn(&Row) -> u64; 7] = [
            |row| row.counters.total_bytes,
            |row| row.counters.total_allocations,
            |row| row.counters.live_bytes,
            |row| row.counters.live_blocks,
            |row| row.counters.bytes_at_peak,
            |row| row.counters.copied_bytes,
            |row| row.temporary,
        ];
        let mut chosen = vec![false; self.rows.len()];
        for figure in figures {
            let mut order: Vec<usize> = (0..self.rows.len()).collect();
            // Stable: of what weighs the same, what the report ranks first.
            order.sort_by_key(|&at| Reverse(figure(&self.rows[at])));
            for at in order.into_iter().take(most) {
                chosen[at] = true;
            }
        }
        (0..self.rows.len()).filter(|&at| chosen[at]).collect()
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

#[cfg(feature = "html")]
impl Report<'_> {
    /// The JSON with the `top` heaviest sites by each figure instead of those by one: for a page that sorts them by any.
    pub(crate) fn to_json_by_each_figure(&self) -> Value {
        let table = table(self);
        let sites = table.heaviest_by_each(self.options.top);
        json_of(self, &table, sites)
    }
}

pub(super) fn json(report: &Report<'_>) -> Value {
    let table = table(report);
    let sites = 0..table.rows.len().min(report.options.top);
    json_of(report, &table, sites)
}

fn json_of(report: &Report<'_>, table: &Table<'_>, sites: impl IntoIterator<Item = usize>) -> Value {
    let snapshot = report.snapshot;
    let whole = table.whole;
    let program = sampled::Program::of(snapshot);
    let granted = snapshot.sampling.map_or(u64::MAX, |sampling| sampling.bytes);
    let sites: Vec<Value> = sites
        .into_iter()
        .map(|at| {
            let (rank, row) = (at + 1, &table.rows[at]);
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
        "notes": notes(snapshot, table),
    })
}
