//! Backend where every function keeps a frame pointer: aarch64 Linux, and Apple's systems.
//!
//! Record side. Follows the chain of frame records (the caller's frame pointer, the return address) that the target's
//! calling convention demands of every function that calls another. Keeps no memory of earlier stacks.
//!
//! Cost: one dependent load per frame, about 1 ns.
//!
//! Every read lies in `[sp, top)`: a record must lie above the one before, below the top, and be aligned to words; so
//! the walk ends. LIMIT: code that keeps no frame pointer in spite of the convention (hand-written assembly) is left out
//! of the stack, together with its caller; a stack switch ends it.

use core::arch::naked_asm;

use super::{Captured, MAX_DEPTH, add, finish};
use crate::record::sys::unwind;

/// Stack bounds and the frames of the last capture.
#[repr(C)]
pub(super) struct State {
    /// Lowest address of the thread's stack, and the first address above it; both 0 while unknown.
    low: usize,
    top: usize,
    len: usize,
    truncated: bool,
    foreign: bool,
    frames: [usize; MAX_DEPTH],
}

impl State {
    pub(super) fn frames(&self) -> impl Iterator<Item = usize> {
        self.frames.iter().copied().take(self.len)
    }

    /// What the last capture found, whose hash this is.
    pub(super) fn captured(&self, hash: u64) -> Captured {
        Captured {
            hash,
            len: self.len,
            truncated: self.truncated,
            foreign: self.foreign,
        }
    }

    /// Frames of the last capture that had to be stepped through: all.
    pub(super) fn fresh(&self) -> usize {
        self.len
    }
}

pub(super) fn init_process() {}

pub(super) fn init_thread(state: &mut State) {
    if let Some((low, top)) = unwind::stack_bounds() {
        state.low = low;
        state.top = top;
    }
}

pub(super) fn sync_with_loader() {}

/// See [`super::capture`], into which this is inlined.
#[inline(always)]
pub(super) fn capture(state: &mut State, depth: usize) -> u64 {
    // SAFETY: `state` is a valid reference for the duration of the call.
    unsafe { enter(state, depth) }
}

/// Hands the caller's registers to [`walk`], without a frame of its own: the return address, the frame pointer, the stack
/// pointer.
///
/// # Safety
/// `state` must be valid for reads and writes, and nobody else may use it during the call.
#[unsafe(naked)]
unsafe extern "C" fn enter(state: *mut State, depth: usize) -> u64 {
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x2, x30", "mov x3, x29", "mov x4, sp", "b {walk}", walk = sym walk);
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdx, [rsp]", "mov rcx, rbp", "lea r8, [rsp + 8]", "jmp {walk}", walk = sym walk);
}

/// Bytes of a frame record.
const RECORD: usize = size_of::<[usize; 2]>();

/// Captures the stack of the function that `pc` returns to, whose frame record is `record`. Returns the hash.
///
/// # Safety
/// `state` must be valid for reads and writes, and nobody else may use it during the call. `sp` must be the stack pointer
/// of that function.
unsafe extern "C" fn walk(state: *mut State, depth: usize, pc: usize, record: usize, sp: usize) -> u64 {
    // SAFETY: the caller's promise.
    let state = unsafe { &mut *state };
    let top = state.top;
    state.foreign = sp < state.low || sp > top;
    state.truncated = false;
    state.len = 0;
    // Nothing of a foreign stack is read: where it ends is not known.
    let depth = if state.foreign { 1 } else { depth };
    let (mut hash, mut pc, mut record, mut lowest) = (0, pc, record, sp);
    loop {
        let Some(slot) = state.frames.get_mut(state.len).filter(|_| state.len < depth) else {
            state.truncated = !state.foreign;
            break;
        };
        *slot = pc;
        state.len += 1;
        hash = add(hash, pc);
        let inside =
            record >= lowest && record <= top.saturating_sub(RECORD) && record.is_multiple_of(align_of::<usize>());
        if state.foreign || !inside {
            break;
        }
        // SAFETY: aligned, and within [sp, top): live frames of this thread.
        let [next, above] = unsafe { (record as *const [usize; 2]).read_volatile() };
        pc = without_signature(above);
        if pc == 0 {
            break;
        }
        lowest = record + RECORD;
        record = next;
    }
    finish(hash, state.truncated, state.foreign)
}

/// A return address without its pointer-authentication bits. User-space addresses have 48 bits at most here.
#[inline(always)]
fn without_signature(pc: usize) -> usize {
    if cfg!(target_arch = "aarch64") {
        pc & ((1 << 48) - 1)
    } else {
        pc
    }
}
