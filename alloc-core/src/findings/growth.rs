//! Lines whose blocks grow and grow, in the whole program, and lines whose blocks hardly live, in loops.
//!
//! Called by `Findings::of`. Read side. Growth is that of all blocks of a line ([`Context::growth`](crate::model::Context)), whatever observes it. What
//! several loops around a line saw of its short-lived blocks is the same, so each context is taken from the loop that saw most.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use super::advice::with_capacity;
use super::finding::{GrowthChains, ShortLived, Sizes};
use super::options::Options;
use super::places::{PlaceId, Places};
use crate::model::{GrowthClass, LoopSite, Snapshot};

/// Blocks that must be known before a line is listed.
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

/// What grows on one line, in the whole program.
#[derive(Default)]
struct Line {
    /// Sizes in the end, and how many blocks had them.
    ended: Vec<GrowthClass>,
    copied_bytes: u64,
    /// The context that says most about the collection, and copied most.
    face: u32,
    weight: (bool, u64),
}

/// Lines of the whole program whose blocks grow, most bytes copied first.
pub(super) fn chains(snapshot: &Snapshot, places: &mut Places<'_>, options: &Options) -> Vec<GrowthChains> {
    let mut lines: BTreeMap<PlaceId, Line> = BTreeMap::new();
    for (context, of_context) in (0..).zip(&snapshot.contexts) {
        let Some(at) = places.at(context).filter(|at| at.is_own) else {
            continue;
        };
        let Some(growth) = &of_context.growth else { continue };
        let line = lines.entry(at.place).or_default();
        let copied = of_context.counters.copied_bytes.saturating_add(growth.rehashed_bytes);
        line.ended.extend(&growth.ended);
        line.copied_bytes = line.copied_bytes.saturating_add(copied);
        let is_named = places
            .collection(context)
            .is_some_and(|collection| collection.is_leaf() || !collection.parameters.is_empty());
        if (is_named, copied) >= line.weight {
            (line.face, line.weight) = (context, (is_named, copied));
        }
    }
    let mut chains: Vec<GrowthChains> = Vec::new();
    for mut line in lines.into_values() {
        let blocks = line.ended.iter().map(|class| class.blocks).fold(0, u64::saturating_add);
        // What grows once in a while is no habit.
        if blocks < ENOUGH || line.copied_bytes < options.min_copied_bytes.saturating_mul(blocks) {
            continue;
        }
        line.ended.sort_unstable_by_key(|class| class.bytes);
        let at_rank = |share: f64| {
            let wanted = (share * blocks as f64).ceil() as u64;
            let mut below = 0_u64;
            let found = line.ended.iter().find(|class| {
                below = below.saturating_add(class.blocks);
                below >= wanted
            });
            found.or(line.ended.last()).map_or(0, |class| class.bytes)
        };
        let final_bytes = Sizes {
            p50: at_rank(0.5),
            p90: at_rank(0.9),
            max: at_rank(1.0),
        };
        let collection = places.collection(line.face).unwrap_or_default();
        chains.push(GrowthChains {
            with_capacity: with_capacity(&collection, final_bytes.p90),
            line: places.code_line(line.face),
            chains: blocks,
            copied_bytes: line.copied_bytes,
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
