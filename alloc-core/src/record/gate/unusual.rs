//! The rare paths: threads without a state, inside the tracker, watched, or interrupted while recording; and untracked blocks.
//!
//! Record side. Called by `alloc`, `free` and `realloc` when the usual way is closed. Cost: cold; atomic additions where the shared
//! shard counts.

use core::alloc::GlobalAlloc;
use core::ptr;

use super::alloc::finish;
use super::free::{count_free_of, free_birth};
use super::realloc::{Resize, count_realloc, realloc_birth};
use super::{Fill, ask, sampled};
use crate::ids::{ContextId, ScopeNodeId};
use crate::record::block::{self, Birth, Header, Stamp};
use crate::record::counters::{LOSSES, Row};
use crate::record::thread::{self, ThreadState};
use crate::record::{context, epoch, observe, peak, settings, watch};

/// A block that is not tracked.
pub(super) fn alloc_untracked<A: GlobalAlloc>(inner: &A, size: usize, align: usize, fill: Fill) -> *mut u8 {
    if align <= block::SMALL_ALIGN {
        return ask(inner, block::plain_layout(size), fill);
    }
    let granted = ask(inner, block::backed_layout(size, align), fill);
    if !granted.is_null() && fill == Fill::Any {
        // SAFETY: granted for this very layout, and ours alone.
        unsafe { block::write_behind(granted, size, Header::UNTRACKED) };
    }
    granted
}

/// Asks for a block with room for a header.
pub(super) fn ask_tracked<A: GlobalAlloc>(inner: &A, size: usize, align: usize, fill: Fill) -> *mut u8 {
    let in_front = align <= block::SMALL_ALIGN;
    ask(
        inner,
        if in_front {
            block::fronted_layout(size)
        } else {
            block::backed_layout(size, align)
        },
        fill,
    )
}

/// The thread has no state yet, or none any more, or is inside the tracker, or interrupted while recording, or under attention. `again`
/// is the usual way.
pub(super) fn alloc<A: GlobalAlloc>(
    inner: &A,
    align: usize,
    size: usize,
    fill: Fill,
    again: impl FnOnce() -> *mut u8,
) -> *mut u8 {
    thread::set_used();
    let is_initialised = thread::is_initialised();
    if thread::is_asking() {
        return ptr::null_mut();
    }
    if !is_initialised {
        // LIMIT: made while another thread makes the tables, or without any memory for them.
        LOSSES.dropped_events.add_shared(1);
        return alloc_untracked(inner, size, align, fill);
    }
    let Some(thread) = thread::current_or_register().filter(|thread| !thread.is_busy()) else {
        return alloc_shared(inner, size, align, fill);
    };
    if thread.is_inside() {
        return alloc_own(inner, size, align, fill, thread);
    }
    if settings::is_sampled() && thread.is_observed() {
        observe::stop(thread);
    }
    let attention = thread.attention();
    if !attention.is_any() {
        // The thread has just been registered: the usual way is open now.
        return again();
    }
    if thread.watch.fails_now(thread) {
        return ptr::null_mut();
    }
    thread.vacate();
    let granted = again();
    thread.attend(attention);
    note_granted(thread, granted, align, size);
    granted
}

/// On a thread under attention a request was granted, or refused.
#[cold]
#[inline(never)]
pub(super) fn note_granted(thread: &'static ThreadState, granted: *mut u8, align: usize, size: usize) {
    if granted.is_null() {
        return;
    }
    let header = watch::header_of(granted, size, align);
    thread.watch.note(header, size, false);
    if thread.is_observed() && header.is_tracked() {
        observe::granted(thread, granted, size, header.context());
    }
}

/// On a thread under attention a block was reallocated.
#[cold]
#[inline(never)]
pub(super) fn note_resized(thread: &'static ThreadState, header: Header, resize: Resize) {
    thread.watch.note(header, resize.new_size, false);
    if thread.is_observed() {
        observe::resized(thread, resize.from, resize.to, resize.size, resize.new_size);
    }
}

/// What the read side allocates: counted, but no part of the program.
pub(super) fn alloc_own<A: GlobalAlloc>(
    inner: &A,
    size: usize,
    align: usize,
    fill: Fill,
    thread: &'static ThreadState,
) -> *mut u8 {
    let Some(row) = thread.row(ContextId::TRACKER) else {
        return alloc_shared(inner, size, align, fill);
    };
    let granted = ask_tracked(inner, size, align, fill);
    if granted.is_null() {
        return granted;
    }
    thread.occupied_for(|| {
        let _ = peak::touch(thread, row, ContextId::TRACKER);
        row.allocations.add(1);
        row.granted_bytes.add(size as u64);
    });
    let header = Header::new(ContextId::TRACKER, Birth::new(epoch::current(), Stamp::NONE));
    finish(granted, align <= block::SMALL_ALIGN, size, header)
}

