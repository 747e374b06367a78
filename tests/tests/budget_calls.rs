//! Budgets of single calls: checked at the end of every call, on whatever thread and however it ends.

use std::hint::black_box;

use alloc_core::__private::{CallBudget, OnExceed, ScopeSite, enter_with_budget, track_with_budget};
use alloc_core::{Snapshot, TrackingAllocator};
use allocscope_tests::{panic_text, poll, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[test]
fn a_call_within_its_budget_passes_and_one_beyond_says_how_far() {
    static SITE: ScopeSite = ScopeSite::new("strict", "src/strict.rs", 7);
    static BUDGET: CallBudget = CallBudget::new(true).allocations(2).bytes(100).peak(60).retained(0);
    let call = |sizes: &[usize]| {
        let _guard = enter_with_budget(&SITE, &BUDGET);
        for &size in sizes {
            drop(black_box(vec![0_u8; size]));
        }
    };
    for _ in 0..100 {
        assert_eq!(panic_text(|| call(&[50, 50])), None);
    }
    assert_eq!(
        panic_text(|| call(&[50, 50, 1])).as_deref(),
        Some(
            "a call of strict (src/strict.rs:7) is over its budget: allocations 3 (limit 2), bytes 101 bytes (limit 100 bytes)"
        )
    );
    assert_eq!(
        panic_text(|| call(&[61])).as_deref(),
        Some("a call of strict (src/strict.rs:7) is over its budget: peak 61 bytes (limit 60 bytes)")
    );
    let mut kept = Vec::new();
    let text = panic_text(|| {
        let _guard = enter_with_budget(&SITE, &BUDGET);
        kept = black_box(vec![0_u8; 5]);
    });
    assert_eq!(
        text.as_deref(),
        Some("a call of strict (src/strict.rs:7) is over its budget: retained 5 bytes (limit 0 bytes)")
    );
}

#[test]
fn recursion_is_one_call() {
    static SITE: ScopeSite = ScopeSite::new("recursive", "src/recursive.rs", 1);
    static BUDGET: CallBudget = CallBudget::new(true).allocations(3);
    fn descend(depth: usize) {
        let _guard = enter_with_budget(&SITE, &BUDGET);
        drop(black_box(vec![0_u8; 10]));
        if depth > 1 {
            descend(depth - 1);
        }
    }
    assert_eq!(panic_text(|| descend(3)), None);
    assert!(
        panic_text(|| descend(4))
            .expect("four are one too many")
            .contains("allocations 4 (limit 3)")
    );
}

#[test]
fn a_panicking_call_keeps_its_own_panic() {
    static SITE: ScopeSite = ScopeSite::new("panicking", "src/panicking.rs", 1);
    static BUDGET: CallBudget = CallBudget::new(true).allocations(0);
    let text = panic_text(|| {
        let _guard = enter_with_budget(&SITE, &BUDGET);
        drop(black_box(vec![0_u8; 10]));
        std::panic::panic_any(String::from("its own"));
    });
    assert_eq!(text.as_deref(), Some("its own"));
}

#[test]
fn calls_over_are_counted_and_shown() {
    static SITE: ScopeSite = ScopeSite::new("counted", "src/counted.rs", 3);
    static BUDGET: CallBudget = CallBudget::new(false).bytes(1000).on_exceed(OnExceed::Count);
    for size in [10, 2000, 1000, 3000] {
        let _guard = enter_with_budget(&SITE, &BUDGET);
        drop(black_box(vec![0_u8; size]));
    }
    let snapshot = snapshot();
    let found = snapshot.budgets.iter().find(|budget| budget.name == "counted");
    let found = found.expect("two calls were over");
    assert_eq!(
        (found.calls_over, found.bytes, found.worst_bytes),
        (2, Some(1000), 3000)
    );
    assert_eq!((found.allocations, found.worst_retained_bytes), (None, 0));
    let text = snapshot.report().to_string();
    let lines = "  counted (src/counted.rs:3): 2 calls over\n    bytes        limit      1000 B   worst     2.9 KiB\n";
    assert!(text.contains("\nBUDGETS exceeded\n") && text.contains(lines), "{text}");
    let again = Snapshot::from_json(&snapshot.to_json().expect("it can be written")).expect("it can be read");
    assert_eq!(again.budgets, snapshot.budgets);
}

#[test]
fn an_async_call_is_checked_over_all_its_polls_and_when_it_is_dropped() {
    static SITE: ScopeSite = ScopeSite::new("async", "src/async.rs", 1);
    static BUDGET: CallBudget = CallBudget::new(true).allocations(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("two threads");
    async fn come_back() {
        let mut waited = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
    let call = |turns: usize| {
        track_with_budget(&SITE, &BUDGET, async move {
            for _ in 0..turns {
                drop(black_box(vec![0_u8; 10]));
                come_back().await;
            }
        })
    };
    for _ in 0..10 {
        let good = runtime.spawn(call(4));
        let bad = runtime.spawn(call(5));
        assert!(runtime.block_on(good).is_ok());
        let error = runtime.block_on(bad).expect_err("five are one too many");
        let text = *error.into_panic().downcast::<String>().expect("our panics have a text");
        assert_eq!(
            text,
            "a call of async (src/async.rs:1) is over its budget: allocations 5 (limit 4)"
        );
    }
    let text = panic_text(|| {
        let mut dropped = Box::pin(call(10));
        for _ in 0..5 {
            assert!(poll(dropped.as_mut()).is_pending());
        }
    });
    assert!(
        text.expect("dropping it ends the call")
            .contains("allocations 5 (limit 4)")
    );
}

#[alloc_core::track_memory(name = "attributed", budget(allocations = 2, bytes = "1 KiB", on_exceed = panic))]
fn attributed(blocks: usize) {
    for _ in 0..blocks {
        drop(black_box(vec![0_u8; 10]));
    }
}

#[alloc_core::track_memory(name = "attributed_async", budget(retained = 0, on_exceed = panic))]
async fn attributed_async(size: usize) -> Vec<u8> {
    black_box(vec![0; size])
}

#[test]
fn the_attribute_sets_budgets() {
    attributed(2);
    let text = panic_text(|| attributed(3)).expect("three are one too many");
    assert!(text.starts_with("a call of attributed ("), "{text}");
    assert!(
        text.ends_with(") is over its budget: allocations 3 (limit 2)"),
        "{text}"
    );
    let keep = |size| assert!(poll(Box::pin(attributed_async(size)).as_mut()).is_ready());
    keep(0);
    let text = panic_text(|| keep(7)).expect("seven bytes are kept");
    assert!(text.contains("retained 7 bytes (limit 0 bytes)"), "{text}");
}

/// Keeps what it makes.
#[alloc_core::track_memory(budget(bounded = "1 KiB", on_exceed = panic))]
fn remember(kept: &mut Vec<Vec<u8>>) {
    kept.push(vec![1; 300]);
}

#[test]
fn a_declared_ceiling_is_for_all_calls_together_and_knows_what_was_freed() {
    let mut kept = Vec::with_capacity(100);
    for _ in 0..3 {
        remember(&mut kept);
    }
    let text = panic_text(|| remember(&mut kept)).expect("the fourth is one too many");
    assert!(text.contains("live 1200 bytes (limit 1024 bytes)"), "{text}");
    kept.truncate(1);
    assert_eq!(panic_text(|| remember(&mut kept)), None);
    // Freed on another thread.
    std::thread::scope(|threads| {
        threads.spawn(|| kept.clear());
    });
    for _ in 0..3 {
        remember(&mut kept);
    }
    // Granted on several threads, none of which has published anything.
    kept.clear();
    let mut others = Vec::new();
    for turn in 0..4 {
        let made = std::thread::spawn(move || {
            let mut made = Vec::with_capacity(1);
            let text = panic_text(|| remember(&mut made));
            assert_eq!(text.is_some(), turn == 3, "turn {turn}");
            made
        });
        others.push(made.join().expect("as expected"));
    }
}
