//! What was counted below the nodes of one scope since a moment: for measurements.
//!
//! A part of `control`; used by `budget`.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::nodes::read_nodes;
use super::stacks::StackTable;
use super::tables::Sum;
use super::{context_of, without_contexts};
use crate::ids::{ContextId, ScopeNodeId};
use crate::model::{Snapshot, add_counters};
use crate::record::counters::Row;
use crate::record::thread::{self, Registry};
use crate::record::{context, scope, stack};

/// What one context counted before a measurement began on a site that others have used.
pub(crate) struct Baseline(HashMap<u32, Sum>);

/// The figures of all contexts below the nodes of `scope`, by context.
fn sums_inside(scope: u32) -> HashMap<u32, Sum> {
    // Asked once: other threads make nodes meanwhile.
    let nodes = scope::node_count();
    let mut is_inside = vec![false; nodes as usize];
    for node in ScopeNodeId::TRACKER.0 + 1..nodes {
        let Some(info) = scope::node_info(node) else { continue };
        is_inside[node as usize] = info.scope() == scope || is_inside[info.parent() as usize];
    }
    let registry = Registry::lock();
    registry.fold_ended();
    let mut sums = HashMap::new();
    for id in 0..context::count() {
        let Some(node) = context::node_of(ContextId(id)) else {
            continue;
        };
        if !is_inside.get(node as usize).is_some_and(|&inside| inside) {
            continue;
        }
        let mut sum = Sum::default();
        let mut add = |row: &Row, copied: u64| {
            sum.add_free_side(row);
            sum.add_allocation_side(row);
            sum.copied_bytes += copied;
        };
        for thread in registry.threads() {
            if let Some(row) = thread.rows.get(id as usize) {
                let copied = thread.growth.get(id as usize).map_or(0, |row| row.copied_bytes.read());
                add(row, copied);
            }
        }
        if let Some(row) = thread::shared_row(ContextId(id)) {
            let copied = thread::shared_growth(ContextId(id)).map_or(0, |row| row.copied_bytes.read());
            add(row, copied);
        }
        sums.insert(id, sum);
    }
    sums
}

impl Baseline {
    /// For a site that nobody has used.
    pub(crate) fn empty() -> Self {
        Self(HashMap::new())
    }

    /// What the nodes of `scope` have counted so far. The caller is inside the tracker.
    pub(crate) fn read(scope: u32) -> Self {
        Self(sums_inside(scope))
    }

    /// What was counted below the nodes of `scope` since, as a snapshot of these contexts alone. The caller is inside the tracker.
    pub(crate) fn snapshot_since(&self, scope: u32, peak_bytes: u64) -> Snapshot {
        stack::sync_with_loader();
        let mut sums: Vec<(u32, Sum)> = sums_inside(scope).into_iter().collect();
        sums.sort_unstable_by_key(|&(id, _)| id);
        for (id, sum) in &mut sums {
            if let Some(before) = self.0.get(id) {
                sum.subtract(before);
            }
        }
        let nodes = read_nodes(&[]);
        let mut snapshot = without_contexts(nodes, peak_bytes);
        let mut stacks = StackTable::new(sums.len());
        for (id, sum) in sums {
            let counters = sum.counters();
            let Some(info) = context::info(ContextId(id)) else {
                continue;
            };
            if counters.total_allocations == 0 && counters.total_reallocations == 0 {
                continue;
            }
            add_counters(&mut snapshot.totals, &counters);
            let stack = (!info.frames().is_empty()).then(|| stacks.intern(info));
            snapshot.contexts.push(context_of(info.node(), stack, counters));
        }
        (snapshot.stacks, snapshot.frames, snapshot.modules) = stacks.finish();
        snapshot
    }
}
