//! Layouts of every alignment up to 2 MiB, sizes around every edge, and blocks of 4 GiB and more: contents kept, figures exact.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;

use alloc_core::{Mode, TrackingAllocator, set_mode};
use allocscope_hard::{Figures, growth, in_this_mode};
use allocscope_tests::{check_sums, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// The first and the last bytes of a block are checked, not all of a large one.
fn edges(size: usize) -> impl Iterator<Item = usize> {
    (0..size.min(600)).chain(size.saturating_sub(600)..size)
}

fn fill(block: *mut u8, size: usize, byte: u8) {
    // SAFETY: inside the block, which is the caller's.
    edges(size).for_each(|at| unsafe { block.add(at).write(byte) });
}

fn assert_filled(block: *mut u8, size: usize, byte: u8) {
    // SAFETY: inside the block, which is the caller's, and written or zeroed before.
    let is_filled = edges(size).all(|at| unsafe { block.add(at).read() } == byte);
    assert!(is_filled, "the bytes of a block of {size} are kept");
}

/// One block's life in this layout: allocated, reallocated to each of the other sizes, freed. Adds up what is to be counted.
fn one_life(layout: Layout, others: &[usize], is_zeroed: bool, counted: &mut Figures) {
    // SAFETY: no layout here is empty.
    let mut block = unsafe {
        if is_zeroed {
            ALLOC.alloc_zeroed(layout)
        } else {
            ALLOC.alloc(layout)
        }
    };
    assert!(
        !block.is_null() && block.addr().is_multiple_of(layout.align()),
        "{layout:?}"
    );
    if is_zeroed {
        assert_filled(block, layout.size(), 0);
    }
    fill(block, layout.size(), 7);
    counted[0] += 1;
    counted[3] += layout.size() as i64;
    let mut now = layout;
    for &size in others {
        // SAFETY: the block is of this layout, the size is not 0 and makes a valid layout.
        let moved = unsafe { ALLOC.realloc(block, now, size) };
        assert!(
            !moved.is_null() && moved.addr().is_multiple_of(layout.align()),
            "{now:?} to {size}"
        );
        assert_filled(moved, size.min(now.size()).min(600), 7);
        fill(moved, size, 7);
        counted[1] += 1;
        counted[3] += size as i64;
        counted[4] += now.size() as i64;
        block = moved;
        now = Layout::from_size_align(size, layout.align()).expect("a valid layout");
    }
    assert_filled(block, now.size(), 7);
    counted[2] += 1;
    counted[4] += now.size() as i64;
    // SAFETY: of this layout, and not used again.
    unsafe { ALLOC.dealloc(block, now) };
}

fn every_alignment() {
    let sizes = [1, 7, 8, 9, 15, 16, 17, 24, 100, 4088, 4096, 4097, 100_000];
    let mut counted = [0; 7];
    let before = snapshot();
    for align in (0..=21).map(|bits| 1_usize << bits) {
        for size in sizes.into_iter().chain([align - 1, align, align + 1, 3 * align]) {
            if size == 0 {
                continue;
            }
            let layout = Layout::from_size_align(size, align).expect("small");
            for is_zeroed in [false, true] {
                one_life(
                    layout,
                    &[size * 2, size.div_ceil(2), size + 8, 1],
                    is_zeroed,
                    &mut counted,
                );
            }
        }
    }
    let after = snapshot();
    check_sums(&after);
    assert_eq!(growth(&before, &after), in_this_mode(counted));
}

/// Untracked blocks become tracked by a reallocation, whatever their alignment; tracked ones stay so while tracking is off.
fn switched_while_alive() {
    let mode = alloc_core::mode();
    for align in (0..=16).map(|bits| 1_usize << bits) {
        for (size, other) in [(1, 100), (100, 40), (5000, 9000)] {
            let layout = Layout::from_size_align(size, align).expect("small");
            let after = Layout::from_size_align(other, align).expect("small");
            let before = snapshot();
            for (born, grown) in [(Mode::Off, mode), (mode, Mode::Off)] {
                set_mode(born);
                // SAFETY: the layout is not empty.
                let block = unsafe { ALLOC.alloc(layout) };
                fill(block, size, 3);
                set_mode(grown);
                // SAFETY: of this layout.
                let block = unsafe { ALLOC.realloc(block, layout, other) };
                assert_filled(block, size.min(other), 3);
                assert!(block.addr().is_multiple_of(align));
                set_mode(born);
                // SAFETY: of this layout by now, and not used again.
                unsafe { ALLOC.dealloc(block, after) };
            }
            set_mode(mode);
            let now = snapshot();
            check_sums(&now);
            assert_eq!(growth(&before, &now)[5..], [0, 0], "align {align}, {size} to {other}");
        }
    }
}

fn blocks_of_gibibytes() {
    const GIB: usize = 1 << 30;
    let mut counted = [0; 7];
    let before = snapshot();
    for align in [1, 8, 16, 4096] {
        for (size, others) in [
            (4 * GIB, &[4 * GIB + 1, 6 * GIB, 100][..]),
            (4 * GIB - 1, &[4 * GIB, 5][..]),
            (100, &[5 * GIB, 4 * GIB][..]),
        ] {
            // Where the layout is a special one, the system's allocator would zero and copy the whole block, byte by byte.
            let is_special = align > 16;
            let others = if is_special { &[] } else { others };
            let layout = Layout::from_size_align(size, align).expect("less than all memory");
            one_life(layout, others, !is_special, &mut counted);
        }
    }
    let after = snapshot();
    check_sums(&after);
    assert_eq!(growth(&before, &after), in_this_mode(counted));
    if alloc_core::mode() != Mode::Off {
        assert!(after.peak_bytes >= 6 * GIB as u64 && after.peak_bytes < 7 * GIB as u64);
    }
    // What nobody can have is refused, and not counted.
    let before = snapshot();
    for align in [1, 8, 16, 4096] {
        for size in [
            isize::MAX as usize - align,
            isize::MAX as usize / 2,
            (isize::MAX as usize - align) & !15,
        ] {
            let layout = Layout::from_size_align(size, align).expect("as large as a layout can be");
            // SAFETY: the layout is not empty.
            assert_eq!(unsafe { ALLOC.alloc(layout) }, ptr::null_mut(), "{layout:?}");
            // SAFETY: as above.
            assert_eq!(unsafe { ALLOC.alloc_zeroed(layout) }, ptr::null_mut(), "{layout:?}");
        }
    }
    assert_eq!(growth(&before, &snapshot()), [0; 7]);
}

fn main() {
    every_alignment();
    blocks_of_gibibytes();
    if alloc_core::mode() != Mode::Off {
        switched_while_alive();
    }
}
