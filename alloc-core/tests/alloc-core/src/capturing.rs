//! A global allocator that captures call stacks with the `backtrace` crate.
//!
//! It stands where the tracker's would, and is in a folder of the tracker's name, so that its frames count as such.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

pub(crate) struct Capturing;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static STACKS: RefCell<Vec<Vec<usize>>> = const { RefCell::new(Vec::new()) };
}

/// The stacks of all allocations in `build`, innermost frame first.
pub(crate) fn stacks_of<T>(build: impl FnOnce() -> T) -> Vec<Vec<usize>> {
    ARMED.set(true);
    let built = std::hint::black_box(build());
    ARMED.set(false);
    drop(built);
    STACKS.take()
}

#[inline(never)]
fn capture() {
    if !ARMED.replace(false) {
        return;
    }
    let mut addresses = Vec::new();
    let mut inside_capture = true;
    backtrace::trace(|frame| {
        // The frames of the `backtrace` crate come first.
        inside_capture &= !std::ptr::eq(frame.symbol_address().cast(), capture as *const ());
        if !inside_capture {
            addresses.push(frame.ip() as usize);
        }
        addresses.len() < 64
    });
    STACKS.with_borrow_mut(|stacks| stacks.push(addresses));
    ARMED.set(true);
}

// SAFETY: every method passes its arguments on to `System`, whose contract is the same; `capture` touches no block.
unsafe impl GlobalAlloc for Capturing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        capture();
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` with this layout, through `alloc` or `realloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        capture();
        // SAFETY: `block` came from `System` with this layout; `size` is the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}
