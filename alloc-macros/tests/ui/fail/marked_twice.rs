//! One function marked twice, under one name and under two.

use alloc_core::track_memory;
use alloc_core::track_memory as tracked;

#[track_memory]
#[track_memory(name = "other")]
fn one_name() {}

#[tracked]
#[inline]
#[tracked]
fn another_name() -> u32 {
    1
}

#[tracked]
#[tracked]
async fn a_future() -> u32 {
    1
}

fn main() {
    one_name();
    another_name();
    let _ = a_future();
}
