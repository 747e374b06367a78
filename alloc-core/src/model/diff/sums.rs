//! Sums of contexts, and the change between two of them.
//!
//! Read side; used by the tables of sites and of scopes.
#![forbid(unsafe_code)]

use super::{Change, WindowChange, WindowSamples};
use crate::model::{Context, Counters, SampleSum, Samples};

#[derive(Clone, Copy)]
pub(super) enum Side {
    Before,
    After,
}

/// Sums of contexts of one snapshot.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) counters: Counters,
    /// Over the epochs up to the cut.
    older_blocks: i64,
    older_bytes: i64,
    older_frees: i64,
    older_granted_bytes: i64,
    samples: Samples,
    /// Of the samples of epochs up to the cut, those that were freed.
    older_freed: SampleSum,
}

impl Sums {
    pub(super) fn add(&mut self, context: &Context, cut: Option<u32>) {
        let mut sums = Self {
            counters: context.counters,
            ..Self::default()
        };
        for change in context
            .older
            .iter()
            .filter(|change| cut.is_some_and(|cut| change.epoch <= cut))
        {
            sums.add_older(
                change.blocks,
                change.bytes,
                change.frees as i64,
                change.granted_bytes as i64,
            );
        }
        if let Some(samples) = &context.samples {
            sums.samples = **samples;
        }
        for older in context
            .older_samples
            .iter()
            .filter(|older| cut.is_some_and(|cut| older.epoch <= cut))
        {
            sums.older_freed.add(&older.freed);
        }
        self.add_sums(&sums);
    }

    /// The figures of a scope that are exact although its call stacks are sampled.
    pub(super) fn replace_counters(&mut self) {
        self.counters = Counters::default();
    }

    pub(super) fn add_sums(&mut self, other: &Self) {
        add_counters(&mut self.counters, &other.counters);
        self.add_older(
            other.older_blocks,
            other.older_bytes,
            other.older_frees,
            other.older_granted_bytes,
        );
        self.samples.add(&other.samples);
        self.older_freed.add(&other.older_freed);
    }

    fn add_older(&mut self, blocks: i64, bytes: i64, frees: i64, granted_bytes: i64) {
        self.older_blocks = self.older_blocks.wrapping_add(blocks);
        self.older_bytes = self.older_bytes.wrapping_add(bytes);
        self.older_frees = self.older_frees.wrapping_add(frees);
        self.older_granted_bytes = self.older_granted_bytes.wrapping_add(granted_bytes);
    }
}

/// Adds figure by figure. Wraps rather than panics: a file may hold anything.
pub(crate) fn add_counters(sum: &mut Counters, more: &Counters) {
    let Counters {
        total_allocations,
        total_reallocations,
        total_frees,
        total_bytes,
        freed_bytes,
        copied_bytes,
        live_blocks,
        live_bytes,
        bytes_at_peak,
    } = more;
    for (sum, more) in [
        (&mut sum.total_allocations, total_allocations),
        (&mut sum.total_reallocations, total_reallocations),
        (&mut sum.total_frees, total_frees),
        (&mut sum.total_bytes, total_bytes),
        (&mut sum.freed_bytes, freed_bytes),
        (&mut sum.copied_bytes, copied_bytes),
        (&mut sum.live_blocks, live_blocks),
        (&mut sum.live_bytes, live_bytes),
        (&mut sum.bytes_at_peak, bytes_at_peak),
    ] {
        *sum = sum.wrapping_add(*more);
    }
}

/// The same site or scope on both sides.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) before: Sums,
    pub(super) after: Sums,
}

impl Pair {
    pub(super) fn side(&mut self, side: Side) -> &mut Sums {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }

    pub(super) fn change(&self, has_window: bool) -> Change {
        let (b, a) = (&self.before.counters, &self.after.counters);
        let mut change = Change {
            allocations: minus(a.total_allocations, b.total_allocations),
            reallocations: minus(a.total_reallocations, b.total_reallocations),
            frees: minus(a.total_frees, b.total_frees),
            bytes: minus(a.total_bytes, b.total_bytes),
            freed_bytes: minus(a.freed_bytes, b.freed_bytes),
            copied_bytes: minus(a.copied_bytes, b.copied_bytes),
            net_blocks: minus(a.live_blocks, b.live_blocks),
            net_bytes: minus(a.live_bytes, b.live_bytes),
            window: None,
        };
        if has_window {
            let older_blocks = self.after.older_blocks.wrapping_sub(self.before.older_blocks);
            let older_bytes = self.after.older_bytes.wrapping_sub(self.before.older_bytes);
            let older_frees = self.after.older_frees.wrapping_sub(self.before.older_frees);
            let older_granted = self
                .after
                .older_granted_bytes
                .wrapping_sub(self.before.older_granted_bytes);
            let retained_bytes = change.net_bytes.wrapping_sub(older_bytes);
            change.window = Some(WindowChange {
                retained_blocks: change.net_blocks.wrapping_sub(older_blocks),
                retained_bytes,
                churn_blocks: change.frees.wrapping_sub(older_frees),
                churn_bytes: change.bytes.wrapping_sub(older_granted).wrapping_sub(retained_bytes),
                older_blocks,
                older_bytes,
            });
        }
        change
    }
}

impl Pair {
    /// What was sampled in the window; `None` when nothing was, and where there is no window.
    pub(super) fn window_samples(&self, has_window: bool) -> Option<WindowSamples> {
        let (before, after) = (&self.before, &self.after);
        if !has_window || after.samples.is_empty() {
            return None;
        }
        let mut granted = after.samples.granted;
        granted.subtract(&before.samples.granted);
        let mut temporary = after.samples.temporary;
        temporary.subtract(&before.samples.temporary);
        // Of what was alive before, what was freed since is alive no longer; the rest still is.
        let mut retained = after.samples.live;
        retained.add(&after.older_freed);
        let mut older = before.samples.live;
        older.add(&before.older_freed);
        retained.subtract(&older);
        Some(WindowSamples {
            granted,
            retained,
            temporary,
        })
    }
}

/// Difference of two counters that count up, as a signed figure.
pub(super) fn minus(after: u64, before: u64) -> i64 {
    after.wrapping_sub(before) as i64
}
