//! Mode `sampled`: one allocation in so many bytes is a tracked block, all others are only counted.
//!
//! Record side. Called by `alloc` and `realloc` in this mode, and, for blocks that were sampled, by `free` and `realloc` in every mode.
//! What is counted here: requests, reallocations and bytes of the running scope, call and thread, exactly. What is *not* counted is the free of
//! an unsampled block: one of `align <= 8` lies at 0 mod 16 and has no header, one of `align >= 16`, or a large one, has context 0 in its header.
//!
//! A reallocation is a free and a new draw. A block keeps the place of its header: sampled to unsampled writes context 0 to it, and only
//! unsampled to sampled, in front, moves the block. So that this copies little, a block of `sample::LARGE` or more has a header that says
//! nothing when it is no sample.
//! Cost: of an unsampled allocation, see `docs/overhead.md`; each line of `alloc_front` and `realloc_plain` is in it.

use core::alloc::{GlobalAlloc, Layout};
#[cfg(stack_rules)]
use core::arch::naked_asm;
use core::ptr;

use super::alloc::{alloc_unusual, finish};
use super::free::{own_birth, tell_call};
use super::realloc::{Resize, realloc_untracked};
use super::unusual::{alloc_untracked, note_granted, note_resized, shared_row_of};
use super::{Fill, ask};
use crate::ids::ContextId;
use crate::record::atomic::Ordering;
use crate::record::block::{self, Header};
use crate::record::counters::{Counter, LOSSES, Row};
use crate::record::epoch::{self, Effect};
use crate::record::peak::{self, Touched};
use crate::record::sample::{self, Interval};
use crate::record::thread::{self, Attention, ThreadState};
use crate::record::{context, frame, settings, stack};

/// Header in front.
///
/// PERF: what is too large to be granted is large, so only `sample_with` looks at that.
#[inline(never)]
pub(super) fn alloc_front<A: GlobalAlloc, const IS_ZEROED: bool>(size: usize, inner: &A) -> *mut u8 {
    let fill = Fill::of(IS_ZEROED);
    let Some(thread) = thread::unsampled(size as u64) else {
        return sample_front(size, inner, fill);
    };
    thread.count_sampled(size as i64);
    alloc_unsampled(inner, thread, size, fill)
}

/// An allocation that is not sampled, header in front if it had one. Its bytes are counted.
#[inline(always)]
fn alloc_unsampled<A: GlobalAlloc>(inner: &A, thread: &ThreadState, size: usize, fill: Fill) -> *mut u8 {
    ask_counted(inner, thread, size, block::plain_layout(size), fill)
}

/// The same for a large block: its header says nothing.
fn alloc_large<A: GlobalAlloc>(inner: &A, thread: &ThreadState, size: usize, fill: Fill) -> *mut u8 {
    let granted = ask_counted(inner, thread, size, block::fronted_layout(size), fill);
    if granted.is_null() {
        return granted;
    }
    finish(granted, true, size, Header::UNTRACKED)
}

/// PERF: all is counted before it is granted, so that only the size has to be kept over the call of the inner allocator.
#[inline(always)]
fn ask_counted<A: GlobalAlloc>(inner: &A, thread: &ThreadState, size: usize, layout: Layout, fill: Fill) -> *mut u8 {
    count_granted(thread, size);
    let granted = ask(inner, layout, fill);
    if granted.is_null() {
        not_granted(size);
    }
    granted
}

/// Counts an allocation of this mode, sampled or not, whose bytes the thread has counted.
#[inline(always)]
fn count_granted(thread: &ThreadState, size: usize) {
    thread.allocations.add(1);
    let scope = thread.scope();
    scope.sampled_allocations.add(1);
    scope.sampled_bytes.add(size as u64);
}

/// The same for a reallocation.
#[inline(always)]
fn count_resized(thread: &ThreadState, new_size: usize) {
    thread.reallocations.add(1);
    let scope = thread.scope();
    scope.sampled_reallocations.add(1);
    scope.sampled_bytes.add(new_size as u64);
}

