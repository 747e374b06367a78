//! `alloc` and `alloc_zeroed`: one function per mode and place of the header.
//!
//! Record side. Cost: the hot path of every allocation; each line is counted in `docs/overhead.md`.

use core::alloc::{GlobalAlloc, Layout};
#[cfg(stack_rules)]
use core::arch::naked_asm;
use core::ptr;

use super::row::{find_row, scope_row};
use super::unusual::alloc_untracked;
use super::{Fill, ask, sampled, unusual};
use crate::ids::ContextId;
use crate::record::block::{self, Birth, Header};
use crate::record::counters::Row;
use crate::record::settings::Mode;
use crate::record::thread::{self, ThreadState};
use crate::record::{epoch, frame, growth, observe, peak, settings};
#[cfg(stack_rules)]
use {super::row::find_stack, crate::record::stack};

/// `GlobalAlloc::alloc` and `alloc_zeroed`.
///
/// PERF: one function per mode, so that mode `off` pays for no registers saved on behalf of the others; and in `scopes` and
/// `sampled` one for each way to fill, which saves the three instructions of that choice. Their arguments are in the order of those of the
/// functions that the compiler makes around this one, and `inner` behind, so that they stay in their registers; so it is in `free` and `realloc`.
#[inline(always)]
pub(crate) fn alloc<A: GlobalAlloc>(inner: &A, layout: Layout, fill: Fill) -> *mut u8 {
    if !block::header_is_in_front(layout) {
        return alloc_behind(layout.size(), layout.align(), inner, fill);
    }
    let size = layout.size();
    let mode = settings::mode_number();
    // PERF: what costs least comes first. Compared by order, for the compiler would arrange tests for equality as it likes.
    if mode > Mode::Sampled as u8 {
        return if block::is_grantable_in_front(size) {
            ask(inner, block::plain_layout(size), fill)
        } else {
            ptr::null_mut()
        };
    }
    if mode > Mode::Scopes as u8 {
        return match fill {
            Fill::Any => sampled::alloc_front::<A, false>(size, inner),
            Fill::Zero => sampled::alloc_front::<A, true>(size, inner),
        };
    }
    if !block::is_grantable_in_front(size) {
        return ptr::null_mut();
    }
    match fill {
        _ if mode == Mode::Exact as u8 => alloc_exact(size, inner, fill),
        Fill::Any => alloc_in_scope::<A, false>(size, inner),
        Fill::Zero => alloc_in_scope::<A, true>(size, inner),
    }
}

/// Mode `scopes`, header in front.
#[inline(never)]
fn alloc_in_scope<A: GlobalAlloc, const IS_ZEROED: bool>(size: usize, inner: &A) -> *mut u8 {
    let fill = Fill::of(IS_ZEROED);
    let Some(thread) = thread::unoccupied() else {
        return alloc_unusual(inner, size, fill);
    };
    // The thread keeps its state until it ends, whatever the inner allocator does.
    let granted = ask(inner, block::fronted_layout(size), fill);
    if granted.is_null() {
        return granted;
    }
    thread.occupy();
    let (row, context) = scope_row(thread.scope());
    finish_front(thread, row, context, granted, size)
}

/// Mode `exact`, header in front.
///
/// Hands on what it finds in the registers, without a frame of its own: so the stack is captured from our caller on.
/// PERF: a frame less to step through is 80 instructions of some 700; these are three.
#[cfg(stack_rules)]
#[unsafe(naked)]
extern "sysv64" fn alloc_exact<A: GlobalAlloc>(size: usize, inner: &A, fill: Fill) -> *mut u8 {
    // The directives are for unwinders that stop inside it (profilers): a naked function has no unwind information of its own.
    naked_asm!(
        ".cfi_startproc",
        "mov rcx, rsp",
        "mov r8, rbp",
        "jmp {from}",
        ".cfi_endproc",
        from = sym alloc_exact_from::<A>
    )
}

/// See [`alloc_exact`], whose stack pointer and `rbp` these are.
#[cfg(stack_rules)]
extern "sysv64" fn alloc_exact_from<A: GlobalAlloc>(
    size: usize,
    inner: &A,
    fill: Fill,
    sp: usize,
    rbp: usize,
) -> *mut u8 {
    let Some(thread) = thread::unoccupied() else {
        return alloc_exact_unusual(size, inner, fill, sp, rbp);
    };
    thread.occupy();
    // SAFETY: the thread is occupied and ours, so this is the only reference to the stack state.
    let state = unsafe { &mut *thread.stack.get() };
    // SAFETY: `alloc_exact` found them in the registers, and has not returned.
    let hash = unsafe { stack::capture_from(state, settings::depth(), stack::Entry { sp, rbp }) };
    let (row, context) = find_stack(thread, hash);
    ask_exact(inner, thread, row, context, size, fill)
}

