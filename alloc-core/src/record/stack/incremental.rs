//! Backend for x86-64 Linux: walk by cached rules, and only as far as the stack differs from the thread's last one.
//!
//! Record side; the hot path of every recorded stack.
//!
//! How it works. The machine state of a frame is its return address, its stack pointer and, if something further out
//! depends on it, `rbp`. The thread remembers the frames of its last stack ([`super::remembered`]). A capture first checks,
//! from the outermost frame inwards, how many of them the stack still holds: the same return address (and saved `rbp`, where
//! one is needed) at the same place. Then it steps from its caller outwards, by one rule per frame, until it comes
//! to the stack pointer of the innermost frame that passed. Usually it gets there exactly, and is done; if it passes by
//! (what was left of an older call had looked like a frame), it goes on to the next one.
//!
//! Why it is exact: equal states have the same rule, so the same slot holds the caller's address; equal content gives
//! an equal next state. By induction the frames outside one that is met, all of which were checked, are what stepping would
//! find. A frame is met by its stack pointer alone, as its return address is the word below that, which was checked.
//!
//! Every read of the stack lies in `[sp at entry, top)`.
//!
//! Cost: see `benches/benches/stack_capture.rs`. Depth: up to [`FRAMES`] frames are remembered, whatever depth is asked
//! for. Of a deeper stack the outer frames are dropped; if too few are left, the stack is walked afresh.
//!
//! LIMIT: a signal handler's walk ends at the signal trampoline, marked truncated.

use core::arch::{asm, naked_asm};

use super::remembered::{FRAMES, Fresh, Outside, Right};
use super::rules::{self, Rule};
use super::{BASE, Captured, Entry, MAX_DEPTH, add, finish, modules, read};
use crate::record::sys::unwind;

pub(super) use super::modules::sync_with_loader;
pub(super) use super::remembered::State;

pub(super) fn init_process() {
    modules::init();
}

pub(super) fn init_thread(state: &mut State) {
    if let Some((low, top)) = unwind::stack_bounds() {
        state.set_bounds(low, top);
    }
}

impl State {
    pub(super) fn frames(&self) -> impl Iterator<Item = usize> {
        let last = self.count;
        (1..=self.len()).filter_map(move |back| match self.foreign {
            true => Some(self.foreign_pc),
            false => self.pc.get(last.wrapping_sub(back)).copied(),
        })
    }

    /// Frames of the last capture that are handed out.
    fn len(&self) -> usize {
        if self.foreign { 1 } else { self.count.min(self.depth) }
    }

    /// What the last capture found, whose hash this is.
    pub(super) fn captured(&self, hash: u64) -> Captured {
        let truncated = !self.foreign && (self.count > self.depth || self.outside != Outside::Nothing);
        Captured {
            hash,
            len: self.len(),
            truncated,
            foreign: self.foreign,
        }
    }

    /// Frames of the last capture that had to be stepped through.
    pub(super) fn fresh(&self) -> usize {
        self.fresh_count
    }
}

/// See [`super::capture`], into which this is inlined.
#[inline(always)]
pub(super) fn capture(state: &mut State, depth: usize) -> u64 {
    // SAFETY: `state` is a valid reference for the duration of the call.
    unsafe { enter(state, depth) }
}

/// See [`super::capture_from`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn capture_from(state: &mut State, depth: usize, entry: Entry) -> u64 {
    // SAFETY: `state` is a valid reference for the duration of the call, and the caller's promise.
    unsafe { walk(state, depth, entry.sp, entry.rbp) }
}

/// [`capture`] of made-up memory instead of the running stack, for tests: `stack` is the thread's stack, `entry` the word
/// in it that holds the innermost return address.
pub(super) fn walk_memory(state: &mut State, stack: &[usize], entry: usize, rbp: usize, depth: usize) -> u64 {
    let bytes = core::mem::size_of_val(stack);
    let low = stack.as_ptr().addr();
    // Frames of other memory are not remembered.
    if (state.low, state.top) != (low, low + bytes) {
        state.set_bounds(low, low + bytes);
    }
    let entry = low.wrapping_add(entry.wrapping_mul(8));
    // SAFETY: the state is a valid reference; `entry` is only used if it lies in the slice, all of which is readable;
    // and what lies there is only read.
    unsafe { walk(state, depth, entry, rbp) }
}

/// Hands the caller's registers to [`walk`], without a frame of its own: the return address at the stack pointer, the
/// stack pointer, and `rbp`.
///
/// # Safety
/// `state` must be valid for reads and writes, and nobody else may use it during the call.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter(state: *mut State, depth: usize) -> u64 {
    // With unwind information of its own, as in `gate::alloc_exact`.
    naked_asm!(
        ".cfi_startproc",
        "mov rdx, rsp",
        "mov rcx, rbp",
        "jmp {walk}",
        ".cfi_endproc",
        walk = sym walk
    )
}

