//! Which groups lie inside others: a map of lists is one thing to change, at the map.
//!
//! Called by `judge`. Read side. A group is inside another one when nearly all of its blocks are freed just before the other's, and either
//! the other's type says that it holds such, or there are at least two for each of the other. Lines of one group are one already.
#![forbid(unsafe_code)]

use super::groups::Group;

/// Blocks for each block around them that are taken for its elements.
pub(super) const ELEMENTS: u64 = 2;

/// For each group the one directly around it, if any. Never a circle.
pub(super) fn parents(groups: &[Group<'_>]) -> Vec<Option<usize>> {
    let mut parents: Vec<Option<usize>> = vec![None; groups.len()];
    for (at, inner) in groups.iter().enumerate() {
        let around = |&outer: &usize| {
            let group = &groups[outer];
            outer != at && strength(group, inner).is_some() && group.holds(inner)
        };
        // The nearest: what its type names before what its number suggests; then that with most blocks.
        let best = (0..groups.len()).filter(around).max_by_key(|&outer| {
            let group = &groups[outer];
            (strength(group, inner), group.blocks(), groups.len() - outer)
        });
        let closes_a_circle = |outer: usize| std::iter::successors(Some(outer), |&up| parents[up]).any(|up| up == at);
        parents[at] = best.filter(|&outer| !closes_a_circle(outer));
    }
    parents
}

/// How much speaks for `inner` being what `outer` holds.
fn strength(outer: &Group<'_>, inner: &Group<'_>) -> Option<u8> {
    if let (Some(outer), Some(inner)) = (&outer.collection, &inner.collection) {
        if outer.names(inner) {
            return Some(2);
        }
        if outer.is_leaf() {
            return None;
        }
    }
    let is_many = outer.blocks() > 0 && inner.blocks() >= ELEMENTS * outer.blocks();
    is_many.then_some(1)
}
