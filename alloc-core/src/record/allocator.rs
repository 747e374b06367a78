//! `TrackingAllocator`: the `GlobalAlloc` impl, and nothing else. Everything it does is in `gate`.
//!
//! Record side; the program's every allocation comes in here.

use core::alloc::{GlobalAlloc, Layout};
use std::alloc::System;

use super::gate::{self, Fill};

/// A global allocator that counts every allocation by call stack and by scope, and hands it to `A`.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: alloc_core::TrackingAllocator = alloc_core::TrackingAllocator::new();
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct TrackingAllocator<A = System> {
    inner: A,
}

impl TrackingAllocator {
    /// Tracks the system allocator.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: System }
    }
}

impl Default for TrackingAllocator {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> TrackingAllocator<A> {
    /// Tracks any other allocator.
    #[must_use]
    pub const fn with_inner(inner: A) -> Self {
        Self { inner }
    }
}

// SAFETY: every block comes from `A`, for a layout at least as large and as aligned as the one asked for, and goes back to `A`
// with that same layout (`block`); the header lies outside the bytes the program was promised; null is returned as null; nothing on
// the way unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TrackingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        gate::alloc(&self.inner, layout, Fill::Any)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        gate::alloc(&self.inner, layout, Fill::Zero)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `GlobalAlloc` promises that the block is ours, of this layout, and not used again.
        unsafe { gate::dealloc(&self.inner, block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: `GlobalAlloc` promises the same of `realloc`, and a valid non-zero `new_size`.
        unsafe { gate::realloc(&self.inner, block, layout, new_size) }
    }
}
