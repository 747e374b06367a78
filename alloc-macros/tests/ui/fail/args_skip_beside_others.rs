//! `skip` leaves the function alone, so nothing else can be meant.

use alloc_core::track_memory;

#[track_memory(skip, name = "a")]
fn a() {}

#[track_memory(loops, skip)]
fn b() {}

fn main() {
    (a(), b());
}
