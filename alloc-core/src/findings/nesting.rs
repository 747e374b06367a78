//! Which groups lie inside others: a map of lists is one thing to change, at the map.
//!
//! Called by `judge`. Read side. A group is inside another one when nearly all of its blocks are freed just before the other's, and either
//! the other's type says that it holds such, or there are at least two for each of the other. Lines of one group are one already. Cost: linear in the sites.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::groups::{Group, INSIDE};

/// Blocks for each block around them that are taken for its elements.
pub(super) const ELEMENTS: u64 = 2;

/// For each group the one directly around it, if any. Never a circle.
pub(super) fn parents(groups: &[Group<'_>]) -> Vec<Option<usize>> {
    let mut owners: HashMap<u32, usize> = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        owners.extend(group.main.iter().map(|site| (site.context, at)));
    }
    let blocks: Vec<u64> = groups.iter().map(Group::blocks).collect();
    let mut parents: Vec<Option<usize>> = vec![None; groups.len()];
    for (at, inner) in groups.iter().enumerate() {
        let around = freed_before(inner, &owners)
            .into_iter()
            .filter(|&(outer, before)| outer != at && before as f64 >= INSIDE * blocks[at] as f64)
            .filter_map(|(outer, _)| {
                let strength = strength((&groups[outer], blocks[outer]), (inner, blocks[at]))?;
                Some((strength, blocks[outer], groups.len() - outer, outer))
            });
        // The nearest: what its type names before what its number suggests; then that with most blocks.
        let best = around.max().map(|(.., outer)| outer);
        let closes_a_circle = |outer: usize| std::iter::successors(Some(outer), |&up| parents[up]).any(|up| up == at);
        parents[at] = best.filter(|&outer| !closes_a_circle(outer));
    }
    parents
}

/// Blocks of `inner` freed just before one of each other group's; `owners`: the group of each context. Of one site, a block before several
/// of them counts once.
fn freed_before(inner: &Group<'_>, owners: &HashMap<u32, usize>) -> HashMap<usize, u64> {
    let mut all: HashMap<usize, u64> = HashMap::new();
    for site in inner.main.iter().filter(|site| site.blocks > 0) {
        let mut of_site: HashMap<usize, u64> = HashMap::new();
        for before in &site.freed_before {
            if let Some(&owner) = owners.get(&before.context) {
                let sum = of_site.entry(owner).or_default();
                *sum = sum.saturating_add(before.blocks);
            }
        }
        for (owner, blocks) in of_site {
            let sum = all.entry(owner).or_default();
            *sum = sum.saturating_add(blocks.min(site.blocks));
        }
    }
    all
}

/// How much speaks for `inner` being what `outer` holds. Each with its blocks.
fn strength((outer, around): (&Group<'_>, u64), (inner, blocks): (&Group<'_>, u64)) -> Option<u8> {
    if let (Some(outer), Some(inner)) = (&outer.collection, &inner.collection) {
        if outer.names(inner) {
            return Some(2);
        }
        if outer.is_leaf() {
            return None;
        }
    }
    let is_many = around > 0 && blocks >= ELEMENTS.saturating_mul(around);
    is_many.then_some(1)
}
