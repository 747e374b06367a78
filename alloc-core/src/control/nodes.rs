//! Reads the tree of scopes: calls, live bytes and peaks of its nodes.
//!
//! A part of `control`.
#![forbid(unsafe_code)]

use super::ids::Places;
use crate::ids::{ScopeId, ScopeKind, ScopeNodeId};
use crate::model::{CallStats, Counters, ScopeNode, add_counters};
use crate::record::counters::NodeRow;
use crate::record::peak::Stretch;
use crate::record::scope;
use crate::record::thread::ThreadState;

/// Where nodes stand in the snapshot.
pub(super) fn places_of(nodes: &[ScopeNode]) -> Places {
    let mut places = Places::of(nodes.last().map_or(0, |last| last.id.0 as usize + 1));
    for (place, node) in nodes.iter().enumerate() {
        places.put(node.id.0, place);
    }
    places
}

pub(super) fn read_nodes(threads: &[&'static ThreadState]) -> Vec<ScopeNode> {
    let ids = (ScopeNodeId::ROOT.0..scope::node_count()).filter(|&id| id != ScopeNodeId::TRACKER.0);
    ids.filter_map(|id| {
        let info = scope::node_info(id)?;
        let rows: Vec<(&ThreadState, &NodeRow)> = threads
            .iter()
            .filter_map(|thread| Some((*thread, thread.nodes.get(id as usize)?)))
            .collect();
        let (peak_bytes, self_peak_bytes) = node_peaks(id, info, &rows);
        let mut node = ScopeNode {
            id: ScopeNodeId(id),
            parent: (id != ScopeNodeId::ROOT.0).then(|| ScopeNodeId(info.parent())),
            scope: ScopeId(info.scope()),
            name: "whole program".to_owned(),
            file: String::new(),
            line: 0,
            kind: ScopeKind::Function,
            own: Counters::default(),
            inclusive: Counters::default(),
            peak_bytes,
            self_peak_bytes,
            own_samples: None,
            inclusive_samples: None,
            calls: read_calls(&info.total, rows.iter().map(|(_, row)| *row)),
        };
        if let Some(site) = scope::site_info(info.scope()).filter(|_| info.scope() != 0) {
            (node.name, node.file, node.line) = (site.name().to_owned(), site.file().to_owned(), site.line());
            node.kind = site.kind();
        }
        Some(node)
    })
    .collect()
}

/// Inclusive and own peak of a node: what was published, or what a thread has reached since.
///
/// Bytes move from a thread's rows to the node, and are gone there before they are added here: read the other way round, they may be missed while
/// they move, but are never seen twice.
pub(super) fn node_peaks(id: u32, info: &scope::NodeInfo, rows: &[(&ThreadState, &NodeRow)]) -> (u64, u64) {
    let (live, own_live) = (info.live.read() as i64, info.own_live.read() as i64);
    let (mut now, mut own_now) = (live, own_live);
    let (mut highest, mut own_highest) = (0, 0);
    for (thread, row) in rows {
        let read = || {
            [(&row.delta, &row.delta_max), (&row.own_delta, &row.own_delta_max)]
                .map(|(delta, max)| (delta.signed(), max.signed()))
        };
        // LIMIT: what a thread has not published that settles without pause is missed.
        let Some(([inclusive, own], stretch)) = Stretch::and(thread, read) else {
            continue;
        };
        let top = |(delta, max): (i64, i64), counts: bool| {
            let (change, highest) = if counts {
                (stretch.change, stretch.highest)
            } else {
                (0, 0)
            };
            (delta + change, max.max(delta + highest))
        };
        let (change, peak) = top(inclusive, scope::is_around(id, stretch.node));
        now += change;
        highest = peak.max(highest);
        let (change, peak) = top(own, stretch.node == id);
        own_now += change;
        own_highest = peak.max(own_highest);
    }
    let largest =
        |published: i64, now: i64, live: i64, highest: i64| published.max(now).max(live + highest).max(0) as u64;
    (
        largest(info.peak.signed(), now, live, highest),
        largest(info.own_peak.signed(), own_now, own_live, own_highest),
    )
}

pub(super) fn read_calls<'a>(total: &'a NodeRow, rows: impl Iterator<Item = &'a NodeRow>) -> CallStats {
    let mut calls = CallStats::default();
    for row in rows.chain([total]) {
        // In this order, so that a call that goes on meanwhile is never seen ended and not begun.
        calls.completed += row.completed.read();
        calls.entered += row.entered.read();
        calls.allocations += row.allocations.read();
        calls.bytes += row.bytes.read();
        calls.sum_peak_bytes += row.sum_peak.read();
        calls.retained_bytes += row.retained_bytes.read();
        calls.upper_bound_calls += row.upper_bound.read();
        calls.max_allocations = calls.max_allocations.max(row.max_allocations.read());
        calls.max_bytes = calls.max_bytes.max(row.max_bytes.read());
        calls.max_peak_bytes = calls.max_peak_bytes.max(row.max_peak.read());
        calls.max_retained_bytes = calls.max_retained_bytes.max(row.max_retained.read());
    }
    calls
}

/// Parents come before their children: from the back, every node is complete when it is added to its parent.
pub(super) fn add_inclusive(nodes: &mut [ScopeNode], places: &Places) {
    for node in nodes.iter_mut() {
        node.inclusive = node.own;
    }
    for index in (0..nodes.len()).rev() {
        let inclusive = nodes[index].inclusive;
        if let Some(parent) = nodes[index].parent.and_then(|parent| places.get(parent.0)) {
            add_counters(&mut nodes[parent].inclusive, &inclusive);
        }
    }
}
