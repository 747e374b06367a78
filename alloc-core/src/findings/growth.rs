//! Lines whose blocks grow and grow, and lines whose blocks hardly live, in the whole program.
//!
//! Called by `Findings::of`. Read side. Growth is that of all blocks of a line ([`Context::growth`](crate::model::Context)), whatever observes it. How
//! soon blocks are freed is known of a sample: in loops of observed iterations, elsewhere of short windows.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use super::advice::with_capacity;
use super::finding::{GrowthChains, ShortLived, Sizes};
use super::options::Options;
use super::places::{PlaceId, Places};
use crate::model::{GrowthClass, LoopSite, Snapshot, Temporaries};

/// Blocks that must be known before a line is listed.
const ENOUGH: u64 = 30;
/// Part of a line's blocks that must be freed within eight allocations for it to be listed.
const MOSTLY: f64 = 0.5;

/// Instead of a `with_capacity` that nobody here can write.
const INSIDE_DEPENDENCY: &str = "inside a dependency; some take a buffer or a size";

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
            with_capacity: if places.is_inside_dependency(line.face) {
                INSIDE_DEPENDENCY.to_owned()
            } else {
                with_capacity(&collection, final_bytes.p90)
            },
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

/// What is known of how soon the blocks of one line and collection are freed.
#[derive(Default)]
struct Followed {
    blocks: u64,
    temporaries: Temporaries,
    /// Of all blocks.
    granted_bytes: u64,
    /// The heaviest context.
    face: u32,
    face_bytes: u64,
}

/// Lines of which most blocks were freed within eight allocations, most bytes granted first.
pub(super) fn short_lived(snapshot: &Snapshot, places: &mut Places<'_>) -> Vec<ShortLived> {
    // In the loop that saw most of a context.
    let mut in_loops: HashMap<u32, &LoopSite> = HashMap::new();
    for site in snapshot.loops.iter().flat_map(|stats| &stats.sites) {
        let known = in_loops.entry(site.context).or_insert(site);
        if site.blocks > known.blocks {
            *known = site;
        }
    }
    let mut lines: BTreeMap<(PlaceId, Option<String>), Followed> = BTreeMap::new();
    for (context, of_context) in (0..).zip(&snapshot.contexts) {
        let Some(at) = places.at(context).filter(|at| at.is_own) else {
            continue;
        };
        let (blocks, temporaries) = match (in_loops.get(&context), &of_context.lifetimes) {
            (Some(site), _) => (site.blocks, site.temporaries),
            (None, Some(lifetimes)) => (lifetimes.blocks, lifetimes.temporaries),
            (None, None) => continue,
        };
        let key = (at.place, places.label(context).map(str::to_owned));
        let line = lines.entry(key).or_default();
        let bytes = of_context.counters.total_bytes;
        line.blocks = line.blocks.saturating_add(blocks);
        line.granted_bytes = line.granted_bytes.saturating_add(bytes);
        for (sum, part) in [
            (&mut line.temporaries.none, temporaries.none),
            (&mut line.temporaries.one, temporaries.one),
            (&mut line.temporaries.four, temporaries.four),
            (&mut line.temporaries.eight, temporaries.eight),
        ] {
            *sum = sum.saturating_add(part);
        }
        if bytes >= line.face_bytes {
            (line.face, line.face_bytes) = (context, bytes);
        }
    }
    let mut short: Vec<ShortLived> = Vec::new();
    for followed in lines.into_values() {
        let Temporaries { none, one, four, eight } = followed.temporaries;
        let soon = [none, one, four, eight].into_iter().fold(0, u64::saturating_add);
        if followed.blocks < ENOUGH || (soon as f64) < MOSTLY * followed.blocks as f64 {
            continue;
        }
        short.push(ShortLived {
            line: places.code_line(followed.face),
            blocks: followed.blocks,
            at_once: none,
            soon,
            bytes: followed.granted_bytes,
        });
    }
    short.sort_by(|a, b| {
        let rank = |row: &ShortLived| u64::MAX - row.bytes;
        rank(a).cmp(&rank(b)).then_with(|| a.line.place.cmp(&b.line.place))
    });
    short
}