/// The usual way is closed. The stack is captured from the same caller on, so that the block gets the context it always has.
#[cfg(stack_rules)]
#[cold]
#[inline(never)]
extern "sysv64" fn alloc_exact_unusual<A: GlobalAlloc>(
    size: usize,
    inner: &A,
    fill: Fill,
    sp: usize,
    rbp: usize,
) -> *mut u8 {
    unusual::alloc(inner, block::SMALL_ALIGN, size, fill, || {
        // The mode may have been set by the environment meanwhile.
        if settings::mode_number() == Mode::Exact as u8 {
            alloc_exact_from(size, inner, fill, sp, rbp)
        } else {
            alloc_again(inner, block::SMALL_ALIGN, size, fill)
        }
    })
}

/// The usual way is closed.
#[cold]
#[inline(never)]
pub(super) fn alloc_unusual<A: GlobalAlloc>(inner: &A, size: usize, fill: Fill) -> *mut u8 {
    unusual::alloc(inner, block::SMALL_ALIGN, size, fill, || {
        alloc_again(inner, block::SMALL_ALIGN, size, fill)
    })
}

fn alloc_again<A: GlobalAlloc>(inner: &A, align: usize, size: usize, fill: Fill) -> *mut u8 {
    // SAFETY: the alignment is that of a valid layout, or 8, to which a smaller one was rounded up; the size is far from the limit.
    alloc(inner, unsafe { Layout::from_size_align_unchecked(size, align) }, fill)
}

/// Mode `exact`, header in front.
#[cfg(not(stack_rules))]
#[inline(never)]
fn alloc_exact<A: GlobalAlloc>(size: usize, inner: &A, fill: Fill) -> *mut u8 {
    let Some((thread, attention)) = thread::recording() else {
        return alloc_unusual(inner, size, fill);
    };
    if attention.is_any() && thread.watch.fails_now(thread) {
        return ptr::null_mut();
    }
    thread.occupy();
    let (row, context) = find_row(thread, Mode::Exact);
    let granted = ask_exact(inner, thread, row, context, size, fill);
    if attention.is_any() {
        thread.attend(attention);
        unusual::note_granted(thread, granted, block::SMALL_ALIGN, size);
    }
    granted
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
fn alloc_behind<A: GlobalAlloc>(size: usize, align: usize, inner: &A, fill: Fill) -> *mut u8 {
    if !block::is_grantable(size, align) {
        return ptr::null_mut();
    }
    if settings::is_off() {
        return alloc_untracked(inner, size, align, fill);
    }
    let Some((thread, attention)) = thread::recording() else {
        return unusual::alloc(inner, align, size, fill, || alloc_again(inner, align, size, fill));
    };
    if attention.is_any() && thread.watch.fails_now(thread) {
        return ptr::null_mut();
    }
    thread.occupy();
    let mode = settings::mode();
    if mode == Mode::Sampled {
        return sampled::alloc_behind(inner, (thread, attention), (size, align), fill);
    }
    let (row, context) = find_row(thread, mode);
    let granted = ask(inner, block::backed_layout(size, align), fill);
    if granted.is_null() {
        thread.vacate_to(attention);
        return granted;
    }
    let header = count_alloc(thread, row, context, size);
    growth::granted_behind(thread, context, size);
    thread.vacate_to(attention);
    let granted = finish(granted, false, size, header);
    if attention.is_any() {
        unusual::note_granted(thread, granted, align, size);
    }
    granted
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
    if thread.granted.get() >= thread.window_at.get() {
        observe::open_window(thread);
    }
    finish(granted, true, size, header)
}

/// Writes the header of a fresh block and gives the block.
#[inline(always)]
pub(super) fn finish(granted: *mut u8, in_front: bool, size: usize, header: Header) -> *mut u8 {
    if in_front {
        // SAFETY: the inner allocator granted `fronted_layout`: 16-aligned, at least HEADER_BYTES long, and ours alone.
        unsafe { block::write_front(granted, header) }
    } else {
        // SAFETY: the inner allocator granted `backed_layout(size, _)`, ours alone.
        unsafe { block::write_behind(granted, size, header) };
        granted
    }
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
pub(super) fn header_now(thread: &ThreadState, context: ContextId) -> Header {
    Header::new(context, Birth::of(epoch::current_bits(), thread.birth_bits.get()))
}
