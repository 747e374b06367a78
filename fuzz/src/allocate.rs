//! Sequences of allocator calls, against a list of the blocks that there should be.

use std::alloc::{GlobalAlloc, Layout};

use alloc_core::model::Snapshot;
use alloc_core::{Mode, TrackingAllocator, set_mode};

use super::Bytes;

struct Block {
    start: *mut u8,
    layout: Layout,
    fill: u8,
}

/// Same handle as the program's: all figures are the process's.
static ALLOCATOR: TrackingAllocator = TrackingAllocator::new();

/// Writes the whole block, so that what is written over a header is found out.
fn fill(block: &Block) {
    // SAFETY: the block is ours and so long.
    unsafe { block.start.write_bytes(block.fill, block.layout.size()) };
}

fn check(block: &Block, length: usize) {
    // SAFETY: the block is ours and at least so long, and was filled.
    let bytes = unsafe { std::slice::from_raw_parts(block.start, length) };
    assert!(
        bytes.iter().all(|&byte| byte == block.fill),
        "a block was written to by others"
    );
    assert_eq!(block.start.addr() % block.layout.align(), 0, "a block is not aligned");
}

#[derive(Clone, Copy, Default)]
struct Totals {
    allocations: u64,
    bytes: u64,
    frees: u64,
}

fn totals() -> Option<Totals> {
    let snapshot = Snapshot::take().ok()?;
    let counters = snapshot.totals;
    Some(Totals {
        allocations: counters.total_allocations,
        bytes: counters.total_bytes,
        frees: counters.total_frees,
    })
}

/// Allocations, frees and reallocations of any layouts in any order and mode. Where the program's allocator is ours, what was
/// counted is compared with what was done.
pub fn allocations(data: &[u8]) {
    let mut input = Bytes(data);
    set_mode(Mode::Scopes);
    let mut blocks: Vec<Block> = Vec::with_capacity(data.len());
    let before = totals();
    let (mut done, mut was_off) = (Totals::default(), false);
    while !input.is_empty() {
        match input.byte() % 8 {
            kind @ 0..=2 => {
                let align = 1usize << (input.byte() % 13);
                let size = match input.byte() % 4 {
                    0 => usize::from(input.byte()) + 1,
                    1 => input.number(2) + 1,
                    2 => 16 * (usize::from(input.byte()) + 1),
                    _ => usize::MAX / 2 - input.number(2),
                };
                let Ok(layout) = Layout::from_size_align(size, align) else {
                    continue;
                };
                let is_zeroed = kind == 1;
                // SAFETY: the size is not 0.
                let start = unsafe {
                    if is_zeroed {
                        ALLOCATOR.alloc_zeroed(layout)
                    } else {
                        ALLOCATOR.alloc(layout)
                    }
                };
                if start.is_null() {
                    continue;
                }
                let mut block = Block { start, layout, fill: 0 };
                if is_zeroed {
                    check(&block, size);
                }
                block.fill = blocks.len() as u8 | 1;
                fill(&block);
                blocks.push(block);
                done.allocations += 1;
                done.bytes += size as u64;
            }
            3 | 4 if !blocks.is_empty() => {
                let block = blocks.swap_remove(input.number(2) % blocks.len());
                check(&block, block.layout.size());
                // SAFETY: allocated above for this layout, and gone from the list.
                unsafe { ALLOCATOR.dealloc(block.start, block.layout) };
                done.frees += 1;
            }
            5 | 6 if !blocks.is_empty() => {
                let at = input.number(2) % blocks.len();
                let size = input.number(2) + 1;
                let block = &mut blocks[at];
                // SAFETY: allocated above for this layout; the new size is small and not 0.
                let start = unsafe { ALLOCATOR.realloc(block.start, block.layout, size) };
                assert!(!start.is_null(), "a small reallocation failed");
                let kept = size.min(block.layout.size());
                block.start = start;
                block.layout = Layout::from_size_align(size, block.layout.align()).expect("a small layout");
                check(block, kept);
                fill(block);
                done.bytes += size as u64;
            }
            7 => {
                let mode = [Mode::Scopes, Mode::Exact, Mode::Off][usize::from(input.byte()) % 3];
                was_off |= mode == Mode::Off;
                set_mode(mode);
            }
            _ => {}
        }
    }
    let after = totals();
    if let (Some(before), Some(after), false) = (before, after, was_off) {
        assert_eq!(after.allocations - before.allocations, done.allocations, "allocations");
        assert_eq!(after.bytes - before.bytes, done.bytes, "bytes");
        assert_eq!(after.frees - before.frees, done.frees, "frees");
    }
    for block in blocks {
        check(&block, block.layout.size());
        // SAFETY: as above.
        unsafe { ALLOCATOR.dealloc(block.start, block.layout) };
    }
}
