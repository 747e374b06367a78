//! The tables of `docs/overhead.md`, written between its markers; the prose around them is by hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use allocscope_benches::figures::Summary;
use allocscope_benches::workloads::REAL;

use super::kinds::{Answers, Kind};
use super::table::{Table, columns};

/// The directory of the documentation.
pub(super) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Replaces what is between `<!-- measured: NAME -->` and `<!-- end of NAME -->`.
///
/// # Errors
/// When the page cannot be read or written, or has no such markers.
pub(super) fn replace(name: &str, text: &str) -> Result<(), String> {
    let path = docs().join("overhead.md");
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (begin, end) = (format!("<!-- measured: {name} -->"), format!("<!-- end of {name} -->"));
    let missing = || {
        format!(
            "{} has no place for {name}: add the lines `{begin}` and `{end}`",
            path.display()
        )
    };
    let (before, rest) = page.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    let page = format!("{before}{begin}\n{}\n{end}{after}", text.trim_end());
    std::fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))
}

/// A number with the digits that mean something.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{:.0}", (value / 10.0).round() * 10.0),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn cell(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), short)
}

fn with_spread(value: Option<Summary>) -> String {
    value.map_or("-".to_owned(), |value| {
        format!(
            "{} ({} to {})",
            short(value.median),
            short(value.low),
            short(value.high)
        )
    })
}

/// A table in Markdown.
pub(super) fn markdown(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{}{body}", line(head), line(&rule))
}

fn rows(table: &Table) -> impl Iterator<Item = usize> {
    let is_shown = |kind: &usize| table.measured[*kind].mean().is_some() && !table.kinds[*kind].is_bare();
    (0..table.kinds.len()).filter(is_shown)
}

/// Ratios to the bare allocator.
pub(super) fn ratios(table: &Table) -> String {
    let mut head = vec!["".to_owned(), "answers".to_owned(), "mean (quartiles)".to_owned()];
    head.extend(columns().iter().map(|(column, _)| (*column).to_owned()));
    let row = |kind: usize| {
        let measured = &table.measured[kind];
        let mut row = vec![
            table.kinds[kind].name.clone(),
            table.kinds[kind].answers.text().to_owned(),
            with_spread(measured.mean()),
        ];
        let ratio = |column: &str| measured.ratio(column).map(|ratio| ratio.median);
        row.extend(columns().iter().map(|(column, _)| cell(ratio(column))));
        row
    };
    let rows: Vec<_> = rows(table).map(row).collect();
    markdown(&head, &rows)
}

/// What one allocation costs more, and what a block and a start do.
pub(super) fn costs(table: &Table) -> String {
    let head = [
        "",
        "ns per block, programs",
        "ns per pair",
        "instructions per pair",
        "instructions per block, json",
        "bytes per live block of 32",
        "start-up, ms (quartiles)",
    ];
    let row = |kind: usize| {
        let measured = &table.measured[kind];
        vec![
            table.kinds[kind].name.clone(),
            cell(table.added_per_block(kind)),
            cell(measured.added_to_a_pair()),
            cell(measured.instructions[0]),
            cell(measured.instructions[1]),
            cell(measured.bytes_per_block),
            with_spread(measured.start_up),
        ]
    };
    let rows: Vec<_> = rows(table).map(row).collect();
    markdown(&head.map(str::to_owned), &rows)
}

/// Which of ours a peer is held against: the cheapest mode that answers at least as much, over the same allocator.
fn ours_for(table: &Table, kind: &Kind) -> Option<usize> {
    let modes: &[&str] = match kind.answers {
        Answers::Nothing => &["off"],
        Answers::Counts | Answers::Scopes => &["scopes"],
        Answers::Samples => &["sampled", "exact"],
        Answers::Stacks => &["exact"],
    };
    modes.iter().find_map(|mode| table.find(&kind.counterpart(mode)))
}

/// Where others are cheaper, and why: their upper quartile is below our lower one.
pub(super) fn cheaper(table: &Table) -> String {
    let head = ["", "cheaper than", "on", "why"].map(str::to_owned);
    let mut found = Vec::new();
    for kind in rows(table).filter(|kind| !table.kinds[*kind].is_ours()) {
        let Some(ours) = ours_for(table, &table.kinds[kind]) else {
            continue;
        };
        let wins: Vec<String> = columns()
            .iter()
            .filter_map(|(column, _)| {
                let (theirs, ours) = (table.measured[kind].ratio(column)?, table.measured[ours].ratio(column)?);
                let is_cheaper = theirs.high < ours.low;
                is_cheaper.then(|| format!("{column} ({} to {})", short(theirs.median), short(ours.median)))
            })
            .collect();
        if !wins.is_empty() {
            found.push(vec![
                table.kinds[kind].name.clone(),
                table.kinds[ours].name.replace("**", ""),
                wins.join(", "),
                table.kinds[kind].why.to_owned(),
            ]);
        }
    }
    if found.is_empty() {
        return "No other tracker was cheaper than the mode of ours that answers as much, on any workload.\n"
            .to_owned();
    }
    markdown(&head, &found)
}

/// Who is not in the tables, or sees less than all blocks, a line each.
pub(super) fn remarks(table: &Table) -> String {
    let mut text = String::new();
    for (kind, measured) in table.kinds.iter().zip(&table.measured) {
        if let Some(reason) = &measured.failure {
            writeln!(text, "- {}: not measured to the end. {reason}", kind.name).expect("a string can be written to");
        }
    }
    for kind in rows(table).filter(|kind| !table.kinds[*kind].is_ours()) {
        if let Some(seen) = table.seen(kind).filter(|seen| !(0.97..1.03).contains(seen)) {
            let name = &table.kinds[kind].name;
            writeln!(
                text,
                "- {name}: counts {:.0} % of the blocks that there are.",
                seen * 100.0
            )
            .expect("a string can be written to");
        }
    }
    if text.is_empty() {
        text.push_str("All were measured to the end, and those that count, count all blocks.\n");
    }
    text
}

/// The programs whose mean is taken, for a sentence.
pub(super) fn programs() -> String {
    REAL.join(", ")
}
