//! Reads what mode `sampled` recorded, and makes estimates of it.
//!
//! A part of `control`. INVARIANT: what was freed is read before what was granted, so that nothing alive comes out below zero.
#![forbid(unsafe_code)]

use super::ids::{IdMap, Places};
use super::stacks::StackTable;
use crate::ids::{ContextId, ScopeNodeId};
use crate::model::{
    Context, Counters, EpochChange, OlderSamples, SampleSum, Samples, Sampling, ScopeNode, add_counters,
};
use crate::record::counters::NodeRow;
use crate::record::epoch::Effect;
use crate::record::sample::{self, BLOCK, BYTE, Interval, Sum};
use crate::record::thread::ThreadState;
use crate::record::{context, scope, settings};

/// What was granted in mode `sampled` in one scope node, sampled or not. Exact.
#[derive(Clone, Copy, Default)]
struct Granted {
    allocations: u64,
    reallocations: u64,
    bytes: u64,
}

impl Granted {
    fn add(&mut self, row: &NodeRow) {
        self.allocations = self.allocations.wrapping_add(row.sampled_allocations.read());
        self.reallocations = self.reallocations.wrapping_add(row.sampled_reallocations.read());
        self.bytes = self.bytes.wrapping_add(row.sampled_bytes.read());
    }
}

/// The samples of one context.
struct Sampled {
    id: u32,
    interval: Interval,
    temporary: Sum,
    freed: Sum,
    granted: Sum,
    reallocated: u64,
}

/// Effects on samples of earlier epochs, with those epochs, by context.
pub(super) type OlderEffects = IdMap<u32, Vec<(u32, Effect)>>;

/// Everything about samples that is read while no thread is folded.
#[derive(Default)]
pub(super) struct SampleReading {
    granted: IdMap<u32, Granted>,
    contexts: Vec<Sampled>,
}

