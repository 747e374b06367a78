//! `realloc`: the inner allocator's own, so growth in place survives.
//!
//! Record side. Cost: a look-up of the row as for an allocation, and the counting of both sides.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use super::free::{dealloc, own_birth, tell_call};
use super::row::find_row;
use super::unusual::{note_resized, realloc_own, realloc_shared, realloc_unusual};
use super::{Fill, alloc, sampled};
use crate::ids::ContextId;
use crate::record::block::{self, Birth, Header};
use crate::record::counters::{LOSSES, Row};
use crate::record::epoch::{self, Effect};
use crate::record::growth;
use crate::record::peak::{self, Touched};
use crate::record::settings::{self, Mode};
use crate::record::thread::{self, Attention, ThreadState};

/// `GlobalAlloc::realloc`.
///
/// # Safety
/// - `block` was granted by `alloc` or `realloc` above for `layout`, with the same `inner`; when the result is not null it is not
///   used afterwards.
/// - `new_size` is not 0, and rounded up to `layout.align()` does not overflow `isize`.
#[inline(always)]
pub(crate) unsafe fn realloc<A: GlobalAlloc>(inner: &A, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    if !block::header_is_in_front(layout) {
        // SAFETY: the caller's promise.
        unsafe { realloc_behind(block, layout.size(), layout.align(), new_size, inner) }
    } else if !block::is_grantable_in_front(new_size) {
        ptr::null_mut()
    } else if block::address_says_tracked(block) {
        // SAFETY: the caller's promise; the address bit says that `write_front` made this block.
        unsafe { realloc_front(block, layout.size(), new_size, inner) }
    } else if settings::is_sampled() {
        // SAFETY: the caller's promise; the block is untracked.
        unsafe { sampled::realloc_plain(block, layout.size(), new_size, inner) }
    } else {
        // SAFETY: the caller's promise; the block is untracked.
        unsafe { realloc_untracked(block, layout.size(), layout.align(), new_size, inner) }
    }
}

/// # Safety
/// - As for `realloc`, and `write_front` made the block.
#[inline(never)]
unsafe fn realloc_front<A: GlobalAlloc>(block: *mut u8, size: usize, new_size: usize, inner: &A) -> *mut u8 {
    // SAFETY: the caller's promise.
    let (granted, header) = unsafe { block::read_front(block) };
    if let Some(thread) = sampling(header) {
        // SAFETY: the caller's promise; 8 is the alignment of every block with its header in front.
        return unsafe { sampled::realloc(inner, thread, block, (size, block::SMALL_ALIGN), new_size) };
    }
    let Some(event) = ReallocEvent::begin() else {
        return ptr::null_mut();
    };
    let (layout, new_layout) = (block::fronted_layout(size), block::fronted_layout(new_size));
    // SAFETY: `granted` came from `inner` for `layout`; the new size is that of a valid layout.
    let moved = unsafe { inner.realloc(granted, layout, new_layout.size()) };
    if moved.is_null() {
        event.cancel();
        return moved;
    }
    let header = event.finish(
        header,
        Resize {
            from: granted,
            to: moved,
            size,
            new_size,
        },
    );
    // SAFETY: `moved` was granted for `fronted_layout(new_size)` and is ours alone.
    unsafe { block::write_front(moved, header) }
}

