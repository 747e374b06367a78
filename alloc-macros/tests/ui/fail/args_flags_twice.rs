//! Each flag is given once.

use alloc_core::track_memory;

#[track_memory(request, name = "a", request)]
fn a() {}

#[track_memory(loops, loops)]
fn b() {}

fn main() {
    (a(), b());
}