/// Captures the stack whose innermost frame has its return address at `entry`. Returns the hash.
///
/// # Safety
/// `state` must be valid for reads and writes, and nobody else may use it during the call. `entry` must point to the
/// return address of a function that has not returned, on the stack of the calling thread, or (in tests) `[entry, top)`
/// must be readable memory.
unsafe extern "sysv64" fn walk(state: *mut State, depth: usize, entry: usize, rbp: usize) -> u64 {
    // SAFETY: the caller's promise.
    let state = unsafe { &mut *state };

    // `room` is the stack's size less a word: what the return address at `entry` needs.
    if entry.wrapping_sub(state.low) > state.room {
        // SAFETY: on a stack of its own or not, the place of a return address can be read; and so can what tests pass.
        return foreign(state, unsafe { read(entry) });
    }
    if state.epoch != modules::epoch() {
        // SAFETY: the caller's promise.
        return unsafe { walk_afresh(state, depth, entry, rbp) };
    }
    // SAFETY: low <= entry <= top - 8, and everything above `entry` is live frames.
    let right = unsafe { state.still_right(depth, entry) };
    let (mut kept, mut fresh) = (right.to, 0);
    // PERF: the same stack once more is what a loop that allocates has; nothing is to be remembered then.
    if !state.is_met(kept, entry + 8, rbp) {
        // SAFETY: as above; and `right` says which frames hold.
        let steps = unsafe { step(state, right, entry, rbp) };
        (kept, fresh) = (steps.kept, steps.fresh);
        if kept + fresh > FRAMES {
            kept = state.shift(kept, fresh);
        }
        state.remember(kept, fresh, steps.rbp, steps.used_rbp);
    }
    let count = kept + fresh;
    state.count = count;
    state.fresh_count = fresh;
    state.foreign = false;
    state.depth = depth;
    if count > depth || state.outside != Outside::Nothing || right.from != 0 {
        // SAFETY: the caller's promise.
        return unsafe { finish_part(state, depth, entry, rbp, right.from) };
    }
    // `count` is at least 1: the innermost frame is always fresh or kept.
    // SAFETY: 1 <= count <= FRAMES.
    let all = unsafe { *state.hash.get_unchecked(count - 1) };
    finish(all, false, false)
}

/// The end of a capture that remembers more frames than are asked for, or fewer than there are.
///
/// # Safety
/// As for [`walk`]. Frames outside `from` were not checked.
#[inline(never)]
unsafe fn finish_part(state: &mut State, depth: usize, entry: usize, rbp: usize, from: usize) -> u64 {
    let depth = depth.clamp(1, MAX_DEPTH);
    let count = state.count;
    // Fewer are left than were asked for, though there are more.
    let is_short = count <= depth && state.outside == Outside::Dropped;
    // One more than is handed out: that there is one more is what `truncated` says.
    let first = count.saturating_sub(depth + 1) & !7;
    // SAFETY: if frames were met, they are the ones from `from` on, live at least as far as `entry`; first < from.
    if is_short || (first < from && from < count && !unsafe { state.holds(first, from) }) {
        // SAFETY: the caller's promise.
        return unsafe { walk_afresh(state, depth, entry, rbp) };
    }
    // SAFETY: 1 <= count <= FRAMES.
    let all = unsafe { *state.hash.get_unchecked(count - 1) };
    if count <= depth {
        return finish(all, state.outside != Outside::Nothing, false);
    }
    // SAFETY: 1 <= depth < count <= FRAMES.
    let outer = unsafe { *state.hash.get_unchecked(count - depth - 1) };
    if state.power_of != depth {
        state.power_of = depth;
        state.power = BASE.wrapping_pow(depth as u32);
    }
    finish(all.wrapping_sub(outer.wrapping_mul(state.power)), true, false)
}

/// Forgets everything and walks again.
///
/// # Safety
/// As for [`walk`].
#[cold]
#[inline(never)]
unsafe fn walk_afresh(state: &mut State, depth: usize, entry: usize, rbp: usize) -> u64 {
    state.count = 0;
    state.epoch = modules::epoch();
    // SAFETY: the caller's promise. It comes back here only if the epoch moves again: a walk that remembers nothing is
    // never short, as it drops frames only beyond FRAMES.
    unsafe { walk(state, depth, entry, rbp) }
}

/// What stepping found.
struct Steps {
    /// Frames that were met, at the end of `State::fresh`, innermost last.
    fresh: usize,
    /// Remembered frames that are still right, the one where stepping ended included.
    kept: usize,
    /// The last value of `rbp`.
    rbp: usize,
    /// A step depended on `rbp`.
    used_rbp: bool,
}

