//! The one-file report: a page that holds its data, its style and its script, and asks the network for nothing.
//!
//! Called by the user through `Snapshot::html`, and by `Export`. Read side. Invariants: the page's policy forbids every connection; text from the program
//! is data (JSON in which `<` is escaped) that the script puts in as text, never as markup. The data are those of the printed reports
//! and of the findings: what the page shows can be looked up there. Leaves out what a browser would not show anyway: sites beyond
//! [`MOST_SITES`], and branches of the flame graph below a ten-thousandth of the whole.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::Options;
use crate::findings::{Findings, Options as FindingOptions};
use crate::inside::inside_tracker;
use crate::model::{Error, Snapshot, SnapshotDiff, write_atomically};
use crate::report::stacks::{Namer, Tree, of_contexts};
use crate::report::{Rank, lifetime_classes, size_classes};

/// Sites that the page holds by each figure it can sort them by, heaviest first. LIMIT: others are counted; `Report::top` and `to_json` have
/// as many as they are asked for.
const MOST_SITES: usize = 500;
/// Part of the whole below which a branch of the flame graph is left out, in every figure.
const LEAST_SHARE: u64 = 10_000;
/// The figures of the flame graph.
const RANKS: [Rank; 6] = [
    Rank::Bytes,
    Rank::Allocations,
    Rank::Live,
    Rank::Peak,
    Rank::Copied,
    Rank::Temporary,
];

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A report for browsers, in one file.
///
/// # Examples
/// ```
/// use alloc_core::{Snapshot, TrackingAllocator};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let mut before = Snapshot::take()?;
/// let mut now = Snapshot::take()?;
/// before.resolve();
/// now.resolve();
/// # let directory = std::env::temp_dir().join(format!("allocscope-html-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory).unwrap();
/// # let path = directory.join("report.html");
/// // let path = "report.html";
/// now.html().before(&before).save(path)?;
/// # std::fs::remove_dir_all(directory).unwrap();
/// # Ok::<(), alloc_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HtmlReport<'a> {
    snapshot: &'a Snapshot,
    before: Option<&'a Snapshot>,
    series: &'a [Snapshot],
    options: Options,
}

impl Snapshot {
    /// This snapshot as a page for browsers: sites and scopes to sort and search, a flame graph, rebuild findings. Call
    /// [`resolve`](Self::resolve) first, or it names addresses.
    pub fn html(&self) -> HtmlReport<'_> {
        HtmlReport::of(self, Options::default())
    }
}

impl<'a> HtmlReport<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, options: Options) -> Self {
        Self {
            snapshot,
            before: None,
            series: &[],
            options,
        }
    }

    /// Adds a view of what changed since an earlier snapshot. Resolve that one, too.
    #[must_use]
    pub fn before(mut self, before: &'a Snapshot) -> Self {
        self.before = Some(before);
        self
    }

    /// Adds a timeline through earlier snapshots of the same run, in any order; this one is its last point. Snapshots of other runs are left
    /// out.
    #[must_use]
    pub fn series(mut self, snapshots: &'a [Snapshot]) -> Self {
        self.series = snapshots;
        self
    }

    /// Names the crates that are your own, as [`Report::user_crates`](crate::report::Report::user_crates).
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.own = crate::report::own(names);
        self
    }

    /// Writes the page, complete or not at all.
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be written; an older one is then left as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        inside_tracker(|| write_atomically(path, |out| write(self, out)))
            .map_err(|error| Error::io("write", path, error))
    }

    /// The page as text.
    #[must_use]
    pub fn to_html(&self) -> String {
        inside_tracker(|| page(self))
    }
}

pub(super) fn write(report: &HtmlReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(page(report).as_bytes())
}

fn page(report: &HtmlReport<'_>) -> String {
    // Only `<` can end a script element; in JSON it occurs in strings alone.
    let data = data(report).to_string().replace('<', "\\u003c");
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    // In the order of the page, so that nothing is looked for in the data.
    for (mark, content) in [("/*style*/", STYLE), ("/*data*/", &data), ("/*script*/", SCRIPT)] {
        let (head, tail) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(head);
        page.push_str(content);
        rest = tail;
    }
    page.push_str(rest);
    page
}

