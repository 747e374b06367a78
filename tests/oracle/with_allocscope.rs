//! Runs one program of `programs.rs` under Allocscope and prints what it counted.
//!
//! Started by `tests/oracle_dhat.rs`, which also chooses the mode. The figures are the difference of two snapshots,
//! because dhat begins to count where its profiler is made and Allocscope at the first allocation of the process.
#![forbid(unsafe_code)]

mod programs;

use alloc_core::TrackingAllocator;
use allocscope_tests::snapshot;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn main() {
    let program = programs::asked_for();
    let mut keep = programs::Keep::new();
    let before = snapshot().totals;
    (program.run)(&mut keep);
    let after = snapshot().totals;
    let blocks = after.total_allocations + after.total_reallocations;
    let blocks_before = before.total_allocations + before.total_reallocations;
    println!(
        "total blocks {}, total bytes {}, live blocks {}, live bytes {}",
        blocks - blocks_before,
        after.total_bytes - before.total_bytes,
        after.live_blocks - before.live_blocks,
        after.live_bytes - before.live_bytes,
    );
    drop(keep);
}
