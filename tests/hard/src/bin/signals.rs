//! Signal handlers that allocate, reallocate, free and enter scopes, wherever in the tracker the signal arrives: on the thread's own
//! stack, or on an alternate one. Threads begin and end meanwhile.
//!
//! Handlers may not use the system's `malloc`, so the inner allocator here is one that may be interrupted anywhere.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_hard::{allocate, allocate_deep, free, growth, in_this_mode, layout, times};
use allocscope_tests::{check_sums, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator<Interruptible> = TrackingAllocator::with_inner(Interruptible);

/// Hands out one mapping upwards, in one step. Blocks come back through lists, one for each power of two, that nobody waits for.
struct Interruptible;

static BASE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static USED: AtomicUsize = AtomicUsize::new(0);
/// Reserved, not used.
const ROOM: usize = 1 << 40;
/// The first free block of each size: its place in the mapping in the low bits (0: none), and above them how often the list has changed, so
/// that nobody takes a block whose successor was read before it came back.
static FREE: [AtomicU64; 41] = [const { AtomicU64::new(0) }; 41];
const PLACE: u64 = ROOM as u64 - 1;
const CHANGE: u64 = ROOM as u64;

/// Blocks are as large as their alignment at least, and lie at multiples of their size.
fn class(layout: Layout) -> usize {
    layout.size().max(layout.align()).max(16).next_power_of_two().ilog2() as usize
}

/// Where a free block keeps its successor.
fn successor(base: *mut u8, place: u64) -> &'static AtomicU64 {
    // SAFETY: a block of the mapping, which stays; its first 8 bytes are aligned. Who reads while its next owner writes throws away what it has
    // read.
    unsafe { &*base.wrapping_add(place as usize).cast::<AtomicU64>() }
}

fn pop(base: *mut u8, class: usize) -> Option<u64> {
    let mut first = FREE[class].load(Ordering::Acquire);
    while first & PLACE != 0 {
        let next = successor(base, first & PLACE).load(Ordering::Relaxed) & PLACE;
        let changed = (first & !PLACE).wrapping_add(CHANGE) | next;
        match FREE[class].compare_exchange(first, changed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(first & PLACE),
            Err(now) => first = now,
        }
    }
    None
}

fn push(base: *mut u8, class: usize, place: u64) {
    let mut first = FREE[class].load(Ordering::Relaxed);
    loop {
        successor(base, place).store(first & PLACE, Ordering::Relaxed);
        let changed = (first & !PLACE).wrapping_add(CHANGE) | place;
        match FREE[class].compare_exchange(first, changed, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

// SAFETY: every block is a part of the mapping that no other living block has.
unsafe impl GlobalAlloc for Interruptible {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut base = BASE.load(Ordering::Acquire);
        if base.is_null() {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: new memory, wherever the system likes.
            base =
                unsafe { libc::mmap(ptr::null_mut(), ROOM, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) }.cast();
            if base.cast() == libc::MAP_FAILED {
                return ptr::null_mut();
            }
            BASE.store(base, Ordering::Release);
        }
        let class = class(layout);
        let size = 1 << class;
        let place = pop(base, class).unwrap_or_else(|| {
            // A multiple of the size, and never 0.
            let start = USED.fetch_add(2 * size, Ordering::Relaxed) + 1;
            (base.wrapping_add(start).align_offset(size) + start) as u64
        });
        if place > ROOM as u64 - (1 << 32) {
            return ptr::null_mut();
        }
        base.wrapping_add(place as usize)
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let base = BASE.load(Ordering::Acquire);
        push(base, class(layout), (block.addr() - base.addr()) as u64);
    }
}

static HANDLED: AtomicI64 = AtomicI64::new(0);
static STARTED: AtomicI64 = AtomicI64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STARTED.fetch_add(1, Ordering::Relaxed);
    {
        let _scope = scope!("handler");
        let block = allocate(&ALLOC, 40);
        // SAFETY: granted above with this layout.
        let block = unsafe { ALLOC.realloc(block, layout(40), 400) };
        let kept = allocate(&ALLOC, 7);
        // SAFETY: granted for these sizes, and not used again.
        unsafe { free(&ALLOC, block, 400) };
        // SAFETY: as above.
        unsafe { free(&ALLOC, kept, 7) };
    }
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn handle_signals(on_alternate_stack: bool) {
    // SAFETY: all-zero bytes are a valid set of fields.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART | if on_alternate_stack { libc::SA_ONSTACK } else { 0 };
    // SAFETY: the handler is a plain function of the kind that these flags say.
    let status = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) };
    assert_eq!(status, 0);
    let every = libc::timeval { tv_sec: 0, tv_usec: 50 };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: both places are valid. The signal goes to any thread of the process.
    let status = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
    assert_eq!(status, 0);
}