pub(super) fn read(threads: &[&'static ThreadState], contexts: usize) -> SampleReading {
    if !settings::was_sampled() {
        return SampleReading::default();
    }
    let mut sampled: Vec<Sampled> = (0..contexts as u32)
        .filter_map(|id| {
            let interval = context::info(ContextId(id))?.interval()?;
            let row = sample::row(ContextId(id))?;
            let temporary = row.temporary.read();
            Some(Sampled {
                id,
                interval,
                temporary,
                freed: row.freed.read(),
                granted: Sum::default(),
                reallocated: 0,
            })
        })
        .collect();
    for context in &mut sampled {
        if let Some(row) = sample::row(ContextId(context.id)) {
            context.reallocated = row.reallocated.read();
            context.granted = row.granted.read();
        }
    }
    let mut granted: IdMap<u32, Granted> = IdMap::default();
    for id in ScopeNodeId::ROOT.0..scope::node_count() {
        let Some(info) = scope::node_info(id) else { continue };
        let sum = granted.entry(id).or_default();
        sum.add(&info.total);
        for row in threads.iter().filter_map(|thread| thread.nodes.get(id as usize)) {
            sum.add(row);
        }
    }
    SampleReading {
        granted,
        contexts: sampled,
    }
}

fn sum_of(sum: &Sum, interval: Interval) -> SampleSum {
    SampleSum {
        samples: sum.samples,
        blocks: sum.blocks as f64 / BLOCK,
        bytes: sum.bytes as f64 / BYTE,
        blocks_variance: sum.blocks_variance,
        bytes_variance: sum.bytes_variance,
        interval_bytes: interval.bytes(),
    }
}

/// To the nearest whole number.
fn whole(units: u64, unit: f64) -> u64 {
    let unit = unit as u64;
    (units + unit / 2) / unit
}

impl Sampled {
    fn samples(&self) -> Samples {
        let mut live = self.granted;
        live.samples = live.samples.saturating_sub(self.freed.samples);
        if live.samples == 0 {
            live = Sum::default();
        }
        live.blocks = live.blocks.saturating_sub(self.freed.blocks);
        live.bytes = live.bytes.saturating_sub(self.freed.bytes);
        live.blocks_variance = (live.blocks_variance - self.freed.blocks_variance).max(0.0);
        live.bytes_variance = (live.bytes_variance - self.freed.bytes_variance).max(0.0);
        Samples {
            granted: sum_of(&self.granted, self.interval),
            live: sum_of(&live, self.interval),
            temporary: sum_of(&self.temporary, self.interval),
        }
    }

    /// The estimates, as figures of a context.
    fn counters(&self) -> Counters {
        let reallocations = whole(self.reallocated, BLOCK);
        let blocks = whole(self.granted.blocks, BLOCK);
        let bytes = whole(self.granted.bytes, BYTE);
        let live_blocks = whole(self.granted.blocks.saturating_sub(self.freed.blocks), BLOCK);
        let live_bytes = whole(self.granted.bytes.saturating_sub(self.freed.bytes), BYTE);
        let total_allocations = blocks.saturating_sub(reallocations);
        Counters {
            total_allocations,
            total_reallocations: reallocations,
            // A reallocated block was not freed before; what is no longer alive was.
            total_frees: total_allocations.saturating_sub(live_blocks),
            total_bytes: bytes,
            freed_bytes: bytes.saturating_sub(live_bytes),
            live_blocks,
            live_bytes,
            ..Counters::default()
        }
    }
}

impl SampleReading {
    /// Adds estimates to `contexts`, whose stacks are in `stacks`, and exact figures and estimates to `nodes`; gives what they add to the
    /// totals of the program. `position`: where scope nodes are.
    pub(super) fn add_to(
        &self,
        contexts: &mut Vec<Context>,
        stacks: &mut StackTable,
        nodes: &mut [ScopeNode],
        position: &Places,
        older: &OlderEffects,
    ) -> Counters {
        let others: &[Context] = if self.contexts.is_empty() { &[] } else { contexts };
        let mut places: IdMap<(ScopeNodeId, Option<u32>), usize> = (0..)
            .zip(others)
            .map(|(at, context)| ((context.scope, context.stack), at))
            .collect();
        let mut live: IdMap<u32, Counters> = IdMap::default();
        for sampled in self.contexts.iter().filter(|sampled| sampled.granted.samples > 0) {
            let Some(info) = context::info(ContextId(sampled.id)) else {
                continue;
            };
            let Some(node) = position.get(info.node()) else {
                continue;
            };
            let stack = (!info.frames().is_empty()).then(|| stacks.intern(info));
            let scope = ScopeNodeId(info.node());
            let at = *places.entry((scope, stack)).or_insert(contexts.len());
            if at == contexts.len() {
                contexts.push(super::context_of(info.node(), stack, Counters::default()));
            }
            let (samples, counters) = (sampled.samples(), sampled.counters());
            let context = &mut contexts[at];
            add_counters(&mut context.counters, &counters);
            context.samples.get_or_insert_default().add(&samples);
            nodes[node].own_samples.get_or_insert_default().add(&samples);
            add_counters(live.entry(info.node()).or_default(), &counters);
            for (epoch, effect) in older.get(&sampled.id).into_iter().flatten() {
                add_older(
                    context,
                    *epoch,
                    &sample::older_sum(effect, sampled.interval),
                    sampled.interval,
                );
            }
        }
        let mut totals = Counters::default();
        for (id, granted) in &self.granted {
            let estimated = live.remove(id).unwrap_or_default();
            let counters = Counters {
                total_allocations: granted.allocations,
                total_reallocations: granted.reallocations,
                total_bytes: granted.bytes,
                total_frees: granted.allocations.saturating_sub(estimated.live_blocks),
                freed_bytes: granted.bytes.saturating_sub(estimated.live_bytes),
                live_blocks: estimated.live_blocks,
                live_bytes: estimated.live_bytes,
                ..Counters::default()
            };
            if let Some(node) = position.get(*id) {
                add_counters(&mut nodes[node].own, &counters);
                add_counters(&mut totals, &counters);
            }
        }
        totals
    }

    /// How all this was recorded; `None` when nothing ever was.
    pub(super) fn sampling(&self, nodes: &[ScopeNode]) -> Option<Sampling> {
        if !settings::was_sampled() {
            return None;
        }
        let health = sample::health();
        let mut sampling = Sampling {
            interval_bytes: sample::interval().bytes(),
            current_interval_bytes: sample::current_interval().bytes(),
            seed: sample::seed(),
            degraded: health.is_degraded,
            times_backed_off: u64::from(health.times_backed_off),
            unrecorded_samples: health.unrecorded,
            ..Sampling::default()
        };
        for granted in self.granted.values() {
            sampling.allocations += granted.allocations;
            sampling.reallocations += granted.reallocations;
            sampling.bytes += granted.bytes;
        }
        for samples in nodes.iter().filter_map(|node| node.own_samples.as_ref()) {
            sampling.samples.add(samples);
        }
        sampling.largest_interval_bytes = sampling.samples.granted.interval_bytes;
        Some(sampling)
    }
}

/// Adds what became of samples of an earlier epoch, as samples and rounded to whole numbers.
fn add_older(context: &mut Context, epoch: u32, sum: &Sum, interval: Interval) {
    let freed = sum_of(sum, interval);
    let at = context.older_samples.partition_point(|older| older.epoch < epoch);
    match context.older_samples.get_mut(at) {
        Some(older) if older.epoch == epoch => older.freed.add(&freed),
        _ => context.older_samples.insert(at, OlderSamples { epoch, freed }),
    }
    let (blocks, bytes) = (whole(sum.blocks, BLOCK), whole(sum.bytes, BYTE));
    let at = context.older.partition_point(|change| change.epoch < epoch);
    if context.older.get(at).is_none_or(|change| change.epoch != epoch) {
        context.older.insert(
            at,
            EpochChange {
                epoch,
                blocks: 0,
                bytes: 0,
                frees: 0,
                granted_bytes: 0,
            },
        );
    }
    if let Some(change) = context.older.get_mut(at) {
        change.blocks -= blocks as i64;
        change.bytes -= bytes as i64;
        change.frees += blocks;
    }
}

/// The samples of every node, those inside it included.
pub(super) fn add_inclusive(nodes: &mut [ScopeNode], position: &Places) {
    for node in nodes.iter_mut() {
        node.inclusive_samples = node.own_samples;
    }
    for index in (0..nodes.len()).rev() {
        let Some(inclusive) = nodes[index].inclusive_samples else {
            continue;
        };
        if let Some(parent) = nodes[index].parent.and_then(|parent| position.get(parent.0)) {
            nodes[parent].inclusive_samples.get_or_insert_default().add(&inclusive);
        }
    }
}

#[cfg(test)]
mod tests;