/// `saved` if the rule loads `rbp` from the stack, else `rbp`.
///
/// Without a branch, which is hard to predict.
#[inline(always)]
fn restored(rule: Rule, rbp: usize, saved: usize) -> usize {
    let mut rbp = rbp;
    // SAFETY: two instructions on registers.
    unsafe {
        asm!(
            "test {rule:l}, {bit}",
            "cmovnz {rbp}, {saved}",
            rule = in(reg) rule.bits(),
            bit = const Rule::RESTORES,
            rbp = inlateout(reg) rbp,
            saved = in(reg) saved,
            options(pure, nomem, nostack)
        );
    }
    rbp
}

/// Keeps the compiler from making offsets of a pointer, for which it has no registers. PERF: 8 instructions a step.
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through it")]
fn opaque<T>(mut pointer: *mut T) -> *mut T {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

/// Steps outwards from `entry`, into `state.fresh`, until one of the frames `right` is met or the end.
///
/// # Safety
/// `[entry, top)` must be readable; the frames `right` must be remembered, and each must still be right if the one
/// before is.
#[inline(always)]
unsafe fn step(state: &mut State, right: Right, entry: usize, rbp: usize) -> Steps {
    let mut kept = right.to;
    let mut goal = state.goal(kept);
    // As if the frame at `entry` had been left by a rule.
    let (mut cfa, mut rule) = (entry + 8, Rule::ENTRY);
    let (mut rbp, mut used_rbp) = (rbp, false);
    let start = (&raw mut state.fresh).cast::<Fresh>();
    // SAFETY: the array has one entry more.
    let end = unsafe { start.add(FRAMES) };
    let mut first = opaque(end);
    loop {
        // Here `rule` has led to the caller's frame at `cfa`, and its slot is in [entry, cfa).
        if cfa >= goal {
            if cfa > state.top {
                state.outside = Outside::Unreachable;
                kept = 0;
                break;
            }
            // SAFETY: the slot lies in [entry, cfa - 8], and cfa <= top.
            rbp = restored(rule, rbp, unsafe { read(cfa.wrapping_sub(rule.slot())) });
            // SAFETY: 0 < kept <= FRAMES: without a frame to meet, the goal is above the top.
            let need = unsafe { *state.need.get_unchecked(kept - 1) };
            if cfa == goal && need & 1 == 0 {
                break;
            }
            kept = state.meet(right.from, kept, cfa, rbp);
            goal = state.goal(kept);
            if cfa == goal {
                break;
            }
        }
        // SAFETY: the slot lies in [entry, cfa - 8], and entry + 8 <= cfa <= top.
        let (pc, saved) = unsafe { (read(cfa - 8), read(cfa.wrapping_sub(rule.slot()))) };
        rbp = restored(rule, rbp, saved);
        let sp = cfa;
        if first == start {
            state.outside = Outside::Dropped;
            kept = 0;
            break;
        }
        rule = rules::rule(pc);
        // SAFETY: start < first.
        first = opaque(unsafe { first.sub(1) });
        // SAFETY: start <= first < end.
        unsafe { first.write(Fresh { pc, sp, rbp, rule }) };
        if rule.steps_from_rsp() {
            // A rule's slot lies within its offset: not below sp.
            cfa = sp.wrapping_add(rule.offset());
        } else if rule.steps() {
            used_rbp = true;
            cfa = rbp.wrapping_add(rule.offset());
            // Signed, as `cfa` may be any number, and the slot up to 8 KiB less, below zero included; user-space
            // addresses are positive. What is above the stack is found where `cfa` is compared with the goal.
            if (cfa.wrapping_sub(rule.slot()) as isize) < sp as isize {
                state.outside = Outside::Unreachable;
                kept = 0;
                break;
            }
        } else {
            state.outside = if rule.is_outermost() {
                Outside::Nothing
            } else {
                Outside::Unreachable
            };
            // SAFETY: first < end.
            let inner = unsafe { first.add(1) };
            if pc == 0 && inner != end {
                // Not a frame: the word outside the first function of a stack that starts without unwind information.
                first = inner;
                state.outside = Outside::Nothing;
            } else if pc == 0 {
                // No stack of real code starts with it; were it remembered, a walk from further in would end with it as a frame.
                state.epoch = state.epoch.wrapping_sub(1);
            }
            kept = 0;
            break;
        }
    }
    Steps {
        // SAFETY: start <= first <= end.
        fresh: unsafe { end.offset_from_unsigned(first) },
        kept,
        rbp,
        used_rbp,
    }
}

/// One address and a mark: this is not the thread's own stack.
#[cold]
#[inline(never)]
fn foreign(state: &mut State, pc: usize) -> u64 {
    state.foreign_pc = pc;
    state.foreign = true;
    finish(add(0, pc), false, true)
}
