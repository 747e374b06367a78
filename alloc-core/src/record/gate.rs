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
//! Cost: see `docs/overhead.md`. Leaves out: what a figure means (`counters`), peaks (`peak`), calls (`call`, `scope`).

use core::alloc::{GlobalAlloc, Layout};
#[cfg(stack_rules)]
use core::arch::naked_asm;
use core::ptr;
use core::sync::atomic::Ordering;

use super::block::{self, Birth, Header, Stamp};
use super::counters::{LOSSES, NodeRow, Row};
use super::epoch::Effect;
use super::peak::{self, Touched};
use super::settings::{self, Mode};
use super::thread::{self, ThreadState};
use super::{call, context, epoch, frame, stack, watch};
use crate::ids::ContextId;

/// How the inner allocator is asked for memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fill {
    Any,
    Zero,
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

/// `GlobalAlloc::alloc` and `alloc_zeroed`.
///
/// PERF: one function per mode, so that mode `off` pays for no registers saved on behalf of the others.
#[inline(always)]
pub(crate) fn alloc<A: GlobalAlloc>(inner: &A, layout: Layout, fill: Fill) -> *mut u8 {
    if !block::header_is_in_front(layout) {
        return alloc_behind(inner, layout, fill);
    }
    if !block::is_grantable_in_front(layout.size()) {
        return ptr::null_mut();
    }
    if settings::is_off() {
        ask(inner, block::plain_layout(layout.size()), fill)
    } else if settings::takes_stacks() {
        alloc_exact(inner, layout.size(), fill)
    } else {
        alloc_in_scope(inner, layout.size(), fill)
    }
}

/// Mode `scopes`, header in front.
#[inline(never)]
fn alloc_in_scope<A: GlobalAlloc>(inner: &A, size: usize, fill: Fill) -> *mut u8 {
    if thread::unoccupied().is_none() {
        return alloc_unusual(inner, block::SMALL_ALIGN, size, fill);
    }
    let granted = ask(inner, block::fronted_layout(size), fill);
    if granted.is_null() {
        return granted;
    }
    // PERF: looked up only now, so that little has to be kept over the call of the inner allocator.
    let Some(thread) = thread::unoccupied() else {
        return granted_meanwhile(granted, size);
    };
    thread.occupy();
    let (row, context) = scope_row(thread.scope());
    finish_front(thread, row, context, granted, size)
}

/// The inner allocator has left the thread without a state: counted in the shared shard.
#[cold]
#[inline(never)]
fn granted_meanwhile(granted: *mut u8, size: usize) -> *mut u8 {
    finish(granted, true, size, count_shared(size))
}

/// Mode `exact`, header in front.
///
/// Hands on what it finds in the registers, without a frame of its own: so the stack is captured from our caller on.
/// PERF: a frame less to step through is 80 instructions of some 700; these are three.
#[cfg(stack_rules)]
#[unsafe(naked)]
extern "sysv64" fn alloc_exact<A: GlobalAlloc>(inner: &A, size: usize, fill: Fill) -> *mut u8 {
    naked_asm!("mov rcx, rsp", "mov r8, rbp", "jmp {from}", from = sym alloc_exact_from::<A>)
}

/// See [`alloc_exact`], whose stack pointer and `rbp` these are.
#[cfg(stack_rules)]
extern "sysv64" fn alloc_exact_from<A: GlobalAlloc>(
    inner: &A,
    size: usize,
    fill: Fill,
    sp: usize,
    rbp: usize,
) -> *mut u8 {
    let Some(thread) = thread::unoccupied() else {
        return alloc_unusual(inner, block::SMALL_ALIGN, size, fill);
    };
    thread.occupy();
    // SAFETY: the thread is occupied and ours, so this is the only reference to the stack state.
    let state = unsafe { &mut *thread.stack.get() };
    // SAFETY: `alloc_exact` found them in the registers, and has not returned.
    let hash = unsafe { stack::capture_from(state, settings::depth(), stack::Entry { sp, rbp }) };
    let (row, context) = find_stack(thread, hash);
    ask_exact(inner, thread, row, context, size, fill)
}

