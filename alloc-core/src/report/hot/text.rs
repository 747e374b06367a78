//! The hot-path report as text.
//!
//! Called by `Report`. Read side. Says the worst line first, then the totals, the ranking, the scopes, and what the tracker itself holds and
//! lost. Figures stand in fixed columns; what a wider terminal has more is for names and paragraphs.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use super::super::units::{bytes, count, counted, duration, fit, mean_bytes, mean_count, share, wrapped_to};
use super::super::{Rank, Report, budget, sampled, scopes};
use super::{OFF, Row, Table, is_empty, notes, table};
use crate::model::{Counters, SampleSum, Samples, TrackerStats};

pub(in crate::report) fn text(report: &Report<'_>, f: &mut String) -> fmt::Result {
    let snapshot = report.snapshot;
    let table = table(report);
    let process = &snapshot.process;
    let width = report.options.width;
    let title = format!(
        "Allocscope: {}, pid {}, mode {}, {} after start",
        process.executable,
        process.pid,
        snapshot.mode,
        duration(snapshot.uptime_ms)
    );
    writeln!(f, "{}", fit(&title, width))?;
    if is_empty(snapshot) {
        // Figures of nothing would read as those of a program that allocates nothing.
        writeln!(f)?;
        return f.write_str(&wrapped_to(OFF, 2, width));
    }
    let without_names = table.folder.knows_addresses_only();
    if without_names && let Some(note) = table.folder.note() {
        f.write_str(&wrapped_to(note, 2, width))?;
    }
    headline(report, &table, f)?;
    totals(report, f)?;
    sites(report, &table, f)?;
    scope_tables(report, &table, f)?;
    budget::exceeded(&snapshot.budgets, width, f)?;
    tracker(&snapshot.tracker, width, f)?;
    for text in snapshot.sampling.iter().flat_map(sampled::paragraphs) {
        f.write_str(&wrapped_to(&text, 2, width))?;
    }
    for note in notes(snapshot, &table).into_iter().skip(usize::from(without_names)) {
        f.write_str(&wrapped_to(&note, 2, width))?;
    }
    Ok(())
}

fn headline(report: &Report<'_>, table: &Table<'_>, f: &mut String) -> fmt::Result {
    let named = |row: &&Row| row.stack.is_some() && row.weight > 0;
    let Some(row) = table.rows.iter().find(named) else {
        return Ok(());
    };
    writeln!(f)?;
    if let Some(first) = table.rows.first().filter(|first| first.stack.is_none()) {
        // Whatever has a line is lighter than what has none, and could be the least of it.
        let part = share(first.weight, table.whole);
        let headline = format!(
            "Hottest: not known, {part} {} has no call stack recorded",
            report.rank.of_all()
        );
        return f.write_str(&wrapped_to(&headline, 2, report.options.width));
    }
    let line = &table.folder.lines()[row.line];
    let place = line.place(report.options.base());
    let sentence = line.sentence();
    if let Some(sum) = too_few(report.rank, row) {
        let headline = format!("Hottest: {place}, estimated: {}", sampled::too_few(sum));
        f.write_str(&wrapped_to(&headline, 2, report.options.width))?;
        if !sentence.is_empty() {
            f.write_str(&wrapped_to(&format!("  {sentence}"), 4, report.options.width))?;
        }
        return Ok(());
    }
    let part = share(row.weight, table.whole);
    let headline = format!("Hottest: {place}, {part} {}", report.rank.of_all());
    f.write_str(&wrapped_to(&headline, 2, report.options.width))?;
    let what = match report.rank {
        Rank::Live => format!(
            "{} in {}",
            bytes(row.counters.live_bytes),
            counted(row.counters.live_blocks, "live block")
        ),
        Rank::Peak => format!("{} at the peak", bytes(row.counters.bytes_at_peak)),
        Rank::Copied => format!("{} copied", bytes(row.weight)),
        Rank::Temporary => format!("about {} in blocks freed at once", bytes(row.temporary)),
        Rank::Allocations | Rank::Bytes => {
            format!(
                "{} in {}",
                bytes(row.counters.total_bytes),
                counted(row.counters.total_allocations, "allocation")
            )
        }
    };
    let separator = if sentence.is_empty() { "" } else { ": " };
    f.write_str(&wrapped_to(
        &format!("  {sentence}{separator}{what}"),
        4,
        report.options.width,
    ))
}

/// The samples behind what is ranked by, where these are too few to say.
fn too_few(rank: Rank, row: &Row) -> Option<&SampleSum> {
    let samples = row.samples.as_ref()?;
    let of_rank = match rank {
        Rank::Live => &samples.live,
        _ => &samples.granted,
    };
    [&samples.granted, of_rank].into_iter().find(|sum| !sum.is_enough())
}

