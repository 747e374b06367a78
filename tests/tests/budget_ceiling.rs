//! Declared ceilings (`bounded`) while other threads allocate, free and take snapshots: no call is blamed without cause.
//!
//! A program of its own, because a check that falls into a snapshot may see too little.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use alloc_core::__private::{CallBudget, ScopeSite, enter, enter_with_budget};
use alloc_core::{Snapshot, TrackingAllocator};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn message(work: impl FnOnce()) -> Option<String> {
    let error = catch_unwind(AssertUnwindSafe(work)).err()?;
    Some(*error.downcast::<String>().expect("our panics have a text"))
}

#[test]
fn what_other_threads_hold_or_free_is_no_false_alarm() {
    static SITE: ScopeSite = ScopeSite::new("shared", "src/shared.rs", 1);
    static BESIDE: ScopeSite = ScopeSite::new("beside", "src/shared.rs", 2);
    static LIMIT: CallBudget = CallBudget::new(true).bounded(100_000);
    const TURNS: usize = 400_000;
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        // Never more than one block of 60,000 bytes, which moves from place to place in the tables.
        threads.spawn(|| {
            let beside = || {
                let _scope = enter(&BESIDE);
                drop(black_box(vec![0_u8; 8]));
            };
            while !stop.load(Ordering::Relaxed) {
                let block = {
                    let _scope = enter(&SITE);
                    black_box(vec![0_u8; 60_000])
                };
                beside();
                drop(block);
                beside();
            }
        });
        let alarm = (0..TURNS).find_map(|_| message(|| drop(enter_with_budget(&SITE, &LIMIT))));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(alarm, None);
    });
}

#[test]
fn a_ceiling_is_not_guessed_at_while_a_snapshot_is_taken() {
    static SITE: ScopeSite = ScopeSite::new("handed over", "src/handed.rs", 1);
    static LIMIT: CallBudget = CallBudget::new(true).bounded(80_000);
    const TURNS: usize = 10_000;
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(Snapshot::take().expect("installed"));
                }
            });
        }
        // One block of 30,000 bytes at a time, granted here and freed there.
        let (give, blocks) = std::sync::mpsc::sync_channel::<Vec<u8>>(0);
        let (freed, is_freed) = std::sync::mpsc::sync_channel(0);
        threads.spawn(move || {
            for block in blocks {
                drop(block);
                freed.send(()).expect("somebody waits");
            }
        });
        let alarm = (0..TURNS).find_map(|_| {
            let mut block = Vec::new();
            let text = message(|| {
                let _guard = enter_with_budget(&SITE, &LIMIT);
                block = black_box(vec![0_u8; 30_000]);
            });
            give.send(block).expect("the thread lives");
            is_freed.recv().expect("the thread lives");
            text
        });
        stop.store(true, Ordering::Relaxed);
        drop(give);
        assert_eq!(alarm, None);
    });
}
