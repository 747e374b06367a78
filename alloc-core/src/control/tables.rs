//! Adds up the rows of all threads.
//!
//! A part of `control`. INVARIANT: all frees of a context are read before all its allocations, so that no live figure comes out below zero.
#![forbid(unsafe_code)]

use super::growth;
use super::ids::IdMap;
use super::nodes::read_nodes;
use super::samples::{self, SampleReading};
use crate::ids::ContextId;
use crate::model::{Counters, Growth, ScopeNode};
use crate::record::counters::{LOSSES, Row};
use crate::record::pages::PAGE;
use crate::record::thread::{self, Registry, ThreadState};
use crate::record::{context, epoch, peak};

/// Sums over threads for one context.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) allocations: u64,
    pub(crate) granted_bytes: u64,
    pub(crate) frees: u64,
    pub(crate) released_bytes: u64,
    pub(crate) reallocations: u64,
    pub(crate) handed_over: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) at_peak: u64,
}

impl Sum {
    pub(crate) fn subtract(&mut self, before: &Self) {
        for (now, before) in [
            (&mut self.allocations, before.allocations),
            (&mut self.granted_bytes, before.granted_bytes),
            (&mut self.frees, before.frees),
            (&mut self.released_bytes, before.released_bytes),
            (&mut self.reallocations, before.reallocations),
            (&mut self.handed_over, before.handed_over),
            (&mut self.copied_bytes, before.copied_bytes),
        ] {
            *now = now.wrapping_sub(before);
        }
    }

    pub(crate) fn add_free_side(&mut self, row: &Row) {
        self.frees = self.frees.wrapping_add(row.frees.read());
        self.handed_over = self.handed_over.wrapping_add(row.handed_over.read());
        self.released_bytes = self.released_bytes.wrapping_add(row.released_bytes.read());
    }

    pub(crate) fn add_allocation_side(&mut self, row: &Row) {
        self.allocations = self.allocations.wrapping_add(row.allocations.read());
        self.reallocations = self.reallocations.wrapping_add(row.reallocations.read());
        self.granted_bytes = self.granted_bytes.wrapping_add(row.granted_bytes.read());
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            total_allocations: self.allocations,
            total_reallocations: self.reallocations,
            total_frees: self.frees,
            total_bytes: self.granted_bytes,
            freed_bytes: self.released_bytes,
            copied_bytes: self.copied_bytes,
            live_blocks: (self.allocations + self.reallocations).saturating_sub(self.frees + self.handed_over),
            live_bytes: self.granted_bytes.saturating_sub(self.released_bytes),
            bytes_at_peak: (self.at_peak as i64).max(0) as u64,
        }
    }
}

/// Everything that must be read while no thread is folded or reused.
pub(crate) struct Reading {
    pub(crate) epoch: u32,
    pub(crate) sums: Vec<Sum>,
    pub(crate) nodes: Vec<ScopeNode>,
    pub(crate) peak_bytes: u64,
    pub(crate) untracked_frees: u64,
    pub(crate) growth: IdMap<u32, Growth>,
    pub(super) samples: SampleReading,
}

pub(super) fn shared_copied(context: ContextId) -> u64 {
    thread::shared_growth(context).map_or(0, |row| row.copied_bytes.read())
}

const CHUNK_PAGES: usize = 4;

/// Adds what all threads have counted of the contexts from `first_page` on to their sums.
fn add_rows(registry: &Registry, first_page: usize, sums: &mut [Sum]) {
    let first = first_page * PAGE;
    let pages = first_page..first_page + CHUNK_PAGES;
    let shared = |place: usize| thread::shared_row(ContextId((first + place) as u32));
    // All frees of all threads first, then all allocations: so no context's live figures come out below zero.
    for thread in registry.threads() {
        thread.rows.for_each_in(pages.clone(), |index, row| {
            if let Some(sum) = sums.get_mut(index - first) {
                sum.add_free_side(row);
            }
        });
    }
    for (place, sum) in sums.iter_mut().enumerate() {
        if let Some(row) = shared(place) {
            sum.add_free_side(row);
        }
    }
    let serial = peak::serial();
    for (place, sum) in sums.iter_mut().enumerate() {
        if let Some(row) = shared(place) {
            sum.add_allocation_side(row);
            sum.at_peak = sum.at_peak.wrapping_add(row.bytes_at_peak(serial));
            sum.copied_bytes += shared_copied(ContextId((first + place) as u32));
        }
    }
    // The list is read again: threads that began meanwhile may have granted what was freed above.
    for thread in registry.threads() {
        thread.rows.for_each_in(pages.clone(), |index, row| {
            if let Some(sum) = sums.get_mut(index - first) {
                sum.add_allocation_side(row);
                sum.at_peak = sum.at_peak.wrapping_add(thread.bytes_at_peak(row));
            }
        });
    }
}

pub(crate) fn read_tables() -> Reading {
    let registry = Registry::lock();
    registry.fold_ended();
    let ended = epoch::end();
    let count = context::count() as usize;
    let mut sums = vec![Sum::default(); count];
    // PERF: so many contexts at a time that their rows of some threads are still in a cache when they are read for the second time.
    for (chunk, sums) in sums.chunks_mut(CHUNK_PAGES * PAGE).enumerate() {
        add_rows(&registry, chunk * CHUNK_PAGES, sums);
    }
    for thread in registry.threads() {
        thread.growth.for_each(|index, row| {
            if let Some(sum) = sums.get_mut(index) {
                sum.copied_bytes += row.copied_bytes.read();
            }
        });
    }
    let threads: Vec<&ThreadState> = registry.threads().collect();
    Reading {
        epoch: ended,
        sums,
        nodes: read_nodes(&threads),
        growth: growth::read(&threads, count),
        samples: samples::read(&threads, count),
        peak_bytes: peak::of_process(threads.iter().copied()),
        untracked_frees: LOSSES.untracked_frees.read()
            + threads.iter().map(|thread| thread.untracked_frees.read()).sum::<u64>(),
    }
}
