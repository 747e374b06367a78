//! `dealloc`: the block decides, never the mode.
//!
//! Record side. Cost: the hot path of every free; each line is counted in `docs/overhead.md`.

use core::alloc::{GlobalAlloc, Layout};

use super::sampled;
use super::unusual::{free_shared, free_unusual, release_own};
use crate::record::block::{self, Birth, Header, Stamp};
use crate::record::counters::{LOSSES, Row};
use crate::record::epoch::{self, Effect};
use crate::record::peak::{self, Touched};
use crate::record::thread::{self, ThreadState};
use crate::record::{call, growth, settings};

/// `GlobalAlloc::dealloc`.
///
/// # Safety
/// - `block` was granted by `alloc` or `realloc` above for `layout`, with the same `inner`, and is not used afterwards.
#[inline(always)]
pub(crate) unsafe fn dealloc<A: GlobalAlloc>(inner: &A, block: *mut u8, layout: Layout) {
    let size = layout.size();
    if block::header_is_in_front(layout) {
        if block::address_says_tracked(block) {
            // SAFETY: the caller's promise; the address bit says that `write_front` made this block.
            return unsafe { dealloc_front(block, size, inner) };
        }
        if settings::counts_frees() {
            // SAFETY: the caller's promise; the address bit says that the block is untracked.
            return unsafe { dealloc_counted(block, size, inner) };
        }
        // SAFETY: an untracked block is what the inner allocator granted for `plain_layout`.
        unsafe { inner.dealloc(block, block::plain_layout(size)) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { dealloc_behind(block, size, layout.align(), inner) };
    }
}

/// An untracked block, in a mode that counts its free.
///
/// PERF: with the inner allocator's call at its end, so that `dealloc` has nothing to keep over a call.
///
/// # Safety
/// - As for `dealloc`, and the block is untracked, without a header.
#[cold]
#[inline(never)]
unsafe fn dealloc_counted<A: GlobalAlloc>(block: *mut u8, size: usize, inner: &A) {
    free_untracked();
    // SAFETY: an untracked block is what the inner allocator granted for `plain_layout`.
    unsafe { inner.dealloc(block, block::plain_layout(size)) };
}

/// # Safety
/// - As for `dealloc`, and `write_front` made the block.
#[inline(never)]
unsafe fn dealloc_front<A: GlobalAlloc>(block: *mut u8, size: usize, inner: &A) {
    // SAFETY: the caller's promise.
    let (granted, header) = unsafe { block::read_front(block) };
    if !try_count_free(header, size) {
        // SAFETY: the caller's promise.
        return unsafe { dealloc_front_slowly(block, size, inner) };
    }
    // SAFETY: `granted` is what the inner allocator gave for `fronted_layout`.
    unsafe { inner.dealloc(granted, block::fronted_layout(size)) };
}

/// # Safety
/// - As for `dealloc`, and `write_front` made the block.
#[inline(never)]
unsafe fn dealloc_front_slowly<A: GlobalAlloc>(block: *mut u8, size: usize, inner: &A) {
    // SAFETY: the caller's promise.
    let (granted, header) = unsafe { block::read_front(block) };
    count_free(header, block, size);
    // SAFETY: `granted` is what the inner allocator gave for `fronted_layout`.
    unsafe { inner.dealloc(granted, block::fronted_layout(size)) };
}

/// # Safety
/// - As for `dealloc`, and the layout's alignment is 16 or more.
#[inline(never)]
unsafe fn dealloc_behind<A: GlobalAlloc>(block: *mut u8, size: usize, align: usize, inner: &A) {
    // SAFETY: every block of this alignment carries a header behind it; the caller owns the block.
    let header = unsafe { block::read_behind(block, size) };
    if header.is_tracked() {
        growth::freed_behind(header.context(), size);
        count_free(header, block, size);
    } else if settings::counts_frees() {
        free_untracked();
    }
    // SAFETY: `block` is what the inner allocator granted for `backed_layout`.
    unsafe { inner.dealloc(block, block::backed_layout(size, align)) };
}

#[cold]
fn free_untracked() {
    match thread::recording() {
        Some((thread, _)) => thread.untracked_frees.add(1),
        None => LOSSES.untracked_frees.add_shared(1),
    }
}

/// Counts the release of a tracked block, if nothing needs attention; else nothing has changed.
#[inline(always)]
fn try_count_free(header: Header, size: usize) -> bool {
    let Some(thread) = thread::unoccupied() else {
        return false;
    };
    let Some(row) = thread.rows.get(header.context().0 as usize) else {
        return false;
    };
    thread.occupy();
    let is_usual = row.mark.get() == thread.expected_mark.get()
        && header.birth() == own_birth(thread)
        && thread.try_release(size as u64);
    if is_usual {
        row.frees.add(1);
        thread.frees.add(1);
        row.released_bytes.add(size as u64);
    }
    thread.vacate();
    is_usual
}

/// The birth of the blocks that the running call granted in the running epoch.
#[inline(always)]
pub(super) fn own_birth(thread: &ThreadState) -> Birth {
    Birth::of(epoch::current_bits(), thread.own_bits.get())
}

/// The same whatever it takes.
fn count_free(header: Header, block: *mut u8, size: usize) {
    let Some(thread) = thread::unoccupied() else {
        return free_unusual(header, block, size);
    };
    thread.occupy();
    count_free_of(thread, header, size);
    thread.vacate();
}

pub(super) fn count_free_of(thread: &'static ThreadState, header: Header, size: usize) {
    match thread.rows.get(header.context().0 as usize) {
        Some(row) => count_free_on(thread, row, header, size),
        None => count_first_free(thread, header, size),
    }
}

/// The thread has no row of the block's context.
#[cold]
#[inline(never)]
fn count_first_free(thread: &'static ThreadState, header: Header, size: usize) {
    if sampled::free(thread, header, size) {
        return;
    }
    match thread.row(header.context()) {
        Some(row) => count_free_on(thread, row, header, size),
        None => free_shared(header, size),
    }
}

pub(super) fn count_free_on(thread: &'static ThreadState, row: &'static Row, header: Header, size: usize) {
    thread.end_climb();
    if row.mark.get() != thread.expected_mark.get() {
        match peak::touch(thread, row, header.context()) {
            Touched::Ready => {}
            Touched::Tracker => return release_own(row, size),
            Touched::Sampled => {
                let _ = sampled::free(thread, header, size);
                return;
            }
            Touched::Corrupt => return LOSSES.corrupt_headers.add_shared(1),
        }
    }
    row.frees.add(1);
    thread.frees.add(1);
    row.released_bytes.add(size as u64);
    thread.release(size as u64);
    if header.birth() != own_birth(thread) {
        free_birth(Some(thread), header, size);
    }
}

/// A block of another epoch or another call than the running ones is freed: tells the table of epochs, and the call.
#[cold]
#[inline(never)]
pub(super) fn free_birth(thread: Option<&ThreadState>, header: Header, size: usize) {
    let birth = header.birth();
    if birth.epoch() != epoch::current() {
        epoch::change(header.context(), birth.epoch(), Effect::free(size));
    }
    tell_call(thread, birth.stamp(), size as i64);
}

/// Bytes of a block of the call `stamp` were released (net, for a reallocation).
pub(super) fn tell_call(thread: Option<&ThreadState>, stamp: Stamp, bytes: i64) {
    if let Some(thread) = thread {
        if stamp == thread.stamp() {
            return;
        }
        // Not the running call's own: what `net` subtracts is given back.
        thread.correction.add(bytes as u64);
    }
    call::released(thread, stamp, bytes);
}