fn totals(report: &Report<'_>, f: &mut String) -> fmt::Result {
    let snapshot = report.snapshot;
    let program = sampled::Program::of(snapshot);
    let t = &program.totals;
    // The left column is too narrow for a sentence.
    let (frees, freed) = match program.too_few_freed {
        Some(samples) => (few(samples), format!("too few samples ({samples})")),
        None => (count(t.total_frees), bytes(t.freed_bytes)),
    };
    let left = [
        ("allocations", count(t.total_allocations)),
        ("reallocations", count(t.total_reallocations)),
        ("frees", frees),
        ("peak", peak_text(program.peak)),
    ];
    let right = [
        ("bytes granted", bytes(t.total_bytes)),
        ("bytes copied", bytes(t.copied_bytes)),
        ("bytes freed", freed),
        ("live now", program.live()),
    ];
    writeln!(f, "\nWHOLE PROGRAM")?;
    for ((left_name, left), (right_name, right)) in left.into_iter().zip(right) {
        writeln!(f, "  {left_name:<13} {left:>13}     {right_name:<13} {right}")?;
    }
    if let Some(sampling) = &snapshot.sampling {
        let live = sampled::estimate(&sampling.samples.live, sampling.bytes);
        let text =
            format!("  Sampled: frees, bytes freed, peak and live are estimated; live of what was sampled: {live}");
        f.write_str(&wrapped_to(&text, 4, report.options.width))?;
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
        writeln!(f, "{}", fit(&format!("{rank:>3}. {title}"), report.options.width))?;
        let c = &row.counters;
        let figures = [
            share(row.weight, whole),
            bytes(c.total_bytes),
            count(c.total_allocations),
            live_of(c, row.samples.as_ref(), false),
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
            let granted = report.snapshot.sampling.map_or(u64::MAX, |sampling| sampling.bytes);
            f.write_str(&wrapped_to(
                &format!("     {}", sampled::site(samples, granted)),
                7,
                report.options.width,
            ))?;
        }
        if let Some(context) = whereabouts(report, table, row) {
            writeln!(f, "     {}", fit(&context, report.options.width - 5))?;
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
        let names = table.scope_path(report.snapshot, scope);
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let path = scopes::path(&names, report.options.width - 5 - 22);
        let all = row.scopes.iter().map(|(_, granted)| *granted);
        let part = share(granted, all.fold(0, u64::saturating_add));
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
pub(in crate::report) fn callers(report: &Report<'_>, table: &Table<'_>, row: &Row) -> Option<String> {
    const SEVERAL: usize = 2;
    let stack = report.snapshot.stacks.get(row.stack?)?;
    let place = |symbol: &&crate::model::Symbol| {
        let path = crate::symbolize::short_path(&symbol.file, report.options.base());
        format!("{path}:{}", symbol.line)
    };
    let callers = table.folder.callers(stack.frames);
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
    let columns = scopes::Table::new(report.options.width);
    let heads = ["calls", "allocations", "bytes", "peak (max)", "retained"];
    writeln!(f, "\n{}", columns.heading("SCOPES, per call", heads))?;
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
        let name = columns.label(Some(&node.name), row.depth - 1);
        writeln!(f, "{}", columns.line(&name, figures))?;
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
        f.write_str(&wrapped_to(&text, 2, report.options.width))?;
    }
    if nodes.iter().any(|node| node.calls.completed < node.calls.entered) {
        let text = "  about calls that have ended; a recursive call is part of the outermost one";
        f.write_str(&wrapped_to(text, 2, report.options.width))?;
    }

    let heads = ["bytes", "self bytes", "live", "self live", "peak"];
    writeln!(f, "\n{}", columns.heading("SCOPES, in total", heads))?;
    let program = sampled::Program::of(report.snapshot);
    let is_sampled = program.is_sampled();
    for row in &rows {
        let node = &nodes[row.at];
        let live = live_of(&node.inclusive, node.inclusive_samples.as_ref(), is_sampled);
        let figures = [
            bytes(node.inclusive.total_bytes),
            bytes(node.own.total_bytes),
            program.too_few_alive.filter(|_| row.at == 0).map_or(live, few),
            live_of(&node.own, node.own_samples.as_ref(), is_sampled),
            peak_text(program.peak_of(row.at, node)),
        ];
        let name = columns.label((row.at > 0).then_some(&node.name), row.depth);
        writeln!(f, "{}", columns.line(&name, figures))?;
    }
    if left_out > 0 {
        writeln!(f, "  lighter scopes not shown: {}", count(left_out as u64))?;
    }
    Ok(())
}

/// Live bytes of a scope or a site, never more than were granted; how many samples there are where these are too few. `may_be_unseen`: what
/// has no sample may have been granted in mode `sampled` nevertheless.
fn live_of(counters: &Counters, samples: Option<&Samples>, may_be_unseen: bool) -> String {
    let is_none = counters.live_bytes == 0;
    match samples.map(|samples| &samples.live) {
        Some(live) if !live.is_enough() && (live.samples > 0 || is_none) => few(live.samples),
        Some(_) => bytes(counters.live_bytes.min(counters.total_bytes)),
        None if may_be_unseen && is_none && counters.total_bytes > 0 => few(0),
        None => bytes(counters.live_bytes),
    }
}

/// "too few samples" where there is no room for it.
fn few(samples: u64) -> String {
    format!("few ({samples})")
}

/// A peak; its samples are not counted.
fn peak_text(peak: Option<u64>) -> String {
    peak.map_or_else(|| "few samples".to_owned(), bytes)
}

fn tracker(stats: &TrackerStats, width: usize, f: &mut String) -> fmt::Result {
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
    f.write_str(&wrapped_to(&text, 2, width))?;
    let losses = losses(stats);
    if !losses.is_empty() {
        f.write_str(&wrapped_to(&format!("Not exact: {}.", losses.join("; ")), 2, width))?;
    }
    Ok(())
}

/// What was lost, in words; nothing when nothing was.
fn losses(stats: &TrackerStats) -> Vec<String> {
    [
        (
            stats.other_allocations,
            "allocations with no call stack recorded (where memory ran out, ALLOCSCOPE_MEMORY_MIB raises the ceiling)",
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
