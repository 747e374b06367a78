//! Peaks that one thread makes while others have published less: what stands at the peak must be what was held then.
//!
//! One process, no harness: the process's peak is exact within a bound that counts threads. Leaves out one thread alone, which
//! `scope_figures` covers exactly.

use std::hint::black_box;

use alloc_core::TrackingAllocator;
use allocscope_tests::snapshot;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const BOUND: u64 = 2 * (64 << 10);

fn at_peak() -> (u64, u64) {
    let snapshot = snapshot();
    (snapshot.peak_bytes, snapshot.totals.bytes_at_peak)
}

fn main() {
    let early = black_box(vec![1_u8; 100_000]);
    let worker = || drop(black_box(vec![1_u8; 256 << 20]));
    std::thread::spawn(worker).join().expect("no panic");
    let (peak, held) = at_peak();
    assert!(
        (256 << 20..(256 << 20) + 200_000).contains(&peak),
        "the peak is the worker's: {peak}"
    );
    assert!(peak.abs_diff(held) <= BOUND, "held at the peak: {held} of {peak}");
    // This thread's highest point ever, and far from a peak of the process.
    let late = black_box(vec![1_u8; 1_000]);
    let (same_peak, same_held) = at_peak();
    assert_eq!(same_peak, peak, "a thousand bytes are no new peak");
    assert!(
        same_held.abs_diff(held) <= BOUND,
        "held at the peak: {same_held}, before {held}"
    );
    drop((early, late));

    // Snapshots while a thread grants and frees one large block over and over: never a peak of two of them.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let churn = std::thread::spawn(move || {
        let _scope = alloc_core::scope!("churn");
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            drop(black_box(Vec::<u8>::with_capacity(512 << 20)));
        }
    });
    let mut highest = 0;
    for _ in 0..5_000 {
        let snapshot = snapshot();
        assert!(snapshot.peak_bytes >= highest, "a peak never falls");
        highest = snapshot.peak_bytes;
        let scope_peak = snapshot
            .scopes
            .iter()
            .skip(1)
            .map(|scope| scope.peak_bytes)
            .max()
            .unwrap_or(0);
        for seen in [highest, scope_peak] {
            assert!(
                seen < (512 << 20) + 2 * BOUND,
                "one block of 512 MiB at a time, and a peak of {seen}"
            );
        }
    }
    stop.send(()).expect("the thread runs");
    churn.join().expect("no panic");
    assert!(highest >= 512 << 20);
}
