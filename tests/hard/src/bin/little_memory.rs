//! A program that may have only so much address space (`ulimit -v`): the tracker takes what it can get, the program goes on, requests
//! that cannot be granted are null, and the figures are exact until the tracker's own memory is used up.
//!
//! Argument: what to do: `run`, or `exhaust` to allocate until nothing more is granted.

use std::alloc::GlobalAlloc;
use std::hint::black_box;

use alloc_core::{Mode, Snapshot, TrackingAllocator, scope};
use allocscope_hard::{allocate_deep, growth, in_this_mode, layout};
use allocscope_tests::check_sums;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Only under a limit: without one it would take all that the machine has.
fn assert_limited() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the place can be written.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }, 0);
    assert!(
        limit.rlim_cur < 4 << 30,
        "`exhaust` needs a limit of address space: `ulimit -v 1000000`"
    );
}

fn exhaust(size: usize) {
    let before = Snapshot::take();
    let mut last: *mut usize = std::ptr::null_mut();
    let (mut granted, mut freed) = (0_i64, 0_i64);
    {
        let _scope = scope!("takes all");
        loop {
            // SAFETY: the layout is not empty.
            let block = unsafe { ALLOC.alloc(layout(size)) }.cast::<usize>();
            if block.is_null() {
                break;
            }
            // Each block points to the one before: nothing else is needed to remember them.
            // SAFETY: the block is larger than a pointer, and ours.
            unsafe { block.write(last.expose_provenance()) };
            last = block;
            granted += 1;
        }
    }
    assert!(granted > 0, "not one block of {size} bytes");
    while !last.is_null() {
        // SAFETY: written above.
        let next = std::ptr::with_exposed_provenance_mut(unsafe { last.read() });
        // SAFETY: of this layout, and not used again.
        unsafe { ALLOC.dealloc(last.cast(), layout(size)) };
        last = next;
        freed += 1;
    }
    assert_eq!(granted, freed);
    if let (Ok(before), Ok(after)) = (before, Snapshot::take()) {
        check_sums(&after);
        let bytes = granted * size as i64;
        assert_eq!(
            growth(&before, &after),
            in_this_mode([granted, 0, granted, bytes, bytes, 0, 0])
        );
    }
}

fn main() {
    match Snapshot::take() {
        Ok(now) => println!(
            "mode {}, the tracker may use {} KiB",
            alloc_core::mode(),
            now.tracker.tracker_bytes_limit >> 10
        ),
        Err(error) => println!("mode {}, no snapshot: {error}", alloc_core::mode()),
    }
    if std::env::args().nth(1).as_deref() == Some("exhaust") {
        assert_limited();
        exhaust(1 << 20);
        exhaust(5000);
    }
    for turn in 0..50 {
        let _scope = scope!("goes on");
        allocate_deep(turn);
        let mut text = String::new();
        for _ in 0..turn {
            text.push_str("more");
        }
        black_box(&text);
    }
    // The C library keeps what was freed for the heap of this thread, and a new thread would find no address space for its own.
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no conditions.
    unsafe {
        libc::malloc_trim(0);
    }
    for _ in 0..20 {
        let thread = std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(|| allocate_deep(5));
        if let Ok(thread) = thread {
            thread.join().expect("no panic");
        }
    }
    if let Ok(after) = Snapshot::take() {
        assert!(after.totals.live_bytes <= after.totals.total_bytes);
        if alloc_core::mode() != Mode::Off {
            assert!(after.totals.total_allocations > 1000);
        }
    }
    println!("done");
}
