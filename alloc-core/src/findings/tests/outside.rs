//! What differs only outside of the loop is one thing; what is alive together is several.
#![forbid(unsafe_code)]

use super::*;

const SET: At = (
    "from_iter<u64, std::hash::random::RandomState, alloc::vec::into_iter::IntoIter<u64>>",
    "LIB/std/src/collections/hash/set.rs",
    1151,
);
const HANDLER: At = ("{async_fn#0}", "APP/src/main.rs", 40);
const POLL: At = (
    "poll<shop::serve::handle::{async_fn_env#0}>",
    "REG/alloc-core-0.1.0/src/future.rs",
    90,
);

/// The stack of `context` with other frames outside of its first `kept`; allocates in `present` of `N` iterations.
fn beside(world: &mut World, scope: u32, context: u32, kept: usize, outside: At, present: u64) -> u32 {
    let other = world.context(scope, &[outside], churned(10 * present, 4096));
    let stack_of = |world: &World, context: u32| world.snapshot.contexts[context as usize].stack.unwrap() as usize;
    let (from, to) = (stack_of(world, context), stack_of(world, other));
    let stacks = &world.snapshot.stacks;
    let frames_of = |stack: usize| stacks.get(stack).unwrap().frames;
    let joined = [&frames_of(from)[..kept], frames_of(to)].concat();
    let all = (0..stacks.len()).map(|at| if at == to { &joined[..] } else { frames_of(at) });
    world.snapshot.stacks = fixture::stacks(all);
    world.site(scope, steady(other, present, 4096));
    other
}

/// A set in a handler that a runtime polls in two ways.
fn polled_in_two_ways(edge: At) -> World {
    let mut world = World::new();
    let requests = world.requests(N);
    let frames = [
        TABLE,
        SET,
        HANDLER,
        edge,
        ("run_lifo", "REG/tokio-1.48.0/src/worker.rs", 1),
    ];
    let first = world.context(requests, &frames, churned(7 * N, 4096));
    world.site(requests, steady(first, 7 * N / 10, 4096));
    let outside = ("run_queue", "REG/tokio-1.48.0/src/worker.rs", 2);
    beside(&mut world, requests, first, 4, outside, 3 * N / 10);
    world
}

#[test]
fn a_handler_that_a_runtime_polls_in_several_ways_is_one() {
    let finding = polled_in_two_ways(POLL).finding();
    assert_eq!(finding.verdict, Verdict::ReuseInstance);
    assert_eq!((finding.presence.hits, finding.presence.of), (N, N));
    assert_eq!(finding.cost.allocations, 1.0);
}

#[test]
fn a_handler_without_a_future_begins_at_its_own_frame() {
    let world = polled_in_two_ways(("handle", "APP/src/main.rs", 33));
    assert_eq!(world.finding().presence.hits, N);
}

#[test]
fn where_the_loop_begins_must_be_known() {
    // Perhaps a helper, called in two places of one iteration in three of ten: nobody knows.
    let world = polled_in_two_ways(("helper", "APP/src/main.rs", 10));
    assert_eq!(world.verdicts(), []);
}

#[test]
fn what_only_the_first_iterations_build_is_not_always_there() {
    let mut world = World::new();
    let requests = world.requests(N);
    // Seen in each observed iteration, and there were ten times as many.
    let line = [RAW_VEC, PUSH, ("fill", "APP/src/pool.rs", 8)];
    let context = world.context(requests, &line, churned(N, 4096));
    world.site(requests, steady(context, N, 4096));
    assert_eq!(world.verdicts(), []);
}

#[test]
fn two_that_are_freed_one_right_after_the_other_are_no_content_of_each_other() {
    let mut world = World::new();
    let requests = world.requests(N);
    let words = [TABLE, SET, ("words", "APP/src/words.rs", 4)];
    let left = world.rebuilt(requests, &words, 4096);
    world.rebuilt_with(requests, &words, 4096, |site| site.freed_before = vec![before(left, N)]);
    let finding = world.finding();
    assert_eq!(
        (finding.at_once, finding.verdict),
        (AtOnce::Few { most: 2 }, Verdict::Pool)
    );
    assert_eq!(finding.cost.allocations, 2.0);
}
