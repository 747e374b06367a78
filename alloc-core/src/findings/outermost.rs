//! Of what one line builds, the outermost collection: the map, not the lists in it.
//!
//! Called by `groups`. Read side. A site lies inside another one of its line when the other's type names its own, or when nearly all of its
//! blocks were freed just before the other's. Cost: linear in the sites, however many stacks a recursion makes of one line: types are taken
//! apart once for each collection, and of other sites only those are looked at that a site's blocks were freed before.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::elements::Collection;
use super::groups::INSIDE;
use super::nesting::ELEMENTS;
use super::places::Places;
use crate::model::LoopSite;

/// The sites of the outermost collection of a line, and what it is called: of those that lie in no other, the kind that weighs most.
pub(super) fn of_line<'a, 'p>(sites: &[&'a LoopSite], places: &'p Places<'_>) -> (Vec<&'a LoopSite>, Option<&'p str>) {
    let line = Line::of(sites, places);
    let mut outermost: Vec<&LoopSite> = sites.iter().filter(|site| !line.is_inside(site)).copied().collect();
    if outermost.is_empty() {
        outermost = sites.to_vec();
    }
    let mut weights: BTreeMap<Option<&str>, u64> = BTreeMap::new();
    for site in &outermost {
        let weight = weights.entry(places.label(site.context)).or_default();
        *weight = weight.saturating_add(site.bytes);
    }
    let heaviest = weights
        .into_iter()
        .max_by_key(|&(label, weight)| (weight, Reverse(label)));
    let label = heaviest.and_then(|(label, _)| label);
    outermost.retain(|site| places.label(site.context) == label);
    (outermost, label)
}

/// What is known of all sites of a line.
struct Line<'p> {
    places: &'p Places<'p>,
    /// By label.
    kinds: HashMap<&'p str, Kind>,
    /// The names of the kinds whose parameters have the word, and the most iterations that one of them was in; most first.
    holders: HashMap<String, Vec<(u64, String)>>,
    /// By context.
    outers: HashMap<u32, Outer>,
}

/// A collection, taken apart.
struct Kind {
    collection: Collection,
    /// What its parameters name.
    words: HashSet<String>,
}

/// A site as what others may lie in.
struct Outer {
    blocks: u64,
    has_elements: bool,
}

impl<'p> Line<'p> {
    fn of(sites: &[&LoopSite], places: &'p Places<'_>) -> Self {
        let mut kinds: HashMap<&str, Kind> = HashMap::new();
        let mut present: HashMap<&str, u64> = HashMap::new();
        let mut outers: HashMap<u32, Outer> = HashMap::new();
        for site in sites {
            if let Some(label) = places.label(site.context) {
                kinds.entry(label).or_insert_with(|| Kind::of(label));
                let most = present.entry(label).or_default();
                *most = site.present.max(*most);
            }
            let outer = outers.entry(site.context).or_insert(Outer {
                blocks: site.blocks,
                has_elements: false,
            });
            outer.blocks = outer.blocks.min(site.blocks);
        }
        for site in sites {
            for context in freed_before(site) {
                if let Some(outer) = outers.get_mut(&context) {
                    outer.has_elements |= site.blocks >= ELEMENTS.saturating_mul(outer.blocks);
                }
            }
        }
        Self {
            holders: holders(&kinds, &present),
            places,
            kinds,
            outers,
        }
    }

    /// True when the site lies in another one.
    fn is_inside(&self, site: &LoopSite) -> bool {
        let label = self.places.label(site.context);
        if label
            .and_then(|label| self.kinds.get(label))
            .is_some_and(|content| self.is_named(content, site.present))
        {
            return true;
        }
        freed_before(site).any(|context| {
            let Some(outer) = self.outers.get(&context) else {
                return false;
            };
            let label_of_outer = self.places.label(context);
            let holder = label_of_outer.and_then(|label| self.kinds.get(label));
            let can_hold = holder.is_none_or(|holder| !holder.collection.is_leaf());
            // Of a kind, two that are freed one after the other may stand side by side, unless one has elements.
            can_hold && (label_of_outer != label || outer.has_elements)
        })
    }

    /// True when the type of another kind names `content`, and `content` names none of these. Of one line, that is its content, also when only a
    /// part of it gets there. What is kept and grows once holds what is built each time, and is no instance of it: another that was in less
    /// than half of the iterations does not count.
    fn is_named(&self, content: &Kind, present: u64) -> bool {
        let holders = self.holders.get(&content.collection.name);
        holders.is_some_and(|holders| {
            let mut often = holders.iter().take_while(|(most, _)| most.saturating_mul(2) >= present);
            often.any(|(_, name)| !content.words.contains(name))
        })
    }
}

impl Kind {
    fn of(label: &str) -> Self {
        let collection = Collection::of(label);
        Self {
            words: collection.words().map(str::to_owned).collect(),
            collection,
        }
    }
}

fn holders(kinds: &HashMap<&str, Kind>, present: &HashMap<&str, u64>) -> HashMap<String, Vec<(u64, String)>> {
    let mut most: HashMap<&str, HashMap<&str, u64>> = HashMap::new();
    for (label, kind) in kinds {
        for word in &kind.words {
            let most = most.entry(word).or_default().entry(&kind.collection.name).or_default();
            *most = present.get(label).copied().unwrap_or(0).max(*most);
        }
    }
    let sorted = |names: HashMap<&str, u64>| {
        let mut names: Vec<(u64, String)> = names.into_iter().map(|(name, most)| (most, name.to_owned())).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        names
    };
    most.into_iter()
        .map(|(word, names)| (word.to_owned(), sorted(names)))
        .collect()
}

/// The other contexts just before whose blocks nearly all of the site's were freed. Each context is in the site's list once: `outside`.
fn freed_before(site: &LoopSite) -> impl Iterator<Item = u32> {
    let is_nearly_all = |blocks: u64| site.blocks > 0 && blocks.min(site.blocks) as f64 >= INSIDE * site.blocks as f64;
    let targets = site
        .freed_before
        .iter()
        .filter(move |before| is_nearly_all(before.blocks));
    targets
        .map(|before| before.context)
        .filter(|&context| context != site.context)
}
