//! The report of a diff: what is retained, what only churned, what older blocks did; by site and by scope.
//!
//! Called by `DiffReport`. Read side. Says the line that retains most first. Across runs there is no window to speak of,
//! and the report compares live and granted bytes instead.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::sites::{Conduits, Enclosing, Folder, Line};
use super::units::{bytes, count, counted, duration, fit, fraction, share, signed_bytes, signed_count, wrapped_to};
use super::{DiffReport, REPORT_VERSION, sampled, scopes};
use crate::model::{Change, Matching, SampleSum, ScopeDiff, SnapshotDiff, WindowSamples};

#[derive(Clone, Default)]
struct Row {
    line: usize,
    change: Change,
    /// Behind the estimated part of the change.
    samples: Option<WindowSamples>,
    /// The call stack that changed most, as an index into the diff's sites.
    site: usize,
}

/// One way to look at the sites.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Retained,
    Churn,
    Older,
    Net,
    Granted,
}

impl View {
    const WINDOW: [Self; 3] = [Self::Retained, Self::Churn, Self::Older];
    const ACROSS: [Self; 2] = [Self::Net, Self::Granted];

    fn of(diff: &SnapshotDiff) -> &'static [Self] {
        if diff.totals.window.is_some() {
            &Self::WINDOW
        } else {
            &Self::ACROSS
        }
    }

    /// Blocks and bytes.
    fn figures(self, change: &Change) -> (i64, i64) {
        let window = change.window.unwrap_or_default();
        match self {
            Self::Retained => (window.retained_blocks, window.retained_bytes),
            Self::Churn => (window.churn_blocks, window.churn_bytes),
            Self::Older => (window.older_blocks, window.older_bytes),
            Self::Net => (change.net_blocks, change.net_bytes),
            Self::Granted => (change.allocations, change.bytes),
        }
    }

    /// Bytes of all rows, what shares are shares of.
    fn whole(self, rows: &[&Row]) -> u64 {
        let bytes = |row: &&Row| self.figures(&row.change).1.max(0).unsigned_abs();
        rows.iter().map(bytes).fold(0, u64::saturating_add)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::Churn => "churn",
            Self::Older => "older",
            Self::Net => "net",
            Self::Granted => "granted",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Retained => "RETAINED by site: allocated in the window, alive at its end",
            Self::Churn => "CHURN by site: allocated in the window, freed in it",
            Self::Older => "OLDER BLOCKS by site: there before the window, changed in it",
            Self::Net => "LIVE BYTES by site, after minus before",
            Self::Granted => "BYTES GRANTED by site, after minus before",
        }
    }

    /// Whether the figure can be negative in a sound diff.
    fn is_signed(self) -> bool {
        matches!(self, Self::Older | Self::Net | Self::Granted)
    }
}

struct Table<'a> {
    folder: Folder<'a>,
    rows: Vec<Row>,
}

fn table<'a>(report: &DiffReport<'a>) -> Table<'a> {
    let diff = report.diff;
    let mut folder = Folder::new(&diff.frames, &diff.modules, &report.options.own, Conduits::Named);
    // A site of a diff is summed over scopes, so its own are not known. To name a nameless body, the scope that begins
    // nearest before it in its file serves as well.
    let name = |scope: &'a ScopeDiff| Enclosing {
        name: &scope.name,
        file: &scope.file,
        line: scope.line,
    };
    let mut nearest_first: Vec<Enclosing<'_>> = diff.scopes.iter().map(name).collect();
    nearest_first.sort_by_key(|scope| std::cmp::Reverse(scope.line));

    let mut rows: Vec<Option<Row>> = Vec::new();
    for (at, site) in diff.sites.iter().enumerate() {
        let line = folder.fold(site.stack.as_deref(), nearest_first.iter().copied());
        if line >= rows.len() {
            rows.resize_with(line + 1, || None);
        }
        // Sites come in order of what they retain: the first of a line is its heaviest.
        let row = rows[line].get_or_insert_with(|| Row {
            line,
            site: at,
            ..Row::default()
        });
        row.change.add(&site.change);
        if let Some(samples) = &site.samples {
            row.samples.get_or_insert_default().add(samples);
        }
    }
    Table {
        folder,
        rows: rows.into_iter().flatten().collect(),
    }
}