fn stop_signals() {
    // SAFETY: all-zero bytes are a timer that never fires.
    let never: libc::itimerval = unsafe { std::mem::zeroed() };
    // SAFETY: the place is valid.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const never, ptr::null_mut()) };
    // A handler may be running on another thread still.
    while STARTED.load(Ordering::SeqCst) != HANDLED.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

#[inline(never)]
fn scopes_in_scopes(depth: usize) {
    let _scope = scope!("interrupted");
    let held = black_box(vec![1_u8; depth + 1]);
    if depth > 0 {
        scopes_in_scopes(depth - 1);
    }
    drop(held);
    let mut grown: Vec<u8> = Vec::with_capacity(8);
    grown.extend_from_slice(&[0; 100]);
    black_box(&grown);
}

fn interrupted(on_alternate_stack: bool, life: Duration) {
    HANDLED.store(0, Ordering::Relaxed);
    STARTED.store(0, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    // What a snapshot and a thread prepare once is prepared.
    std::thread::spawn(|| ()).join().expect("no panic");
    let before = snapshot();
    let rounds = AtomicI64::new(0);
    handle_signals(on_alternate_stack);
    let end = Instant::now() + life;
    std::thread::scope(|threads| {
        let busy = || {
            while !STOP.load(Ordering::Relaxed) {
                scopes_in_scopes(12);
                allocate_deep(8);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        let spawning = || {
            while !STOP.load(Ordering::Relaxed) {
                std::thread::spawn(|| scopes_in_scopes(3)).join().expect("no panic");
            }
        };
        let running = [threads.spawn(busy), threads.spawn(busy), threads.spawn(spawning)];
        while Instant::now() < end {
            check_live(&snapshot());
        }
        STOP.store(true, Ordering::Relaxed);
        // Joined: the scope alone does not wait for the threads' last destructors.
        running.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    stop_signals();
    let after = snapshot();
    check_sums(&after);
    let grown = growth(&before, &after);
    let handled = HANDLED.load(Ordering::Relaxed);
    assert!(handled > 100, "only {handled} signals arrived");
    assert_eq!(grown[5..], [0, 0], "everything was freed: {grown:?}");
    for node in &after.scopes {
        let calls = &node.calls;
        assert!(calls.bytes < 1 << 40 && calls.max_bytes < 1 << 40, "wrapped: {node:?}");
        // What a call does itself is far less than a mebibyte, and all is freed before it ends.
        if ["interrupted", "handler"].contains(&&*node.name) {
            assert!(calls.max_bytes < 1 << 20, "a call has the figures of others: {node:?}");
            assert_eq!(calls.retained_bytes, 0, "{node:?}");
        }
    }
    if alloc_core::mode() != Mode::Off {
        // Recursive calls are parts of the outermost.
        let interrupted: u64 = nodes_completed(&after, "interrupted");
        let rounds = rounds.load(Ordering::Relaxed) as u64;
        assert!(
            interrupted >= rounds,
            "{interrupted} calls completed in {rounds} rounds"
        );
    }
    println!(
        "{handled} signals handled, alternate stack: {on_alternate_stack}; {} counted without a scope",
        after.tracker.other_allocations
    );
}

fn nodes_completed(snapshot: &alloc_core::Snapshot, name: &str) -> u64 {
    allocscope_tests::nodes(snapshot, name)
        .map(|node| node.calls.completed)
        .sum()
}

/// A reading while handlers run: never more freed than granted.
fn check_live(now: &alloc_core::Snapshot) {
    for context in &now.contexts {
        assert!(
            context.counters.freed_bytes <= context.counters.total_bytes,
            "{context:?}"
        );
    }
}

/// On one thread, with signals only from the thread itself: every figure is exact.
fn exact_on_one_thread(turns: i64) {
    // SAFETY: all-zero bytes are a valid set of fields.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler is a plain function of the kind that these flags say.
    let status = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
    assert_eq!(status, 0);
    let before = snapshot();
    for _ in 0..turns {
        let _scope = scope!("raises");
        let held = allocate(&ALLOC, 10);
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(libc::SIGUSR1) };
        // SAFETY: granted above, and not used again.
        unsafe { free(&ALLOC, held, 10) };
    }
    let after = snapshot();
    check_sums(&after);
    let expected = [3, 1, 3, 10 + 40 + 400 + 7, 10 + 40 + 400 + 7, 0, 0].map(|one| one * turns);
    assert_eq!(growth(&before, &after), in_this_mode(expected));
}

fn main() {
    exact_on_one_thread(1000);
    let life = Duration::from_millis(times(1500, 60_000) as u64);
    interrupted(false, life);
    interrupted(true, life);
}
