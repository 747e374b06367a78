//! A scope that is entered before the program has allocated anything, as `main` is where the standard library allocates nothing before it.
//!
//! So the program has no `main` of Rust's, which may allocate.
#![no_main]

use alloc_core::{Mode, ScopeGuard, TrackingAllocator, scope};
use allocscope_tests::{bytes, node, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[inline(never)]
fn inside(_scope: ScopeGuard) {
    for _ in 0..3 {
        drop(bytes(100));
    }
}

// SAFETY: the program has no other `main`; it is called by the C library, with arguments that are left alone.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    inside(scope!("first"));
    inside(scope!("second"));
    if alloc_core::mode() != Mode::Off {
        let taken = snapshot();
        for name in ["first", "second"] {
            let node = node(&taken, name);
            let figures = (node.calls.entered, node.own.total_allocations, node.own.total_bytes);
            assert_eq!(figures, (1, 3, 300), "{name}");
        }
        let totals = taken.totals;
        assert_eq!(totals.total_allocations, 6, "what was done to find out is not counted");
        assert_eq!((totals.total_frees, taken.tracker.untracked_frees), (6, 0));
    }
    println!("the first scope of a program ... ok");
    0
}
