//! Adds up the rows of all threads.
//!
//! A part of `control`. INVARIANT: all frees of a context are read before all its allocations, so that no live figure comes out below zero.
#![forbid(unsafe_code)]

use super::growth;
use super::ids::{Ascending, IdMap};
use super::loops;
use super::nodes::read_nodes;
use super::samples::{self, SampleReading};
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

    /// Something was granted, or copied.
    pub(super) fn is_used(&self) -> bool {
        self.allocations | self.reallocations | self.copied_bytes != 0
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
    /// See `loops::read_open`.
    pub(super) open: IdMap<u32, u64>,
    pub(crate) peak_bytes: u64,
    pub(crate) untracked_frees: u64,
    pub(crate) growth: Ascending<Growth>,
    pub(super) samples: SampleReading,
}

/// Contexts whose rows are read together: those of eight threads are 32 KiB, which are still in a cache when they are read for the second time.
const CHUNK: usize = 64;
const _: () = assert!(PAGE.is_multiple_of(CHUNK));

/// Adds to the sums of the contexts from `first` on what their rows say, of which `page` has some.
fn add_each(sums: &mut [Sum], first: usize, page: &'static [Row], add: impl Fn(&mut Sum, &Row)) {
    let rows = page.get(first % PAGE..).unwrap_or_default();
    sums.iter_mut().zip(rows).for_each(|(sum, row)| add(sum, row));
}

/// Adds what all threads have counted of the contexts from `first` on, which are all in one page.
fn add_rows(registry: &Registry, first: usize, sums: &mut [Sum]) {
    let page = first / PAGE;
    // All frees of all threads first, then all allocations: so no context's live figures come out below zero.
    for thread in registry.threads() {
        add_each(sums, first, thread.rows.rows_of(page), Sum::add_free_side);
    }
    let shared = thread::shared_rows(page);
    add_each(sums, first, shared, Sum::add_free_side);
    let add_allocations = |sums: &mut [Sum], rows, peak_mark| {
        add_each(sums, first, rows, |sum, row| {
            sum.add_allocation_side(row);
            sum.at_peak = sum.at_peak.wrapping_add(row.bytes_at_peak(peak_mark));
        });
    };
    add_allocations(sums, shared, Some(peak::serial()));
    // The list is read again: threads that began meanwhile may have granted what was freed above.
    for thread in registry.threads() {
        add_allocations(sums, thread.rows.rows_of(page), thread.mark_at_peak());
    }
}

pub(crate) fn read_tables() -> Reading {
    let registry = Registry::lock();
    registry.fold_ended();
    let ended = epoch::end();
    // Before the rows: if this moment is the peak, they say what they hold now.
    let peak_bytes = peak::of_process(&registry);
    let mut sums = vec![Sum::default(); context::count() as usize];
    for (chunk, sums) in sums.chunks_mut(CHUNK).enumerate() {
        add_rows(&registry, chunk * CHUNK, sums);
    }
    let threads: Vec<&ThreadState> = registry.threads().collect();
    let nodes = read_nodes(&threads);
    Reading {
        epoch: ended,
        growth: growth::read(&threads, &mut sums),
        samples: samples::read(&threads, sums.len()),
        sums,
        open: loops::read_open(&nodes, &threads),
        nodes,
        peak_bytes,
        untracked_frees: LOSSES.untracked_frees.read()
            + threads.iter().map(|thread| thread.untracked_frees.read()).sum::<u64>(),
    }
}
