//! Every stack that realistic code allocates under is the one that the `backtrace` crate finds, frame for frame; and its
//! hash is that of a capture which remembers nothing of the stacks before.
//!
//! One test, because its allocator compares on every allocation of the process. Run it in debug, in release, with
//! `RUSTFLAGS="-C force-frame-pointers=yes"`, and with `panic = "abort"`.
#![allow(unsafe_code, reason = "an allocator of its own")]

#[path = "../../benches/benches/stack_programs/mod.rs"]
mod programs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use alloc_core::__private::probe::{self, Found, Probe};

/// Stacks that must be compared at least.
const WANTED: usize = 100_000;

struct Comparing;

#[global_allocator]
static ALLOCATOR: Comparing = Comparing;

/// How a stack is captured: twice at full depth, twice with few frames.
const DEPTHS: [usize; 4] = [128, 128, 7, 7];

/// What a thread compares with.
struct Comparison {
    /// One for each depth. The even ones capture one stack after another, as a thread of a program does: they are what is
    /// tested. The odd ones start from zero bytes each time.
    probes: [Probe; 4],
    ready: bool,
}

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(true) };
    static COMPARISON: UnsafeCell<Comparison> = const {
        UnsafeCell::new(Comparison {
            probes: [const { Probe::zeroed() }; 4],
            ready: false,
        })
    };
}

static STACKS: AtomicUsize = AtomicUsize::new(0);
static FRAMES: AtomicUsize = AtomicUsize::new(0);
static FRESH: AtomicUsize = AtomicUsize::new(0);
static DEEPEST: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Comparing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !BUSY.replace(true) {
            COMPARISON.with(|comparison| {
                // SAFETY: the flag lets one use at a time in, and the comparison allocates nothing.
                compare(unsafe { &mut *comparison.get() });
            });
            BUSY.set(false);
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[inline(never)]
fn capture(probe: &mut Probe, depth: usize) -> Found {
    probe.capture(depth)
}

/// Captures this stack in every way and compares.
#[inline(never)]
fn compare(comparison: &mut Comparison) {
    for (at, probe) in comparison.probes.iter_mut().enumerate() {
        if at % 2 == 1 || !comparison.ready {
            *probe = Probe::zeroed();
            probe.init_thread();
        }
    }
    comparison.ready = true;
    // From one place in the code (the index is hidden, so that the loop stays one), so that all find the same frames.
    let mut ours = [([0; 128], 0); 4];
    let mut all = [Found {
        hash: 0,
        len: 0,
        truncated: false,
        foreign: false,
    }; 4];
    let mut next = 0;
    while next < DEPTHS.len() {
        let at = black_box(next);
        all[at] = capture(&mut comparison.probes[at], DEPTHS[at]);
        ours[at].1 = comparison.probes[at].frames(&mut ours[at].0);
        next = at + 1;
    }
    FRESH.fetch_add(comparison.probes[0].fresh(), Relaxed);

    let marker = 0u8;
    let here = (&raw const marker).addr();
    let (mut theirs, mut length, mut own) = ([0; 256], 0, 0);
    // SAFETY: a trace without symbols shares nothing with other threads.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            let pc = frame.ip().addr();
            if frame.sp().addr() <= here {
                own = pc;
            } else if pc != 0 {
                theirs[length] = pc;
                length += 1;
            }
            length < theirs.len()
        });
    }
    // The captures' innermost frames are `capture` and this function, the latter at another address than in the trace.
    let right = |at: usize| {
        let (found, (frames, count)) = (all[at], &ours[at]);
        let total = length + 2;
        let kept = total.min(DEPTHS[at]);
        *count == kept
            && found.len == kept
            && found.truncated == (total > kept)
            && !found.foreign
            && found.hash != 0
            && frames[1].abs_diff(own) < 16 << 10
            && frames[2..kept] == theirs[..kept - 2]
    };
    let right = (0..4).all(right) && ours[0] == ours[1] && ours[2] == ours[3] && all[0] == all[1] && all[2] == all[3];
    STACKS.fetch_add(1, Relaxed);
    FRAMES.fetch_add(ours[0].1, Relaxed);
    DEEPEST.fetch_max(length, Relaxed);
    if !right && WRONG.fetch_add(1, Relaxed) < 3 {
        eprintln!("{all:?}, {own:x}");
        eprintln!("ours   {:x?}\ntheirs {:x?}", &ours[0].0[..ours[0].1], &theirs[..length]);
    }
}

fn main() {
    probe::init_process();
    BUSY.set(false);
    let mut sum = 0;
    while STACKS.load(Relaxed) < WANTED {
        for (name, program) in programs::PROGRAMS {
            let before = STACKS.load(Relaxed);
            sum += black_box(program)();
            BUSY.set(true);
            println!("{name}: {} stacks", STACKS.load(Relaxed) - before);
            BUSY.set(false);
        }
        // On a thread of its own, too: another stack, another outermost frame.
        sum += std::thread::spawn(|| {
            BUSY.set(false);
            let sum = programs::PROGRAMS.iter().map(|(_, program)| program()).sum::<usize>();
            BUSY.set(true);
            sum
        })
        .join()
        .expect("the thread ends well");
    }
    BUSY.set(true);
    let (stacks, frames) = (STACKS.load(Relaxed), FRAMES.load(Relaxed));
    println!(
        "{stacks} stacks, {frames} frames, {:.1} a stack, {:.1} of them fresh, deepest {}; {} wrong (sum {sum})",
        frames as f64 / stacks as f64,
        FRESH.load(Relaxed) as f64 / stacks as f64,
        DEEPEST.load(Relaxed),
        WRONG.load(Relaxed),
    );
    assert_eq!(WRONG.load(Relaxed), 0, "every stack equals the oracle's");
}
