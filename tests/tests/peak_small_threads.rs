//! A peak that no thread has noticed, because each granted too little to tell the others: who takes a snapshot then sees it, and it stays.

use std::sync::Barrier;

use alloc_core::TrackingAllocator;
use allocscope_tests::{bytes, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const THREADS: usize = 32;
const EACH: usize = 60 << 10;

fn main() {
    let (all_hold, may_end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let held = std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let held = bytes(EACH);
                all_hold.wait();
                may_end.wait();
                drop(held);
            });
        }
        all_hold.wait();
        let held = snapshot();
        may_end.wait();
        held
    });
    let least = (THREADS * EACH) as u64;
    assert!(held.totals.live_bytes >= least);
    // Threads that wait do nothing: so this is exact.
    assert_eq!(held.peak_bytes, held.totals.live_bytes);
    let at_peak = |snapshot: &alloc_core::Snapshot| -> u64 {
        snapshot
            .contexts
            .iter()
            .map(|context| context.counters.bytes_at_peak)
            .sum()
    };
    assert!(
        at_peak(&held) >= least,
        "sites say what they held at it: {}",
        at_peak(&held)
    );
    let after = snapshot();
    assert!(after.totals.live_bytes < least);
    assert!(
        after.peak_bytes >= held.peak_bytes,
        "{} of {}",
        after.peak_bytes,
        held.peak_bytes
    );
    println!("{} bytes on {THREADS} threads ... ok", held.peak_bytes);
}
