//! Snapshots taken without pause while eight threads pass blocks to each other, and threads start and end: live is never negative, the
//! parts always add up, and at rest every total is exact.
//!
//! A program without the test harness. The figures of single calls and of the model's every rule are tested elsewhere.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use alloc_core::{Snapshot, TrackingAllocator, scope};
use allocscope_tests::{Rng, check_sums, node, number_from_env, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const THREADS: usize = 8;
/// Blocks that wait in all channels and hands together: more cannot be alive.
const MOST_ALIVE: u64 = THREADS as u64 * 2000;
const LARGEST: usize = 3000;

static STOP: AtomicBool = AtomicBool::new(false);
static MADE: AtomicU64 = AtomicU64::new(0);
static MADE_BYTES: AtomicU64 = AtomicU64::new(0);
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

fn exchange(seed: u64, to: &[Sender<Vec<u8>>], from: &Receiver<Vec<u8>>) {
    let mut rng = Rng::new(seed);
    let (mut made, mut made_bytes) = (0, 0);
    while !STOP.load(Ordering::Relaxed) {
        while IN_FLIGHT.load(Ordering::Relaxed) < MOST_ALIVE / 2 && rng.chance(80) {
            let size = rng.size(LARGEST);
            let block = {
                let _scope = scope!("exchanged");
                black_box(Vec::with_capacity(size))
            };
            made += 1;
            made_bytes += size as u64;
            IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
            to[rng.below(to.len())]
                .send(block)
                .expect("receivers outlive the senders");
        }
        while let Ok(block) = from.try_recv() {
            drop(block);
            IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        }
    }
    MADE.fetch_add(made, Ordering::Relaxed);
    MADE_BYTES.fetch_add(made_bytes, Ordering::Relaxed);
}

/// Short threads, one after another, that take their blocks' figures with them when they end.
fn come_and_go() -> u64 {
    let mut started = 0;
    while !STOP.load(Ordering::Relaxed) {
        let block = std::thread::spawn(|| {
            let _scope = scope!("left by a short thread");
            black_box(vec![1_u8; 500])
        });
        drop(block.join().expect("no panic"));
        started += 1;
    }
    started
}

/// Ends the threads, so that a failed check does not wait for them for ever.
struct StopWhenDropped;

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        STOP.store(true, Ordering::Relaxed);
    }
}

fn live_is_never_negative_and_sums_always_agree(duration: Duration) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let mut taken = 0;
    let started = std::thread::scope(|threads| {
        let mut running = Vec::new();
        for (index, from) in receivers.into_iter().enumerate() {
            let to = senders.clone();
            running.push(threads.spawn(move || {
                exchange(index as u64, &to, &from);
                drop(to);
                // What is still on its way is freed here.
                for block in from {
                    drop(block);
                }
            }));
        }
        drop(senders);
        let stop = StopWhenDropped;
        let short = threads.spawn(come_and_go);
        let end = Instant::now() + duration;
        let mut before = snapshot();
        // Under tools, and on a busy machine, a snapshot takes long.
        while Instant::now() < end || taken < 20 {
            let now = snapshot();
            taken += 1;
            check_sums(&now);
            check_plausible(&now, &before);
            before = now;
        }
        drop(stop);
        for thread in running {
            thread.join().expect("no panic");
        }
        short.join().expect("no panic")
    });
    let after = snapshot();
    check_sums(&after);
    let exchanged = node(&after, "exchanged");
    let own = exchanged.own;
    let made = (MADE.load(Ordering::Relaxed), MADE_BYTES.load(Ordering::Relaxed));
    assert_eq!((own.total_allocations, own.total_bytes), made, "exact at rest");
    assert_eq!((own.total_frees, own.freed_bytes), made);
    assert_eq!((own.live_blocks, own.live_bytes), (0, 0));
    assert_eq!((exchanged.calls.entered, exchanged.calls.completed), (made.0, made.0));
    assert_eq!((exchanged.calls.allocations, exchanged.calls.bytes), made);
    assert_eq!(exchanged.calls.retained_bytes, made.1, "each block left its call alive");
    let short = node(&after, "left by a short thread");
    assert_eq!((short.own.total_allocations, short.own.total_frees), (started, started));
    assert_eq!((short.own.total_bytes, short.own.live_bytes), (500 * started, 0));
    assert_eq!((short.calls.completed, short.calls.max_peak_bytes), (started, 500));
    println!(
        "{taken} snapshots while {} blocks passed and {started} threads ended",
        made.0
    );
}

