//! `request`, `loops` and `skip` stand alone.

use alloc_core::track_memory;

#[track_memory(request = true)]
fn a() {}

#[track_memory(loops("inner"))]
fn b() {}

#[track_memory(skip = "yes")]
fn c() {}

fn main() {
    (a(), b(), c());
}
