//! The call stacks of two snapshots in one table.
//!
//! Read side; used by `SnapshotDiff::between`.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::SiteDiff;
use super::sums::Pair;

/// The call stacks of both snapshots in one table.
#[derive(Default)]
pub(super) struct SiteTable {
    index: HashMap<Option<Vec<u32>>, usize>,
    pub(super) figures: Vec<Pair>,
}

impl SiteTable {
    pub(super) fn intern(&mut self, stack: Option<Vec<u32>>) -> usize {
        let next = self.figures.len();
        let at = *self.index.entry(stack).or_insert(next);
        if at == next {
            self.figures.push(Pair::default());
        }
        at
    }

    pub(super) fn finish(self, has_window: bool) -> Vec<SiteDiff> {
        let mut sites: Vec<SiteDiff> = self
            .index
            .into_iter()
            .map(|(stack, at)| SiteDiff {
                stack,
                change: self.figures[at].change(has_window),
                samples: self.figures[at].window_samples(has_window),
            })
            .filter(|site| !site.change.is_zero())
            .collect();
        // The stack at the end makes the order total: the same snapshots always give the same text.
        sites.sort_unstable_by(|a, b| {
            let rank = |site: &SiteDiff| {
                let retained = site
                    .change
                    .window
                    .map_or(site.change.net_bytes, |window| window.retained_bytes);
                (retained, site.change.bytes, site.change.allocations)
            };
            rank(b).cmp(&rank(a)).then_with(|| a.stack.cmp(&b.stack))
        });
        sites
    }
}