fn data(report: &HtmlReport<'_>) -> Value {
    let snapshot = report.snapshot;
    let mut sites = snapshot.report().rank(report.options.rank()).top(MOST_SITES);
    sites.set_own(report.options.own.clone());
    let findings = Findings::of(snapshot, &FindingOptions::default().own(report.options.own.clone()));
    let found: Vec<Value> = findings
        .findings
        .iter()
        .map(|finding| {
            json!({
                "verdict": finding.verdict.to_string(),
                "severity": finding.severity,
                "place": finding.line.place,
                "function": finding.line.function,
                "collection": finding.line.collection,
                "text": finding.to_string(),
            })
        })
        .collect();
    json!({
        "exporter": concat!("allocscope ", env!("CARGO_PKG_VERSION")),
        "report": sites.to_json_by_each_figure(),
        "most_sites": MOST_SITES,
        "temporary_bytes": Rank::Temporary.weights(snapshot).into_iter().fold(0, u64::saturating_add),
        "flame": flame(snapshot, &report.options),
        "series": series(report),
        "findings": found,
        "finding_notes": findings.notes,
        "sizes": size_classes(snapshot),
        "lifetimes": lifetime_classes(snapshot),
        "diff": report.before.map(|before| {
            let diff = SnapshotDiff::between(before, snapshot);
            let mut changes = diff.report().top(MOST_SITES);
            changes.set_own(report.options.own.clone());
            changes.to_json()
        }),
        // A side of a difference does not say whether it is known.
        "live_of_diff": report.before.map(|before| [before.live_bytes(), snapshot.live_bytes()]),
    })
}

/// One point for each snapshot of this run.
fn series(report: &HtmlReport<'_>) -> Vec<Value> {
    let run = &report.snapshot.process.run_id;
    let mut points: Vec<&Snapshot> = report
        .series
        .iter()
        .chain(report.before)
        .filter(|snapshot| snapshot.process.run_id == *run && snapshot.epoch < report.snapshot.epoch)
        .collect();
    if points.is_empty() {
        return Vec::new();
    }
    points.push(report.snapshot);
    points.sort_by_key(|snapshot| snapshot.epoch);
    points.dedup_by_key(|snapshot| snapshot.epoch);
    let point = |snapshot: &&Snapshot| {
        json!({
            "uptime_ms": snapshot.uptime_ms,
            "taken_at_unix_ms": snapshot.taken_at_unix_ms,
            "live_bytes": snapshot.live_bytes(),
            "live_blocks": snapshot.live_blocks(),
            "total_bytes": snapshot.totals.total_bytes,
            "total_allocations": snapshot.totals.total_allocations,
            "peak_bytes": snapshot.peak_bytes,
        })
    };
    points.iter().map(point).collect()
}

/// The call tree: names, and for each node its parent, its name and its figures with those of the nodes inside.
fn flame(snapshot: &Snapshot, options: &Options) -> Value {
    let mut namer = Namer::of_snapshot(snapshot, &options.own, options.library);
    let stacks = of_contexts(&mut namer, snapshot);
    let weights = RANKS.map(|rank| rank.weights(snapshot));
    let mut tree: Tree<6> = Tree::new();
    for (at, stack) in stacks.iter().enumerate() {
        tree.add(stack, std::array::from_fn(|rank| weights[rank][at]));
    }
    // Children come after their parents.
    let mut sums: Vec<[u64; 6]> = tree.nodes.iter().map(|node| node.own).collect();
    for at in (1..sums.len()).rev() {
        let inside = sums[at];
        let around = &mut sums[tree.nodes[at].parent as usize];
        for (sum, more) in around.iter_mut().zip(inside) {
            *sum = sum.saturating_add(more);
        }
    }
    let shown = |at: usize| (0..6).any(|rank| sums[at][rank] > sums[0][rank] / LEAST_SHARE);
    let mut place = vec![None; sums.len()];
    let mut nodes: Vec<Value> = Vec::new();
    for (at, node) in tree.nodes.iter().enumerate() {
        let parent = place[node.parent as usize];
        if at > 0 && (parent.is_none() || !shown(at)) {
            continue;
        }
        place[at] = Some(nodes.len());
        nodes.push(json!([parent, node.name, sums[at]]));
    }
    let names: Vec<Value> = namer
        .names
        .names
        .iter()
        .map(|name| json!([name.text, name.file, name.line]))
        .collect();
    json!({
        "figures": RANKS.map(|rank| json!([rank.title(), rank != Rank::Allocations])),
        "names": names,
        "nodes": nodes,
    })
}
