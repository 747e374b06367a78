//! A snapshot of what happened inside one scope node, and since an earlier snapshot.
//!
//! Called by `budget::rebuilds`. Read side; pure. Invariant: references in the result are valid when those in the snapshots are. What is kept of loops are
//! sums, which are subtracted; a bit for each of the last observed iterations, of which those since are kept; and two things that can be
//! neither: most blocks alive at once and the sample of sizes, which stay those of the later snapshot. Cost: linear.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use crate::ids::ScopeNodeId;
use crate::model::{Counters, FreedBefore, LoopSite, LoopStats, Snapshot, Temporaries, add_counters};

/// A context by what it is, in any snapshot of one run: its node, and the addresses of its stack.
type Name = (ScopeNodeId, Option<Vec<(Option<u64>, u64)>>);

fn names(snapshot: &Snapshot) -> Vec<Name> {
    let address = |&frame: &u32| {
        let frame = &snapshot.frames[frame as usize];
        let module = frame.module.and_then(|module| snapshot.modules.get(module as usize));
        (module.map(|module| module.load_address), frame.offset)
    };
    let of_stack = |stack: u32| {
        Some(
            snapshot
                .stacks
                .get(stack as usize)?
                .frames
                .iter()
                .map(address)
                .collect(),
        )
    };
    snapshot
        .contexts
        .iter()
        .map(|context| (context.scope, context.stack.and_then(of_stack)))
        .collect()
}

/// What `snapshot` says of the node and the nodes inside it, without what `before`, of the same run, says of them.
pub(crate) fn part(mut snapshot: Snapshot, node: ScopeNodeId, before: Option<&Snapshot>) -> Snapshot {
    let mut inside = HashSet::from([node]);
    // Parents come before their children.
    for scope in &snapshot.scopes {
        if scope.parent.is_some_and(|parent| inside.contains(&parent)) {
            inside.insert(scope.id);
        }
    }
    if let Some(before) = before {
        subtract(&mut snapshot, before);
    }
    snapshot.loops.retain(|stats| inside.contains(&stats.scope));
    keep_contexts(&mut snapshot, |scope| inside.contains(&scope));
    snapshot.totals = Counters::default();
    for context in &snapshot.contexts {
        add_counters(&mut snapshot.totals, &context.counters);
    }
    snapshot
}

/// Leaves out the contexts of other scopes, and the stacks and frames that only they have.
fn keep_contexts(snapshot: &mut Snapshot, keep: impl Fn(ScopeNodeId) -> bool) {
    let mut contexts = Renumbered::new(snapshot.contexts.len());
    for (at, context) in (0..).zip(&snapshot.contexts) {
        if keep(context.scope) {
            contexts.number(at);
        }
    }
    snapshot.contexts = contexts.take(&snapshot.contexts);
    for stats in &mut snapshot.loops {
        stats.sites.retain_mut(|site| match contexts.get(site.context) {
            Some(context) => {
                site.context = context;
                site.freed_before
                    .retain_mut(|before| match contexts.get(before.context) {
                        Some(context) => {
                            before.context = context;
                            true
                        }
                        None => false,
                    });
                true
            }
            None => false,
        });
    }
    let mut stacks = Renumbered::new(snapshot.stacks.len());
    for context in &mut snapshot.contexts {
        context.stack = context.stack.map(|stack| stacks.number(stack));
    }
    let kept = stacks.old.iter().filter_map(|&old| snapshot.stacks.get(old as usize));
    snapshot.stacks = kept.collect();
    let mut frames = Renumbered::new(snapshot.frames.len());
    for frame in snapshot.stacks.frames_mut() {
        *frame = frames.number(*frame);
    }
    snapshot.frames = frames.take(&snapshot.frames);
}

/// New numbers for entries of a table, in the order in which they are asked for.
struct Renumbered {
    new: Vec<Option<u32>>,
    old: Vec<u32>,
}

impl Renumbered {
    fn new(len: usize) -> Self {
        Self {
            new: vec![None; len],
            old: Vec::new(),
        }
    }

    fn number(&mut self, old: u32) -> u32 {
        let next = self.old.len() as u32;
        let new = self.new[old as usize].get_or_insert(next);
        if *new == next {
            self.old.push(old);
        }
        *new
    }

    fn get(&self, old: u32) -> Option<u32> {
        self.new.get(old as usize).copied().flatten()
    }

    fn take<T: Clone>(&self, table: &[T]) -> Vec<T> {
        self.old.iter().map(|&old| table[old as usize].clone()).collect()
    }
}

