//! One program of the oracle under Allocscope. Prints what tools count that know `malloc` only: blocks granted, blocks released (a
//! reallocation is one of each), bytes granted.
#![forbid(unsafe_code)]

#[path = "../../../oracle/programs.rs"]
mod programs;

use alloc_core::TrackingAllocator;
use allocscope_hard::growth;
use allocscope_tests::snapshot;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn main() {
    let program = programs::asked_for();
    let mut keep = programs::Keep::new();
    let before = snapshot();
    (program.run)(&mut keep);
    drop(keep);
    let [allocations, reallocations, frees, bytes, ..] = growth(&before, &snapshot());
    println!("{} {} {bytes}", allocations + reallocations, frees + reallocations);
}
