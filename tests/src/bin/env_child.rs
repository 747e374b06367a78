//! A small program with the allocator installed, for `tests/modes_env.rs` to run under different environments.
//!
//! Prints the mode; allocates in a scope; ends as its argument says: `return`, `exit`, `stacks` (and prints the deepest stack and
//! whether any was cut) or `take` (and says whether a snapshot can be taken).
#![forbid(unsafe_code)]

use std::hint::black_box;

use alloc_core::{Snapshot, TrackingAllocator, track_memory};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[track_memory(name = "the work")]
fn work(depth: usize) -> Vec<u8> {
    let kept = black_box(vec![1; 1234]);
    if depth == 0 { kept } else { work(depth - 1) }
}

fn main() {
    println!("mode {}", alloc_core::mode());
    let kept = work(5);
    match std::env::args().nth(1).as_deref() {
        Some("exit") => std::process::exit(7),
        Some("stacks") => {
            let snapshot = Snapshot::take().expect("the allocator is installed");
            let deepest = snapshot
                .stacks
                .iter()
                .map(|stack| stack.frames.len())
                .max()
                .unwrap_or(0);
            println!("deepest {deepest}");
            println!("cut {}", snapshot.stacks.iter().any(|stack| stack.truncated));
        }
        Some("take") => println!("taken {}", Snapshot::take().is_ok()),
        _ => {}
    }
    drop(kept);
    println!("done");
}
