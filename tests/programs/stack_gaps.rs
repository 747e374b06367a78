//! Says whether its call stacks reach `main`. Linked with holes between its segments (`build.rs`): to the loader it is several mappings.

use std::hint::black_box;

use alloc_core::{Snapshot, TrackingAllocator};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[inline(never)]
fn inner() -> Vec<u8> {
    black_box(vec![1; 54_321])
}

#[inline(never)]
fn outer() -> Vec<u8> {
    black_box(inner())
}

fn main() {
    let kept = outer();
    let mut snapshot = Snapshot::take().expect("the allocator is installed");
    snapshot.resolve();
    let text = snapshot.report().to_string();
    drop(kept);
    assert!(text.contains("stack_gaps.rs:12"), "the line is named:\n{text}");
    assert_eq!(
        snapshot.tracker.truncated_stacks, 0,
        "every stack reaches its thread's beginning"
    );
    println!("ok");
}