/// # Safety
/// - As for `realloc`, and the layout's alignment is 16 or more.
#[inline(never)]
unsafe fn realloc_behind<A: GlobalAlloc>(
    block: *mut u8,
    size: usize,
    align: usize,
    new_size: usize,
    inner: &A,
) -> *mut u8 {
    if !block::is_grantable(new_size, align) {
        return ptr::null_mut();
    }
    // SAFETY: every block of this alignment carries a header behind it; the caller owns the block.
    let header = unsafe { block::read_behind(block, size) };
    if let Some(thread) = sampling(header) {
        // SAFETY: the caller's promise.
        return unsafe { sampled::realloc(inner, thread, block, (size, align), new_size) };
    }
    if !header.is_tracked() {
        // SAFETY: the caller's promise; the block is untracked.
        return unsafe { realloc_untracked(block, size, align, new_size, inner) };
    }
    let Some(event) = ReallocEvent::begin() else {
        return ptr::null_mut();
    };
    let new_layout = block::backed_layout(new_size, align);
    // SAFETY: `block` came from `inner` for `backed_layout` of the old size; the new size is that of a valid layout.
    let moved = unsafe { inner.realloc(block, block::backed_layout(size, align), new_layout.size()) };
    if moved.is_null() {
        event.cancel();
        return moved;
    }
    let header = event.finish(
        header,
        Resize {
            from: block,
            to: moved,
            size,
            new_size,
        },
    );
    // SAFETY: `moved` was granted for `backed_layout(new_size, _)` and is ours alone.
    unsafe { block::write_behind(moved, new_size, header) };
    moved
}

/// The thread, if it records in mode `sampled`. A block of the tracker's own stays one.
#[inline(always)]
fn sampling(header: Header) -> Option<(&'static ThreadState, Attention)> {
    if !settings::is_sampled() || header.context() == ContextId::TRACKER {
        return None;
    }
    thread::recording_or_register()
}

/// What a reallocation did. The addresses are the inner allocator's.
#[derive(Clone, Copy)]
pub(super) struct Resize {
    pub(super) from: *mut u8,
    pub(super) to: *mut u8,
    pub(super) size: usize,
    pub(super) new_size: usize,
}

impl Resize {
    #[inline(always)]
    pub(super) fn copied_bytes(&self) -> Option<u64> {
        (self.from != self.to).then_some(self.size.min(self.new_size) as u64)
    }
}

/// A reallocation of a tracked block: who receives it, known before the inner allocator is asked.
struct ReallocEvent {
    /// The usual case: the thread (now occupied), and the receiving row and context.
    usual: Option<(&'static ThreadState, &'static Row, ContextId)>,
    attention: Attention,
}

impl ReallocEvent {
    /// `None`: the request is to fail.
    #[inline(always)]
    fn begin() -> Option<Self> {
        let mode = settings::mode();
        let recording = if mode == Mode::Off {
            None
        } else {
            thread::recording_or_register()
        };
        let Some((thread, attention)) = recording else {
            return Some(Self {
                usual: None,
                attention: Attention::NONE,
            });
        };
        if attention.is_any() && thread.watch.fails_now(thread) {
            return None;
        }
        thread.occupy();
        let (row, context) = find_row(thread, mode);
        Some(Self {
            usual: Some((thread, row, context)),
            attention,
        })
    }

    #[inline(always)]
    fn cancel(self) {
        if let Some((thread, ..)) = self.usual {
            thread.vacate_to(self.attention);
        }
    }

    /// Counts the reallocation and makes the block's header: a new holder, the old birth.
    #[inline(always)]
    fn finish(self, header: Header, resize: Resize) -> Header {
        let Some((thread, row, context)) = self.usual else {
            return realloc_unusual(header, resize);
        };
        let from = header.context();
        let header = match thread.rows.get(from.0 as usize) {
            Some(from_row) => count_realloc(thread, (row, context), (from_row, from), header, resize),
            None => count_first_realloc(thread, (row, context), header, resize),
        };
        thread.vacate_to(self.attention);
        if self.attention.is_any() {
            note_resized(thread, header, resize);
        }
        header
    }
}

