//! Collections that are rebuilt in iteration after iteration, and what to do about them.
//!
//! ```
//! use alloc_core::{TrackingAllocator, findings};
//!
//! #[global_allocator]
//! static ALLOC: TrackingAllocator = TrackingAllocator::new();
//!
//! // After some requests, turns of loops, or other iterations:
//! let findings = findings::findings()?;
//! println!("{findings}");
//! # Ok::<(), alloc_core::Error>(())
//! ```
//!
//! Read side: everything is computed from a [`Snapshot`] ([`Snapshot::loops`](crate::Snapshot) and what it needs of the rest), so it can be
//! done elsewhere and later. Verdicts, thresholds and formulas: `docs/rebuilds.md`.
#![forbid(unsafe_code)]

mod advice;
mod baseline;
mod elements;
mod evidence;
mod finding;
mod groups;
mod growth;
mod id;
mod judge;
mod making;
mod nesting;
mod options;
mod outermost;
mod outside;
pub(crate) mod part;
mod places;
mod rules;
mod statistics;
mod text;

use serde::{Deserialize, Serialize};

pub use baseline::{Accepted, Baseline, Compared, NewFindings};
pub use finding::{
    AtOnce, CodeLine, Confidence, Cost, Finding, Growth, GrowthChains, Inner, Iteration, NotEnough, Share, ShortLived,
    Sizes, Suggestion, Verdict,
};
pub use options::Options;

use crate::inside::inside_tracker;
use crate::model::{Error, ProcessInfo, ScopeKind, Snapshot};
use places::Places;

/// Version of the JSON that [`Findings`] are. Documented in `docs/rebuilds.md`.
pub const FINDINGS_VERSION: u32 = 1;

/// What a snapshot says about collections that are rebuilt: print it, serialise it, or hold it against a [`Baseline`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Findings {
    /// See [`FINDINGS_VERSION`].
    pub findings_version: u32,
    /// Which run of which program.
    pub process: ProcessInfo,
    /// Mode at the moment of the snapshot.
    pub mode: String,
    /// Loops that had iterations observed, most iterations first.
    pub loops: Vec<LoopSeen>,
    /// Worst first; what is for information only comes last.
    pub findings: Vec<Finding>,
    /// What looks like a finding, in loops that were not observed often enough.
    pub not_enough: Vec<NotEnough>,
    /// Lines whose blocks grow, most bytes copied first.
    pub growth: Vec<GrowthChains>,
    /// Lines whose blocks are freed soon, most bytes granted first.
    pub short_lived: Vec<ShortLived>,
    /// What to know about all of it, for people.
    pub notes: Vec<String>,
}

/// A loop that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoopSeen {
    /// Names of the scopes from the outermost to the loop's own.
    pub path: Vec<String>,
    /// What an iteration is.
    pub kind: ScopeKind,
    /// Iterations begun. Exact.
    pub seen: u64,
    /// Of these, observed to their end.
    pub observed: u64,
}

/// Takes a snapshot, resolves it, and says what it finds.
///
/// # Overhead
/// As [`Snapshot::take`], [`Snapshot::resolve`] and [`Findings::of`].
///
/// # Errors
/// As [`Snapshot::take`].
pub fn findings() -> Result<Findings, Error> {
    let mut snapshot = Snapshot::take()?;
    snapshot.resolve();
    Ok(Findings::of(&snapshot, &Options::default()))
}

impl Findings {
    /// Judges what a snapshot says of iterations. [Resolve](Snapshot::resolve) it first: without lines, findings are named by addresses, and a note
    /// says so.
    ///
    /// # Accuracy
    /// Costs are exact. Behaviour is that of observed iterations, a sample; each finding says how many, and gives lower bounds.
    ///
    /// # Overhead
    /// For each loop a pass over the contexts; nothing on the program's own threads.
    pub fn of(snapshot: &Snapshot, options: &Options) -> Self {
        inside_tracker(|| of(snapshot, options))
    }

    /// The same as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        inside_tracker(|| serde_json::to_value(self).unwrap_or_default())
    }
}

fn of(snapshot: &Snapshot, options: &Options) -> Findings {
    let mut places = Places::of(snapshot, &options.own, options.base.clone());
    let judged = judge::judge(snapshot, &mut places, options);
    let mut loops: Vec<LoopSeen> = snapshot
        .loops
        .iter()
        .filter_map(|stats| {
            let scope = places.scope(stats.scope)?;
            Some(LoopSeen {
                path: places.path(scope),
                kind: snapshot.scopes[scope].kind,
                seen: stats.iterations.max(stats.observed),
                observed: stats.observed,
            })
        })
        .collect();
    loops.sort_by(|a, b| b.seen.cmp(&a.seen).then_with(|| a.path.cmp(&b.path)));
    Findings {
        findings_version: FINDINGS_VERSION,
        process: snapshot.process.clone(),
        mode: snapshot.mode.clone(),
        loops,
        growth: growth::chains(snapshot, &mut places, options),
        short_lived: growth::short_lived(snapshot, &mut places),
        notes: notes(snapshot, &places, &judged),
        findings: judged.findings,
        not_enough: judged.not_enough,
    }
}

fn notes(snapshot: &Snapshot, places: &Places<'_>, judged: &judge::Judged) -> Vec<String> {
    let mut notes = Vec::new();
    if snapshot.loops.is_empty() {
        notes.push(match snapshot.mode.as_str() {
            "exact" => {
                "No iteration was observed. Mark what is done again and again: #[track_memory(request)] on the function that serves a request, \
                 #[track_memory(loops)] on one that loops."
            }
            _ => "No iteration was observed: that needs call stacks, and so mode exact (ALLOCSCOPE_MODE=exact).",
        }
        .to_owned());
        return notes;
    }
    if snapshot.was_off {
        notes.push("Tracking was off for a time; what was allocated then is in no figure.".to_owned());
    }
    if !places.is_resolved() {
        notes.push(
            "The addresses are not resolved, so lines, functions and collections are missing and each call stack stands for itself. Call \
             Snapshot::resolve() first, in a process that runs the same build."
                .to_owned(),
        );
    } else if let Some(note) = places.note() {
        notes.push(note.trim_start_matches("note: ").to_owned());
    }
    if judged.foreign_lines > 0 {
        notes.push(format!(
            "{} lines of the loops are in dependencies with no frame of your own code below them, and were not judged; `user_crates` widens what is your own.",
            judged.foreign_lines
        ));
    }
    if judged.lines == 0 && judged.foreign_lines > 0 {
        notes.push("None of the lines is in your own code: check the names given to `user_crates`.".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
