//! One order for every entry point of the allocator.
//!
//! Record side; called by `allocator` only, which inlines it.
//!
//! - *alloc*: the mode decides whether the block is tracked; the stack is captured (`exact`); the inner allocator is asked; null
//!   is returned as null with nothing counted; else count, write the header.
//! - *dealloc*: the block decides, never the mode; count, then free: afterwards the address may be another thread's.
//! - *realloc*: the block decides; the header is read first; null leaves the block and its counts as they were. A tracked block stays
//!   tracked in every mode; an untracked one becomes tracked in a tracking mode, by a move.
//!
//! Mode `sampled` tracks few blocks and counts the others: `sampled`.
//!
//! Cost: see `docs/overhead.md`. Leaves out: what a figure means (`counters`), peaks (`peak`), calls (`call`, `scope`).

mod alloc;
mod free;
mod realloc;
mod row;
mod sampled;
mod unusual;

use core::alloc::{GlobalAlloc, Layout};

pub(crate) use self::alloc::alloc;
pub(crate) use self::free::dealloc;
pub(crate) use self::realloc::realloc;

/// How the inner allocator is asked for memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fill {
    Any,
    Zero,
}

impl Fill {
    #[inline(always)]
    const fn of(is_zeroed: bool) -> Self {
        if is_zeroed { Self::Zero } else { Self::Any }
    }
}

#[inline(always)]
fn ask<A: GlobalAlloc>(inner: &A, layout: Layout, fill: Fill) -> *mut u8 {
    match fill {
        // SAFETY: `block` makes layouts of at least 8 bytes only.
        Fill::Any => unsafe { inner.alloc(layout) },
        // SAFETY: as above.
        Fill::Zero => unsafe { inner.alloc_zeroed(layout) },
    }
}
