//! The outermost collection of a line, against the definition, and with as many stacks as a recursion makes.
#![forbid(unsafe_code)]

use super::super::groups::{Group, of_loop};
use super::super::nesting::parents;
use super::super::outermost::of_line;
use super::super::places::Places;
use super::*;
use crate::symbolize::Own;
use std::collections::{BTreeSet, HashSet};

const LINE: At = ("walk", "APP/src/walk.rs", 7);

/// Ways to build something on the line.
const KINDS: [&[At]; 8] = [
    &[RAW_VEC, PUSH],
    &[STRING],
    &[TABLE, FROM_ITER],
    &[RAW_VEC, ("push<alloc::string::String>", "LIB/alloc/src/vec/mod.rs", 7)],
    &[RAW_VEC, ("push<alloc::vec::Vec<u64>>", "LIB/alloc/src/vec/mod.rs", 7)],
    &[(
        "insert<u64, alloc::vec::Vec<u64>>",
        "LIB/alloc/src/collections/btree/map.rs",
        90,
    )],
    &[(
        "new<std::collections::hash::set::HashSet<u64>>",
        "LIB/alloc/src/boxed.rs",
        1,
    )],
    // Nothing that is known.
    &[],
];

/// Blocks of the site freed just before one of the context's; all but a tenth of them must be.
fn is_before(site: &LoopSite, context: u32) -> bool {
    let found = site.freed_before.iter().find(|before| before.context == context);
    let blocks = found.map_or(0, |before| before.blocks.min(site.blocks));
    site.blocks > 0 && blocks as f64 >= 0.9 * site.blocks as f64
}

/// The definition, which looks at every pair of sites.
fn naive<'a>(sites: &[&'a LoopSite], places: &Places<'_>) -> (Vec<&'a LoopSite>, Option<String>) {
    let has_elements = |outer: &LoopSite| {
        sites.iter().any(|site| {
            site.context != outer.context && site.blocks >= 2 * outer.blocks && is_before(site, outer.context)
        })
    };
    let is_inside = |site: &LoopSite| {
        sites.iter().any(|outer| {
            let (holder, content) = (places.collection(outer.context), places.collection(site.context));
            let is_named = holder
                .as_ref()
                .zip(content.as_ref())
                .is_some_and(|(holder, content)| holder != content && holder.names(content) && !content.names(holder));
            let can_hold = holder.is_none_or(|holder| !holder.is_leaf());
            let is_other = || places.label(outer.context) != places.label(site.context) || has_elements(outer);
            is_named && 2 * outer.present >= site.present
                || outer.context != site.context && can_hold && is_before(site, outer.context) && is_other()
        })
    };
    let mut outermost: Vec<&LoopSite> = sites.iter().filter(|site| !is_inside(site)).copied().collect();
    if outermost.is_empty() {
        outermost = sites.to_vec();
    }
    let weight = |label: Option<&str>| -> u64 {
        let sites = outermost.iter().filter(|site| places.label(site.context) == label);
        sites.map(|site| site.bytes).sum()
    };
    let labels = outermost.iter().map(|site| places.label(site.context));
    let label = labels
        .max_by_key(|&label| (weight(label), std::cmp::Reverse(label)))
        .flatten();
    let main = outermost.iter().filter(|site| places.label(site.context) == label);
    (main.copied().collect(), label.map(str::to_owned))
}

/// Numbers below a bound, the same ones every time.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |bound| {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % bound
    }
}

/// Something that up to twelve stacks build on up to so many lines; some of their blocks are freed just before others.
fn some_world(seed: u64, lines: u64) -> World {
    let mut number = numbers(seed);
    let mut world = World::new();
    let requests = world.requests(N);
    let count = 1 + number(12);
    for context in 0..count {
        let mut frames = KINDS[number(KINDS.len() as u64) as usize].to_vec();
        frames.push((LINE.0, LINE.1, LINE.2 + number(lines) as u32));
        let built = world.rebuilt_with(requests, &frames, 1 + number(3), |site| {
            site.present = 100 * (1 + number(4));
            site.blocks = [0, 50, 100, 200, 1000][number(5) as usize];
            let targets: BTreeSet<u64> = (0..number(5)).map(|_| number(count + 1)).collect();
            for target in targets {
                let blocks = site.blocks * [80, 90, 100, 130][number(4) as usize] / 100;
                site.freed_before.push(before(target as u32, blocks));
            }
        });
        assert_eq!(u64::from(built), context);
    }
    world
}

