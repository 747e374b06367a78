//! Allocations are counted, not weighed.

use alloc_core::track_memory;

#[track_memory(budget(allocations = "4 KiB"))]
fn f() {}

fn main() {
    f();
}
