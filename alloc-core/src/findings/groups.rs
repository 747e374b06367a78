//! What one loop builds, by the line that a person would change.
//!
//! Called by `judge`. Read side. A group is everything that one own line builds in one loop; its *main* sites are those of the outermost
//! collection there, and what is said of the instance is said of these. Costs are exact (counters of all contexts of the line), behaviour is
//! that of observed iterations. Cost: linear in the contexts inside the loop.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::elements::Collection;
use super::finding::{AtOnce, Growth, Share, Sizes};
use super::outermost;
use super::places::{PlaceId, Places};
use super::statistics::{quantile, variation};
use crate::model::{Counters, LoopSite, LoopStats, Snapshot, add_counters};

/// Part of a site's blocks that must have been freed before another's to be taken for its content.
pub(super) const INSIDE: f64 = 0.9;
/// Part of the iterations that a statement about one of them must hold for.
const NEARLY_ALL: f64 = 0.95;
/// Blocks alive at once that a pool is for; more are for an arena.
const FEW: u64 = 8;
/// A stack seen in fewer iterations than one in so many of those that the line builds in is no part of what an iteration builds: a cache
/// that the first one fills, a table that is kept and grows now and then.
const RARE: u64 = 10;

/// What one line builds in one loop.
pub(super) struct Group<'a> {
    pub(super) place: PlaceId,
    pub(super) is_own: bool,
    /// Every context of the line in the loop.
    pub(super) contexts: Vec<u32>,
    /// Their sum.
    pub(super) counters: Counters,
    pub(super) sites: Vec<&'a LoopSite>,
    /// Sites of the outermost collection.
    pub(super) main: Vec<&'a LoopSite>,
    pub(super) collection: Option<Collection>,
    /// Allocations of all contexts of the line that build the outermost collection. Exact.
    made: u64,
}

impl<'a> Group<'a> {
    /// The heaviest context of the outermost collection: it names the line.
    pub(super) fn face(&self) -> u32 {
        let heaviest = self
            .main
            .iter()
            .max_by_key(|site| (site.bytes, u32::MAX - site.context));
        heaviest.map_or_else(|| self.contexts.first().copied().unwrap_or(0), |site| site.context)
    }

    fn sum(&self, of: impl Fn(&LoopSite) -> u64) -> u64 {
        self.main.iter().map(|site| of(site)).fold(0, u64::saturating_add)
    }

    pub(super) fn blocks(&self) -> u64 {
        self.sum(|site| site.blocks)
    }

    /// Of all `iterations` where what was observed to be one block in each that makes any can be counted exactly. Else of the last
    /// observed ones; of all of these, and at least, where a snapshot does not say in which of them each stack was.
    ///
    /// The first iterations are observed most often, and of a service they are the least typical ones. Each of the `uncounted` calls may have
    /// made one of what was made.
    pub(super) fn presence(&self, stats: &LoopStats, iterations: u64, uncounted: u64) -> Share {
        let observed = match self.in_recent() {
            Some((present, _)) => Share::new(present, stats.recent),
            None => Share::new(
                self.main.iter().map(|site| site.present).max().unwrap_or(0),
                stats.observed,
            ),
        };
        let all = Share::new(self.made.saturating_sub(uncounted).min(iterations), iterations);
        if self.is_one_each() && all.lower_bound > observed.lower_bound {
            all
        } else {
            observed
        }
    }

    /// True when each observed iteration that built any made one block, and allocations count nothing else.
    fn is_one_each(&self) -> bool {
        let is_alone = self.in_recent().is_some_and(|(any, each)| any == each);
        let is_table = self
            .collection
            .as_ref()
            .is_some_and(|collection| collection.name.starts_with("Hash"));
        let grows_by_allocating = is_table && self.sum(|site| site.growths) > 0;
        is_alone && !grows_by_allocating && self.sum(|site| site.allocations) == self.sum(|site| site.present)
    }

    /// In how many of the last observed iterations any of the stacks was, and in how many each was, summed.
    fn in_recent(&self) -> Option<(u64, u64)> {
        let words = self
            .main
            .iter()
            .map(|site| site.recent.len())
            .max()
            .filter(|words| *words > 0)?;
        let ones = |bits: &u32| u64::from(bits.count_ones());
        let any = (0..words).map(|at| {
            let bits = self.main.iter().filter_map(|site| site.recent.get(at));
            ones(&bits.fold(0, |all, bits| all | bits))
        });
        let each = self.main.iter().flat_map(|site| site.recent.iter().map(ones));
        Some((any.sum(), each.sum()))
    }

    pub(super) fn confinement(&self) -> Share {
        Share::new(self.sum(|site| site.confined), self.blocks())
    }

    /// Blocks that were alive across an await, and those that went to another thread.
    pub(super) fn crossings(&self) -> (u64, u64) {
        (
            self.sum(|site| site.crossed_await),
            self.sum(|site| site.crossed_threads),
        )
    }

