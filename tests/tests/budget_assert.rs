//! `assert_budget!` under the ordinary test harness: what it accepts, what it gives, and what it says when a limit is not kept.

use std::hint::black_box;

use alloc_core::{TrackingAllocator, assert_budget, assert_no_allocations};
use allocscope_tests::panic_text;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn message(work: impl FnOnce()) -> String {
    panic_text(work).expect("a limit is not kept")
}

fn words(count: usize) -> Vec<String> {
    let mut words = Vec::with_capacity(count);
    words.extend((0..count).map(|n| black_box(format!("{n:04}"))));
    words
}

#[test]
fn limits_that_are_kept_give_the_value() {
    let list = assert_budget!(
        words(10),
        allocations <= 11,
        bytes < 1000_u64,
        bytes <= "1 KiB",
        peak <= "1.5 KiB",
        retained in 1..=1000_u64,
        retained in "1 B"..="1 KiB",
        frees == 0,
        reallocations == 0_usize,
        copied == 0,
    );
    assert_eq!(list.len(), 10);
    assert_eq!(assert_no_allocations!(list.len()), 10);
    assert_budget!(drop(list), frees == 11);
    // What the expression borrows and moves is as in the code around.
    let mut text = String::with_capacity(10);
    assert_no_allocations!(text.push_str("abc"));
    let moved = assert_no_allocations!(text);
    assert_eq!(moved, "abc");
}

#[test]
fn a_failure_names_limits_lines_and_callers() {
    let text = message(|| {
        assert_budget!(words(10), allocations <= 8, bytes <= "4 KiB", retained == 0);
    });
    let line = line!() - 2;
    assert!(
        text.starts_with("over its allocation budget: words(10)\n  at "),
        "{text}"
    );
    assert!(text.contains(&format!("budget_assert.rs:{line}\n")), "{text}");
    assert!(
        text.contains("\n  allocations   11   limit <= 8   over by 3\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  bytes         320 B   limit <= 4,096 B   kept\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  retained      320 B   limit == 0 B   over by 320 B\n"),
        "{text}"
    );
    assert!(text.contains("\nTOP SITES by allocations: 2 of 2\n  1. "), "{text}");
    assert!(text.contains("budget_assert.rs:17  "), "{text}");
    assert!(text.contains("10 allocations, 80 B, 80 B alive\n"), "{text}");
    assert!(text.contains("called from "), "{text}");
    assert!(!text.contains("rustc"), "frames of std are folded: {text}");
}

#[test]
fn zero_is_asserted_by_name() {
    let text = message(|| assert_no_allocations!(drop(black_box(Box::new(1_u64)))));
    assert!(
        text.contains("\n  allocations   1   limit == 0   over by 1\n"),
        "{text}"
    );
}

#[test]
fn too_little_is_said_as_such() {
    let text = message(|| assert_budget!((), allocations in 2..=3));
    assert!(
        text.contains("\n  allocations   0   limit in 2 ..= 3   under by 2\n"),
        "{text}"
    );
    assert!(!text.contains("TOP SITES"), "{text}");
}

#[test]
fn a_limit_that_is_none_is_refused() {
    let text = message(|| assert_budget!((), bytes <= "4 kib"));
    assert_eq!(
        text,
        "found the limit \"4 kib\"; write a number of bytes as 512, \"4 KiB\", \"1.5 MiB\" or \"2 kB\""
    );
    assert_eq!(
        message(|| assert_budget!((), bytes <= -1)),
        "found the limit -1; limits go from 0 to 2^64 - 1"
    );
}

#[tokio::test]
async fn async_work_is_awaited() {
    let list = assert_budget!(
        await async {
            tokio::task::yield_now().await;
            words(3)
        },
        allocations in 4..=6
    );
    assert_eq!(list.len(), 3);
    assert_no_allocations!(await async {});
}
