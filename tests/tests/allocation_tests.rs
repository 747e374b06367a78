//! `#[allocation_test]` in all its forms, under the ordinary test harness.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use alloc_core::{TrackingAllocator, allocation_test, current};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn allocate(blocks: usize, size: usize) {
    for _ in 0..blocks {
        drop(black_box(vec![0_u8; size]));
    }
}

#[allocation_test(allocations = 3, bytes == 300, peak <= "100 B", retained == 0)]
fn a_plain_test() {
    allocate(3, 100);
}

#[allocation_test(allocations == 1)]
fn one_that_returns_a_result() -> Result<(), std::num::ParseIntError> {
    allocate(1, 10);
    "12".parse::<u32>()?;
    Ok(())
}

#[allocation_test(allocations == 1)]
#[test]
fn one_that_is_a_test_already() {
    allocate(1, 10);
}

#[allocation_test(allocations == 0)]
#[should_panic(expected = "over its allocation budget: one_beyond_its_budget")]
fn one_beyond_its_budget() {
    allocate(1, 10);
}

static MADE: AtomicU32 = AtomicU32::new(0);

#[allocation_test(allocations == 0, warm_up)]
fn what_is_made_once_is_made_when_warming_up() {
    if MADE.swap(1, Ordering::Relaxed) == 0 {
        allocate(5, 10);
    }
}

static RUNS: AtomicU32 = AtomicU32::new(0);

#[allocation_test(allocations == 1, bytes == 100, samples = 4)]
fn the_smallest_of_several_samples_is_judged() {
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    // Fewest allocations and fewest bytes are in different runs.
    if run == 2 {
        allocate(1, 1000);
    } else {
        allocate(2, 50);
    }
}

static SAMPLES: AtomicU32 = AtomicU32::new(0);

#[allocation_test(allocations == 0, samples = 3, warm_up)]
#[ignore = "called by the test below"]
fn counted() {
    SAMPLES.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn all_samples_are_run() {
    counted();
    assert_eq!(SAMPLES.load(Ordering::Relaxed), 4);
}

/// Blocks of 4,321 bytes are the test's own; what Tokio allocates for tasks comes beside them.
const OWN: usize = 4321;

#[allocation_test(bytes in 7 * OWN as u64..=7 * OWN as u64 + 8000, retained <= "2 KiB", samples = 2)]
async fn plain_spawns_count() {
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(async { allocate(1, OWN) })).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    tokio::task::spawn_blocking(|| allocate(2, OWN))
        .await
        .expect("no panic");
    allocate(1, OWN);
}

#[allocation_test(retained in 5000..=9000)]
async fn what_tasks_leave_alive_is_retained() {
    let kept = tokio::spawn(async { black_box(vec![0_u8; 5000]) })
        .await
        .expect("no panic");
    std::mem::forget(kept);
}

#[allocation_test(allocations == 0, workers = 1)]
async fn an_empty_async_test_allocates_nothing() {}

#[allocation_test(allocations == 3)]
#[tokio::test]
async fn one_that_tokio_runs() {
    let handle = current();
    allocate(1, 10);
    handle.in_scope(|| allocate(2, 10));
}

static WARM: AtomicU32 = AtomicU32::new(0);

/// The first run makes something that is kept, and each run allocates less than the one before.
async fn settle_down(runs: &AtomicU32) {
    let run = runs.fetch_add(1, Ordering::Relaxed) as usize;
    if run == 0 {
        allocate(100, 10);
    }
    tokio::task::yield_now().await;
    allocate(5 - run, 10);
}

#[allocation_test(allocations == 2, warm_up, samples = 3)]
#[tokio::test]
async fn one_that_tokio_runs_several_times() -> Result<(), std::num::ParseIntError> {
    settle_down(&WARM).await;
    "12".parse::<u32>()?;
    Ok(())
}

static WARM_BELOW: AtomicU32 = AtomicU32::new(0);

#[tokio::test]
#[allocation_test(allocations == 2, warm_up, samples = 3)]
async fn one_below_that_tokio_runs_several_times() -> Result<(), std::num::ParseIntError> {
    settle_down(&WARM_BELOW).await;
    "12".parse::<u32>()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allocation_test(allocations == 3, bytes == 30)]
async fn the_runtime_of_an_attribute_above_is_not_counted() {
    allocate(1, 10);
    tokio::task::yield_now().await;
    allocate(2, 10);
}

#[cfg_attr(all(), tokio::test)]
#[allocation_test(allocations == 1)]
async fn nor_is_one_behind_a_condition() {
    allocate(1, 10);
}

#[cfg_attr(all(), tokio::test)]
#[allocation_test(allocations == 0)]
#[should_panic(expected = "over its allocation budget: one_below_tokio_beyond_its_budget")]
async fn one_below_tokio_beyond_its_budget() {
    allocate(1, 10);
}

static WARM_ACTIX: AtomicU32 = AtomicU32::new(0);

#[allocation_test(allocations == 3, warm_up, samples = 2)]
#[actix_rt::test]
async fn one_that_actix_runs() {
    settle_down(&WARM_ACTIX).await;
}

static WARM_ACTIX_BELOW: AtomicU32 = AtomicU32::new(0);

#[actix_rt::test]
#[allocation_test(allocations == 3, warm_up, samples = 2)]
async fn one_below_that_actix_runs() {
    settle_down(&WARM_ACTIX_BELOW).await;
}

#[allocation_test]
fn a_test_whose_limits_stand_in_the_file() {
    allocate(4, 25);
}

mod inside {
    use super::*;

    #[allocation_test(samples = 3)]
    fn a_test_with_tolerance() {
        allocate(11, 10);
    }
}

/// Tests that fail by themselves, far beyond their budgets; called by the test below.
mod failing {
    use super::*;

    type Outcome = Result<(), &'static str>;

    fn fails() -> Outcome {
        allocate(9, 10);
        Err("no orders")
    }

    #[allocation_test(allocations == 0)]
    #[ignore = "fails"]
    fn at_once() -> Outcome {
        fails()
    }

    #[allocation_test(allocations == 0, warm_up, samples = 3)]
    #[ignore = "fails"]
    fn when_warming_up() -> Outcome {
        fails()
    }

    #[allocation_test(allocations == 0, samples = 3)]
    #[ignore = "fails"]
    async fn in_a_runtime_of_ours() -> Outcome {
        fails()
    }

    #[allocation_test(allocations == 0)]
    #[tokio::test]
    #[ignore = "fails"]
    async fn where_tokio_runs_it() -> Outcome {
        fails()
    }

    #[tokio::test]
    #[allocation_test(allocations == 0, samples = 3)]
    #[ignore = "fails"]
    async fn below_tokio() -> Outcome {
        fails()
    }

    #[test]
    fn a_test_that_fails_by_itself_says_so_and_nothing_of_its_budget() {
        for test in [
            at_once,
            when_warming_up,
            in_a_runtime_of_ours,
            where_tokio_runs_it,
            below_tokio,
        ] {
            assert_eq!(test(), Err("no orders"));
        }
    }
}

// On one line, with braces that the compiler would call unnecessary around an expression of ours.
#[deny(unused_braces)]
#[rustfmt::skip]
mod one_line {
    use alloc_core::allocation_test;

    #[allocation_test(allocations <= 0)]
    fn gives_a_result() -> Result<(), String> { Ok(()) }

    #[allocation_test(allocations <= 1, samples = 2)]
    fn is_repeated() { drop(std::hint::black_box(Box::new(1))); }
}
