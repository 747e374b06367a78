//! Lines whose blocks grow and grow, and lines whose blocks hardly live, in whatever loop.
//!
//! Called by `Findings::of`. Read side. What several loops around a line saw of it is the same, so each context is taken from the loop that saw
//! most. Figures are of what was followed. This is the one place that reads growth: whatever else tells of it joins here.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::advice::with_capacity;
use super::finding::{GrowthChains, ShortLived};
use super::groups::{final_sizes, sizes};
use super::options::Options;
use super::places::{PlaceId, Places};
use crate::model::{LoopSite, Snapshot};

/// Blocks that must have been followed before a line is listed.
const ENOUGH: u64 = 30;
/// Part of a line's blocks that must be freed within eight allocations for it to be listed.
const MOSTLY: f64 = 0.5;

/// Sites of one line and collection.
struct Row<'a> {
    sites: Vec<&'a LoopSite>,
}

impl Row<'_> {
    fn sum(&self, of: impl Fn(&LoopSite) -> u64) -> u64 {
        self.sites.iter().map(|site| of(site)).fold(0, u64::saturating_add)
    }

    fn face(&self) -> u32 {
        let heaviest = self
            .sites
            .iter()
            .max_by_key(|site| (site.bytes, u32::MAX - site.context));
        heaviest.map_or(0, |site| site.context)
    }
}

fn rows<'a>(snapshot: &'a Snapshot, places: &Places<'_>) -> Vec<Row<'a>> {
    let mut seen: HashMap<u32, &LoopSite> = HashMap::new();
    for site in snapshot.loops.iter().flat_map(|stats| &stats.sites) {
        let known = seen.entry(site.context).or_insert(site);
        if site.blocks > known.blocks {
            *known = site;
        }
    }
    let mut sites: Vec<&LoopSite> = seen.into_values().collect();
    sites.sort_unstable_by_key(|site| site.context);
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut index: HashMap<(PlaceId, Option<String>), usize> = HashMap::new();
    for site in sites {
        let Some(at) = places.at(site.context).filter(|at| at.is_own) else {
            continue;
        };
        let key = (at.place, places.label(site.context).map(str::to_owned));
        let number = *index.entry(key).or_insert_with(|| {
            rows.push(Row { sites: Vec::new() });
            rows.len() - 1
        });
        rows[number].sites.push(site);
    }
    rows
}

/// Lines whose blocks grow, most bytes copied first.
pub(super) fn chains(snapshot: &Snapshot, places: &mut Places<'_>, options: &Options) -> Vec<GrowthChains> {
    let mut chains: Vec<GrowthChains> = Vec::new();
    for row in rows(snapshot, places) {
        let (grown, copied) = (row.sum(|site| site.grown), row.sum(|site| site.copied_bytes));
        // What grows once in a while is no habit.
        if grown == 0 || row.sum(|site| site.blocks) < ENOUGH || copied < options.min_copied_bytes * grown {
            continue;
        }
        let final_bytes = sizes(&final_sizes(&row.sites));
        let line = places.code_line(row.face());
        let collection = places.collection(row.face()).unwrap_or_default();
        chains.push(GrowthChains {
            with_capacity: with_capacity(&collection, final_bytes.p90),
            line,
            chains: grown,
            growths: row.sum(|site| site.growths),
            copied_bytes: copied,
            final_bytes,
        });
    }
    chains.sort_by(|a, b| {
        let rank = |row: &GrowthChains| u64::MAX - row.copied_bytes;
        rank(a).cmp(&rank(b)).then_with(|| a.line.place.cmp(&b.line.place))
    });
    chains
}

/// Lines of which most blocks were freed within eight allocations, most blocks first.
pub(super) fn short_lived(snapshot: &Snapshot, places: &mut Places<'_>) -> Vec<ShortLived> {
    let mut lines: Vec<ShortLived> = Vec::new();
    for row in rows(snapshot, places) {
        let blocks = row.sum(|site| site.blocks);
        let at_once = row.sum(|site| site.temporaries.none);
        let soon = row.sum(|site| {
            let t = site.temporaries;
            t.none + t.one + t.four + t.eight
        });
        if blocks < ENOUGH || (soon as f64) < MOSTLY * blocks as f64 {
            continue;
        }
        lines.push(ShortLived {
            line: places.code_line(row.face()),
            blocks,
            at_once,
            soon,
            bytes: row.sum(|site| site.bytes),
        });
    }
    lines.sort_by(|a, b| {
        let rank = |row: &ShortLived| (u64::MAX - row.soon, u64::MAX - row.bytes);
        rank(a).cmp(&rank(b)).then_with(|| a.line.place.cmp(&b.line.place))
    });
    lines
}
