//! Measures one program of `programs.rs` and prints what was counted.
//!
//! Started by `tests/oracle_measure.rs`.
#![forbid(unsafe_code)]

mod programs;

use alloc_core::TrackingAllocator;
use alloc_core::budget::measure;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn main() {
    let program = programs::asked_for();
    let mut keep = programs::Keep::new();
    let ((), usage) = measure(|| (program.run)(&mut keep)).expect("the allocator is installed");
    println!(
        "total blocks {}, total bytes {}, live bytes {}",
        usage.allocations + usage.reallocations,
        usage.bytes,
        usage.retained_bytes
    );
    drop(keep);
}
