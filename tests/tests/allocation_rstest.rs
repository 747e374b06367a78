//! `#[allocation_test]` and `#[rstest]`, in both orders.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use alloc_core::{TrackingAllocator, allocation_test};
use rstest::{fixture, rstest};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// What a fixture allocates is not what the test does.
#[fixture]
fn words() -> Vec<String> {
    vec!["one".to_owned(), "two".to_owned()]
}

/// Not `Clone`.
#[derive(Debug)]
struct Unique(Box<u64>);

#[fixture]
fn unique() -> Unique {
    Unique(Box::new(7))
}

fn allocate(blocks: usize) {
    for _ in 0..blocks {
        drop(black_box(vec![0_u8; 10]));
    }
}

/// Pending once; Tokio's own way allocates the first time.
async fn wait() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[allocation_test(allocations == 3, bytes == 30)]
#[rstest]
fn above_with_a_fixture(words: Vec<String>) {
    allocate(1 + words.len());
}

#[rstest]
#[allocation_test(allocations == 3, bytes == 30)]
fn below_with_a_fixture(words: Vec<String>) {
    allocate(1 + words.len());
}

#[allocation_test(allocations in 1..=3, bytes <= 30)]
#[rstest]
#[case(1)]
#[case::named(3)]
fn above_with_cases(#[case] blocks: usize, words: Vec<String>) {
    assert_eq!(words.len(), 2);
    allocate(blocks);
}

#[rstest]
#[case(1)]
#[case::named(3)]
#[allocation_test(allocations in 1..=3, bytes <= 30)]
fn below_with_cases(#[case] blocks: usize, words: Vec<String>) {
    assert_eq!(words.len(), 2);
    allocate(blocks);
}

#[rstest]
#[allocation_test(allocations <= 4, bytes <= 40)]
fn below_with_values(#[values(1, 2)] first: usize, #[values(0, 2)] second: usize) {
    allocate(first + second);
}

#[allocation_test(allocations <= 4, bytes <= 40, warm_up)]
#[rstest]
fn above_with_values(#[values(1, 2)] first: usize, #[values(0, 2)] second: usize) {
    allocate(first + second);
}

#[rstest]
#[should_panic(expected = "over its allocation budget: too_much_below::case_1")]
#[case(1)]
#[should_panic(expected = "over its allocation budget: too_much_below::case_2")]
#[case(2)]
#[allocation_test(allocations == 0)]
fn too_much_below(#[case] blocks: usize) {
    allocate(blocks);
}

#[allocation_test(allocations == 0)]
#[rstest]
#[case(1)]
#[should_panic(expected = "over its allocation budget: too_much_above")]
fn too_much_above(#[case] blocks: usize) {
    allocate(blocks);
}

static ABOVE: AtomicUsize = AtomicUsize::new(0);

/// Each run takes words of its own. The list has to grow, and later runs allocate less.
#[allocation_test(allocations == 1, reallocations == 1, warm_up, samples = 3)]
#[rstest]
fn above_several_times(mut words: Vec<String>, #[from(words)] _other: Vec<String>) {
    let run = ABOVE.fetch_add(1, Ordering::Relaxed);
    words.push(String::new());
    assert_eq!(words.len(), 3);
    allocate(4 - run);
}

static BELOW: AtomicUsize = AtomicUsize::new(0);

#[rstest]
#[allocation_test(allocations == 1, reallocations == 1, warm_up, samples = 3)]
fn below_several_times(mut words: Vec<String>, unique: Unique) {
    let run = BELOW.fetch_add(1, Ordering::Relaxed);
    words.push(String::new());
    assert_eq!((words.len(), *unique.0), (3, 7));
    allocate(4 - run);
}

async fn waits_and_allocates(unique: Unique, blocks: usize) -> Result<(), std::num::ParseIntError> {
    wait().await;
    allocate(blocks);
    assert_eq!(*unique.0, "7".parse::<u64>()?);
    Ok(())
}

#[allocation_test(allocations == 2)]
#[rstest]
#[case(2)]
#[tokio::test]
async fn above_and_async(unique: Unique, #[case] blocks: usize) -> Result<(), std::num::ParseIntError> {
    waits_and_allocates(unique, blocks).await
}

#[rstest]
#[case(2)]
#[allocation_test(allocations == 2)]
#[tokio::test]
async fn between_and_async(unique: Unique, #[case] blocks: usize) -> Result<(), std::num::ParseIntError> {
    waits_and_allocates(unique, blocks).await
}

#[rstest]
#[case(2)]
#[tokio::test]
#[allocation_test(allocations == 2)]
async fn below_and_async(unique: Unique, #[case] blocks: usize) -> Result<(), std::num::ParseIntError> {
    waits_and_allocates(unique, blocks).await
}

static ASYNC_ABOVE: AtomicUsize = AtomicUsize::new(0);

#[allocation_test(allocations == 1, warm_up, samples = 3)]
#[rstest]
#[tokio::test]
async fn above_async_and_several_times(words: Vec<String>) {
    assert_eq!(words.len(), 2);
    wait().await;
    allocate(4 - ASYNC_ABOVE.fetch_add(1, Ordering::Relaxed));
}

static ASYNC_BELOW: AtomicUsize = AtomicUsize::new(0);

#[rstest]
#[tokio::test]
#[allocation_test(allocations == 1, warm_up, samples = 3)]
async fn below_async_and_several_times(unique: Unique) {
    assert_eq!(*unique.0, 7);
    wait().await;
    allocate(4 - ASYNC_BELOW.fetch_add(1, Ordering::Relaxed));
}

/// No attribute runs it: it gets a runtime whose threads count.
#[allocation_test(allocations in 4..=20, bytes in 40_000..=48_000, samples = 2)]
#[rstest]
#[case(4)]
async fn above_in_a_runtime_of_its_own(words: Vec<String>, #[case] blocks: usize) {
    assert_eq!(words.len(), 2);
    let work = tokio::spawn(async move {
        for _ in 0..blocks {
            drop(black_box(vec![0_u8; 10_000]));
        }
    });
    work.await.expect("no panic");
}
