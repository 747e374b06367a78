//! Backend of last resort: the `backtrace` crate, some 100 ns a frame.
//!
//! Record side; used where no faster backend exists. Keeps no memory of earlier stacks. What the platform's unwinder
//! does inside is its own affair: it is asked for one frame at a time, bounded by the depth.

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

/// See [`super::capture`].
#[inline(never)]
pub(super) fn capture(state: &mut State, depth: usize) -> u64 {
    let marker = 0u8;
    let here = (&raw const marker).addr();
    let foreign = here < state.low || here >= state.top;
    let depth = if foreign { 1 } else { depth };
    let (mut len, mut hash, mut truncated) = (0, 0, false);
    let frames = &mut state.frames;
    // SAFETY: not synchronized means that no other thread may use the symbolizer's global state at the same time; a
    // trace without symbols uses none.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            // The unwinder's own frames, and ours, lie below `marker`; our caller's is the first above it. Where the
            // platform does not tell stack pointers, our own frames stay in.
            if frame.sp().addr() <= here && !frame.sp().is_null() {
                return true;
            }
            let pc = frame.ip().addr();
            if pc == 0 {
                return false;
            }
            let Some(slot) = frames.get_mut(len).filter(|_| len < depth) else {
                truncated = !foreign;
                return false;
            };
            *slot = pc;
            len += 1;
            hash = add(hash, pc);
            true
        });
    }
    state.len = len;
    state.truncated = truncated;
    state.foreign = foreign;
    finish(hash, truncated, foreign)
}
