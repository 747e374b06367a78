//! Scopes carried through Rayon: `join`, `scope`, `spawn` and parallel iterators, with several scopes in one pool at a time.
//!
//! A program without the test harness. What Rayon allocates for itself is no part of the figures: jobs that allocate for
//! the scopes under test are compared with jobs that do not, or run where Rayon needs no memory.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use alloc_core::carry::rayon::{self as carried, ScopeExt as _};
use alloc_core::{TrackingAllocator, current, scope, track_memory};
use allocscope_tests::{bytes, check_sums, found, node, number_from_env, snapshot};
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Blocks of one size that no one else uses, so that they can be told from Rayon's own.
fn own_bytes(name: &str) -> u64 {
    found(name).own.total_bytes
}

static STOLEN: AtomicU64 = AtomicU64::new(0);

#[track_memory(name = "halves")]
fn halves(depth: u32) {
    drop(bytes(100));
    if depth > 0 {
        let here = rayon::current_thread_index();
        carried::join(
            || halves(depth - 1),
            || {
                STOLEN.fetch_add(u64::from(rayon::current_thread_index() != here), Ordering::Relaxed);
                halves(depth - 1);
            },
        );
    }
}

fn join_keeps_a_recursion_in_one_node() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("a pool");
    let rounds = number_from_env("ALLOCSCOPE_TEST_ROUNDS", 100);
    let handle = {
        let _scope = scope!("sorts");
        current()
    };
    let run = |depth| pool.install(handle.clone().wrap_once(|| halves(depth)));
    run(0);
    let before = found("halves");
    (0..rounds).for_each(|_| run(8));
    let after = found("halves");
    assert_eq!(after.parent, Some(found("sorts").id), "one node, wherever it ran");
    let calls = rounds * ((1 << 9) - 1);
    assert_eq!(after.calls.entered - before.calls.entered, calls);
    // Rayon's own queues may grow inside.
    let blocks = after.own.total_allocations - before.own.total_allocations;
    assert!(blocks >= calls && after.own.total_bytes >= calls * 100);
    println!("join: {} of {calls} jobs were stolen", STOLEN.load(Ordering::Relaxed));
}

fn parallel_iterators_in_one_pool_stay_apart() {
    const ITEMS: usize = 20_000;
    let inputs: Vec<usize> = (0..ITEMS).collect();
    let run = |which: usize| {
        let handle = {
            let _scope = if which == 0 { scope!("even") } else { scope!("odd") };
            current()
        };
        let inputs = &inputs;
        move || {
            inputs.par_iter().for_each(handle.wrap(|index: &usize| {
                let held = bytes(64 + which);
                black_box(index);
                drop(held);
            }));
        }
    };
    let (even, odd) = (run(0), run(1));
    rayon::join(even, odd);
    for (name, which) in [("even", 0), ("odd", 1)] {
        let own = found(name).own;
        assert_eq!(
            (own.total_allocations, own.total_bytes, own.live_bytes),
            (ITEMS as u64, (ITEMS * (64 + which)) as u64, 0),
            "{name}"
        );
    }
}

fn results_of_a_map_and_a_reduction_belong_to_the_scope() {
    let handle = {
        let _scope = scope!("maps");
        current()
    };
    let made: Vec<Vec<u8>> = (0..1000)
        .into_par_iter()
        .map(handle.clone().wrap(|_: i32| bytes(48)))
        .collect();
    let node = found("maps");
    assert_eq!(node.own.live_bytes, 48_000, "`collect`'s own vectors are not in it");
    drop(made);
    assert_eq!(found("maps").own.live_bytes, 0);

    let total = (0..1000).into_par_iter().map(|n: usize| n).reduce(
        || 0,
        handle.wrap_pair(|a: usize, b: usize| a + b + bytes(8).capacity() - 8),
    );
    assert_eq!(total, 499_500);
    let own = found("maps").own;
    assert_eq!(own.total_bytes - 48_000, (own.total_allocations - 1000) * 8);
    assert!(own.total_allocations >= 1999, "at least one for each pair");
}

fn jobs_of_a_scope_and_spawned_ones_are_charged() {
    let charge = |jobs: usize, size: usize| {
        let _scope = scope!("fan-out");
        carried::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn_carried(move |scope| {
                    scope.spawn_carried(move |_| drop(bytes(size)));
                });
            }
        });
    };
    charge(1000, 16);
    let before = own_bytes("fan-out");
    charge(0, 0);
    assert!(own_bytes("fan-out") - before < 1024, "next to nothing without jobs");
    // Boxed jobs and queues take memory too; it is the same for small and large work.
    let nodes = snapshot();
    let own = node(&nodes, "fan-out").own.total_allocations;
    assert!(own >= 3000, "1000 blocks, 2000 boxed jobs: {own}");
    let live = node(&nodes, "fan-out").own.live_bytes;
    assert!(live < 64 << 10, "{live} live: queues of Rayon's at most");

    let (done, is_done) = mpsc::channel();
    let kept = {
        let _scope = scope!("spawned job");
        carried::spawn(move || done.send(bytes(12_345)).expect("it is waited for"));
        is_done.recv().expect("it runs")
    };
    let own = found("spawned job").own;
    assert!((12_345..14_345).contains(&own.live_bytes), "{own:?}");
    drop(kept);
}

fn a_panic_in_a_job_leaves_the_pool_in_no_scope() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let handle = {
        let _scope = scope!("panics");
        current()
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.install(handle.wrap_once(|| {
            let _inner = scope!("panics inside");
            std::panic::resume_unwind(Box::new(0_u8));
        }));
    }));
    assert!(result.is_err());
    let before = own_bytes("panics") + own_bytes("panics inside");
    pool.install(|| drop(bytes(1000)));
    assert_eq!(own_bytes("panics") + own_bytes("panics inside"), before);
}

fn main() {
    join_keeps_a_recursion_in_one_node();
    parallel_iterators_in_one_pool_stay_apart();
    results_of_a_map_and_a_reduction_belong_to_the_scope();
    jobs_of_a_scope_and_spawned_ones_are_charged();
    a_panic_in_a_job_leaves_the_pool_in_no_scope();
    check_sums(&snapshot());
}