pub(super) fn release_own(row: &Row, size: usize) {
    row.frees.add(1);
    row.released_bytes.add(size as u64);
}

pub(super) fn realloc_own(row: &Row, header: Header, size: usize, new_size: usize) -> Header {
    row.reallocations.add(1);
    row.granted_bytes.add(new_size as u64);
    row.handed_over.add(1);
    row.released_bytes.add(size as u64);
    header
}

/// Counted under "other" of the whole program, by atomic additions.
#[cold]
pub(super) fn alloc_shared<A: GlobalAlloc>(inner: &A, size: usize, align: usize, fill: Fill) -> *mut u8 {
    let granted = ask_tracked(inner, size, align, fill);
    if granted.is_null() {
        return granted;
    }
    finish(granted, align <= block::SMALL_ALIGN, size, count_shared(size))
}

pub(super) fn count_shared(size: usize) -> Header {
    LOSSES.other_allocations.add_shared(1);
    // The root's row is made before the first event, and never goes.
    if let Some(row) = thread::shared_row(ContextId::ROOT) {
        row.rebase(peak::serial());
        row.allocations.add_shared(1);
        row.granted_bytes.add_shared(size as u64);
        peak::move_shared(ScopeNodeId::ROOT.0, size as i64);
    }
    Header::new(ContextId::ROOT, Birth::new(epoch::current(), Stamp::NONE))
}

/// The scope node of a block's context, and its row in the shared shard; `None` for an id that was never handed out.
pub(super) fn shared_row_of(context: ContextId) -> Option<(u32, &'static Row)> {
    Some((context::node_of(context)?, thread::shared_row(context)?))
}

#[cold]
#[inline(never)]
pub(super) fn free_unusual(header: Header, block: *mut u8, size: usize) {
    match thread::current_or_register().filter(|thread| !thread.is_busy()) {
        // Inside the tracker, under attention, or registered just now: the row is the thread's own either way.
        Some(thread) => {
            thread.occupied_for(|| count_free_of(thread, header, size));
            // What is the tracker's own was not granted to the program: a handle's guard has such a block. What is not tracked goes unseen.
            let is_programs = header.is_tracked() && header.context() != ContextId::TRACKER;
            if thread.attention().is_any() && !thread.is_inside() && is_programs {
                thread.watch.note(header, size, true);
                if thread.is_observed() {
                    observe::freed(thread, block);
                }
            }
        }
        None => free_shared(header, size),
    }
}

#[cold]
pub(super) fn free_shared(header: Header, size: usize) {
    if sampled::become_untracked(None, header, size).is_some() {
        if !header.is_tracked() && settings::counts_frees() {
            LOSSES.untracked_frees.add_shared(1);
        }
        return;
    }
    let context = header.context();
    let Some((node, row)) = shared_row_of(context) else {
        return LOSSES.corrupt_headers.add_shared(1);
    };
    row.rebase(peak::serial());
    row.frees.add_shared(1);
    row.released_bytes.add_shared(size as u64);
    if context != ContextId::TRACKER {
        peak::move_shared(node, -(size as i64));
        free_birth(None, header, size);
    }
}

/// A tracked block is reallocated in mode `off`, inside the tracker, or by a thread without a state: it stays with its holder.
#[cold]
#[inline(never)]
pub(super) fn realloc_unusual(header: Header, resize: Resize) -> Header {
    let context = header.context();
    let thread = thread::current_or_register().filter(|thread| !thread.is_busy());
    if let Some(header) = sampled::become_untracked(thread, header, resize.size) {
        return header;
    }
    let counted = thread.and_then(|thread| {
        thread.occupied_for(|| {
            let row = thread.row(context)?;
            Some(count_realloc(thread, (row, context), (row, context), header, resize))
        })
    });
    if let Some(thread) = thread.filter(|thread| thread.is_observed() && !thread.is_inside()) {
        observe::resized(thread, resize.from, resize.to, resize.size, resize.new_size);
    }
    counted.unwrap_or_else(|| realloc_shared(header, resize))
}

#[cold]
pub(super) fn realloc_shared(header: Header, resize: Resize) -> Header {
    let Resize { size, new_size, .. } = resize;
    let context = header.context();
    let Some((node, row)) = shared_row_of(context) else {
        LOSSES.corrupt_headers.add_shared(1);
        return header;
    };
    row.rebase(peak::serial());
    row.reallocations.add_shared(1);
    row.granted_bytes.add_shared(new_size as u64);
    row.handed_over.add_shared(1);
    row.released_bytes.add_shared(size as u64);
    if let Some(bytes) = resize.copied_bytes() {
        thread::copied_shared(context, bytes);
    }
    if context != ContextId::TRACKER {
        peak::move_shared(node, new_size as i64 - size as i64);
        realloc_birth(None, header.birth(), (context, size), (context, new_size));
    }
    header
}
