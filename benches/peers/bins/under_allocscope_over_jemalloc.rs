//! The workloads over the tracking allocator, in the mode that `ALLOCSCOPE_MODE` names, over the same jemalloc as in `under_jemalloc`.

use alloc_core::{Snapshot, TrackingAllocator};
use allocscope_benches::child::Counted;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOC: TrackingAllocator<Jemalloc> = TrackingAllocator::with_inner(Jemalloc);

fn main() {
    allocscope_benches::child::main(|| {
        let totals = Snapshot::take().ok()?.totals;
        Some(Counted::blocks(totals.total_allocations + totals.total_reallocations))
    });
}
