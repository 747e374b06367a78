//! A scope that is entered before the program has allocated anything, on a thread that the tracker knows already.
//!
//! As `first_scope`, without a `main` of Rust's.
#![no_main]

use alloc_core::budget::permit;
use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_tests::{bytes, node, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

// SAFETY: the program has no other `main`; it is called by the C library, with arguments that are left alone.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    permit(|| {
        let _scope = scope!("permitted");
        drop(bytes(100));
    });
    if alloc_core::mode() != Mode::Off {
        let taken = snapshot();
        let node = node(&taken, "permitted");
        assert_eq!((node.calls.entered, node.own.total_allocations), (1, 1));
        assert_eq!((taken.totals.total_allocations, taken.totals.total_frees), (1, 1));
    }
    println!("the first scope of a thread that is known already ... ok");
    0
}
