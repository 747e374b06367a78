//! Budgets in reports: the lines of code that a measurement spent its allocations on, and calls that were over a budget.
//!
//! Called by `budget` and by the hot-path report. Read side. The same folding of stacks into lines as in the hot-path report.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use super::hot;
use super::units::{WIDTH, bytes, count, fit};
use crate::budget::SiteUsage;
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
pub(super) fn exceeded(budgets: &[BudgetStats], f: &mut String) -> fmt::Result {
    if budgets.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nBUDGETS exceeded")?;
    for budget in budgets {
        let calls = if budget.calls_over == 1 { "call" } else { "calls" };
        let place = format!("{} ({}:{})", budget.name, budget.file, budget.line);
        let title = format!("  {place}: {} {calls} over", count(budget.calls_over));
        writeln!(f, "{}", fit(&title, WIDTH))?;
        for (metric, limit, worst, figure) in [
            (
                "allocations",
                budget.allocations,
                budget.worst_allocations,
                count as fn(u64) -> String,
            ),
            ("bytes", budget.bytes, budget.worst_bytes, bytes),
            ("peak", budget.peak_bytes, budget.worst_peak_bytes, bytes),
            ("retained", budget.retained_bytes, budget.worst_retained_bytes, bytes),
        ] {
            if let Some(limit) = limit.filter(|&limit| worst > limit) {
                writeln!(
                    f,
                    "    {metric:<12} limit {:>11}   worst {:>11}",
                    figure(limit),
                    figure(worst)
                )?;
            }
        }
    }
    Ok(())
}
