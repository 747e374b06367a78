//! Figures summed by crate, file, line, function, scope or collection, as a table.
//!
//! Called by the user through `Report::by`. Read side. A context counts in one row: that of the line a person would change, or of its scope.
//! Cost: as the report.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::rank::in_short_lived;
use super::sites::{Conduits, Enclosing, Folder};
use super::units::{bytes, count, fit, fraction, share};
use super::{REPORT_VERSION, Report};
use crate::inside::inside_tracker;
use crate::model::{Counters, ScopeNode, ScopeNodeId, Snapshot, add_counters};
use crate::symbolize::{crate_of_file, short_path};

/// What a [`RollUp`] sums by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// The crate that the line is in, as its path says.
    Crate,
    /// The source file.
    File,
    /// The line: the sites of the report, whatever they build.
    Line,
    /// The function.
    Function,
    /// The scope that it ran in, without the scopes inside; the same scope on several paths is one row.
    Scope,
    /// The collection that is built.
    Collection,
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Self::Crate => "crate",
            Self::File => "file",
            Self::Line => "line",
            Self::Function => "function",
            Self::Scope => "scope",
            Self::Collection => "collection",
        }
    }
}

/// Figures of a snapshot summed by one property of their sites: print it, or take its JSON.
#[derive(Clone, Debug)]
pub struct RollUp<'a> {
    report: Report<'a>,
    group: Group,
}

impl<'a> Report<'a> {
    /// The figures summed by crate, file, line, function, scope or collection, ranked as the report is.
    pub fn by(&self, group: Group) -> RollUp<'a> {
        RollUp {
            report: self.clone(),
            group,
        }
    }
}

impl RollUp<'_> {
    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        inside_tracker(|| json(self))
    }
}

impl fmt::Display for RollUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_text(f, |text| write(self, text))
    }
}

#[derive(Clone, Default)]
struct Row {
    name: String,
    counters: Counters,
    weight: u64,
    temporary: u64,
    /// Bytes granted in calls and alive at their ends; of scopes only.
    retained: Option<u64>,
}

/// What scopes are called where two of one name must be told apart: by their places.
struct ScopeNames<'a> {
    /// The place of each name's scope; `None` where there are several.
    places: HashMap<&'a str, Option<(&'a str, u32)>>,
    base: Option<&'a str>,
}

impl<'a> ScopeNames<'a> {
    fn of(snapshot: &'a Snapshot, base: Option<&'a str>) -> Self {
        let mut places: HashMap<&str, Option<(&str, u32)>> = HashMap::new();
        for scope in &snapshot.scopes {
            let here = Some((scope.file.as_str(), scope.line));
            let known = places.entry(&scope.name).or_insert(here);
            if *known != here {
                *known = None;
            }
        }
        Self { places, base }
    }

    fn name(&self, scope: &ScopeNode) -> String {
        match self.places.get(scope.name.as_str()) {
            Some(None) => format!("{} ({}:{})", scope.name, short_path(&scope.file, self.base), scope.line),
            _ => scope.name.clone(),
        }
    }
}

