//! The scope trees of two snapshots in one.
//!
//! Read side; used by `SnapshotDiff::between`.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::sums::{Side, minus};
use super::{Change, Matching, ScopeDiff, WindowSamples};
use crate::model::{CallStats, ScopeNode, ScopeNodeId, Snapshot};

/// The scope trees of both snapshots in one.
pub(super) struct ScopeTable<'a> {
    matching: Matching,
    by_id: HashMap<ScopeNodeId, usize>,
    by_place: HashMap<(Option<usize>, Place<'a>), usize>,
    pub(super) nodes: Vec<ScopePair<'a>>,
}

/// What a scope is known by in another run, inside of the same parent.
#[derive(PartialEq, Eq, Hash)]
struct Place<'a> {
    name: &'a str,
    file: &'a str,
    /// In another build, where lines have moved: the how manieth line of the file with a scope of that name.
    line: u32,
}

/// The lines of the scopes of one name in one file, in order.
struct Lines<'a>(HashMap<(&'a str, &'a str), Vec<u32>>);

impl<'a> Lines<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut all: HashMap<_, Vec<u32>> = HashMap::new();
        for scope in &snapshot.scopes {
            let lines = all.entry((&*scope.name, &*scope.file)).or_default();
            if let Err(at) = lines.binary_search(&scope.line) {
                lines.insert(at, scope.line);
            }
        }
        Self(all)
    }

    fn rank(&self, scope: &ScopeNode) -> u32 {
        let lines = self.0.get(&(&*scope.name, &*scope.file));
        lines.map_or(0, |lines| lines.partition_point(|line| *line < scope.line) as u32)
    }
}

pub(super) struct ScopePair<'a> {
    parent: Option<usize>,
    name: &'a str,
    file: &'a str,
    line: u32,
    before: CallStats,
    after: CallStats,
    peak_before: u64,
    peak_after: u64,
}

impl<'a> ScopeTable<'a> {
    pub(super) fn new(matching: Matching) -> Self {
        Self {
            matching,
            by_id: HashMap::new(),
            by_place: HashMap::new(),
            nodes: Vec::new(),
        }
    }

    /// Adds one side's scopes; returns where each of its ids went.
    pub(super) fn enter(&mut self, side: Side, snapshot: &'a Snapshot) -> HashMap<ScopeNodeId, usize> {
        let mut places: HashMap<ScopeNodeId, usize> = HashMap::with_capacity(snapshot.scopes.len());
        if snapshot.scopes.is_empty() && self.nodes.is_empty() {
            self.nodes.push(ScopePair::new(None, "", "", 0));
        }
        let lines = Lines::of(snapshot);
        for scope in &snapshot.scopes {
            let parent = scope.parent.map(|parent| places.get(&parent).copied().unwrap_or(0));
            let next = self.nodes.len();
            let at = match self.matching {
                Matching::SameRun => *self.by_id.entry(scope.id).or_insert(next),
                _ => {
                    let line = match self.matching {
                        Matching::SameBuild => scope.line,
                        _ => lines.rank(scope),
                    };
                    let (name, file) = (&*scope.name, &*scope.file);
                    *self
                        .by_place
                        .entry((parent, Place { name, file, line }))
                        .or_insert(next)
                }
            };
            if at == next {
                self.nodes
                    .push(ScopePair::new(parent, &scope.name, &scope.file, scope.line));
            }
            let node = &mut self.nodes[at];
            let (calls, peak) = match side {
                Side::Before => (&mut node.before, &mut node.peak_before),
                Side::After => (&mut node.after, &mut node.peak_after),
            };
            add_calls(calls, &scope.calls);
            *peak = (*peak).max(scope.peak_bytes);
            places.insert(scope.id, at);
        }
        places
    }

    pub(super) fn finish(self, own: &[Change], own_samples: &[Option<WindowSamples>]) -> Vec<ScopeDiff> {
        let mut inclusive = own.to_vec();
        let mut inclusive_samples = own_samples.to_vec();
        for at in (1..self.nodes.len()).rev() {
            // A parent comes before its children, so its sum is complete when its turn comes.
            if let Some(parent) = self.nodes[at].parent {
                let child = inclusive[at];
                inclusive[parent].add(&child);
                if let Some(child) = inclusive_samples[at] {
                    inclusive_samples[parent].get_or_insert_default().add(&child);
                }
            }
        }
        let figures = own.iter().zip(inclusive).zip(own_samples.iter().zip(inclusive_samples));
        type Figures<'a> = ((&'a Change, Change), (&'a Option<WindowSamples>, Option<WindowSamples>));
        let describe = |(node, figures): (ScopePair<'_>, Figures<'_>)| {
            let ((own, inclusive), (own_samples, inclusive_samples)) = figures;
            ScopeDiff {
                parent: node.parent.map(|parent| parent as u32),
                name: node.name.to_owned(),
                file: node.file.to_owned(),
                line: node.line,
                own: *own,
                inclusive,
                own_samples: *own_samples,
                inclusive_samples,
                entered: minus(node.after.entered, node.before.entered),
                completed: minus(node.after.completed, node.before.completed),
                call_allocations: minus(node.after.allocations, node.before.allocations),
                call_bytes: minus(node.after.bytes, node.before.bytes),
                call_peak_bytes: minus(node.after.sum_peak_bytes, node.before.sum_peak_bytes),
                call_retained_bytes: minus(node.after.retained_bytes, node.before.retained_bytes),
                peak_bytes_before: node.peak_before,
                peak_bytes_after: node.peak_after,
            }
        };
        self.nodes.into_iter().zip(figures).map(describe).collect()
    }
}

impl<'a> ScopePair<'a> {
    fn new(parent: Option<usize>, name: &'a str, file: &'a str, line: u32) -> Self {
        let none = CallStats::default();
        Self {
            parent,
            name,
            file,
            line,
            before: none,
            after: none,
            peak_before: 0,
            peak_after: 0,
        }
    }
}

/// Adds the sums among the call figures, which are the only ones a diff uses.
fn add_calls(sum: &mut CallStats, more: &CallStats) {
    for (sum, more) in [
        (&mut sum.entered, more.entered),
        (&mut sum.completed, more.completed),
        (&mut sum.allocations, more.allocations),
        (&mut sum.bytes, more.bytes),
        (&mut sum.sum_peak_bytes, more.sum_peak_bytes),
        (&mut sum.retained_bytes, more.retained_bytes),
    ] {
        *sum = sum.wrapping_add(more);
    }
}