impl Table<'_> {
    fn line(&self, row: &Row) -> &Line {
        &self.folder.lines()[row.line]
    }

    /// The rows that a view is about, heaviest first.
    fn ranked(&self, view: View) -> Vec<&Row> {
        let weight = |row: &Row| {
            let (blocks, bytes) = view.figures(&row.change);
            (bytes.unsigned_abs(), blocks.unsigned_abs())
        };
        let counts = |row: &&Row| {
            let (blocks, bytes) = view.figures(&row.change);
            if view.is_signed() {
                (blocks, bytes) != (0, 0)
            } else {
                bytes > 0 || blocks > 0
            }
        };
        let mut rows: Vec<&Row> = self.rows.iter().filter(counts).collect();
        rows.sort_by(|a, b| {
            let name = |row: &Row| {
                let line = self.line(row);
                (
                    line.file.clone(),
                    line.line,
                    line.function.clone(),
                    line.instead.clone(),
                    line.collection.clone(),
                )
            };
            weight(b).cmp(&weight(a)).then_with(|| name(a).cmp(&name(b)))
        });
        rows
    }
}

pub(super) fn text(report: &DiffReport<'_>, f: &mut String) -> fmt::Result {
    let diff = report.diff;
    let table = table(report);
    writeln!(f, "{}", fit(&title(diff), report.options.width))?;
    let without_names = table.folder.knows_addresses_only();
    if without_names && let Some(note) = table.folder.note() {
        f.write_str(&wrapped_to(note, 2, report.options.width))?;
    }
    headline(report, &table, f)?;
    totals(report, f)?;
    for &view in View::of(diff) {
        sites(report, &table, view, f)?;
    }
    scope_table(report, f)?;
    let mut notes = notes(diff, &table);
    if without_names {
        notes.pop();
    }
    if !notes.is_empty() {
        writeln!(f)?;
    }
    for note in notes {
        f.write_str(&wrapped_to(&note, 2, report.options.width))?;
    }
    Ok(())
}

fn title(diff: &SnapshotDiff) -> String {
    let (before, after) = (&diff.before, &diff.after);
    if diff.basis.matching == Matching::SameRun {
        let between = duration(after.uptime_ms.saturating_sub(before.uptime_ms));
        let (program, pid) = (&after.process.executable, after.process.pid);
        format!("Allocscope diff: {program}, pid {pid}, a window of {between}")
    } else {
        let side = |side: &crate::model::DiffSide| {
            format!(
                "{} (pid {}, {})",
                side.process.executable,
                side.process.pid,
                duration(side.uptime_ms)
            )
        };
        format!("Allocscope diff: {} to {}", side(before), side(after))
    }
}

fn headline(report: &DiffReport<'_>, table: &Table<'_>, f: &mut String) -> fmt::Result {
    let views = View::of(report.diff);
    let mut first = true;
    for &view in &views[..2] {
        let known = |row: &&Row| report.diff.sites[row.site].stack.is_some() && view.figures(&row.change).1 > 0;
        let Some(row) = table.ranked(view).into_iter().find(known) else {
            continue;
        };
        let line = table.line(row);
        let (blocks, size) = view.figures(&row.change);
        let what = match view {
            View::Retained => "retains most",
            View::Churn => "churns most",
            View::Older => "changes older blocks most",
            View::Net => "grows most",
            View::Granted => "asks for more",
        };
        let unit = if view == View::Granted { "allocation" } else { "block" };
        if first {
            writeln!(f)?;
            first = false;
        }
        let place = line.place(report.options.base());
        let headline = match samples_of(row, view).filter(|sum| !sum.is_enough()) {
            Some(sum) => format!("{place} {what}, estimated: {}", sampled::too_few(&sum)),
            // Bytes come without blocks where one has grown.
            None if blocks <= 0 => format!("{place} {what}: {}", bytes(size.unsigned_abs())),
            None => {
                let blocks = counted(blocks.unsigned_abs(), unit);
                format!("{place} {what}: {} in {blocks}", bytes(size.unsigned_abs()))
            }
        };
        writeln!(f, "{}", fit(&headline, report.options.width))?;
        let sentence = line.sentence();
        if !sentence.is_empty() {
            writeln!(f, "  {}", fit(&sentence, report.options.width - 2))?;
        }
    }
    Ok(())
}

