//! What can happen when a limit is passed.

use alloc_core::track_memory;

#[track_memory(budget(bytes = 1, on_exceed = abort))]
fn unknown() {}

#[track_memory(budget(bytes = 1, on_exceed = "warn"))]
fn text() {}

fn main() {
    (unknown(), text());
}
