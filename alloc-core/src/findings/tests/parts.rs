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
