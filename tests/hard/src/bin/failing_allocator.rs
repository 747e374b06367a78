//! The inner allocator refuses each single request once, for every request of a run: null is handed on, nothing is counted, nothing is
//! lost, and the old block of a refused reallocation is what it was.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloc_core::{TrackingAllocator, scope};
use allocscope_hard::{Figures, growth, in_this_mode, times};
use allocscope_tests::{Rng, check_sums, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator<Failing> = TrackingAllocator::with_inner(Failing);

/// Refuses one request: when the count-down comes to 1.
struct Failing;

static COUNT_DOWN: AtomicUsize = AtomicUsize::new(0);

fn is_refused() -> bool {
    match COUNT_DOWN.load(Ordering::Relaxed) {
        0 => false,
        left => {
            COUNT_DOWN.store(left - 1, Ordering::Relaxed);
            left == 1
        }
    }
}

// SAFETY: hands on to `System`, or refuses, which is always allowed.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_refused() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_refused() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

const SLOTS: usize = 24;

/// A block of the run: where, how large, how aligned, and the byte that it is filled with.
#[derive(Clone, Copy)]
struct Held {
    block: *mut u8,
    layout: Layout,
    fill: u8,
}

impl Held {
    fn fill(&self) {
        // SAFETY: the block has this many bytes, and is ours.
        unsafe { ptr::write_bytes(self.block, self.fill, self.layout.size()) };
    }
    fn assert_filled(&self, bytes: usize) {
        // SAFETY: so many bytes of the block were filled, and it is ours.
        let content = unsafe { std::slice::from_raw_parts(self.block, bytes) };
        assert!(
            content.iter().all(|&byte| byte == self.fill),
            "the block's bytes are kept"
        );
    }
}

/// Random requests, one of which is refused if `n` is not 0. Returns what should have been counted, and how many were refused.
fn run(seed: u64, requests: usize, n: usize) -> (Figures, usize) {
    let mut random = Rng::new(seed);
    let mut slots = [None::<Held>; SLOTS];
    let [mut allocations, mut reallocations, mut frees, mut granted, mut released] = [0_i64; 5];
    let mut refused = 0;
    let mut free = |held: Held| {
        held.assert_filled(held.layout.size());
        frees += 1;
        released += held.layout.size() as i64;
        // SAFETY: granted with this layout below, and taken out of its slot.
        unsafe { ALLOC.dealloc(held.block, held.layout) };
    };
    let mut handed_over = 0;
    COUNT_DOWN.store(n, Ordering::Relaxed);
    for turn in 0..requests {
        let _scope = random.chance(30).then(|| scope!("refused at times"));
        let slot = random.below(SLOTS);
        let (size, align) = (random.size(3000), 1 << random.below(8));
        let (is_zeroed, is_freed) = (random.chance(30), random.chance(40));
        match slots[slot] {
            None => {
                let layout = Layout::from_size_align(size, align).expect("small");
                // SAFETY: no layout here is empty.
                let block = unsafe {
                    if is_zeroed {
                        ALLOC.alloc_zeroed(layout)
                    } else {
                        ALLOC.alloc(layout)
                    }
                };
                if block.is_null() {
                    refused += 1;
                    continue;
                }
                assert_eq!(block.addr() % align, 0);
                if is_zeroed {
                    Held { block, layout, fill: 0 }.assert_filled(size);
                }
                let held = Held {
                    block,
                    layout,
                    fill: turn as u8,
                };
                held.fill();
                slots[slot] = Some(held);
                allocations += 1;
                granted += size as i64;
            }
            Some(held) if is_freed => {
                slots[slot] = None;
                free(held);
            }
            Some(held) => {
                // SAFETY: the block is ours, of this layout; the new size is not 0.
                let block = unsafe { ALLOC.realloc(held.block, held.layout, size) };
                if block.is_null() {
                    refused += 1;
                    held.assert_filled(held.layout.size());
                    continue;
                }
                let layout = Layout::from_size_align(size, held.layout.align()).expect("small");
                let held_now = Held { block, layout, ..held };
                held_now.assert_filled(size.min(held.layout.size()));
                held_now.fill();
                slots[slot] = Some(held_now);
                reallocations += 1;
                granted += size as i64;
                handed_over += held.layout.size() as i64;
            }
        }
    }
    COUNT_DOWN.store(0, Ordering::Relaxed);
    slots.into_iter().flatten().for_each(&mut free);
    released += handed_over;
    (
        [
            allocations,
            reallocations,
            frees,
            granted,
            released,
            0,
            granted - released,
        ],
        refused,
    )
}

fn main() {
    let requests = times(150, 600);
    let mut refusals = 0;
    for seed in 0..times(2, 20) as u64 {
        // Once without a refusal, then with each request refused in turn.
        for n in 0..requests {
            let before = snapshot();
            let (expected, refused) = run(seed, requests, n);
            let after = snapshot();
            assert_eq!(
                growth(&before, &after),
                in_this_mode(expected),
                "seed {seed}, request {n} refused"
            );
            assert!(
                refused == usize::from(n > 0) || n > requests / 3,
                "request {n} was refused: {refused}"
            );
            refusals += refused;
            if n % 50 == 0 {
                check_sums(&after);
            }
        }
    }
    check_sums(&snapshot());
    // The collections' own way: what cannot be had is an error, and the collection is what it was.
    let mut text = String::from("kept");
    COUNT_DOWN.store(1, Ordering::Relaxed);
    assert!(text.try_reserve(100_000).is_err());
    assert_eq!(text, "kept");
    assert!(text.try_reserve(100_000).is_ok());
    println!("{refusals} requests were refused, one at a time");
}