fn subtract(snapshot: &mut Snapshot, before: &Snapshot) {
    let now: HashMap<Name, u32> = names(snapshot).into_iter().zip(0..).collect();
    // For each context of the earlier snapshot, the same one in the later.
    let same: Vec<Option<u32>> = names(before).iter().map(|name| now.get(name).copied()).collect();
    for (context, same) in before.contexts.iter().zip(&same) {
        if let Some(now) = *same {
            subtract_counters(&mut snapshot.contexts[now as usize].counters, &context.counters);
        }
    }
    let calls: HashMap<ScopeNodeId, u64> = before.scopes.iter().map(|node| (node.id, node.calls.entered)).collect();
    for node in &mut snapshot.scopes {
        let earlier = calls.get(&node.id).copied().unwrap_or(0);
        node.calls.entered = node.calls.entered.saturating_sub(earlier);
    }
    for stats in &mut snapshot.loops {
        let earlier = before.loops.iter().find(|earlier| earlier.scope == stats.scope);
        if let Some(earlier) = earlier {
            subtract_loop(stats, earlier, &same);
        }
    }
    snapshot.loops.retain(|stats| stats.iterations > 0);
}

fn subtract_loop(stats: &mut LoopStats, earlier: &LoopStats, same: &[Option<u32>]) {
    for site in &mut stats.sites {
        keep_recent(&mut site.recent, earlier.observed, stats.observed);
    }
    for (now, before) in [
        (&mut stats.iterations, earlier.iterations),
        (&mut stats.observed, earlier.observed),
        (&mut stats.suspended, earlier.suspended),
        (&mut stats.moved, earlier.moved),
        (&mut stats.missed_events, earlier.missed_events),
    ] {
        *now = now.saturating_sub(before);
    }
    stats.recent = stats.recent.min(stats.observed);
    let in_snapshot = |context: u32| same.get(context as usize).copied().flatten();
    let places: HashMap<u32, usize> = stats.sites.iter().map(|site| site.context).zip(0..).collect();
    for before in &earlier.sites {
        let now = in_snapshot(before.context).and_then(|context| places.get(&context));
        if let Some(&at) = now {
            subtract_site(&mut stats.sites[at], before, &in_snapshot);
        }
    }
    stats.sites.retain(|site| site.present > 0);
}

/// Keeps the bits of the observed iterations from number `from` up to `to`: those of iterations before say what was built before.
fn keep_recent(recent: &mut [u32], from: u64, to: u64) {
    let room = recent.len() as u64 * u64::from(u32::BITS);
    let since = to.saturating_sub(from);
    if since >= room {
        return;
    }
    for (at, bits) in (0..).zip(recent) {
        for bit in 0..u32::BITS {
            // How many iterations after `from` the one was that has the bit now.
            let after = (at * u64::from(u32::BITS) + u64::from(bit) + room - from % room) % room;
            if after >= since {
                *bits &= !(1 << bit);
            }
        }
    }
}

fn subtract_site(site: &mut LoopSite, before: &LoopSite, in_snapshot: &dyn Fn(u32) -> Option<u32>) {
    let Temporaries { none, one, four, eight } = &mut site.temporaries;
    for (now, before) in [
        (&mut site.present, before.present),
        (&mut site.allocations, before.allocations),
        (&mut site.bytes, before.bytes),
        (&mut site.growths, before.growths),
        (&mut site.copied_bytes, before.copied_bytes),
        (&mut site.blocks, before.blocks),
        (&mut site.grown, before.grown),
        (&mut site.confined, before.confined),
        (&mut site.crossed_await, before.crossed_await),
        (&mut site.crossed_threads, before.crossed_threads),
        (none, before.temporaries.none),
        (one, before.temporaries.one),
        (four, before.temporaries.four),
        (eight, before.temporaries.eight),
        (&mut site.one_live, before.one_live),
        (&mut site.few_live, before.few_live),
    ] {
        *now = now.saturating_sub(before);
    }
    for FreedBefore { context, blocks } in &before.freed_before {
        let now = in_snapshot(*context);
        let same = site.freed_before.iter_mut().find(|same| Some(same.context) == now);
        if let Some(same) = same {
            same.blocks = same.blocks.saturating_sub(*blocks);
        }
    }
}

fn subtract_counters(now: &mut Counters, before: &Counters) {
    for (now, before) in [
        (&mut now.total_allocations, before.total_allocations),
        (&mut now.total_reallocations, before.total_reallocations),
        (&mut now.total_frees, before.total_frees),
        (&mut now.total_bytes, before.total_bytes),
        (&mut now.freed_bytes, before.freed_bytes),
        (&mut now.copied_bytes, before.copied_bytes),
        (&mut now.live_blocks, before.live_blocks),
        (&mut now.live_bytes, before.live_bytes),
        (&mut now.bytes_at_peak, before.bytes_at_peak),
    ] {
        *now = now.saturating_sub(before);
    }
}
