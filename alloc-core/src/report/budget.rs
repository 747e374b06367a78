//! Budgets in reports: the lines of code that a measurement spent its allocations on, and calls that were over a budget.
//!
//! Called by `budget` and by the hot-path report. Read side. The same folding of stacks into lines as in the hot-path report.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use super::hot;
use super::units::{WIDTH, bytes, count, counted, fit, grouped, share, wrapped_to};
use super::{Options, Rank, Report};
use crate::budget::passes::{News, Written};
use crate::budget::{Check, Limit, Metric, SiteUsage, Subject, Usage};
use crate::model::{BudgetStats, Snapshot};

/// The sites of a resolved snapshot, most bytes first.
pub(crate) fn site_usages(snapshot: &Snapshot) -> Vec<SiteUsage> {
    let report = snapshot.report();
    let table = hot::table(&report);
    let lines = table.folder.lines();
    let of_row = |row: &hot::Row| {
        let line = &lines[row.line];
        SiteUsage {
            file: line.file.clone(),
            line: line.line,
            function: line.function.clone(),
            collection: line.collection.clone(),
            allocations: row.counters.total_allocations,
            reallocations: row.counters.total_reallocations,
            bytes: row.counters.total_bytes,
            live_bytes: row.counters.live_bytes,
        }
    };
    table.rows.iter().map(of_row).collect()
}

/// The functions of which calls were over their budgets.
pub(super) fn exceeded(budgets: &[BudgetStats], width: usize, f: &mut String) -> fmt::Result {
    if budgets.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nBUDGETS exceeded")?;
    for budget in budgets {
        let place = format!("{} ({}:{})", budget.name, budget.file, budget.line);
        let title = format!("  {place}: {} over", counted(budget.calls_over, "call"));
        writeln!(f, "{}", fit(&title, width))?;
        for (metric, name, limit, worst) in [
            (
                Metric::Allocations,
                "allocations",
                budget.allocations,
                budget.worst_allocations,
            ),
            (Metric::Bytes, "bytes", budget.bytes, budget.worst_bytes),
            (Metric::Peak, "peak", budget.peak_bytes, budget.worst_peak_bytes),
            (
                Metric::Retained,
                "retained",
                budget.retained_bytes,
                budget.worst_retained_bytes,
            ),
            // All calls together: bytes, as what one of them retains.
            (Metric::Retained, "live", budget.bounded_bytes, budget.worst_live_bytes),
        ] {
            if let Some(limit) = limit.filter(|&limit| worst > limit) {
                let rounded = if metric.is_bytes() { bytes } else { count };
                let mut figures = [limit, worst].map(rounded);
                if figures[0] == figures[1] {
                    figures = [limit, worst].map(|value| figure(metric, value));
                }
                let [limit, worst] = figures;
                let line = format!("    {name:<12} limit {limit:>11}   worst {worst:>11}");
                writeln!(f, "{}", fit(&line, width))?;
            }
        }
    }
    Ok(())
}

/// A measurement that is over its budget.
pub(crate) struct Explained<'a> {
    pub(crate) subject: Subject,
    pub(crate) usage: &'a Usage,
    pub(crate) checks: &'a [Check],
    /// What its sites are ranked by.
    pub(crate) rank: Rank,
    pub(crate) news: News,
    pub(crate) profile: Written,
}

/// Sites that an explanation shows.
const TOP: usize = 5;

/// What was allowed, what was found, and which lines spent it.
pub(crate) fn explain(explained: &Explained<'_>, snapshot: Option<&Snapshot>) -> String {
    let mut text = String::new();
    // A `String` takes whatever is written to it.
    let _ = write_explanation(&mut text, explained, snapshot);
    text.truncate(text.trim_end().len());
    text
}

fn write_explanation(f: &mut String, explained: &Explained<'_>, snapshot: Option<&Snapshot>) -> fmt::Result {
    let Subject { what, file, line } = explained.subject;
    let what: Vec<&str> = what.split_whitespace().collect();
    let title = format!("over its allocation budget: {}", what.join(" "));
    writeln!(f, "{}", fit(&title, WIDTH))?;
    writeln!(f, "  at {file}:{line}")?;
    for check in explained.checks {
        writeln!(f, "{}", check_line(check, explained.usage))?;
    }
    if let Some(snapshot) = snapshot {
        write_sites(f, explained.rank, snapshot)?;
    }
    write_news(f, &explained.news)?;
    match &explained.profile {
        Written::NotAsked => {}
        Written::To(path) => writeln!(f, "full profile: {}", path.display())?,
        Written::Failed(error) => writeln!(f, "full profile: failed to write {error}")?,
    }
    Ok(())
}

fn figure(metric: Metric, value: u64) -> String {
    let unit = if metric.is_bytes() { " B" } else { "" };
    // To the last digit: an exact limit is kept or not by one.
    format!("{}{unit}", grouped(value))
}

