//! A program whose panics abort (`panic = "abort"`): stacks are whole all the same, and a panic in a scope ends it with `SIGABRT`.
//!
//! `tests/places.rs` builds it once more, with that setting; built as usual its panic unwinds.

use std::hint::black_box;

use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_tests::{check_sums, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[inline(never)]
fn nested(depth: usize) -> Vec<u8> {
    if depth == 0 {
        let _scope = scope!("innermost");
        return black_box(vec![1_u8; 4321]);
    }
    let made = nested(black_box(depth - 1));
    black_box(&made);
    made
}

fn main() {
    let held = nested(12);
    let now = snapshot();
    check_sums(&now);
    if alloc_core::mode() == Mode::Exact {
        let context = now.contexts.iter().find(|context| context.counters.live_bytes == 4321);
        let stack = context
            .and_then(|context| now.stacks.get(context.stack? as usize))
            .expect("the block has a stack");
        assert!(stack.frames.len() > 13 && !stack.truncated, "{stack:?}");
    }
    assert_eq!(now.tracker.truncated_stacks, 0);
    println!("counted; panics abort: {}", cfg!(panic = "abort"));
    let _scope = scope!("panics");
    drop(held);
    panic!("on purpose");
}
