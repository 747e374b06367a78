//! What cannot be run as a test.
use alloc_core::allocation_test;

#[allocation_test(allocations == 0)]
struct NotAFunction;

#[allocation_test(allocations == 0)]
const fn constant() {}

#[allocation_test(allocations == 0)]
fn arguments(_: u32) {}

#[allocation_test(allocations == 0, workers = 2)]
fn workers_without_a_runtime() {}

fn main() {}
