//! Each limit is given once, and so is the budget.

use alloc_core::track_memory;

#[track_memory(budget(peak = 10, bytes = 1, peak = 20))]
fn a() {}

#[track_memory(budget(peak = 10), budget(bytes = 20))]
fn b() {}

fn main() {
    (a(), b());
}
