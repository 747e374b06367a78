//! A Rust library with a tracker of its own, for `loaded_libraries` to load and unload: it counts what it allocates itself, and nothing
//! of its program.

use std::hint::black_box;

use alloc_core::{Mode, Snapshot, TrackingAllocator, scope};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Allocates in a scope, keeps nothing, and says how much it summed up; 0 when its own figures are wrong.
#[unsafe(no_mangle)]
pub extern "C" fn work(turns: usize) -> usize {
    // Switched off, a tracker that nobody has asked for memory yet says that it is not installed.
    drop(black_box(vec![1_u8]));
    let Ok(before) = Snapshot::take() else { return 0 };
    let mut sum = 0;
    for turn in 0..turns {
        let _scope = scope!("in the library");
        let mut numbers: Vec<usize> = Vec::new();
        for number in 0..=turn % 50 {
            numbers.push(number);
        }
        sum += black_box(numbers).len();
    }
    let Ok(after) = Snapshot::take() else { return 0 };
    let grown = after.totals.total_allocations - before.totals.total_allocations;
    let is_right = alloc_core::mode() == Mode::Off || grown == turns as u64;
    if is_right && after.totals.live_bytes == before.totals.live_bytes {
        sum
    } else {
        0
    }
}