    pub(super) fn at_once(&self, observed: u64) -> AtOnce {
        let nearly_all = |hits: u64, of: u64| hits as f64 >= NEARLY_ALL * of as f64;
        let is_one = |site: &&&LoopSite| nearly_all(site.one_live, site.present);
        let most_present = self.main.iter().map(|site| site.present).max().unwrap_or(0);
        // A tree is as many as have a first node.
        if self.collection.as_ref().is_some_and(Collection::is_of_nodes) {
            let is_root = |site: &&LoopSite| nearly_all(site.present, most_present) && is_one(&site);
            if self.main.iter().any(is_root) {
                return AtOnce::One;
            }
        }
        let most: u64 = self.sum(|site| site.most_live);
        let usual = |site: &&&LoopSite| site.present.saturating_mul(2) >= most_present;
        let ones = self.main.iter().filter(|site| is_one(site)).count();
        let usual_ones = self.main.iter().filter(usual).filter(is_one).count() as u64;
        if ones == self.main.len() {
            // Several stacks of one line, as in a recursion, may be as many instances; unless each has iterations of its own.
            let are_alternatives = match self.in_recent() {
                Some((any, each)) => any == each,
                None => self.sum(|site| site.present) <= observed,
            };
            return match usual_ones {
                _ if are_alternatives => AtOnce::One,
                0..=1 => AtOnce::One,
                2..=FEW => AtOnce::Few { most },
                _ => AtOnce::Many { most },
            };
        }
        let is_few = |site: &&LoopSite| nearly_all(site.one_live.saturating_add(site.few_live), site.present);
        if self.main.iter().all(is_few) && usual_ones <= FEW {
            AtOnce::Few { most }
        } else {
            AtOnce::Many { most }
        }
    }

    pub(super) fn final_sizes(&self) -> Vec<u64> {
        final_sizes(&self.main)
    }

    pub(super) fn growth(&self, observed: u64) -> Option<Growth> {
        let growths = self.sum(|site| site.growths);
        if growths == 0 || observed == 0 {
            return None;
        }
        let sizes = self.final_sizes();
        let p90 = quantile(&sizes, 0.9);
        Some(Growth {
            times: growths as f64 / self.blocks().max(1) as f64,
            copied_bytes: self.sum(|site| site.copied_bytes) as f64 / observed as f64,
            variation: variation(&sizes),
            capacity: self
                .collection
                .as_ref()
                .and_then(|collection| collection.capacity_of(p90)),
        })
    }
}

/// The sizes that blocks of several sites had in the end, ascending.
pub(super) fn final_sizes(sites: &[&LoopSite]) -> Vec<u64> {
    let mut sizes: Vec<u64> = sites.iter().flat_map(|site| &site.final_bytes).copied().collect();
    sizes.sort_unstable();
    sizes
}

pub(super) fn sizes(ascending: &[u64]) -> Sizes {
    Sizes {
        p50: quantile(ascending, 0.5),
        p90: quantile(ascending, 0.9),
        max: ascending.last().copied().unwrap_or(0),
    }
}

/// What the iterations of a loop build, except in contexts that are `claimed`. Heaviest first.
pub(super) fn of_loop<'a>(
    snapshot: &'a Snapshot,
    stats: &'a LoopStats,
    places: &Places<'_>,
    inside: &[bool],
    claimed: &HashSet<u32>,
) -> Vec<Group<'a>> {
    let mut index: HashMap<PlaceId, usize> = HashMap::new();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for context in 0..snapshot.contexts.len() as u32 {
        let Some(at) = places.at(context).filter(|at| inside.get(at.scope) == Some(&true)) else {
            continue;
        };
        if claimed.contains(&context) {
            continue;
        }
        let number = *index.entry(at.place).or_insert_with(|| {
            groups.push(Group {
                place: at.place,
                is_own: at.is_own,
                contexts: Vec::new(),
                counters: Counters::default(),
                sites: Vec::new(),
                main: Vec::new(),
                collection: None,
                made: 0,
            });
            groups.len() - 1
        });
        groups[number].contexts.push(context);
    }
    for site in &stats.sites {
        let Some(at) = places.at(site.context) else { continue };
        let known = index.get(&at.place).copied();
        if let Some(number) = known.filter(|_| !claimed.contains(&site.context)) {
            groups[number].sites.push(site);
        }
    }
    groups.retain(|group| !group.sites.is_empty());
    for group in &mut groups {
        leave_out_rare(group);
        let counters = group
            .contexts
            .iter()
            .filter_map(|context| snapshot.contexts.get(*context as usize));
        counters.for_each(|context| add_counters(&mut group.counters, &context.counters));
        let (main, collection) = outermost::of_line(&group.sites, places);
        (group.main, group.collection) = (main, collection.map(Collection::of));
        let label = places.label(group.face());
        let made = group.contexts.iter().filter(|context| places.label(**context) == label);
        let counters = made.filter_map(|context| Some(snapshot.contexts.get(*context as usize)?.counters));
        group.made = counters
            .map(|counters| counters.total_allocations)
            .fold(0, u64::saturating_add);
    }
    groups.sort_by_key(|group| (u64::MAX - group.counters.total_bytes, group.place));
    groups
}

/// Leaves stacks that few of the iterations have out of what the line builds in one, and out of its cost.
fn leave_out_rare(group: &mut Group<'_>) {
    let most = group.sites.iter().map(|site| site.present).max().unwrap_or(0);
    let is_rare = |site: &LoopSite| site.present.saturating_mul(RARE) < most;
    let rare: HashSet<u32> = group
        .sites
        .iter()
        .filter(|site| is_rare(site))
        .map(|site| site.context)
        .collect();
    group.contexts.retain(|context| !rare.contains(context));
    group.sites.retain(|site| !is_rare(site));
}