/// `  allocations   15   limit <= 12   over by 3`.
fn check_line(check: &Check, usage: &Usage) -> String {
    let Check { metric, limit } = *check;
    let actual = metric.of(usage);
    let limit_text = match limit {
        Limit::AtMost(most) => format!("<= {}", figure(metric, most)),
        Limit::Below(end) => format!("< {}", figure(metric, end)),
        Limit::Exactly(value) => format!("== {}", figure(metric, value)),
        Limit::Within(least, most) => format!("in {} ..= {}", figure(metric, least), figure(metric, most)),
    };
    let nearest = limit.nearest(actual);
    let verdict = match actual {
        _ if limit.allows(actual) => "kept".to_owned(),
        _ if actual > nearest => format!("over by {}", figure(metric, actual - nearest)),
        _ => format!("under by {}", figure(metric, nearest - actual)),
    };
    let is_bound = match metric {
        Metric::Peak => !usage.is_peak_exact,
        Metric::Retained => !usage.is_retained_exact,
        _ => false,
    };
    let at_most = if is_bound { "at most " } else { "" };
    format!(
        "  {metric:<13} {at_most}{}   limit {limit_text}   {verdict}",
        figure(metric, actual)
    )
}

fn write_sites(f: &mut String, rank: Rank, snapshot: &Snapshot) -> fmt::Result {
    let report = Report {
        snapshot,
        rank,
        options: Options::new(),
    };
    let table = hot::table(&report);
    let rows: Vec<_> = table.rows.iter().filter(|row| row.weight > 0).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let whole = table.whole;
    let shown = rows.len().min(TOP);
    let by = match rank {
        Rank::Live => "bytes still alive",
        _ => rank.title(),
    };
    writeln!(
        f,
        "TOP SITES by {by}: {} of {}",
        count(shown as u64),
        count(rows.len() as u64)
    )?;
    for (number, row) in (1..).zip(&rows[..shown]) {
        let line = &table.folder.lines()[row.line];
        writeln!(
            f,
            "{}",
            fit(&format!("{number:>3}. {}", line.title(report.options.base())), WIDTH)
        )?;
        let c = &row.counters;
        let mut figures = format!(
            "     {}: {}",
            share(row.weight, whole),
            counted(c.total_allocations, "allocation")
        );
        if c.total_reallocations > 0 {
            figures += &format!(", {}", counted(c.total_reallocations, "reallocation"));
        }
        figures += &format!(", {}", bytes(c.total_bytes));
        if c.live_bytes > 0 {
            figures += &format!(", {} alive", bytes(c.live_bytes));
        }
        writeln!(f, "{}", fit(&figures, WIDTH))?;
        if let Some(callers) = hot::callers(&report, &table, row) {
            writeln!(f, "     {}", fit(&callers, WIDTH - 5))?;
        }
    }
    if let Some(note) = table.folder.note() {
        f.write_str(&wrapped_to(note, 2, WIDTH))?;
    }
    Ok(())
}

fn write_news(f: &mut String, news: &News) -> fmt::Result {
    match news {
        News::NoPass => f.write_str(&wrapped_to(
            "No pass of this check is recorded, so nothing can be said to be new; ALLOCSCOPE_RECORD=1 records those that \
             hold.",
            2,
            WIDTH,
        )),
        News::Unreadable(error) => f.write_str(&wrapped_to(
            &format!("The recorded pass cannot be read; record it again with ALLOCSCOPE_RECORD=1: {error}"),
            2,
            WIDTH,
        )),
        News::Since(more) if more.is_empty() => writeln!(f, "NEW SINCE THE LAST RECORDED PASS: nothing"),
        News::Since(more) => {
            writeln!(f, "NEW SINCE THE LAST RECORDED PASS")?;
            let options = Options::new();
            for more in more.iter().take(TOP) {
                let site = &more.site;
                let place = crate::symbolize::short_path(&site.file, options.base());
                let kind = site.collection.as_deref().unwrap_or_default();
                let title = format!("  {place}:{}  {}  {kind}", site.line, site.function);
                writeln!(f, "{}", fit(title.trim_end(), WIDTH))?;
                let new = if more.is_new { "new: " } else { "more: " };
                writeln!(f, "     {new}{}, {}", counted(more.allocations, "allocation"), bytes(more.bytes))?;
            }
            if more.len() > TOP {
                writeln!(f, "  and {} more", count((more.len() - TOP) as u64))?;
            }
            Ok(())
        }
    }
}

/// The line and the callers of the one call stack in a resolved snapshot, a line each.
pub(crate) fn stack_lines(snapshot: &Snapshot) -> Vec<String> {
    const SEVERAL: usize = 8;
    let report = snapshot.report();
    let table = hot::table(&report);
    let Some(row) = table.rows.first() else {
        return Vec::new();
    };
    let base = report.options.base();
    let mut lines = vec![fit(&table.folder.lines()[row.line].title(base), WIDTH - 2)];
    let stack = row.stack.and_then(|stack| snapshot.stacks.get(stack));
    let callers = stack
        .map(|stack| table.folder.callers(stack.frames))
        .unwrap_or_default();
    lines.extend(callers.iter().take(SEVERAL).map(|symbol| {
        let path = crate::symbolize::short_path(&symbol.file, base);
        let function = crate::symbolize::short_function(&symbol.function);
        fit(&format!("called from {path}:{}  {function}", symbol.line), WIDTH - 2)
    }));
    lines
}