fn check_plausible(now: &Snapshot, before: &Snapshot) {
    let (totals, earlier) = (now.totals, before.totals);
    assert!(
        totals.total_allocations >= earlier.total_allocations,
        "totals never shrink"
    );
    assert!(totals.total_bytes >= earlier.total_bytes && totals.freed_bytes >= earlier.freed_bytes);
    // A snapshot may see blocks come that it did not see go: as many as are made while it is taken, and no more.
    let meanwhile = totals.total_allocations - earlier.total_allocations;
    let most = MOST_ALIVE * 4 + meanwhile;
    assert!(
        totals.live_blocks <= most,
        "{} live of {} allocated",
        totals.live_blocks,
        totals.total_allocations
    );
    assert!(
        totals.live_bytes <= (most + 1000) * LARGEST as u64 + (8 << 20),
        "{} bytes live",
        totals.live_bytes
    );
    for node in &now.scopes {
        assert!(
            node.calls.completed <= node.calls.entered,
            "{}: {:?}",
            node.name,
            node.calls
        );
        assert!(
            node.peak_bytes < 1 << 32 && node.self_peak_bytes < 1 << 32,
            "{}: absurd peak",
            node.name
        );
        for counters in [node.own, node.inclusive] {
            assert!(
                counters.total_frees <= counters.total_allocations + counters.total_reallocations,
                "{}",
                node.name
            );
            assert!(
                counters.live_bytes < 1 << 40 && counters.bytes_at_peak < 1 << 40,
                "{}: {counters:?}",
                node.name
            );
        }
    }
}

static MAY_END: AtomicBool = AtomicBool::new(false);
const PLACES: usize = 16;
static PLACE: [AtomicPtr<u8>; PLACES] = [const { AtomicPtr::new(std::ptr::null_mut()) }; PLACES];

/// One thread only allocates in a scope, another only frees: sixteen blocks are alive at most.
fn scope_peak_of_blocks_passed_on_stays_within_its_bound() {
    const BLOCKS: usize = 20_000;
    let layout = std::alloc::Layout::from_size_align(1000, 8).expect("valid");
    let freeing = std::thread::spawn(move || {
        for turn in 0..BLOCKS {
            let place = &PLACE[turn % PLACES];
            loop {
                let block = place.swap(std::ptr::null_mut(), Ordering::AcqRel);
                if !block.is_null() {
                    // SAFETY: granted below with this layout, and taken out of its place by us alone.
                    unsafe { std::alloc::dealloc(block, layout) };
                    break;
                }
                std::thread::yield_now();
            }
        }
        while !MAY_END.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    });
    {
        let _scope = scope!("passed on");
        for turn in 0..BLOCKS {
            let place = &PLACE[turn % PLACES];
            while !place.load(Ordering::Acquire).is_null() {
                std::thread::yield_now();
            }
            // SAFETY: the layout is not empty.
            let block = unsafe { std::alloc::alloc(layout) };
            assert!(!block.is_null());
            place.store(block, Ordering::Release);
        }
    }
    while PLACE.iter().any(|place| !place.load(Ordering::Acquire).is_null()) {
        std::thread::yield_now();
    }
    // The thread that allocated goes on to another scope first, then the other one ends.
    drop(black_box(vec![1_u8; 10]));
    MAY_END.store(true, Ordering::Release);
    freeing.join().expect("no panic");
    let after = snapshot();
    let node = node(&after, "passed on");
    assert_eq!((node.own.total_bytes, node.own.live_bytes), (BLOCKS as u64 * 1000, 0));
    // Two threads, each of which may be 64 KiB behind in what it made known, and as much in what it is about to.
    let bound = PLACES as u64 * 1000 + 2 * 2 * (64 << 10);
    assert!(
        node.peak_bytes <= bound,
        "peak {} of a bound of {bound}",
        node.peak_bytes
    );
    assert!(
        node.self_peak_bytes <= bound,
        "own peak {} of a bound of {bound}",
        node.self_peak_bytes
    );
    assert!(
        node.calls.retained_bytes <= PLACES as u64 * 1000,
        "all but the last few were freed before the call ended"
    );
}

/// What the tracker allocates for snapshots is in none of the program's figures, and has a figure of its own.
fn snapshots_count_apart_from_the_program() {
    let mut held = Vec::with_capacity(20);
    let before = snapshot();
    for _ in 0..20 {
        held.push(snapshot());
    }
    let while_held = snapshot();
    drop(held.drain(..));
    let after = snapshot();
    assert_eq!(before.totals, while_held.totals);
    assert_eq!(before.totals, after.totals);
    let own = |snapshot: &Snapshot| (snapshot.tracker.own_live_blocks, snapshot.tracker.own_live_bytes);
    let (first, most, last) = (own(&before), own(&while_held), own(&after));
    assert!(
        most.0 >= first.0 + 20 && most.1 >= first.1 + 20 * 100,
        "{first:?} {most:?}"
    );
    assert!(
        last.0 < most.0 - 19 && last.1 < most.1 - 19 * 100,
        "dropped: {most:?} {last:?}"
    );
}

fn main() {
    snapshots_count_apart_from_the_program();
    scope_peak_of_blocks_passed_on_stays_within_its_bound();
    let milliseconds = number_from_env("ALLOCSCOPE_TEST_MILLISECONDS", 3000);
    live_is_never_negative_and_sums_always_agree(Duration::from_millis(milliseconds));
}