fn totals(report: &DiffReport<'_>, f: &mut String) -> fmt::Result {
    let diff = report.diff;
    let t = &diff.totals;
    writeln!(f, "\nWHOLE PROGRAM{:>15}{:>15}", "blocks", "bytes")?;
    let mut row = |name: &str, (blocks, bytes): (i64, i64), meaning: &str| {
        let line = format!(
            "  {name:<11}{:>15}{:>15}  {meaning}",
            signed_count(blocks),
            signed_bytes(bytes)
        );
        writeln!(f, "{}", line.trim_end())
    };
    if t.window.is_some() {
        row("retained", View::Retained.figures(t), "allocated since, alive now")?;
        row("older", View::Older.figures(t), "freed, or grown, of what was there")?;
        row("net growth", View::Net.figures(t), "the two together")?;
        row("churn", View::Churn.figures(t), "allocated since, freed since")?;
    } else {
        row("live", View::Net.figures(t), "after minus before")?;
    }
    let lines = [
        ("allocated", t.allocations, t.bytes),
        ("freed", t.frees, t.freed_bytes),
        ("reallocated", t.reallocations, t.copied_bytes),
    ];
    for (name, events, size) in lines {
        let meaning = match name {
            "reallocated" => "events; bytes copied",
            "allocated" => "events; bytes granted",
            _ => "events; bytes released",
        };
        row(name, (events, size), meaning)?;
    }
    if let Some(samples) = &diff.samples {
        f.write_str(&wrapped_to(
            &format!("  {}", sampled::window(samples)),
            4,
            report.options.width,
        ))?;
    }
    let (before, after) = (diff.before.peak_bytes, diff.after.peak_bytes);
    writeln!(
        f,
        "  peak       {:>15}{:>15}  before; after",
        bytes(before),
        bytes(after)
    )
}

fn sites(report: &DiffReport<'_>, table: &Table<'_>, view: View, f: &mut String) -> fmt::Result {
    let rows = table.ranked(view);
    if rows.is_empty() {
        // Older blocks at rest are the normal case; that nothing is retained or churned is worth a line.
        return if view == View::Older {
            Ok(())
        } else {
            writeln!(f, "\n{}\n  none", view.title())
        };
    }
    let shown = rows.len().min(report.options.top);
    writeln!(f, "\n{}", view.title())?;
    let shares = !view.is_signed();
    let whole = view.whole(&rows);
    let blocks_title = if view == View::Granted { "allocations" } else { "blocks" };
    let share_title = if shares { "share" } else { "" };
    // What is not the view's own figure is that of the site, whatever the view.
    let of_site = ["site growth", "site granted", "site events"];
    let line = columns([share_title, "bytes", blocks_title, of_site[0], of_site[1], of_site[2]].map(str::to_owned));
    writeln!(f, "{line}")?;
    for (rank, row) in (1..).zip(&rows[..shown]) {
        let title = table.line(row).title(report.options.base());
        writeln!(f, "{}", fit(&format!("{rank:>3}. {title}"), report.options.width))?;
        let (blocks, size) = view.figures(&row.change);
        let figures = [
            if shares {
                share(size.max(0).unsigned_abs(), whole)
            } else {
                String::new()
            },
            if shares {
                bytes(size.max(0).unsigned_abs())
            } else {
                signed_bytes(size)
            },
            if shares {
                count(blocks.max(0).unsigned_abs())
            } else {
                signed_count(blocks)
            },
            signed_bytes(row.change.net_bytes),
            signed_bytes(row.change.bytes),
            signed_count(row.change.allocations.saturating_add(row.change.reallocations)),
        ];
        let sum = samples_of(row, view);
        match sum {
            // Figures of so few samples would only mislead.
            Some(sum) if !sum.is_enough() => writeln!(f, "     estimated: {}", sampled::too_few(&sum))?,
            _ => writeln!(f, "{}", columns(figures))?,
        }
        if let Some(samples) = row.samples.filter(|_| sum.is_some_and(|sum| sum.is_enough())) {
            f.write_str(&wrapped_to(
                &format!("     {}", sampled::window(&samples)),
                7,
                report.options.width,
            ))?;
        }
    }
    if rows.len() > shown {
        writeln!(f, "  smaller sites not shown: {}", count((rows.len() - shown) as u64))?;
    }
    Ok(())
}

/// The samples behind what a view shows of a row.
fn samples_of(row: &Row, view: View) -> Option<SampleSum> {
    row.samples.map(|samples| match view {
        View::Retained => samples.retained,
        _ => samples.granted,
    })
}

