//! A test that runs on another thread than the one that is measured.
use alloc_core::allocation_test;
use rstest::rstest;

#[rstest]
#[timeout(std::time::Duration::from_secs(1))]
#[allocation_test(allocations == 0)]
fn runs_on_another_thread() {}

fn main() {}
