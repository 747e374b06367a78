//! Without the allocator nothing can be measured, and that is said: never a silent zero.

use alloc_core::budget::{OnDenied, deny_allocations, fail_allocation, measure, measure_process};
use alloc_core::{assert_budget, assert_no_allocations};

#[test]
fn measuring_is_refused() {
    let error = measure(|| vec![1])
        .map(|_| ())
        .expect_err("no TrackingAllocator is installed");
    assert!(error.is_not_installed());
    let text = error.to_string();
    assert!(
        text.starts_with("failed to measure: no TrackingAllocator is the global allocator"),
        "{text}"
    );
    assert!(measure_process(|| ()).is_err());
    assert!(deny_allocations(OnDenied::Count).is_err() && fail_allocation(1).is_err());
}

#[test]
#[should_panic(expected = "no TrackingAllocator is the global allocator")]
fn a_budget_is_not_kept_by_accident() {
    assert_budget!((), allocations <= 100);
}

#[test]
#[should_panic(expected = "no TrackingAllocator is the global allocator")]
fn nor_is_zero() {
    assert_no_allocations!(());
}