#[test]
fn what_is_outermost_is_what_the_definition_says() {
    let mut inside = 0;
    for seed in 0..400 {
        let world = some_world(seed, 1);
        let places = Places::of(&world.snapshot, &Own::default(), None);
        let sites: Vec<&LoopSite> = world.snapshot.loops[0].sites.iter().collect();
        let (main, label) = of_line(&sites, &places);
        let contexts = |sites: &[&LoopSite]| sites.iter().map(|site| site.context).collect::<Vec<_>>();
        let (expected, expected_label) = naive(&sites, &places);
        assert_eq!(contexts(&main), contexts(&expected), "{seed}");
        assert_eq!(label.map(str::to_owned), expected_label, "{seed}");
        inside += usize::from(main.len() < sites.len());
    }
    assert!(inside > 100, "{inside} worlds have something that lies inside");
}

/// The definition of which group is directly around each, which looks at every pair of groups.
fn naive_parents(groups: &[Group<'_>]) -> Vec<Option<usize>> {
    let strength = |outer: &Group<'_>, inner: &Group<'_>| {
        if let (Some(outer), Some(inner)) = (&outer.collection, &inner.collection) {
            if outer.names(inner) {
                return Some(2);
            }
            if outer.is_leaf() {
                return None;
            }
        }
        (outer.blocks() > 0 && inner.blocks() >= 2 * outer.blocks()).then_some(1)
    };
    let holds = |outer: &Group<'_>, inner: &Group<'_>| {
        let contexts: BTreeSet<u32> = outer.main.iter().map(|site| site.context).collect();
        let of_site = |site: &&LoopSite| {
            let befores = site
                .freed_before
                .iter()
                .filter(|before| contexts.contains(&before.context));
            befores.map(|before| before.blocks).sum::<u64>().min(site.blocks)
        };
        let blocks: u64 = inner.main.iter().map(of_site).sum();
        inner.blocks() > 0 && blocks as f64 >= 0.9 * inner.blocks() as f64
    };
    let mut parents: Vec<Option<usize>> = vec![None; groups.len()];
    for (at, inner) in groups.iter().enumerate() {
        let around = (0..groups.len())
            .filter(|&outer| outer != at && strength(&groups[outer], inner).is_some() && holds(&groups[outer], inner));
        let best = around.max_by_key(|&outer| {
            let group = &groups[outer];
            (strength(group, inner), group.blocks(), groups.len() - outer)
        });
        let is_circle = |outer: usize| std::iter::successors(Some(outer), |&up| parents[up]).any(|up| up == at);
        parents[at] = best.filter(|&outer| !is_circle(outer));
    }
    parents
}

#[test]
fn which_line_is_around_which_is_what_the_definition_says() {
    let mut inside = 0;
    for seed in 0..600 {
        let world = some_world(seed, 6);
        let places = Places::of(&world.snapshot, &Own::default(), None);
        let stats = &world.snapshot.loops[0];
        let all = vec![true; world.snapshot.scopes.len()];
        let groups = of_loop(&world.snapshot, stats, &places, &all, &HashSet::new());
        let found = parents(&groups);
        assert_eq!(found, naive_parents(&groups), "{seed}");
        inside += found.iter().flatten().count();
    }
    assert!(inside > 100, "{inside} lines lie inside others");
}

/// `count` stacks of one line, each of which dies before the one around it.
fn recursion(count: u32) -> World {
    let mut world = World::new();
    let requests = world.requests(N);
    for at in 0..count {
        let frames = [RAW_VEC, PUSH, LINE, ("walk", "APP/src/walk.rs", 10 + at)];
        world.rebuilt_with(requests, &frames, 100, |site| {
            site.freed_before = vec![before(at.saturating_sub(1), N)];
        });
    }
    world
}

/// Quadratic work would take many minutes.
#[test]
fn sixteen_thousand_stacks_of_one_line_are_judged() {
    let finding = recursion(16_000).finding();
    assert_eq!((finding.verdict, finding.at_once.most()), (Verdict::Pool, 16_000));
}
