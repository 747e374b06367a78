//! A budget that nothing can exceed.

use alloc_core::track_memory;

#[track_memory(budget())]
fn empty() {}

#[track_memory(budget(on_exceed = panic))]
fn only_a_reaction() {}

fn main() {
    (empty(), only_a_reaction());
}