/// Heaviest first; and the sum of all weights.
fn rows(rollup: &RollUp<'_>) -> (Vec<Row>, u64) {
    let (report, group) = (&rollup.report, rollup.group);
    let snapshot = report.snapshot;
    let places: HashMap<ScopeNodeId, usize> = snapshot.scopes.iter().map(|scope| scope.id).zip(0..).collect();
    let mut folder = Folder::new(
        &snapshot.frames,
        &snapshot.modules,
        &report.options.own,
        Conduits::Named,
    );
    let weights = report.rank.weights(snapshot);
    let temporary = in_short_lived(snapshot);
    let names = ScopeNames::of(snapshot, report.options.base());
    let mut place_of: HashMap<String, usize> = HashMap::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut whole = 0_u64;
    for ((context, weight), temporary) in snapshot.contexts.iter().zip(weights).zip(temporary) {
        let scope = places.get(&context.scope).map(|&at| &snapshot.scopes[at]);
        let name = if group == Group::Scope {
            let inside = scope.filter(|scope| scope.parent.is_some());
            inside.map_or_else(|| "(no scope)".to_owned(), |scope| names.name(scope))
        } else {
            let stack = context.stack.and_then(|stack| snapshot.stacks.get(stack as usize));
            let enclosing = scope.map(|scope| Enclosing {
                name: &scope.name,
                file: &scope.file,
                line: scope.line,
            });
            let line = folder.fold(stack.map(|stack| stack.frames), enclosing.into_iter());
            let line = &folder.lines()[line];
            let known = |text: String| if text.is_empty() { line.instead.clone() } else { text };
            match group {
                Group::Crate => known(crate_of_file(&line.file).unwrap_or_default()),
                Group::File => known(short_path(&line.file, report.options.base())),
                Group::Line => known(line.place(report.options.base())),
                Group::Function => known(line.function.clone()),
                _ => line.collection.clone().unwrap_or_else(|| "(not known)".to_owned()),
            }
        };
        let at = *place_of.entry(name).or_insert_with_key(|name| {
            rows.push(Row {
                name: name.clone(),
                ..Row::default()
            });
            rows.len() - 1
        });
        let row = &mut rows[at];
        add_counters(&mut row.counters, &context.counters);
        row.weight = row.weight.saturating_add(weight);
        row.temporary = row.temporary.saturating_add(temporary);
        whole = whole.saturating_add(weight);
    }
    if group == Group::Scope {
        for node in snapshot.scopes.iter().skip(1) {
            if let Some(&at) = place_of.get(&names.name(node)) {
                let sum = rows[at].retained.get_or_insert(0);
                *sum = sum.saturating_add(node.calls.retained_bytes);
            }
        }
    }
    rows.sort_by(|a, b| {
        let weight = |row: &Row| (row.weight, row.counters.total_bytes, row.counters.total_allocations);
        weight(b).cmp(&weight(a)).then_with(|| a.name.cmp(&b.name))
    });
    (rows, whole)
}

fn write(rollup: &RollUp<'_>, f: &mut String) -> fmt::Result {
    let (report, group) = (&rollup.report, rollup.group);
    let (rows, whole) = rows(rollup);
    let shown = rows.len().min(report.options.top);
    let title = format!(
        "BY {} {}: {} of {}",
        group.name().to_uppercase(),
        report.rank.title(),
        count(shown as u64),
        count(rows.len() as u64)
    );
    writeln!(f, "{}", fit(&title, report.options.width))?;
    let last = if group == Group::Scope { "retained" } else { "temporary" };
    let heads = ["share", "bytes", "allocations", "live", "at peak", "copied", last];
    writeln!(f, "{}", columns(heads.map(str::to_owned)).trim_end())?;
    for row in &rows[..shown] {
        writeln!(f, "{}", fit(&row.name, report.options.width))?;
        let c = &row.counters;
        let last = match group {
            Group::Scope => row.retained.map_or_else(String::new, bytes),
            _ => bytes(row.temporary),
        };
        let figures = [
            share(row.weight, whole),
            bytes(c.total_bytes),
            count(c.total_allocations),
            bytes(c.live_bytes),
            bytes(c.bytes_at_peak),
            bytes(c.copied_bytes),
            last,
        ];
        writeln!(f, "{}", columns(figures).trim_end())?;
    }
    Ok(())
}

fn columns(figures: [String; 7]) -> String {
    let [share, bytes, allocations, live, peak, copied, last] = figures;
    format!("  {share:>8} {bytes:>10} {allocations:>11} {live:>10} {peak:>10} {copied:>10} {last:>10}")
}

fn json(rollup: &RollUp<'_>) -> Value {
    let (rows, whole) = rows(rollup);
    let top = rollup.report.options.top;
    let shown = rows.iter().take(top).map(|row| {
        json!({
            "name": row.name,
            "share": fraction(row.weight, whole),
            "counters": row.counters,
            "temporary_bytes": row.temporary,
            "retained_bytes": row.retained,
        })
    });
    json!({
        "report_version": REPORT_VERSION,
        "report": "roll_up",
        "group": rollup.group.name(),
        "rank": rollup.report.rank.to_string(),
        "rows": shown.collect::<Vec<_>>(),
        "row_count": rows.len(),
    })
}
