//! Limits that do not exist.

use alloc_core::track_memory;

#[track_memory(budget(allocs = 10))]
fn a() {}

#[track_memory(budget(allocations = 10, 20))]
fn b() {}

fn main() {
    (a(), b());
}
