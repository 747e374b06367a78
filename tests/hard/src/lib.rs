//! What the programs of hard places share: how often to try, blocks without collections, and memory as the system sees it.
//!
//! Used by `src/bin/*.rs`; no part of the product. It installs no allocator: each program has its own. Nothing here allocates
//! between two readings, except where a function says so.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

use alloc_core::Mode;
pub use allocscope_tests::{Figures, growth};

/// `quick` in the everyday form, `full` when the environment has `ALLOCSCOPE_FULL=1`.
#[must_use]
pub fn times(quick: usize, full: usize) -> usize {
    // The environment is read by hand: some programs ask in places where Rust's own access may not be used.
    // SAFETY: the name is terminated, and nobody changes the environment.
    let value = unsafe { libc::getenv(c"ALLOCSCOPE_FULL".as_ptr()) };
    // SAFETY: not null: a terminated text, so it has a first byte.
    let is_full = !value.is_null() && unsafe { value.cast::<u8>().read() } == b'1';
    if is_full { full } else { quick }
}

/// `figures` as they are expected in the mode of this program: in mode `off` nothing is counted.
#[must_use]
pub fn in_this_mode(figures: Figures) -> Figures {
    if alloc_core::mode() == Mode::Off {
        [0; 7]
    } else {
        figures
    }
}

/// A layout of alignment 8.
///
/// # Panics
/// When the size is larger than any layout's.
#[must_use]
pub fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("a size that a layout can have")
}

/// A block of `size` bytes from the allocator itself, without the collections in between.
///
/// # Panics
/// When there is no memory.
pub fn allocate(allocator: &impl GlobalAlloc, size: usize) -> *mut u8 {
    // SAFETY: no caller asks for an empty block.
    let block = unsafe { allocator.alloc(layout(size)) };
    assert!(!block.is_null(), "{size} bytes were refused");
    black_box(block)
}

/// Gives back what [`allocate`] gave.
///
/// # Safety
/// - `block` came from [`allocate`] with the same allocator and `size`, and is not used again.
pub unsafe fn free(allocator: &impl GlobalAlloc, block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { allocator.dealloc(block, layout(size)) };
}

/// Bytes that the system keeps in memory for this process. Allocates.
///
/// # Panics
/// Where there is no `/proc`.
#[must_use]
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("its second number is the resident size") * 4096
}

/// Allocates in `depth` frames, and frees.
#[inline(never)]
pub fn allocate_deep(depth: usize) {
    if depth > 0 {
        let _held = black_box(vec![1_u8; 10 * depth]);
        allocate_deep(black_box(depth - 1));
    }
}

/// Runs a program of the test's or a tool; gives all that it prints. `None` when there is no such program.
///
/// # Panics
/// When it cannot be run for another reason, or does not end well.
pub fn run_tool(command: &mut std::process::Command) -> Option<String> {
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap_or_else(|error| panic!("{command:?}: {error}")),
    };
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{printed}", output.status);
    Some(printed)
}