/// Mode `exact`, header in front.
#[cfg(not(stack_rules))]
#[inline(never)]
fn alloc_exact<A: GlobalAlloc>(inner: &A, size: usize, fill: Fill) -> *mut u8 {
    let Some(thread) = thread::unoccupied() else {
        return alloc_unusual(inner, block::SMALL_ALIGN, size, fill);
    };
    thread.occupy();
    let (row, context) = find_row(thread, Mode::Exact);
    ask_exact(inner, thread, row, context, size, fill)
}

/// Gets a block whose row and context are known, and counts it.
#[inline(always)]
fn ask_exact<A: GlobalAlloc>(
    inner: &A,
    thread: &'static ThreadState,
    row: &'static Row,
    context: ContextId,
    size: usize,
    fill: Fill,
) -> *mut u8 {
    let granted = ask(inner, block::fronted_layout(size), fill);
    if granted.is_null() {
        thread.vacate();
        return granted;
    }
    finish_front(thread, row, context, granted, size)
}

/// Header behind, in every mode.
#[inline(never)]
fn alloc_behind<A: GlobalAlloc>(inner: &A, layout: Layout, fill: Fill) -> *mut u8 {
    let (size, align) = (layout.size(), layout.align());
    if !block::is_grantable(size, align) {
        return ptr::null_mut();
    }
    if settings::is_off() {
        return alloc_untracked(inner, size, align, fill);
    }
    let Some(thread) = thread::unoccupied() else {
        return alloc_unusual(inner, align, size, fill);
    };
    thread.occupy();
    let (row, context) = find_row(thread, settings::mode());
    let granted = ask(inner, block::backed_layout(size, align), fill);
    if granted.is_null() {
        thread.vacate();
        return granted;
    }
    let header = count_alloc(thread, row, context, size);
    thread.vacate();
    finish(granted, false, size, header)
}

/// Counts a block with its header in front, and gives it.
#[inline(always)]
fn finish_front(
    thread: &'static ThreadState,
    row: &'static Row,
    context: ContextId,
    granted: *mut u8,
    size: usize,
) -> *mut u8 {
    let Some(header) = try_count_alloc(thread, row, context, size) else {
        return finish_front_slowly(thread, row, context, granted, size);
    };
    thread.vacate();
    finish(granted, true, size, header)
}

#[inline(never)]
fn finish_front_slowly(
    thread: &'static ThreadState,
    row: &'static Row,
    context: ContextId,
    granted: *mut u8,
    size: usize,
) -> *mut u8 {
    // PERF: the first event of a call is the usual reason to come here.
    let usual = if frame::try_open_call(thread) {
        try_count_alloc(thread, row, context, size)
    } else {
        None
    };
    let header = match usual {
        Some(header) => header,
        None => count_alloc(thread, row, context, size),
    };
    thread.vacate();
    finish(granted, true, size, header)
}

/// Writes the header of a fresh block and gives the block.
#[inline(always)]
fn finish(granted: *mut u8, in_front: bool, size: usize, header: Header) -> *mut u8 {
    if in_front {
        // SAFETY: the inner allocator granted `fronted_layout`: 16-aligned, at least HEADER_BYTES long, and ours alone.
        unsafe { block::write_front(granted, header) }
    } else {
        // SAFETY: the inner allocator granted `backed_layout(size, _)`, ours alone.
        unsafe { block::write_behind(granted, size, header) };
        granted
    }
}

/// The row that an allocation made now is counted on. The thread is occupied.
#[inline(always)]
fn find_row(thread: &'static ThreadState, mode: Mode) -> (&'static Row, ContextId) {
    let scope = thread.scope();
    if mode == Mode::Scopes {
        return scope_row(scope);
    }
    // SAFETY: the thread is occupied and ours, so this is the only reference to the stack state.
    let state = unsafe { &mut *thread.stack.get() };
    let hash = stack::capture(state, settings::depth());
    find_stack(thread, hash)
}

