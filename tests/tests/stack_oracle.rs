//! Every stack that realistic code allocates under is the one that the `backtrace` crate finds, frame for frame.
//!
//! One test, because its allocator compares on every allocation of the process. Run it in debug, in release, with
//! `RUSTFLAGS="-C force-frame-pointers=yes"`, and with `panic = "abort"`.
#![allow(unsafe_code, reason = "an allocator of its own")]

#[path = "../../benches/benches/stack_programs/mod.rs"]
mod programs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use alloc_core::__private::probe::{self, Found, Probe};

/// Stacks that must be compared at least.
const WANTED: usize = 100_000;

struct Comparing;

#[global_allocator]
static ALLOCATOR: Comparing = Comparing;

/// What a thread compares with.
struct Comparison {
    /// Captures one after another, as a thread of a program would: what is tested.
    running: Probe,
    /// The same, with few frames.
    shallow: Probe,
    /// Remembers nothing: starts from zero bytes each time.
    forgetful: Probe,
    ready: bool,
}

thread_local! {
    static BUSY: Cell<bool> = const { Cell::new(true) };
    static COMPARISON: UnsafeCell<Comparison> = const {
        UnsafeCell::new(Comparison {
            running: Probe::zeroed(),
            shallow: Probe::zeroed(),
            forgetful: Probe::zeroed(),
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

/// Captures this stack in every way and compares.
#[inline(never)]
fn compare(comparison: &mut Comparison) {
    if !comparison.ready {
        comparison.ready = true;
        comparison.running.init_thread();
        comparison.shallow.init_thread();
    }
    let found = comparison.running.capture(128);
    let few = comparison.shallow.capture(7);
    comparison.forgetful = Probe::zeroed();
    comparison.forgetful.init_thread();
    let fresh = comparison.forgetful.capture(128);
    let fresh_few = {
        comparison.forgetful = Probe::zeroed();
        comparison.forgetful.init_thread();
        comparison.forgetful.capture(7)
    };
    let (mut ours, mut few_frames) = ([0; 128], [0; 128]);
    let count = comparison.running.frames(&mut ours);
    let few_count = comparison.shallow.frames(&mut few_frames);

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
    // The captures' innermost frame is this function, at other addresses than in the trace.
    let deep = length + 1 > 128;
    let kept = if deep { 127 } else { length };
    let right = count == kept + 1
        && ours[0].abs_diff(own) < 16 << 10
        && ours[1..count] == theirs[..kept]
        && found.truncated == deep
        && found.len == count
        && !found.foreign
        && found.hash != 0
        && few_count == 7.min(length + 1)
        && few_frames[1..few_count] == theirs[..few_count - 1]
        && few.truncated == (length + 1 > 7)
        && depends_on_frames_only(found, fresh, length)
        && depends_on_frames_only(few, fresh_few, length);
    STACKS.fetch_add(1, Relaxed);
    FRAMES.fetch_add(count, Relaxed);
    FRESH.fetch_add(comparison.running.fresh(), Relaxed);
    DEEPEST.fetch_max(length, Relaxed);
    if !right && WRONG.fetch_add(1, Relaxed) < 3 {
        eprintln!("found {found:?} few {few:?} fresh {fresh:?}, {fresh_few:?}; own {own:x}");
        eprintln!("ours   {:x?}\ntheirs       {:x?}", &ours[..count], &theirs[..length]);
    }
}

/// The captures of one stack differ in their innermost address alone (they are made one after another), so nothing but
/// the flags and lengths can be compared here; that equal frames give equal hashes is `stack_hash`'s matter.
fn depends_on_frames_only(one: Found, other: Found, _length: usize) -> bool {
    (one.len, one.truncated, one.foreign) == (other.len, other.truncated, other.foreign)
}

fn main() {
    probe::init_process();
    BUSY.set(false);
    let mut sum = 0;
    while STACKS.load(Relaxed) < WANTED {
        for (name, program) in programs::PROGRAMS {
            let before = STACKS.load(Relaxed);
            sum += std::hint::black_box(program)();
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
