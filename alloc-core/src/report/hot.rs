//! The hot-path report of one snapshot: which lines allocate, in which scopes.
//!
//! Called by `Report`. Read side. Says the worst line first, then the totals, the ranking, the scopes, and what the
//! tracker itself holds and lost.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::sites::{Conduits, Enclosing, Folder};
use super::units::{WIDTH, bytes, count, duration, fit, fraction, mean_bytes, mean_count, share, wrapped};
use super::{REPORT_VERSION, Rank, Report};
use super::{budget, sampled, scopes};
use crate::model::{Counters, Samples, ScopeNode, ScopeNodeId, Snapshot, TrackerStats, add_counters};

/// One site: all contexts of one line and collection.
#[derive(Clone, Default)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) counters: Counters,
    /// What the report ranks by.
    pub(super) weight: u64,
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
    for (context, weight) in snapshot.contexts.iter().zip(weights) {
        let scope = place.get(&context.scope).copied().unwrap_or(0);
        let stack = context
            .stack
            .map(|stack| stack as usize)
            .filter(|stack| *stack < snapshot.stacks.len());
        let enclosing = std::iter::successors(Some(scope), |&at| parents.get(at).copied().flatten())
            .filter_map(|at| snapshot.scopes.get(at))
            .map(|scope| Enclosing {
                name: &scope.name,
                file: &scope.file,
                line: scope.line,
            });
        let line = match stack {
            None => folder.fold(None, enclosing),
            Some(at) => *line_of[at].get_or_insert_with(|| folder.fold(Some(&snapshot.stacks[at].frames), enclosing)),
        };
        if line >= rows.len() {
            rows.resize_with(line + 1, Row::default);
        }
        let row = &mut rows[line];
        row.line = line;
        row.contexts += 1;
        add_counters(&mut row.counters, &context.counters);
        row.weight = row.weight.wrapping_add(weight);
        whole = whole.wrapping_add(weight);
        if let Some(samples) = &context.samples {
            row.samples.get_or_insert_default().add(samples);
        }
        let granted = by_scope.entry((line, scope)).or_default();
        *granted = granted.wrapping_add(context.counters.total_bytes);
        if row.stack.is_none() || weight > row.stack_weight {
            (row.stack, row.stack_weight) = (stack, weight);
        }
    }
    for ((line, scope), granted) in by_scope {
        rows[line].scopes.push((scope, granted));
    }
    for row in &mut rows {
        row.scopes
            .sort_unstable_by_key(|&(scope, granted)| (u64::MAX - granted, scope));
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

pub(super) fn text(report: &Report<'_>, f: &mut String) -> fmt::Result {
    let snapshot = report.snapshot;
    let table = table(report);
    let process = &snapshot.process;
    writeln!(
        f,
        "{}",
        fit(
            &format!(
                "Allocscope: {}, pid {}, mode {}, {} after start",
                process.executable,
                process.pid,
                snapshot.mode,
                duration(snapshot.uptime_ms)
            ),
            WIDTH
        )
    )?;
    headline(report, &table, f)?;
    totals(snapshot, f)?;
    sites(report, &table, f)?;
    scope_tables(report, &table, f)?;
    budget::exceeded(&snapshot.budgets, f)?;
    tracker(&snapshot.tracker, f)?;
    for text in snapshot.sampling.iter().flat_map(sampled::paragraphs) {
        f.write_str(&wrapped(&text, 2))?;
    }
    for note in notes(snapshot, &table) {
        f.write_str(&wrapped(&note, 2))?;
    }
    Ok(())
}

fn headline(report: &Report<'_>, table: &Table<'_>, f: &mut String) -> fmt::Result {
    let named = |row: &&Row| row.stack.is_some() && row.weight > 0;
    let Some(row) = table.rows.iter().find(named) else {
        return Ok(());
    };
    let line = &table.folder.lines()[row.line];
    let part = share(row.weight, table.whole);
    let place = line.place(report.options.base());
    writeln!(f)?;
    writeln!(
        f,
        "{}",
        fit(&format!("Hottest: {place}, {part} {}", report.rank.of_all()), WIDTH)
    )?;
    let what = match report.rank {
        Rank::Live => format!(
            "{} in {} live blocks",
            bytes(row.counters.live_bytes),
            count(row.counters.live_blocks)
        ),
        Rank::Peak => format!("{} at the peak", bytes(row.counters.bytes_at_peak)),
        Rank::Copied => format!("{} copied", bytes(row.weight)),
        Rank::Temporary => format!("about {} in blocks freed at once", bytes(row.weight)),
        Rank::Allocations | Rank::Bytes => {
            format!(
                "{} in {} allocations",
                bytes(row.counters.total_bytes),
                count(row.counters.total_allocations)
            )
        }
    };
    let sentence = line.sentence();
    let separator = if sentence.is_empty() { "" } else { ": " };
    writeln!(f, "{}", fit(&format!("  {sentence}{separator}{what}"), WIDTH))
}

fn totals(snapshot: &Snapshot, f: &mut String) -> fmt::Result {
    let t = &snapshot.totals;
    let live = sampled::live(snapshot);
    let left = [
        ("allocations", count(t.total_allocations)),
        ("reallocations", count(t.total_reallocations)),
        ("frees", count(t.total_frees)),
        ("peak", bytes(snapshot.peak_bytes)),
    ];
    let right = [
        ("bytes granted", bytes(t.total_bytes)),
        ("bytes copied", bytes(t.copied_bytes)),
        ("bytes freed", bytes(t.freed_bytes)),
        ("live now", live),
    ];
    writeln!(f, "\nWHOLE PROGRAM")?;
    for ((left_name, left), (right_name, right)) in left.into_iter().zip(right) {
        writeln!(f, "  {left_name:<13} {left:>13}     {right_name:<13} {right}")?;
    }
    if let Some(sampling) = &snapshot.sampling {
        let live = sampled::estimate(&sampling.samples.live);
        let text =
            format!("  Sampled: frees, bytes freed, peak and live are estimated; live of what was sampled: {live}");
        f.write_str(&wrapped(&text, 4))?;
    }
    Ok(())
}

fn sites(report: &Report<'_>, table: &Table<'_>, f: &mut String) -> fmt::Result {
    let whole = table.whole;
    let with_weight = table.rows.iter().filter(|row| row.weight > 0).count();
    let shown = with_weight.min(report.options.top);
    let weights = table.rows[..shown].iter().map(|row| row.weight);
    let covered = weights.fold(0, u64::saturating_add);
    if table.rows.is_empty() {
        return writeln!(f, "\nTOP SITES\n  nothing was allocated");
    }
    let title = format!(
        "TOP SITES by {}: {} of {}, together {}",
        report.rank.title(),
        count(shown as u64),
        count(with_weight as u64),
        share(covered, whole)
    );
    writeln!(f, "\n{title}")?;
    if shown == 0 {
        return Ok(());
    }
    let any_copied = table.rows[..shown].iter().any(|row| row.counters.copied_bytes > 0);
    let copied_title = if any_copied { "copied" } else { "" };
    let heads = ["share", "bytes", "allocations", "live", "at peak", copied_title];
    let line = columns(&heads.map(str::to_owned));
    writeln!(f, "{}", line.trim_end())?;
    for (rank, row) in (1..).zip(&table.rows[..shown]) {
        let line = &table.folder.lines()[row.line];
        let title = line.title(report.options.base());
        writeln!(f, "{}", fit(&format!("{rank:>3}. {title}"), WIDTH))?;
        let c = &row.counters;
        let figures = [
            share(row.weight, whole),
            bytes(c.total_bytes),
            count(c.total_allocations),
            bytes(c.live_bytes),
            // Samples do not tell what a site held then.
            if row.samples.is_some() && c.bytes_at_peak == 0 {
                "-".to_owned()
            } else {
                bytes(c.bytes_at_peak)
            },
            // What reallocations moved matters where it is a good part of what was asked for.
            if c.copied_bytes > 0 {
                bytes(c.copied_bytes)
            } else {
                String::new()
            },
        ];
        match &row.samples {
            // Figures of so few samples would only mislead.
            Some(samples) if !samples.granted.is_enough() => {}
            _ => writeln!(f, "{}", columns(&figures).trim_end())?,
        }
        if let Some(samples) = &row.samples {
            f.write_str(&wrapped(&format!("     {}", sampled::site(samples)), 7))?;
        }
        if let Some(context) = whereabouts(report, table, row) {
            writeln!(f, "     {}", fit(&context, WIDTH - 5))?;
        }
    }
    Ok(())
}

/// Six figures under their headings.
fn columns(figures: &[String; 6]) -> String {
    let [share, bytes, allocations, live, peak, copied] = figures;
    format!("    {share:>8} {bytes:>12} {allocations:>13} {live:>12} {peak:>12} {copied:>12}")
}

/// The scope that asked for most of it, or else the callers.
fn whereabouts(report: &Report<'_>, table: &Table<'_>, row: &Row) -> Option<String> {
    if let Some(&(scope, granted)) = row.scopes.first()
        && scope > 0
    {
        let path = scopes::path(&table.scope_path(report.snapshot, scope), WIDTH - 5 - 22);
        let part = share(granted, row.counters.total_bytes);
        let partly = if part == "100.0 %" {
            String::new()
        } else {
            format!(" ({part} of it)")
        };
        return Some(format!("in scope {path}{partly}"));
    }
    callers(report, table, row)
}

/// The nearest callers in the user's own code.
pub(super) fn callers(report: &Report<'_>, table: &Table<'_>, row: &Row) -> Option<String> {
    const SEVERAL: usize = 2;
    let stack = report.snapshot.stacks.get(row.stack?)?;
    let place = |symbol: &&crate::model::Symbol| {
        let path = crate::symbolize::short_path(&symbol.file, report.options.base());
        format!("{path}:{}", symbol.line)
    };
    let callers = table.folder.callers(&stack.frames);
    let mut callers: Vec<String> = callers.iter().map(place).collect();
    // A closure and the function around it, or a recursion, are one line said twice.
    callers.dedup();
    callers.truncate(SEVERAL);
    (!callers.is_empty()).then(|| format!("called from {}", callers.join(", ")))
}

fn scope_tables(report: &Report<'_>, table: &Table<'_>, f: &mut String) -> fmt::Result {
    let nodes = &report.snapshot.scopes;
    if nodes.len() < 2 {
        return Ok(());
    }
    let weight = |at: usize| match report.rank {
        Rank::Peak => nodes[at].peak_bytes,
        _ => report.rank.of_sum(&nodes[at].inclusive),
    };
    let (rows, left_out) = scopes::tree(&table.parents, weight, report.options.top);
    let heads = ["calls", "allocations", "bytes", "peak (max)", "retained"];
    writeln!(f, "\n{}", scopes::heading("SCOPES, per call", heads))?;
    for row in rows.iter().filter(|row| row.at > 0) {
        let node = &nodes[row.at];
        let calls = &node.calls;
        // What calls held is not known of what was granted in mode `sampled`.
        let is_known = node.inclusive_samples.is_none() || calls.max_peak_bytes > 0;
        let peak = if calls.completed == 0 || !is_known {
            "-".to_owned()
        } else {
            bytes(calls.max_peak_bytes)
        };
        let retained = if is_known {
            mean_bytes(calls.retained_bytes, calls.completed)
        } else {
            "-".to_owned()
        };
        let figures = [
            count(calls.completed),
            mean_count(calls.allocations, calls.completed),
            mean_bytes(calls.bytes, calls.completed),
            peak,
            retained,
        ];
        let name = scopes::label(Some(&node.name), row.depth - 1);
        writeln!(f, "{}", scopes::line(&name, figures))?;
    }
    let upper = nodes
        .iter()
        .map(|node| node.calls.upper_bound_calls)
        .fold(0, u64::saturating_add);
    if upper > 0 {
        let text = format!(
            "  peak and retained of {} calls are upper bounds: no call record was free",
            count(upper)
        );
        f.write_str(&wrapped(&text, 2))?;
    }
    if nodes.iter().any(|node| node.calls.completed < node.calls.entered) {
        let text = "  about calls that have ended; a recursive call is part of the outermost one";
        f.write_str(&wrapped(text, 2))?;
    }

    let heads = ["bytes", "self bytes", "live", "self live", "peak"];
    writeln!(f, "\n{}", scopes::heading("SCOPES, in total", heads))?;
    for row in &rows {
        let node = &nodes[row.at];
        let figures = [
            bytes(node.inclusive.total_bytes),
            bytes(node.own.total_bytes),
            live_of(&node.inclusive, node.inclusive_samples.as_ref()),
            live_of(&node.own, node.own_samples.as_ref()),
            bytes(node.peak_bytes),
        ];
        let name = scopes::label((row.at > 0).then_some(&node.name), row.depth);
        writeln!(f, "{}", scopes::line(&name, figures))?;
    }
    if left_out > 0 {
        writeln!(f, "  lighter scopes not shown: {}", count(left_out as u64))?;
    }
    Ok(())
}

/// Live bytes of a scope; how many samples there are where these are too few.
fn live_of(counters: &Counters, samples: Option<&Samples>) -> String {
    match samples.map(|samples| &samples.live) {
        Some(live) if live.samples > 0 && !live.is_enough() => format!("few ({})", live.samples),
        _ => bytes(counters.live_bytes),
    }
}

fn tracker(stats: &TrackerStats, f: &mut String) -> fmt::Result {
    writeln!(f)?;
    let own = if stats.own_live_blocks > 0 {
        format!(
            ", and {} for snapshots on the program's heap",
            bytes(stats.own_live_bytes)
        )
    } else {
        String::new()
    };
    let text = format!(
        "Tracker's own memory, in no figure above: {} of at most {}{own}. Threads: {}; contexts: {}.",
        bytes(stats.tracker_bytes),
        bytes(stats.tracker_bytes_limit),
        count(stats.threads),
        count(stats.contexts),
    );
    f.write_str(&wrapped(&text, 2))?;
    let losses = losses(stats);
    if !losses.is_empty() {
        f.write_str(&wrapped(&format!("Not exact: {}.", losses.join("; ")), 2))?;
    }
    Ok(())
}

/// What was lost, in words; nothing when nothing was.
fn losses(stats: &TrackerStats) -> Vec<String> {
    [
        (
            stats.other_allocations,
            "allocations without a site of their own (counted as \"other\")",
        ),
        (
            stats.truncated_stacks,
            "stacks cut at the depth limit (ALLOCSCOPE_DEPTH raises it)",
        ),
        (
            stats.foreign_stacks,
            "stacks of one frame only (not on a thread's own stack)",
        ),
        (
            stats.untracked_frees,
            "frees of blocks from while tracking was off, or not sampled",
        ),
        (stats.corrupt_headers, "block headers that made no sense"),
        (stats.dropped_events, "events seen and not recorded"),
        (
            stats.refused_scopes,
            "scopes not entered, because 65,536 nodes are in use: counted in the scope around",
        ),
        (
            stats.unmeasured_calls,
            "calls without figures of their own, nested too deeply: counted in their scope",
        ),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", count(number)))
    .collect()
}

fn notes(snapshot: &Snapshot, table: &Table<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if snapshot.was_off {
        notes.push("note: tracking was off for a time; blocks granted then are in no figure.".to_owned());
    }
    if snapshot.mode == "scopes" && snapshot.stacks.is_empty() {
        notes.push("note: mode scopes records no call stacks; ALLOCSCOPE_MODE=exact does.".to_owned());
    }
    notes.extend(table.folder.note().map(str::to_owned));
    notes
}

pub(super) fn json(report: &Report<'_>) -> Value {
    let snapshot = report.snapshot;
    let table = table(report);
    let whole = table.whole;
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
                "estimates": sampled::json(row.samples.as_ref()),
                "contexts": row.contexts,
                "scopes": scopes,
                "stack": stack.map(|stack| table.folder.source_frames(&stack.frames)).unwrap_or_default(),
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
                "own": node.own,
                "inclusive": node.inclusive,
                "peak_bytes": node.peak_bytes,
                "self_peak_bytes": node.self_peak_bytes,
                "own_estimates": sampled::json(node.own_samples.as_ref()),
                "inclusive_estimates": sampled::json(node.inclusive_samples.as_ref()),
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
        "totals": snapshot.totals,
        "live_bytes": snapshot.live_bytes(),
        "sampling": snapshot.sampling,
        "estimates": sampled::json(snapshot.sampling.as_ref().map(|sampling| &sampling.samples)),
        "peak_bytes": snapshot.peak_bytes,
        "site_count": table.rows.len(),
        "sites": sites,
        "scopes": scopes,
        "tracker": snapshot.tracker,
        "notes": notes(snapshot, &table),
    })
}