/// The row and context of the running scope and the stack that was just captured, whose hash this is.
#[inline(always)]
fn find_stack(thread: &'static ThreadState, hash: u64) -> (&'static Row, ContextId) {
    let key = hash ^ thread.scope().salt.get();
    if let Some((row, context)) = thread.site(key).get(key) {
        // SAFETY: `find_site` stored the address of a row that lives as long as this thread's state is its own; the
        // salt in the key differs between owners.
        return (unsafe { &*row }, context);
    }
    find_site(thread, key, hash)
}

/// What is counted without a stack in a scope.
#[inline(always)]
fn scope_row(scope: &'static NodeRow) -> (&'static Row, ContextId) {
    let context = ContextId(scope.context.load(Ordering::Relaxed));
    // SAFETY: `make_node_row` stored a row of the same thread, which lives while the thread does.
    (unsafe { &*scope.row.load(Ordering::Relaxed) }, context)
}

/// The row of a stack that the thread's cache does not have.
#[cold]
#[inline(never)]
fn find_site(thread: &'static ThreadState, key: u64, hash: u64) -> (&'static Row, ContextId) {
    let site = thread.site(key);
    if site.promote(key)
        && let Some((row, context)) = site.get(key)
    {
        // SAFETY: as in `find_row`.
        return (unsafe { &*row }, context);
    }
    // SAFETY: as in `find_row`, whose reference is no longer used.
    let state = unsafe { &*thread.stack.get() };
    let captured = state.captured(hash);
    let flags = (if captured.truncated { context::TRUNCATED } else { 0 })
        | (if captured.foreign { context::FOREIGN } else { 0 });
    let scope = thread.scope();
    let node = scope.node.load(Ordering::Relaxed);
    let found = context::intern(node, hash, flags, captured.len, state.frames());
    let Some((row, context)) = found.and_then(|context| Some((thread.row(context)?, context))) else {
        // LIMIT: no room for another stack: "other" of the scope.
        LOSSES.other_allocations.add_shared(1);
        return scope_row(scope);
    };
    site.put(key, row, context);
    (row, context)
}

/// Counts an allocation that was granted, and makes its header; `None` when something needs attention, and nothing has changed.
///
/// PERF: this and `try_count_free` call nothing, so their callers save no registers for them.
#[inline(always)]
fn try_count_alloc(thread: &'static ThreadState, row: &Row, context: ContextId, size: usize) -> Option<Header> {
    if row.mark.get() != thread.expected_mark.get() || !thread.try_grant(size as u64) {
        return None;
    }
    row.allocations.add(1);
    row.granted_bytes.add(size as u64);
    thread.allocations.add(1);
    Some(header_now(thread, context))
}

/// The same whatever it takes.
fn count_alloc(thread: &'static ThreadState, row: &Row, context: ContextId, size: usize) -> Header {
    if row.mark.get() != thread.expected_mark.get() {
        let _ = peak::touch(thread, row, context);
    }
    row.allocations.add(1);
    row.granted_bytes.add(size as u64);
    thread.allocations.add(1);
    thread.grant(size as u64);
    header_now(thread, context)
}

#[inline(always)]
fn header_now(thread: &ThreadState, context: ContextId) -> Header {
    Header::new(context, Birth::of(epoch::current_bits(), thread.birth_bits.get()))
}

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
            return unsafe { dealloc_front(inner, block, size) };
        }
        count_untracked_free();
        // SAFETY: an untracked block is what the inner allocator granted for `plain_layout`.
        unsafe { inner.dealloc(block, block::plain_layout(size)) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { dealloc_behind(inner, block, layout) };
    }
}

/// # Safety
/// - As for `dealloc`, and `write_front` made the block.
#[inline(never)]
unsafe fn dealloc_front<A: GlobalAlloc>(inner: &A, block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    let (granted, header) = unsafe { block::read_front(block) };
    if !try_count_free(header, size) {
        // SAFETY: the caller's promise.
        return unsafe { dealloc_front_slowly(inner, block, size) };
    }
    // SAFETY: `granted` is what the inner allocator gave for `fronted_layout`.
    unsafe { inner.dealloc(granted, block::fronted_layout(size)) };
}