/// The thread has no row of the context that the block comes from.
#[cold]
#[inline(never)]
fn count_first_realloc(
    thread: &'static ThreadState,
    (row, context): (&'static Row, ContextId),
    header: Header,
    resize: Resize,
) -> Header {
    let from = header.context();
    if let Some(header) = sampled::become_tracked(thread, (row, context), header, &resize) {
        return header;
    }
    match thread.row(from) {
        Some(from_row) => count_realloc(thread, (row, context), (from_row, from), header, resize),
        None => realloc_shared(header, resize),
    }
}

#[inline(always)]
pub(super) fn count_realloc(
    thread: &'static ThreadState,
    (row, context): (&'static Row, ContextId),
    (from_row, from): (&'static Row, ContextId),
    header: Header,
    resize: Resize,
) -> Header {
    let Resize { size, new_size, .. } = resize;
    thread.end_climb();
    // The old holder first: what is pending may have to be settled before the new one is counted.
    if from_row.mark.get() != thread.expected_mark.get() {
        match peak::touch(thread, from_row, from) {
            Touched::Ready => {}
            // The tracker's own block, reallocated after the tracker was left: it stays the tracker's.
            Touched::Tracker => return realloc_own(from_row, header, size, new_size),
            Touched::Sampled => {
                return sampled::become_tracked(thread, (row, context), header, &resize).unwrap_or(header);
            }
            Touched::Corrupt => {
                LOSSES.corrupt_headers.add_shared(1);
                return header;
            }
        }
    }
    // The bytes leave one holder and arrive at the other, and no moment has both.
    thread.release(size as u64);
    if row.mark.get() != thread.expected_mark.get() {
        let _ = peak::touch(thread, row, context);
    }
    thread.grant(new_size as u64);
    thread.reallocations.add(1);
    // Received before handed over: who sees the second sees the first.
    row.reallocations.add(1);
    row.granted_bytes.add(new_size as u64);
    from_row.handed_over.add(1);
    from_row.released_bytes.add(size as u64);
    growth::resized(thread, (from, size), (context, new_size), resize.copied_bytes());
    let birth = header.birth();
    if birth != own_birth(thread) {
        realloc_birth(Some(thread), birth, (from, size), (context, new_size));
    }
    Header::new(context, birth)
}

/// The same for a reallocation: the block keeps its birth, and changes its holder and size.
#[cold]
#[inline(never)]
pub(super) fn realloc_birth(
    thread: Option<&ThreadState>,
    birth: Birth,
    (from, size): (ContextId, usize),
    (to, new_size): (ContextId, usize),
) {
    if birth.epoch() != epoch::current() {
        epoch::change(to, birth.epoch(), Effect::received(new_size));
        epoch::change(from, birth.epoch(), Effect::handed_over(size));
    }
    tell_call(thread, birth.stamp(), size as i64 - new_size as i64);
}

/// An untracked block: it stays one in mode `off`; else it becomes tracked, by a move. If the move fails, nothing has changed.
///
/// # Safety
/// - As for `realloc`, and the block is untracked.
#[inline(never)]
pub(super) unsafe fn realloc_untracked<A: GlobalAlloc>(
    block: *mut u8,
    size: usize,
    align: usize,
    new_size: usize,
    inner: &A,
) -> *mut u8 {
    if let Some(thread) = sampling(Header::UNTRACKED) {
        // SAFETY: the caller's promise.
        return unsafe { sampled::realloc(inner, thread, block, (size, align), new_size) };
    }
    if settings::mode() != Mode::Off {
        // SAFETY: the caller promises that the alignment is one, and that `new_size` makes a valid layout with it.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, align) };
        let moved = alloc(inner, new_layout, Fill::Any);
        if !moved.is_null() {
            // SAFETY: both blocks are valid for the smaller size, and the new one was granted while the old one was alive.
            unsafe { ptr::copy_nonoverlapping(block, moved, size.min(new_size)) };
            // SAFETY: as above; the block of this size was granted.
            let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
            // SAFETY: the caller's promise; the block is not used again.
            unsafe { dealloc(inner, block, layout) };
        }
        return moved;
    }
    if align <= block::SMALL_ALIGN {
        // SAFETY: an untracked block is what the inner allocator granted for `plain_layout`.
        return unsafe { inner.realloc(block, block::plain_layout(size), block::plain_layout(new_size).size()) };
    }
    let new_layout = block::backed_layout(new_size, align);
    // SAFETY: `block` came from `inner` for `backed_layout(size, align)`.
    let moved = unsafe { inner.realloc(block, block::backed_layout(size, align), new_layout.size()) };
    if !moved.is_null() {
        // SAFETY: granted for `backed_layout(new_size, _)`, ours alone.
        unsafe { block::write_behind(moved, new_size, Header::UNTRACKED) };
    }
    moved
}
