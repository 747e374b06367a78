//! One finding at the outermost collection, at the innermost loop.
#![forbid(unsafe_code)]

use super::*;

const MAP: [At; 3] = [
    (
        "reserve_rehash<(alloc::string::String, alloc::vec::Vec<u64, alloc::alloc::Global>), alloc::alloc::Global>",
        "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs",
        9,
    ),
    (
        "insert<alloc::string::String, alloc::vec::Vec<u64, alloc::alloc::Global>, std::hash::random::RandomState>",
        "LIB/std/src/collections/hash/map.rs",
        100,
    ),
    ("group", "APP/src/group.rs", 20),
];

/// `each` blocks of `size` bytes in each iteration, freed just before `outer`.
fn inner(world: &mut World, scope: u32, frames: &[At], each: u64, size: u64, outer: u32) -> u32 {
    let context = world.context(scope, frames, churned(10 * N * each, size));
    let site = LoopSite {
        allocations: each * N,
        blocks: each * N,
        confined: each * N,
        bytes: each * N * size,
        most_live: each,
        one_live: if each == 1 { N } else { 0 },
        freed_before: vec![before(outer, each * N)],
        ..steady(context, N, size)
    };
    world.site(scope, site);
    context
}

#[test]
fn a_map_of_lists_is_one_finding_at_the_map() {
    let mut world = World::new();
    let requests = world.requests(N);
    let map = world.rebuilt(requests, &MAP, 1000);
    inner(
        &mut world,
        requests,
        &[RAW_VEC, PUSH, ("group", "APP/src/group.rs", 22)],
        20,
        64,
        map,
    );
    inner(
        &mut world,
        requests,
        &[STRING, ("group", "APP/src/group.rs", 21)],
        20,
        16,
        map,
    );
    let finding = world.finding();
    assert_eq!(finding.line.place, "src/group.rs:20");
    assert_eq!(finding.line.collection.as_deref(), Some("HashMap<String, Vec<u64>>"));
    assert_eq!((finding.verdict, finding.with_it.len()), (Verdict::ReuseInstance, 2));
    assert_eq!(
        (finding.cost.allocations, finding.cost.bytes),
        (41.0, 1000.0 + 20.0 * 80.0)
    );
    assert_eq!(finding.cost.share_of_loop, 1.0);
}

#[test]
fn what_a_line_builds_is_one_finding_and_its_collection_is_the_outermost() {
    let mut world = World::new();
    let requests = world.requests(N);
    // The strings weigh more, and die before the list.
    let list = ("from_iter<alloc::string::String>", "LIB/alloc/src/vec/mod.rs", 7);
    let outer = world.rebuilt(requests, &[RAW_VEC, list, ("names", "APP/src/names.rs", 4)], 480);
    inner(
        &mut world,
        requests,
        &[STRING, ("names", "APP/src/names.rs", 4)],
        20,
        100,
        outer,
    );
    let finding = world.finding();
    assert_eq!(finding.line.collection.as_deref(), Some("Vec<String>"));
    assert_eq!((finding.at_once, finding.cost.allocations), (AtOnce::One, 21.0));
}

#[test]
fn neighbours_that_die_in_one_breath_are_two_findings() {
    let mut world = World::new();
    let requests = world.requests(N);
    let other = world.rebuilt(requests, &[RAW_VEC, PUSH, ("handle", "APP/src/main.rs", 40)], 800);
    // One for one, and no type says that the first holds the second.
    inner(
        &mut world,
        requests,
        &[TABLE, FROM_ITER, ("handle", "APP/src/main.rs", 41)],
        1,
        4096,
        other,
    );
    // Many, but a list of numbers holds no text.
    inner(
        &mut world,
        requests,
        &[STRING, ("handle", "APP/src/main.rs", 42)],
        20,
        16,
        other,
    );
    let places: Vec<String> = world
        .findings()
        .findings
        .into_iter()
        .map(|finding| finding.line.place)
        .collect();
    assert_eq!(places.len(), 3, "{places:?}");
}

#[test]
fn what_an_escaping_collection_seems_to_hold_is_judged_by_itself() {
    let mut world = World::new();
    let requests = world.requests(N);
    let map = world.rebuilt_with(requests, &MAP, 1000, |site| site.present = 100);
    inner(
        &mut world,
        requests,
        &[RAW_VEC, PUSH, ("group", "APP/src/group.rs", 22)],
        20,
        64,
        map,
    );
    let finding = world.finding();
    assert_eq!(
        (finding.line.place.as_str(), finding.verdict),
        ("src/group.rs:22", Verdict::Pool)
    );
}

#[test]
fn a_turn_inside_a_request_is_where_it_is_found_and_the_request_is_mentioned() {
    let mut world = World::new();
    let requests = world.requests(100);
    let turns = world.scope(requests, "shop::serve::rows", ScopeKind::Loop, 50);
    world.observe(turns, N);
    let frames = [RAW_VEC, PUSH, ("rows", "APP/src/rows.rs", 12)];
    let context = world.rebuilt(turns, &frames, 800);
    world.site(
        requests,
        LoopSite {
            allocations: N,
            blocks: N,
            confined: N,
            ..steady(context, 100, 800)
        },
    );
    let finding = world.finding();
    assert_eq!(
        (finding.iteration.name.as_str(), finding.iteration.kind),
        ("shop::serve::rows", ScopeKind::Loop)
    );
    assert_eq!(finding.outer_loops, ["shop::serve::handle"]);
    assert_eq!(finding.iteration.path, ["shop::serve::handle", "shop::serve::rows"]);
}