/// # Safety
/// - As for `dealloc`, and `write_front` made the block.
#[inline(never)]
unsafe fn dealloc_front_slowly<A: GlobalAlloc>(inner: &A, block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    let (granted, header) = unsafe { block::read_front(block) };
    count_free(header, size);
    // SAFETY: `granted` is what the inner allocator gave for `fronted_layout`.
    unsafe { inner.dealloc(granted, block::fronted_layout(size)) };
}

/// # Safety
/// - As for `dealloc`, and the layout's alignment is 16 or more.
#[inline(never)]
unsafe fn dealloc_behind<A: GlobalAlloc>(inner: &A, block: *mut u8, layout: Layout) {
    let size = layout.size();
    // SAFETY: every block of this alignment carries a header behind it; the caller owns the block.
    let header = unsafe { block::read_behind(block, size) };
    if header.is_tracked() {
        count_free(header, size);
    } else {
        count_untracked_free();
    }
    // SAFETY: `block` is what the inner allocator granted for `backed_layout`.
    unsafe { inner.dealloc(block, block::backed_layout(size, layout.align())) };
}

#[inline(always)]
fn count_untracked_free() {
    if !settings::is_off() {
        free_untracked();
    }
}

#[cold]
#[inline(never)]
fn free_untracked() {
    match thread::unoccupied() {
        Some(thread) => thread.untracked_frees.add(1),
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
fn own_birth(thread: &ThreadState) -> Birth {
    Birth::of(epoch::current_bits(), thread.own_bits.get())
}

/// The same whatever it takes.
fn count_free(header: Header, size: usize) {
    let Some(thread) = thread::unoccupied() else {
        return free_unusual(header, size);
    };
    thread.occupy();
    match thread.row(header.context()) {
        Some(row) => count_free_on(thread, row, header, size),
        None => free_shared(header, size),
    }
    thread.vacate();
}

fn count_free_on(thread: &'static ThreadState, row: &'static Row, header: Header, size: usize) {
    thread.end_climb();
    if row.mark.get() != thread.expected_mark.get() {
        match peak::touch(thread, row, header.context()) {
            Touched::Ready => {}
            Touched::Tracker => return release_own(row, size),
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
fn free_birth(thread: Option<&ThreadState>, header: Header, size: usize) {
    let birth = header.birth();
    if birth.epoch() != epoch::current() {
        epoch::change(header.context(), birth.epoch(), Effect::free(size));
    }
    tell_call(thread, birth.stamp(), size as i64);
}

/// Bytes of a block of the call `stamp` were released (net, for a reallocation).
fn tell_call(thread: Option<&ThreadState>, stamp: Stamp, bytes: i64) {
    if let Some(thread) = thread {
        if stamp == thread.stamp() {
            return;
        }
        // Not the running call's own: what `net` subtracts is given back.
        thread.correction.add(bytes as u64);
    }
    call::released(thread, stamp, bytes);
}

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
        unsafe { realloc_behind(inner, block, layout, new_size) }
    } else if !block::is_grantable_in_front(new_size) {
        ptr::null_mut()
    } else if block::address_says_tracked(block) {
        // SAFETY: the caller's promise; the address bit says that `write_front` made this block.
        unsafe { realloc_front(inner, block, layout.size(), new_size) }
    } else {
        // SAFETY: the caller's promise; the block is untracked.
        unsafe { realloc_untracked(inner, block, layout, new_size) }
    }
}

/// # Safety
/// - As for `realloc`, and `write_front` made the block.
#[inline(never)]
unsafe fn realloc_front<A: GlobalAlloc>(inner: &A, block: *mut u8, size: usize, new_size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    let (granted, header) = unsafe { block::read_front(block) };
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
    let header = event.finish(header, size, new_size, moved != granted);
    // SAFETY: `moved` was granted for `fronted_layout(new_size)` and is ours alone.
    unsafe { block::write_front(moved, header) }
}

/// # Safety
/// - As for `realloc`, and the layout's alignment is 16 or more.
#[inline(never)]
unsafe fn realloc_behind<A: GlobalAlloc>(inner: &A, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    if !block::is_grantable(new_size, layout.align()) {
        return ptr::null_mut();
    }
    let size = layout.size();
    // SAFETY: every block of this alignment carries a header behind it; the caller owns the block.
    let header = unsafe { block::read_behind(block, size) };
    if !header.is_tracked() {
        // SAFETY: the caller's promise; the block is untracked.
        return unsafe { realloc_untracked(inner, block, layout, new_size) };
    }
    let Some(event) = ReallocEvent::begin() else {
        return ptr::null_mut();
    };
    let new_layout = block::backed_layout(new_size, layout.align());
    // SAFETY: `block` came from `inner` for `backed_layout` of the old size; the new size is that of a valid layout.
    let moved = unsafe { inner.realloc(block, block::backed_layout(size, layout.align()), new_layout.size()) };
    if moved.is_null() {
        event.cancel();
        return moved;
    }
    let header = event.finish(header, size, new_size, moved != block);
    // SAFETY: `moved` was granted for `backed_layout(new_size, _)` and is ours alone.
    unsafe { block::write_behind(moved, new_size, header) };
    moved
}

/// A reallocation of a tracked block: who receives it, known before the inner allocator is asked.
struct ReallocEvent {
    /// The usual case: the thread (now occupied), and the receiving row and context.
    usual: Option<(&'static ThreadState, &'static Row, ContextId)>,
}

impl ReallocEvent {
    #[inline(always)]
    fn begin() -> Option<Self> {
        let mode = settings::mode();
        let Some(thread) = thread::unoccupied().filter(|_| mode != Mode::Off) else {
            return Self::begin_unusual();
        };
        thread.occupy();
        let (row, context) = find_row(thread, mode);
        Some(Self {
            usual: Some((thread, row, context)),
        })
    }

    /// `None`: the thread is watched, and the request is to fail.
    #[cold]
    #[inline(never)]
    fn begin_unusual() -> Option<Self> {
        let watched = watched_thread();
        if watched.is_some_and(|thread| thread.watch.fails_now(thread)) {
            return None;
        }
        Some(Self { usual: None })
    }

    #[inline(always)]
    fn cancel(self) {
        if let Some((thread, ..)) = self.usual {
            thread.vacate();
        }
    }

    /// Counts the reallocation and makes the block's header: a new holder, the old birth.
    #[inline(always)]
    fn finish(self, header: Header, size: usize, new_size: usize, has_moved: bool) -> Header {
        let Some((thread, row, context)) = self.usual else {
            return realloc_unusual(header, size, new_size, has_moved);
        };
        let from = header.context();
        let header = match thread.row(from) {
            Some(from_row) => count_realloc(
                thread,
                (row, context),
                (from_row, from),
                header,
                size,
                new_size,
                has_moved,
            ),
            None => realloc_shared(header, size, new_size, has_moved),
        };
        thread.vacate();
        header
    }
}

#[inline(always)]
fn count_realloc(
    thread: &'static ThreadState,
    (row, context): (&'static Row, ContextId),
    (from_row, from): (&'static Row, ContextId),
    header: Header,
    size: usize,
    new_size: usize,
    has_moved: bool,
) -> Header {
    thread.end_climb();
    // The old holder first: what is pending may have to be settled before the new one is counted.
    if from_row.mark.get() != thread.expected_mark.get() {
        match peak::touch(thread, from_row, from) {
            Touched::Ready => {}
            // The tracker's own block, reallocated after the tracker was left: it stays the tracker's.
            Touched::Tracker => return realloc_own(from_row, header, size, new_size),
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
    if has_moved {
        thread.copied(context, size.min(new_size) as u64);
    }
    let birth = header.birth();
    if birth != own_birth(thread) {
        realloc_birth(Some(thread), birth, (from, size), (context, new_size));
    }
    Header::new(context, birth)
}

/// The same for a reallocation: the block keeps its birth, and changes its holder and size.
#[cold]
#[inline(never)]
fn realloc_birth(
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

// Rare paths.

/// A block that is not tracked.
fn alloc_untracked<A: GlobalAlloc>(inner: &A, size: usize, align: usize, fill: Fill) -> *mut u8 {
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
fn ask_tracked<A: GlobalAlloc>(inner: &A, size: usize, align: usize, fill: Fill) -> *mut u8 {
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

/// The thread has no state yet, or none any more, or is inside the tracker, or is interrupted while recording.
#[cold]
#[inline(never)]
fn alloc_unusual<A: GlobalAlloc>(inner: &A, align: usize, size: usize, fill: Fill) -> *mut u8 {
    thread::set_used();
    if !thread::is_initialised() {
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
    if thread.is_watched() {
        return alloc_watched(inner, size, align, fill, thread);
    }
    // The thread has just been registered: the usual way is open now, and the mode may have been set by the environment.
    // SAFETY: the alignment is that of a valid layout; a smaller one was rounded up to 8, and the size is far from the limit.
    alloc(inner, unsafe { Layout::from_size_align_unchecked(size, align) }, fill)
}

/// On a thread that is watched: the usual way, unless the request is to fail.
fn alloc_watched<A: GlobalAlloc>(
    inner: &A,
    size: usize,
    align: usize,
    fill: Fill,
    thread: &'static ThreadState,
) -> *mut u8 {
    if thread.watch.fails_now(thread) {
        return ptr::null_mut();
    }
    thread.watch_no_more();
    // SAFETY: as in `alloc_unusual`.
    let granted = alloc(inner, unsafe { Layout::from_size_align_unchecked(size, align) }, fill);
    thread.watch_from_now_on();
    if !granted.is_null() {
        thread.watch.note(watch::header_of(granted, size, align), size, false);
    }
    granted
}

/// What the read side allocates: counted, but no part of the program.
fn alloc_own<A: GlobalAlloc>(
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

fn release_own(row: &Row, size: usize) {
    row.frees.add(1);
    row.released_bytes.add(size as u64);
}

fn realloc_own(row: &Row, header: Header, size: usize, new_size: usize) -> Header {
    row.reallocations.add(1);
    row.granted_bytes.add(new_size as u64);
    row.handed_over.add(1);
    row.released_bytes.add(size as u64);
    header
}

/// Counted under "other" of the whole program, by atomic additions.
#[cold]
fn alloc_shared<A: GlobalAlloc>(inner: &A, size: usize, align: usize, fill: Fill) -> *mut u8 {
    let granted = ask_tracked(inner, size, align, fill);
    if granted.is_null() {
        return granted;
    }
    finish(granted, align <= block::SMALL_ALIGN, size, count_shared(size))
}

fn count_shared(size: usize) -> Header {
    LOSSES.other_allocations.add_shared(1);
    // The root's row is made before the first event, and never goes.
    if let Some(row) = thread::shared_row(ContextId::ROOT) {
        row.rebase(peak::serial());
        row.allocations.add_shared(1);
        row.granted_bytes.add_shared(size as u64);
        peak::move_shared(size as i64);
    }
    Header::new(ContextId::ROOT, Birth::new(epoch::current(), Stamp::NONE))
}

#[cold]
#[inline(never)]
fn free_unusual(header: Header, size: usize) {
    match thread::current_or_register().filter(|thread| !thread.is_busy()) {
        // Inside the tracker, watched, or registered just now: the row is the thread's own either way.
        Some(thread) => {
            thread.occupied_for(|| match thread.row(header.context()) {
                Some(row) => count_free_on(thread, row, header, size),
                None => free_shared(header, size),
            });
            if thread.is_watched() && !thread.is_inside() {
                thread.watch.note(header, size, true);
            }
        }
        None => free_shared(header, size),
    }
}

#[cold]
fn free_shared(header: Header, size: usize) {
    let context = header.context();
    let Some(row) = context::node_of(context).and_then(|_| thread::shared_row(context)) else {
        return LOSSES.corrupt_headers.add_shared(1);
    };
    row.rebase(peak::serial());
    row.frees.add_shared(1);
    row.released_bytes.add_shared(size as u64);
    if context != ContextId::TRACKER {
        peak::move_shared(-(size as i64));
        free_birth(None, header, size);
    }
}

/// A tracked block is reallocated in mode `off`, inside the tracker, or by a thread without a state: it stays with its holder.
#[cold]
#[inline(never)]
fn realloc_unusual(header: Header, size: usize, new_size: usize, has_moved: bool) -> Header {
    let context = header.context();
    let thread = thread::current_or_register().filter(|thread| !thread.is_busy());
    let counted = thread.and_then(|thread| {
        if let Some(watched) = watched_thread().filter(|_| settings::mode() != Mode::Off) {
            return realloc_watched(watched, header, size, new_size, has_moved);
        }
        thread.occupied_for(|| {
            let row = thread.row(context)?;
            Some(count_realloc(
                thread,
                (row, context),
                (row, context),
                header,
                size,
                new_size,
                has_moved,
            ))
        })
    });
    counted.unwrap_or_else(|| realloc_shared(header, size, new_size, has_moved))
}

/// The calling thread, if it is watched and neither inside the tracker nor interrupted while recording.
fn watched_thread() -> Option<&'static ThreadState> {
    thread::current().filter(|thread| thread.is_watched() && !thread.is_inside() && !thread.is_busy())
}

/// On a thread that is watched the block passes to who reallocates it, as everywhere.
fn realloc_watched(
    thread: &'static ThreadState,
    header: Header,
    size: usize,
    new_size: usize,
    has_moved: bool,
) -> Option<Header> {
    let from = header.context();
    let header = thread.occupied_for(|| {
        let (row, context) = find_row(thread, settings::mode());
        let from_row = thread.row(from)?;
        Some(count_realloc(
            thread,
            (row, context),
            (from_row, from),
            header,
            size,
            new_size,
            has_moved,
        ))
    })?;
    thread.watch.note(header, new_size, false);
    Some(header)
}

#[cold]
fn realloc_shared(header: Header, size: usize, new_size: usize, has_moved: bool) -> Header {
    let context = header.context();
    let Some(row) = context::node_of(context).and_then(|_| thread::shared_row(context)) else {
        LOSSES.corrupt_headers.add_shared(1);
        return header;
    };
    row.rebase(peak::serial());
    row.reallocations.add_shared(1);
    row.granted_bytes.add_shared(new_size as u64);
    row.handed_over.add_shared(1);
    row.released_bytes.add_shared(size as u64);
    if has_moved {
        thread::copied_shared(context, size.min(new_size) as u64);
    }
    if context != ContextId::TRACKER {
        peak::move_shared(new_size as i64 - size as i64);
        realloc_birth(None, header.birth(), (context, size), (context, new_size));
    }
    header
}

/// An untracked block: it stays one in mode `off`; else it becomes tracked, by a move. If the move fails, nothing has changed.
///
/// # Safety
/// - As for `realloc`, and the block is untracked.
#[inline(never)]
unsafe fn realloc_untracked<A: GlobalAlloc>(inner: &A, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    let (size, align) = (layout.size(), layout.align());
    if settings::mode() != Mode::Off {
        // SAFETY: the caller promises a non-zero `new_size` that makes a valid layout with this alignment.
        let moved = alloc(
            inner,
            unsafe { Layout::from_size_align_unchecked(new_size, align) },
            Fill::Any,
        );
        if !moved.is_null() {
            // SAFETY: both blocks are valid for the smaller size, and the new one was granted while the old one was alive.
            unsafe { ptr::copy_nonoverlapping(block, moved, size.min(new_size)) };
            // SAFETY: the caller's promise; the block is not used again.
            unsafe { dealloc(inner, block, layout) };
        }
        return moved;
    }
    if block::header_is_in_front(layout) {
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
