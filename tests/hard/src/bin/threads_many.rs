//! Short threads by the ten thousand with flat memory, and a thousand threads alive at once.

use std::hint::black_box;
use std::sync::Barrier;

use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_hard::{allocate_deep, growth, resident_bytes, times};
use allocscope_tests::{check_sums, node, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn short_threads(threads: usize) {
    const SPAWNERS: usize = 4;
    let run = |count: usize| {
        std::thread::scope(|spawners| {
            let spawn = |_| {
                spawners.spawn(move || {
                    for _ in 0..count / SPAWNERS {
                        let work = || {
                            let _scope = scope!("short thread");
                            drop(black_box(vec![1_u8; 100]));
                            allocate_deep(4);
                        };
                        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(work);
                        thread.expect("a thread").join().expect("no panic");
                    }
                })
            };
            // Joined: the scope alone does not wait for the threads' last destructors.
            let running: Vec<_> = (0..SPAWNERS).map(spawn).collect();
            running.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
    };
    run(threads / 10);
    let (early, early_resident) = (snapshot(), resident_bytes());
    run(threads - threads / 10);
    let (after, resident) = (snapshot(), resident_bytes());
    check_sums(&after);
    assert_eq!(growth(&early, &after)[5..], [0, 0], "nothing is left of the threads");
    let grown = after.tracker.tracker_bytes - early.tracker.tracker_bytes;
    // Not with the threads that were, but with the most that were alive at once: two for each spawner, early and late.
    assert!(grown <= 512 << 10, "the tracker grew by {grown} bytes");
    let grown = resident.saturating_sub(early_resident);
    assert!(grown <= 2 << 20, "the program grew by {grown} bytes");
    if alloc_core::mode() != Mode::Off {
        let scope = node(&after, "short thread");
        assert_eq!(scope.calls.completed, threads as u64);
        assert_eq!(scope.own.total_allocations, 5 * threads as u64);
    }
    println!(
        "{threads} short threads: tracker {} -> {} KiB, resident {} -> {} KiB",
        early.tracker.tracker_bytes >> 10,
        after.tracker.tracker_bytes >> 10,
        early_resident >> 10,
        resident >> 10
    );
}

fn alive_at_once(count: usize) {
    let barrier = Barrier::new(count + 1);
    std::thread::scope(|threads| {
        for index in 0..count {
            let barrier = &barrier;
            let work = move || {
                let held = {
                    let _scope = scope!("one of many");
                    allocate_deep(10);
                    black_box(vec![1_u8; 1000 + index])
                };
                barrier.wait();
                barrier.wait();
                drop(held);
            };
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            builder.spawn_scoped(threads, work).expect("a thread");
        }
        barrier.wait();
        let now = snapshot();
        check_sums(&now);
        if alloc_core::mode() != Mode::Off {
            let held: u64 = (0..count as u64).map(|index| 1000 + index).sum();
            let scope = node(&now, "one of many");
            assert_eq!((scope.own.live_bytes, scope.calls.retained_bytes), (held, held));
            assert_eq!(scope.own.total_allocations, 11 * count as u64);
        }
        println!(
            "{count} threads at once: the tracker holds {} KiB",
            now.tracker.tracker_bytes >> 10
        );
        barrier.wait();
    });
    let after = snapshot();
    check_sums(&after);
    if alloc_core::mode() != Mode::Off {
        assert_eq!(node(&after, "one of many").own.live_bytes, 0);
    }
}

fn main() {
    short_threads(times(4_000, 100_000));
    alive_at_once(times(300, 1000));
}