#[test]
fn what_turns_leave_to_their_request_is_found_at_the_request() {
    let mut world = World::new();
    let requests = world.requests(100);
    let turns = world.scope(requests, "shop::serve::rows", ScopeKind::Loop, 50);
    world.observe(turns, N);
    let frames = [RAW_VEC, PUSH, ("rows", "APP/src/rows.rs", 12)];
    let context = world.context(turns, &frames, churned(10 * N, 800));
    world.site(
        turns,
        LoopSite {
            confined: 0,
            ..steady(context, N, 800)
        },
    );
    let of_request = LoopSite {
        allocations: N,
        blocks: N,
        confined: N,
        one_live: 0,
        most_live: 10,
        ..steady(context, 100, 800)
    };
    world.site(requests, of_request);
    let finding = world.finding();
    assert_eq!(
        (finding.iteration.kind, finding.verdict),
        (ScopeKind::Request, Verdict::Pool)
    );
}

#[test]
fn one_line_on_two_paths_is_one_finding() {
    let mut world = World::new();
    for name in ["get", "put"] {
        let around = world.scope(1, name, ScopeKind::Function, 5);
        let scope = world.scope(around, "shop::serve::handle", ScopeKind::Request, 30);
        world.snapshot.scopes.last_mut().unwrap().scope = crate::ids::ScopeId(77);
        world.observe(scope, N);
        world.rebuilt(scope, &[RAW_VEC, PUSH, ("rows", "APP/src/rows.rs", 12)], 800);
    }
    let finding = world.finding();
    assert_eq!(finding.iteration.path[0], "get");
    assert_eq!(finding.other_paths, [["put", "shop::serve::handle"]]);
}

#[test]
fn a_tree_is_one_though_its_nodes_are_many() {
    let mut world = World::new();
    let requests = world.requests(N);
    let insert = ("insert<u64, u8>", "LIB/alloc/src/collections/btree/map.rs", 90);
    let split = ("split<u64, u8>", "LIB/alloc/src/collections/btree/node.rs", 40);
    let line = ("index", "APP/src/index.rs", 8);
    world.rebuilt(requests, &[insert, line], 192);
    world.rebuilt_with(requests, &[split, insert, line], 192, |site| {
        (site.allocations, site.blocks, site.confined) = (50 * N, 50 * N, 50 * N);
        (site.one_live, site.most_live) = (0, 50);
    });
    let finding = world.finding();
    assert_eq!((finding.at_once, finding.verdict), (AtOnce::One, Verdict::Pool));
    assert!(finding.suggestion.explanation.contains("frees the nodes"), "{finding}");
}

#[test]
fn rows_of_a_matrix_are_inside_it_though_they_bear_its_name() {
    let mut world = World::new();
    let requests = world.requests(N);
    let elem = ("from_elem<alloc::vec::Vec<f64>>", "LIB/alloc/src/vec/mod.rs", 7);
    let row = ("to_vec<f64>", "LIB/alloc/src/slice.rs", 4);
    let line = ("grid", "APP/src/grid.rs", 9);
    let grid = world.rebuilt(requests, &[RAW_VEC, elem, line], 480);
    inner(&mut world, requests, &[row, elem, line], 20, 160, grid);
    let finding = world.finding();
    assert_eq!(finding.line.collection.as_deref(), Some("Vec<Vec<f64>>"));
    assert_eq!(
        (finding.at_once, finding.verdict),
        (AtOnce::One, Verdict::ReuseInstance)
    );
}

#[test]
fn of_one_line_what_a_type_names_is_its_content_wherever_it_ends() {
    let mut world = World::new();
    let requests = world.requests(N);
    // Most of the keys are dropped at once, because the map has them.
    let line = ("group", "APP/src/group.rs", 20);
    world.rebuilt(requests, &[MAP[0], MAP[1], line], 1000);
    let other = world.context(
        requests,
        &[RAW_VEC, PUSH, ("other", "APP/src/group.rs", 90)],
        churned(1, 8),
    );
    inner(&mut world, requests, &[STRING, line], 60, 100, other);
    let finding = world.finding();
    assert_eq!(finding.line.collection.as_deref(), Some("HashMap<String, Vec<u64>>"));
    assert_eq!(finding.verdict, Verdict::ReuseInstance);
}

#[test]
fn what_is_put_into_a_kept_collection_is_a_finding_of_its_own() {
    let mut world = World::new();
    let requests = world.requests(N);
    let line = ("log", "APP/src/log.rs", 20);
    let push = (
        "push<alloc::string::String, alloc::alloc::Global>",
        "LIB/alloc/src/vec/mod.rs",
        2500,
    );
    // The list grows in the first request, and is emptied in each.
    let kept = world.context(requests, &[RAW_VEC, push, line], churned(1, 96));
    world.site(
        requests,
        LoopSite {
            confined: 0,
            ..steady(kept, 1, 96)
        },
    );
    world.rebuilt(requests, &[STRING, line], 100);
    let finding = world.finding();
    assert_eq!(finding.line.collection.as_deref(), Some("String"));
    assert_eq!(finding.verdict, Verdict::ReuseInstance);
}