fn columns([share, bytes, blocks, net, granted, events]: [String; 6]) -> String {
    format!("    {share:>8} {bytes:>12} {blocks:>13} {net:>12} {granted:>12} {events:>12}")
}

fn scope_table(report: &DiffReport<'_>, f: &mut String) -> fmt::Result {
    let nodes = &report.diff.scopes;
    if nodes.len() < 2 {
        return Ok(());
    }
    // Parents come first in a diff that was made here; one that was read from elsewhere must not loop.
    let parents: Vec<Option<usize>> = (0..)
        .zip(nodes)
        .map(|(at, node)| {
            let parent = node.parent.map(|parent| parent as usize).filter(|parent| *parent < at);
            parent.or((at > 0).then_some(0))
        })
        .collect();
    let has_window = report.diff.totals.window.is_some();
    let weight = |at: usize| {
        let change = &nodes[at].inclusive;
        let window = change.window.unwrap_or_default();
        let main = if has_window {
            window.retained_bytes.max(window.churn_bytes)
        } else {
            change.bytes
        };
        main.unsigned_abs()
    };
    let (rows, left_out) = scopes::tree(&parents, weight, report.options.top);
    let columns = scopes::Table::new(report.options.width);
    let heads = if has_window {
        ["calls", "retained", "self", "churn", "self"]
    } else {
        ["calls", "live", "self", "bytes", "self"]
    };
    writeln!(f, "\n{}", columns.heading("SCOPES", heads))?;
    let views = if has_window {
        [View::Retained, View::Churn]
    } else {
        [View::Net, View::Granted]
    };
    for row in &rows {
        let node = &nodes[row.at];
        let calls = if row.at == 0 {
            String::new()
        } else {
            count_change(node.completed, has_window)
        };
        let show = |view: View, change: &Change| {
            let (_, size) = view.figures(change);
            if view.is_signed() || size < 0 {
                signed_bytes(size)
            } else {
                bytes(size.unsigned_abs())
            }
        };
        let figures = [
            calls,
            show(views[0], &node.inclusive),
            show(views[0], &node.own),
            show(views[1], &node.inclusive),
            show(views[1], &node.own),
        ];
        let name = columns.label((row.at > 0).then_some(&node.name), row.depth);
        writeln!(f, "{}", columns.line(&name, figures))?;
    }
    if left_out > 0 {
        writeln!(f, "  lighter scopes not shown: {}", count(left_out as u64))?;
    }
    Ok(())
}

fn count_change(value: i64, has_window: bool) -> String {
    if has_window && value >= 0 {
        count(value.unsigned_abs())
    } else {
        signed_count(value)
    }
}

fn notes(diff: &SnapshotDiff, table: &Table<'_>) -> Vec<String> {
    let mut notes: Vec<String> = diff.basis.notes.iter().map(|note| format!("note: {note}.")).collect();
    notes.extend(table.folder.note().map(str::to_owned));
    notes
}

pub(super) fn json(report: &DiffReport<'_>) -> Value {
    let diff = report.diff;
    let table = table(report);
    let mut rankings = serde_json::Map::new();
    for &view in View::of(diff) {
        let rows = table.ranked(view);
        let whole = view.whole(&rows);
        let entries: Vec<Value> = (1..)
            .zip(rows.into_iter().take(report.options.top))
            .map(|(rank, row): (usize, _)| {
                let line = table.line(row);
                let stack = diff.sites[row.site].stack.as_deref().unwrap_or_default();
                json!({
                    "rank": rank,
                    "share": fraction(view.figures(&row.change).1.max(0).unsigned_abs(), whole),
                    "place": line.place(report.options.base()),
                    "file": line.file,
                    "line": line.line,
                    "function": line.function,
                    "collection": line.collection,
                    "change": row.change,
                    "samples": row.samples,
                    "stack": table.folder.source_frames(stack),
                })
            })
            .collect();
        rankings.insert(view.name().to_owned(), Value::Array(entries));
    }
    json!({
        "report_version": REPORT_VERSION,
        "report": "diff",
        "basis": diff.basis,
        "before": diff.before,
        "after": diff.after,
        "totals": diff.totals,
        "samples": diff.samples,
        "site_count": table.rows.len(),
        "sites": rankings,
        "scopes": diff.scopes,
        "notes": notes(diff, &table),
    })
}
