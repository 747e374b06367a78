//! Parts of snapshots: of one node, and since an earlier one.
#![forbid(unsafe_code)]

use super::super::part::part;
use super::*;

const ROWS: [At; 3] = [RAW_VEC, PUSH, ("rows", "APP/src/rows.rs", 12)];
const NAMES: [At; 3] = [RAW_VEC, PUSH, ("names", "APP/src/names.rs", 3)];

/// Two tests that run the same request function, each under a node of its own.
fn two_tests() -> (World, [u32; 2]) {
    let mut world = World::new();
    let nodes = ["this", "that"].map(|name| {
        let around = world.scope(1, name, ScopeKind::Function, 5);
        let requests = world.scope(around, "shop::serve::handle", ScopeKind::Request, 30);
        world.observe(requests, N);
        let outer = world.rebuilt(requests, &ROWS, if name == "this" { 800 } else { 900 });
        world.rebuilt_with(requests, &NAMES, 100, |site| site.freed_before = vec![before(outer, 7)]);
        around
    });
    (world, nodes)
}

#[test]
fn a_part_has_its_own_contexts_and_nothing_else() {
    let (world, [this, that]) = two_tests();
    for (node, size) in [(this, 800), (that, 900)] {
        let part = part(world.snapshot.clone(), ScopeNodeId(node), None);
        assert_eq!(
            (
                part.loops.len(),
                part.contexts.len(),
                part.stacks.len(),
                part.frames.len()
            ),
            (1, 2, 2, 6)
        );
        assert_eq!(part.totals.total_bytes, 10 * N * (size + 100));
        assert_eq!(part.loops[0].sites[1].freed_before, [before(0, 7)]);
        Snapshot::from_json(&part.to_json().unwrap()).unwrap();
        let findings = Findings::of(&part, &Options::default());
        assert_eq!(findings.findings.len(), 2);
        assert_eq!(findings.findings[0].cost.bytes, size as f64);
    }
}

#[test]
fn what_was_there_before_is_taken_away() {
    let (world, [this, _]) = two_tests();
    let earlier = world.snapshot.clone();
    // As much again, but for the names; contexts and frames have other numbers.
    let mut later = World::new();
    let context = later.context(1, &NAMES, churned(5, 8));
    assert_eq!(context, 0);
    later.snapshot.scopes = world.snapshot.scopes.clone();
    let requests = this + 1;
    later.observe(requests, 2 * N);
    for (frames, twice) in [(&NAMES, 1), (&ROWS, 2)] {
        let size = if twice == 2 { 800 } else { 100 };
        let context = later.context(requests, frames, churned(twice * 10 * N, size));
        later.site(requests, steady(context, twice * N, size));
    }
    // The same addresses.
    let offsets = |world: &World, at: usize| -> Vec<u64> {
        let stack = world.snapshot.contexts[at].stack.unwrap();
        let frames = world.snapshot.stacks.get(stack as usize).unwrap().frames;
        frames
            .iter()
            .map(|&frame| world.snapshot.frames[frame as usize].offset)
            .collect()
    };
    for (now, before) in [(1, 1), (2, 0)] {
        let offsets = offsets(&world, before);
        let stack = later.snapshot.contexts[now].stack.unwrap() as usize;
        for (&frame, offset) in later.snapshot.stacks.get(stack).unwrap().frames.iter().zip(offsets) {
            later.snapshot.frames[frame as usize].offset = offset;
        }
    }
    let part = part(later.snapshot, ScopeNodeId(this), Some(&earlier));
    assert_eq!((part.loops[0].iterations, part.loops[0].observed), (10 * N, N));
    assert_eq!(part.loops[0].sites.len(), 1, "the names were not built again");
    assert_eq!((part.loops[0].sites[0].blocks, part.loops[0].sites[0].one_live), (N, N));
    assert_eq!(part.totals.total_bytes, 10 * N * 800);
}

#[test]
fn nothing_since_leaves_no_loop() {
    let (world, [this, _]) = two_tests();
    let part = part(world.snapshot.clone(), ScopeNodeId(this), Some(&world.snapshot));
    assert_eq!(part.loops, []);
    assert_eq!(part.totals.total_allocations, 0);
}

/// The bits of the observed iterations `from..to`, of 64 that are remembered.
fn bits(from: u64, to: u64) -> Vec<u32> {
    let mut bits = vec![0_u32; 2];
    for number in from.max(to.saturating_sub(64))..to {
        bits[(number % 64 / 32) as usize] |= 1 << (number % 32);
    }
    bits
}

#[test]
fn of_the_last_iterations_those_since_are_kept() {
    // What was observed before and since, while one site was there before and the other since.
    for (before, since) in [
        (0, 40),
        (10, 40),
        (40, 40),
        (63, 1),
        (64, 5),
        (100, 64),
        (1000, 30),
        (1000, 3000),
    ] {
        let (mut earlier, [this, _]) = two_tests();
        let mut later = earlier.snapshot.clone();
        let loops = [(&mut earlier.snapshot.loops[0], 0), (&mut later.loops[0], since)];
        for (stats, since) in loops {
            (stats.observed, stats.iterations) = (before + since, before + since);
            stats.recent = (before + since).min(64);
            let oldest = (before + since).saturating_sub(64);
            stats.sites[0].recent = bits(oldest.min(before), before);
            stats.sites[0].present = before + u64::from(since > 0);
            stats.sites[1].recent = bits(before.max(oldest), before + since);
            stats.sites[1].present = 1 + since;
        }
        let part = part(later, ScopeNodeId(this), Some(&earlier.snapshot));
        let stats = &part.loops[0];
        assert_eq!((stats.observed, stats.recent), (since, since.min(64)), "{before}");
        let ones: Vec<u32> = stats
            .sites
            .iter()
            .map(|site| site.recent.iter().map(|bits| bits.count_ones()).sum())
            .collect();
        assert_eq!(ones, [0, since.min(64) as u32], "{before} and {since}");
    }
}
