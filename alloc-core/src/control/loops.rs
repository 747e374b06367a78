//! Reads what was observed of iterations.
//!
//! A part of `control`: of the record side it sees `observe`, `scope`, and the rows of threads.
#![forbid(unsafe_code)]

use super::ids::{Ascending, IdMap, Places};
use crate::model::{FreedBefore, Lifetimes, LoopSite, LoopStats, ScopeNode, Temporaries};
use crate::record::counters::Counter;
use crate::record::observe::{self, LoopRow, RECENT};
use crate::record::scope;
use crate::record::thread::ThreadState;

/// For each loop, the calls that run on a thread now; recursive ones are part of these. Read after the calls that have ended, so that none
/// is counted twice.
pub(super) fn read_open(nodes: &[ScopeNode], threads: &[&'static ThreadState]) -> IdMap<u32, u64> {
    let is_loop = |id: u32| scope::node_info(id).is_some_and(|info| info.observed.read() != 0);
    let loops = nodes.iter().map(|node| node.id.0).filter(|&id| is_loop(id));
    let rows = |id: u32| threads.iter().filter_map(move |thread| thread.nodes.get(id as usize));
    loops
        .map(|id| (id, rows(id).map(|row| row.open.read()).sum()))
        .collect()
}

/// What was observed of iterations. `open`: what `read_open` gave; `places`: where contexts stand in the snapshot.
pub(super) fn read(nodes: &[ScopeNode], open: &IdMap<u32, u64>, places: &Places) -> Vec<LoopStats> {
    let mut sites: IdMap<u32, Vec<LoopSite>> = IdMap::default();
    for row in observe::rows() {
        if let Some(context) = places.get(row.context().0) {
            let site = read_site(row, context as u32, places);
            sites.entry(row.node()).or_default().push(site);
        }
    }
    let loops = nodes.iter().filter_map(|node| {
        let info = scope::node_info(node.id.0)?;
        let observed = info.observed.read();
        (observed != 0).then(|| LoopStats {
            scope: node.id,
            // Not `entered`: what calls itself is one iteration.
            iterations: node.calls.completed + open.get(&node.id.0).copied().unwrap_or(0),
            observed,
            recent: observed.min(RECENT as u64),
            suspended: info.suspended.read(),
            moved: info.moved.read(),
            missed_events: info.missed_events.read(),
            sites: sites.remove(&node.id.0).unwrap_or_default(),
        })
    });
    loops.collect()
}

/// How soon blocks were freed, by context.
pub(super) fn read_lifetimes() -> Ascending<Lifetimes> {
    let mut lifetimes: IdMap<u32, Lifetimes> = IdMap::default();
    // A context may have two rows, made at the same instant.
    for row in observe::rows().filter(|row| row.node() == 0) {
        let sum = lifetimes.entry(row.context().0).or_default();
        let more = temporaries(row);
        sum.blocks += row.blocks.read();
        sum.temporaries.none += more.none;
        sum.temporaries.one += more.one;
        sum.temporaries.four += more.four;
        sum.temporaries.eight += more.eight;
    }
    Ascending::new(lifetimes.into_iter().collect())
}

fn temporaries(row: &LoopRow) -> Temporaries {
    let [none, one, four, eight] = [0, 1, 2, 3].map(|class| row.temporaries.get(class).map_or(0, Counter::read));
    Temporaries { none, one, four, eight }
}

fn read_site(row: &LoopRow, context: u32, places: &Places) -> LoopSite {
    let mut final_bytes: Vec<u64> = row.final_bytes().collect();
    final_bytes.sort_unstable();
    let freed_before = row.targets().filter_map(|(target, blocks)| {
        let context = places.get(target.0)? as u32;
        Some(FreedBefore { context, blocks })
    });
    LoopSite {
        context,
        present: row.present.read(),
        recent: row
            .recent()
            .flat_map(|bits| [bits as u32, (bits >> 32) as u32])
            .collect(),
        allocations: row.allocations.read(),
        bytes: row.bytes.read(),
        growths: row.growths.read(),
        copied_bytes: row.copied_bytes.read(),
        blocks: row.blocks.read(),
        grown: row.grown.read(),
        confined: row.confined.read(),
        crossed_await: row.crossed_await.read(),
        crossed_threads: row.crossed_threads.read(),
        temporaries: temporaries(row),
        most_live: row.most_live.read(),
        one_live: row.one_live.read(),
        few_live: row.few_live.read(),
        final_bytes,
        freed_before: freed_before.collect(),
    }
}
