//! Sites that differ only in what runs the loop: the same code of an iteration, reached through other frames of a runtime.
//!
//! Called by `judge`. Read side. A task that is polled by a worker, by the thread that blocks on it, or right after the one before it has
//! another stack each time, below the handler. Within the handler nothing differs, and so it is one site: else a line that every request
//! runs would be present in a part of them, whichever stack one looks at. Cost: linear in the sites.
//!
//! An iteration that runs the same code through two such stacks counts twice in `present`, and once in `recent`, which presence is judged by.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use super::places::Places;
use crate::model::{FreedBefore, LoopSite, LoopStats, Temporaries};

/// What was seen of a loop, with one site for each stack inside of it.
pub(super) fn without_it(stats: &LoopStats, scope: usize, places: &Places<'_>) -> LoopStats {
    let mut merged: Vec<LoopSite> = Vec::with_capacity(stats.sites.len());
    let mut known: HashMap<(&[u32], Option<&str>, usize), usize> = HashMap::new();
    let mut representative: HashMap<u32, u32> = HashMap::new();
    let mut heaviest_first: Vec<&LoopSite> = stats.sites.iter().collect();
    heaviest_first.sort_by_key(|site| (u64::MAX - site.bytes, site.context));
    for site in heaviest_first {
        let key = places.stack_inside(site.context, scope).and_then(|stack| {
            let at = places.at(site.context)?;
            Some((stack, places.label(site.context), at.scope))
        });
        match key.and_then(|key| known.get(&key).copied()) {
            Some(at) => add(&mut merged[at], site, stats.observed),
            None => {
                if let Some(key) = key {
                    known.insert(key, merged.len());
                }
                merged.push(site.clone());
            }
        }
        let at = key.and_then(|key| known.get(&key).copied()).unwrap_or(merged.len() - 1);
        representative.insert(site.context, merged[at].context);
    }
    for site in &mut merged {
        let mut blocks: BTreeMap<u32, u64> = BTreeMap::new();
        for before in &site.freed_before {
            let context = representative.get(&before.context).copied().unwrap_or(before.context);
            let sum = blocks.entry(context).or_default();
            *sum = sum.saturating_add(before.blocks);
        }
        site.freed_before = blocks
            .into_iter()
            .map(|(context, blocks)| FreedBefore { context, blocks })
            .collect();
        site.final_bytes.sort_unstable();
    }
    LoopStats {
        sites: merged,
        ..stats.clone()
    }
}

fn add(sum: &mut LoopSite, site: &LoopSite, observed: u64) {
    let LoopSite {
        context: _,
        present,
        recent,
        allocations,
        bytes,
        growths,
        copied_bytes,
        blocks,
        grown,
        confined,
        crossed_await,
        crossed_threads,
        temporaries,
        most_live,
        one_live,
        few_live,
        final_bytes,
        freed_before,
    } = site;
    for (sum, more) in [
        (&mut sum.present, present),
        (&mut sum.allocations, allocations),
        (&mut sum.bytes, bytes),
        (&mut sum.growths, growths),
        (&mut sum.copied_bytes, copied_bytes),
        (&mut sum.blocks, blocks),
        (&mut sum.grown, grown),
        (&mut sum.confined, confined),
        (&mut sum.crossed_await, crossed_await),
        (&mut sum.crossed_threads, crossed_threads),
        (&mut sum.one_live, one_live),
        (&mut sum.few_live, few_live),
    ] {
        *sum = sum.saturating_add(*more);
    }
    let Temporaries { none, one, four, eight } = temporaries;
    for (sum, more) in [
        (&mut sum.temporaries.none, none),
        (&mut sum.temporaries.one, one),
        (&mut sum.temporaries.four, four),
        (&mut sum.temporaries.eight, eight),
    ] {
        *sum = sum.saturating_add(*more);
    }
    for (sum, more) in sum.recent.iter_mut().zip(recent) {
        *sum |= more;
    }
    sum.present = sum.present.min(observed);
    sum.most_live = sum.most_live.max(*most_live);
    sum.final_bytes.extend(final_bytes);
    sum.freed_before.extend(freed_before);
}
