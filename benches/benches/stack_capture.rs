//! What a call stack costs per allocation, in five programs that allocate the way real code does.
//!
//! `cargo bench -p allocscope-benches --bench stack_capture`. Each program runs with and without captures, paired and
//! in alternating order; the figure is the median of the differences, divided by the allocations (`least`: the difference of
//! the fastest runs, which a busy machine disturbs less). The busy flag that an
//! allocator needs around a capture is in it; what an allocator does with the stack is not.
//!
//! For instruction counts: `valgrind --tool=callgrind <binary> <bare|capture|nothing> <passes>` runs just that many
//! passes; the difference between `capture` and `bare`, divided by the allocations it prints, is the count.
#![allow(unsafe_code, reason = "an allocator of its own")]

#[path = "stack_programs/mod.rs"]
mod programs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::hint::black_box;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use alloc_core::__private::probe::{self, Probe};

/// Runs of each program with, and as many without.
const PAIRS: usize = 25;
/// The default depth of the allocator.
const DEPTH: usize = 64;

const BARE: u8 = 0;
const CAPTURE: u8 = 1;
const COUNT: u8 = 2;

static WHAT: AtomicU8 = AtomicU8::new(BARE);

struct Measured;

#[global_allocator]
static ALLOCATOR: Measured = Measured;

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static PROBE: UnsafeCell<Probe> = const { UnsafeCell::new(Probe::zeroed()) };
    static SUM: Cell<u64> = const { Cell::new(0) };
    static SEEN: Cell<Seen> = const { Cell::new(Seen { allocations: 0, frames: 0, fresh: 0 }) };
}

#[derive(Clone, Copy)]
struct Seen {
    allocations: u64,
    frames: u64,
    fresh: u64,
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Measured {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let what = WHAT.load(Relaxed);
        if what != BARE && !BUSY.replace(true) {
            PROBE.with(|probe| {
                // SAFETY: the flag lets one use at a time in, and a capture allocates nothing.
                let found = unsafe { &mut *probe.get() }.capture(DEPTH);
                SUM.set(SUM.get() ^ found.hash);
                if what == COUNT {
                    count(found.len);
                }
            });
            BUSY.set(false);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cold]
fn count(len: usize) {
    let mut seen = SEEN.get();
    seen.allocations += 1;
    seen.frames += len as u64;
    // SAFETY: called under the flag, after the capture has ended.
    PROBE.with(|probe| seen.fresh += unsafe { &*probe.get() }.fresh() as u64);
    SEEN.set(seen);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn timed(what: u8, program: fn() -> usize) -> f64 {
    WHAT.store(what, Relaxed);
    let start = Instant::now();
    black_box(program());
    let nanoseconds = start.elapsed().as_nanos() as f64;
    WHAT.store(BARE, Relaxed);
    nanoseconds
}

/// Nanoseconds of one dependent addition: a cycle.
fn cycle() -> f64 {
    median(
        (0..9)
            .map(|_| {
                let start = Instant::now();
                let mut sum = black_box(1u64);
                for step in 0..10_000_000u64 {
                    // Opaque to the optimiser, one addition to the machine.
                    sum = black_box_register(sum.wrapping_add(step));
                }
                black_box(sum);
                start.elapsed().as_nanos() as f64 / 10_000_000.0
            })
            .collect(),
    )
}

#[inline(always)]
fn black_box_register(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: an empty instruction sequence.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) value, options(nomem, nostack, pure, preserves_flags)) };
    value
}

fn main() {
    probe::init_process();
    PROBE.with(|probe| {
        // SAFETY: no capture is under way: the mode is BARE.
        unsafe { &mut *probe.get() }.init_thread();
    });
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    if let [_, what, passes] = &arguments[..] {
        let what = match what.as_str() {
            "capture" => CAPTURE,
            "count" => COUNT,
            _ => BARE,
        };
        for _ in 0..passes.parse().expect("a number of passes") {
            programs::PROGRAMS.iter().for_each(|&(_, program)| {
                timed(what, program);
            });
        }
        println!("{} allocations counted", SEEN.get().allocations);
        return;
    }
    println!("a cycle is {:.3} ns", cycle());
    println!(
        "{:<12} {:>11} {:>6} {:>6} {:>10} {:>10} {:>10}",
        "program", "allocations", "depth", "fresh", "bare ns", "added ns", "least"
    );
    let mut all = Seen {
        allocations: 0,
        frames: 0,
        fresh: 0,
    };
    let (mut all_added, mut all_least, mut all_bare) = (0.0, 0.0, 0.0);
    for (name, program) in programs::PROGRAMS {
        timed(CAPTURE, program);
        SEEN.set(Seen {
            allocations: 0,
            frames: 0,
            fresh: 0,
        });
        timed(COUNT, program);
        let seen = SEEN.get();
        let count = seen.allocations as f64;
        let (mut bare, mut added) = (Vec::new(), Vec::new());
        let (mut least_bare, mut least_with) = (f64::MAX, f64::MAX);
        for pair in 0..PAIRS {
            let (without, with) = if pair % 2 == 0 {
                let without = timed(BARE, program);
                (without, timed(CAPTURE, program))
            } else {
                let with = timed(CAPTURE, program);
                (timed(BARE, program), with)
            };
            least_bare = least_bare.min(without / count);
            least_with = least_with.min(with / count);
            bare.push(without / count);
            added.push((with - without) / count);
        }
        let (bare, added, least) = (median(bare), median(added), least_with - least_bare);
        println!(
            "{name:<12} {:>11} {:>6.1} {:>6.2} {bare:>10.1} {added:>10.1} {least:>10.1}",
            seen.allocations,
            seen.frames as f64 / count,
            seen.fresh as f64 / count
        );
        all.allocations += seen.allocations;
        all.frames += seen.frames;
        all.fresh += seen.fresh;
        all_bare += bare * count;
        all_added += added * count;
        all_least += least * count;
    }
    let count = all.allocations as f64;
    println!(
        "{:<12} {:>11} {:>6.1} {:>6.2} {:>10.1} {:>10.1} {:>10.1}",
        "all",
        all.allocations,
        all.frames as f64 / count,
        all.fresh as f64 / count,
        all_bare / count,
        all_added / count,
        all_least / count
    );
    // What keeps the captures from being removed.
    black_box(SUM.get());
}