/// The inner allocator has refused: nothing was allocated after all.
#[cold]
#[inline(never)]
fn not_granted(size: usize) {
    if let Some(thread) = thread::current() {
        take_back(thread, size, [&thread.allocations, &thread.scope().sampled_allocations]);
    }
}

/// Takes an event from the counters of such, and its bytes.
fn take_back(thread: &ThreadState, size: usize, events: [&Counter; 2]) {
    sample::undo(thread, size);
    for counter in events {
        counter.add(0u64.wrapping_sub(1));
    }
    thread.scope().sampled_bytes.add(0u64.wrapping_sub(size as u64));
}

/// A sample is due, the block is large or the last look long ago, a call is to be opened, or the usual way is closed. As `alloc_exact`: hands
/// on what it finds in the registers, so that the sample has the call stack that the allocation would have in mode `exact`.
#[cfg(stack_rules)]
#[cold]
#[unsafe(naked)]
extern "sysv64" fn sample_front<A: GlobalAlloc>(size: usize, inner: &A, fill: Fill) -> *mut u8 {
    naked_asm!(
        ".cfi_startproc",
        "mov rcx, rsp",
        "mov r8, rbp",
        "jmp {from}",
        ".cfi_endproc",
        from = sym sample_front_from::<A>
    )
}

/// See [`sample_front`], whose stack pointer and `rbp` these are.
#[cfg(stack_rules)]
extern "sysv64" fn sample_front_from<A: GlobalAlloc>(
    size: usize,
    inner: &A,
    fill: Fill,
    sp: usize,
    rbp: usize,
) -> *mut u8 {
    sample_with(inner, size, fill, |thread| {
        // SAFETY: the thread is occupied and ours, so this is the only reference to the stack state.
        let state = unsafe { &mut *thread.stack.get() };
        // SAFETY: `sample_front` found them in the registers, and has not returned.
        unsafe { stack::capture_from(state, settings::depth(), stack::Entry { sp, rbp }) }
    })
}

#[cfg(not(stack_rules))]
#[cold]
#[inline(never)]
fn sample_front<A: GlobalAlloc>(size: usize, inner: &A, fill: Fill) -> *mut u8 {
    sample_with(inner, size, fill, capture)
}

/// The hash of the stack of the running function. The thread is occupied.
#[inline(always)]
fn capture(thread: &ThreadState) -> u64 {
    // SAFETY: the thread is occupied and ours, so this is the only reference to the stack state.
    let state = unsafe { &mut *thread.stack.get() };
    stack::capture(state, settings::depth())
}

#[inline(always)]
fn sample_with<A: GlobalAlloc>(
    inner: &A,
    size: usize,
    fill: Fill,
    capture: impl FnOnce(&ThreadState) -> u64,
) -> *mut u8 {
    if !block::is_grantable_in_front(size) {
        return ptr::null_mut();
    }
    let Some(thread) = thread::unoccupied() else {
        return alloc_unusual(inner, size, fill);
    };
    thread.occupy();
    open_calls(thread);
    let interval = sample::count(thread, size, false);
    let sampled = interval.and_then(|interval| {
        let hash = capture(thread);
        Some((find_context(thread, hash, interval)?, interval))
    });
    let Some((context, interval)) = sampled else {
        thread.vacate();
        return if size < sample::LARGE {
            alloc_unsampled(inner, thread, size, fill)
        } else {
            alloc_large(inner, thread, size, fill)
        };
    };
    let granted = ask(inner, block::fronted_layout(size), fill);
    if granted.is_null() {
        sample::undo(thread, size);
        thread.vacate();
        return granted;
    }
    count_granted(thread, size);
    let header = sample::granted(thread, context, interval, size, false);
    thread.vacate();
    finish(granted, true, size, header)
}

/// Opens the calls that this event is the first of. They need no records: what they retain is not known in this mode.
#[inline(always)]
fn open_calls(thread: &ThreadState) {
    if thread.has_unopened_calls() {
        frame::open_calls(thread);
    }
}

