//! The workloads over the tracking allocator, in the mode that `ALLOCSCOPE_MODE` names.

use alloc_core::{Snapshot, TrackingAllocator};
use allocscope_benches::child::{self, Counted};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn main() {
    child::main(|| Snapshot::take().ok().map(|snapshot| counted(&snapshot)));
}

fn counted(snapshot: &Snapshot) -> Counted {
    let frames_of = |stack: Option<u32>| stack.map_or(0, |index| snapshot.stacks[index as usize].frames.len() as u64);
    let frames = |context: &alloc_core::model::Context| {
        (context.counters.total_allocations + context.counters.total_reallocations) * frames_of(context.stack)
    };
    Counted {
        blocks: snapshot.totals.total_allocations + snapshot.totals.total_reallocations,
        bytes: snapshot.totals.total_bytes,
        frames: snapshot.contexts.iter().map(frames).sum(),
        contexts: snapshot.tracker.contexts,
        other: snapshot.tracker.other_allocations,
        tracker_bytes: snapshot.tracker.tracker_bytes,
    }
}