/// The context of the running scope and the stack just captured, for samples of this interval.
fn find_context(thread: &ThreadState, hash: u64, interval: Interval) -> Option<ContextId> {
    // SAFETY: the thread is occupied and ours; the reference that captured is no longer used.
    let state = unsafe { &*thread.stack.get() };
    let captured = state.captured(hash);
    let flags = (if captured.truncated { context::TRUNCATED } else { 0 })
        | (if captured.foreign { context::FOREIGN } else { 0 });
    let node = thread.scope().node.load(Ordering::Relaxed);
    let found = context::intern_sampled(node, interval, hash, flags, captured.len, state.frames());
    if found.is_none() {
        // LIMIT: no room for another context: the sample is lost, and estimates are low by what it stands for.
        sample::not_recorded();
    }
    found
}

/// Header behind. The thread is occupied.
#[cold]
#[inline(never)]
pub(super) fn alloc_behind<A: GlobalAlloc>(
    inner: &A,
    (thread, attention): (&'static ThreadState, Attention),
    (size, align): (usize, usize),
    fill: Fill,
) -> *mut u8 {
    open_calls(thread);
    let sampled = count(thread, size, attention);
    let granted = match sampled {
        Some(_) => ask(inner, block::backed_layout(size, align), fill),
        None => alloc_untracked(inner, size, align, fill),
    };
    if granted.is_null() {
        sample::undo(thread, size);
        thread.vacate_to(attention);
        return granted;
    }
    count_granted(thread, size);
    if let Some((context, interval)) = sampled {
        let header = sample::granted(thread, context, interval, size, false);
        let _ = finish(granted, false, size, header);
    }
    thread.vacate_to(attention);
    if attention.is_any() {
        note_granted(thread, granted, align, size);
    }
    granted
}

/// Counts the bytes of an event; if it is a sample, finds its context. The thread is occupied, and its calls are open.
fn count(thread: &ThreadState, size: usize, attention: Attention) -> Option<(ContextId, Interval)> {
    let interval = sample::count(thread, size, attention.is_any())?;
    let hash = capture(thread);
    Some((find_context(thread, hash, interval)?, interval))
}

/// An untracked block that would have its header in front.
///
/// # Safety
/// - As for `gate::realloc`, which has looked whether the new size can be granted; the block is untracked and of `align <= 8`.
#[inline(never)]
pub(super) unsafe fn realloc_plain<A: GlobalAlloc>(block: *mut u8, size: usize, new_size: usize, inner: &A) -> *mut u8 {
    let Some(thread) = thread::unsampled(new_size as u64) else {
        // SAFETY: the caller's promise.
        return unsafe { realloc_untracked(block, size, block::SMALL_ALIGN, new_size, inner) };
    };
    thread.count_sampled(new_size as i64);
    count_resized(thread, new_size);
    let (layout, new_layout) = (block::plain_layout(size), block::plain_layout(new_size));
    // SAFETY: an untracked block is what the inner allocator granted for `plain_layout`; the new size is that of a valid layout.
    let moved = unsafe { inner.realloc(block, layout, new_layout.size()) };
    if moved != block {
        note_moved(moved, size, new_size);
    }
    moved
}

/// A block has moved, or, if `to` is null, was not reallocated after all.
#[inline(never)]
fn note_moved(to: *mut u8, size: usize, new_size: usize) {
    let Some(thread) = thread::current() else { return };
    let scope = thread.scope();
    if to.is_null() {
        return take_back(thread, new_size, [&thread.reallocations, &scope.sampled_reallocations]);
    }
    let bytes = size.min(new_size) as u64;
    if thread.is_busy() {
        // A signal handler, which interrupts an event of its thread: rows may be in the making.
        thread.copied_bytes.add(bytes);
        thread::copied_shared(scope.context(), bytes);
    } else {
        thread.occupy();
        count_copied(thread, bytes);
        thread.vacate();
    }
}

/// Any block, in this mode, on a thread that records.
///
/// # Safety
/// - As for `gate::realloc`, which has looked whether the new size can be granted.
#[inline(never)]
pub(super) unsafe fn realloc<A: GlobalAlloc>(
    inner: &A,
    (thread, attention): (&'static ThreadState, Attention),
    block: *mut u8,
    (size, align): (usize, usize),
    new_size: usize,
) -> *mut u8 {
    if attention.is_any() && thread.watch.fails_now(thread) {
        return ptr::null_mut();
    }
    thread.occupy();
    open_calls(thread);
    let in_front = align <= block::SMALL_ALIGN;
    let has_header = !in_front || block::address_says_tracked(block);
    let (from, header) = match (in_front, has_header) {
        // SAFETY: the address bit says that `write_front` made this block; the caller owns it.
        (true, true) => unsafe { block::read_front(block) },
        (true, false) => (block, Header::UNTRACKED),
        // SAFETY: every block of this alignment carries a header behind it; the caller owns the block.
        (false, _) => (block, unsafe { block::read_behind(block, size) }),
    };
    let inner_layout = |size, has_header| match (in_front, has_header) {
        (true, true) => block::fronted_layout(size),
        (true, false) => block::plain_layout(size),
        (false, _) => block::backed_layout(size, align),
    };
    let sampled = count(thread, new_size, attention);
    // One that is large already was granted in mode `off`: there is as much to copy whenever it moves.
    let grows_large = size < sample::LARGE && new_size >= sample::LARGE;
    let keeps_header = has_header || sampled.is_some() || grows_large;
    let (old_layout, new_layout) = (inner_layout(size, has_header), inner_layout(new_size, keeps_header));
    let to = if keeps_header == has_header {
        // SAFETY: `from` came from `inner` for this layout; the new size is that of a valid layout.
        unsafe { inner.realloc(from, old_layout, new_layout.size()) }
    } else {
        // SAFETY: the caller's promise: `block` is valid for `size` bytes; it has no header, so it is `from`.
        unsafe { move_behind_header(inner, from, old_layout, new_layout, size.min(new_size)) }
    };
    if to.is_null() {
        sample::undo(thread, new_size);
        thread.vacate_to(attention);
        return to;
    }
    if header.is_tracked() {
        leave(thread, header, size);
    }
    let resize = Resize {
        from,
        to,
        size,
        new_size,
    };
    count_resized(thread, new_size);
    if let Some(bytes) = resize.copied_bytes() {
        count_copied(thread, bytes);
    }
    let header = match sampled {
        Some((context, interval)) => sample::granted(thread, context, interval, new_size, true),
        None => Header::UNTRACKED,
    };
    thread.vacate_to(attention);
    if attention.is_any() {
        note_resized(thread, header, resize);
    }
    if keeps_header {
        finish(to, in_front, new_size, header)
    } else {
        to
    }
}

/// Gets a block with a header in front for one without, and moves `bytes` over. Null: nothing has changed.
///
/// # Safety
/// - `from` came from `inner` for `old_layout`, holds `bytes` bytes and is not used afterwards unless the result is null.
/// - `new_layout` has room for a header and `bytes` bytes.
unsafe fn move_behind_header<A: GlobalAlloc>(
    inner: &A,
    from: *mut u8,
    old_layout: Layout,
    new_layout: Layout,
    bytes: usize,
) -> *mut u8 {
    let to = ask(inner, new_layout, Fill::Any);
    if !to.is_null() {
        // SAFETY: the caller's promise: behind the header there is room.
        let start = unsafe { to.add(block::HEADER_BYTES) };
        // SAFETY: both are valid for `bytes`, and the new block was granted while the old one was alive.
        unsafe { ptr::copy_nonoverlapping(from, start, bytes) };
        // SAFETY: the caller's promise.
        unsafe { inner.dealloc(from, old_layout) };
    }
    to
}

/// A reallocation has moved so many bytes. The thread is occupied.
fn count_copied(thread: &'static ThreadState, bytes: u64) {
    thread.copied_bytes.add(bytes);
    let context = thread.scope().context();
    match thread.growth_row(context) {
        Some(row) => row.copied_bytes.add(bytes),
        None => thread::copied_shared(context, bytes),
    }
}

/// A tracked block is reallocated: it leaves its context, as a free would take it away.
fn leave(thread: &'static ThreadState, header: Header, size: usize) {
    if sample::freed(Some(thread), header, size) {
        return;
    }
    let context = header.context();
    let Some(row) = thread.row(context) else {
        return leave_shared(header, size);
    };
    thread.end_climb();
    if row.mark.get() != thread.expected_mark.get() {
        match peak::touch(thread, row, context) {
            Touched::Ready => {}
            Touched::Tracker | Touched::Sampled => return,
            Touched::Corrupt => return LOSSES.corrupt_headers.add_shared(1),
        }
    }
    thread.release(size as u64);
    row.handed_over.add(1);
    row.released_bytes.add(size as u64);
    if header.birth() != own_birth(thread) {
        leave_birth(Some(thread), header, size);
    }
}

#[cold]
fn leave_shared(header: Header, size: usize) {
    let context = header.context();
    let Some((node, row)) = shared_row_of(context) else {
        return LOSSES.corrupt_headers.add_shared(1);
    };
    row.rebase(peak::serial());
    row.handed_over.add_shared(1);
    row.released_bytes.add_shared(size as u64);
    peak::move_shared(node, -(size as i64));
    leave_birth(None, header, size);
}

fn leave_birth(thread: Option<&ThreadState>, header: Header, size: usize) {
    let birth = header.birth();
    if birth.epoch() != epoch::current() {
        epoch::change(header.context(), birth.epoch(), Effect::handed_over(size));
    }
    tell_call(thread, birth.stamp(), size as i64);
}

// In other modes.

/// A block with a header that says nothing, or that of a sample, is freed in any mode. The thread is occupied. False when it is another
/// block, and nothing has changed.
#[cold]
#[inline(never)]
pub(super) fn free(thread: &ThreadState, header: Header, size: usize) -> bool {
    let is_sample = header.is_tracked();
    if is_sample && !sample::freed(Some(thread), header, size) {
        return false;
    }
    if settings::counts_frees() {
        let frees = if is_sample {
            &thread.frees
        } else {
            &thread.untracked_frees
        };
        frees.add(1);
    }
    true
}

/// A block with a header that says nothing, or that of a sample, is reallocated in a mode that tracks every block: it is one of them from
/// now on. The thread is occupied. `None` when it is another block, and nothing has changed.
#[cold]
#[inline(never)]
pub(super) fn become_tracked(
    thread: &'static ThreadState,
    (row, context): (&'static Row, ContextId),
    header: Header,
    resize: &Resize,
) -> Option<Header> {
    if !header.is_tracked() {
        // No free that the thread made.
        LOSSES.untracked_frees.add_shared(1);
    } else if !sample::freed(Some(thread), header, resize.size) {
        return None;
    }
    if row.mark.get() != thread.expected_mark.get() {
        let _ = peak::touch(thread, row, context);
    }
    thread.reallocations.add(1);
    row.reallocations.add(1);
    row.granted_bytes.add(resize.new_size as u64);
    thread.grant(resize.new_size as u64);
    if let Some(copied) = resize.copied_bytes() {
        thread.copied_bytes.add(copied);
        match thread.growth_row(context) {
            Some(growth) => growth.copied_bytes.add(copied),
            None => thread::copied_shared(context, copied),
        }
    }
    Some(super::alloc::header_now(thread, context))
}

/// The same in mode `off`, inside the tracker, or by a thread without a state: it is untracked from now on.
pub(super) fn become_untracked(thread: Option<&ThreadState>, header: Header, size: usize) -> Option<Header> {
    let is_ours = !header.is_tracked() || sample::freed(thread, header, size);
    is_ours.then_some(Header::UNTRACKED)
}
