//! Backend for x86-64 Linux: walk by cached rules, and only as far as the stack differs from the thread's last one.
//!
//! Record side; the hot path of every recorded stack.
//!
//! How it works. The machine state of a frame is its return address, its stack pointer and, if something further out
//! depends on it, `rbp`. The thread remembers the frames of its last stack ([`super::remembered`]). A capture first checks,
//! from the outermost frame inwards, how many of them the stack still holds: the same return address (and saved `rbp`, where
//! one is needed) at the same place. Then it steps from its caller outwards, by one rule per frame, until it comes
//! to the return address of the innermost frame that passed. Usually it gets there exactly, and is done; if it passes by
//! (what was left of an older call had looked like a frame), it goes on to the next one.
//!
//! Why it is exact: equal states have the same rule, so the same slot holds the caller's address; equal content gives
//! an equal next state. By induction the frames outside one that is met, all of which were checked, are what stepping would
//! find. A frame is met by where its return address lies, as that was checked, and by `rbp` if something depends on it.
//!
//! Every read of the stack lies in `[sp at entry, top)`, where `top` is the first address above the stack and its last word, `last`, ends.
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
        (0..self.len()).filter_map(move |back| match self.foreign {
            true => Some(self.foreign_pc),
            false => self.pc(last.wrapping_sub(back)),
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
    if (state.low, state.last) != (low, (low + bytes).saturating_sub(8)) {
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
    // SAFETY: low <= entry <= last, and everything above `entry` is live frames.
    let right = unsafe { state.still_right(depth, entry) };
    // SAFETY: as above; and `right` says which frames hold.
    let steps = unsafe { step(state, right, entry, rbp) };
    let (mut kept, fresh) = (steps.kept, steps.fresh);
    // PERF: the same stack once more is what a loop that allocates has; nothing is to be remembered then.
    if fresh != 0 {
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
    // SAFETY: count <= FRAMES.
    let all = unsafe { state.hash(count) };
    finish(all, false, false)
}

/// The end of a capture that remembers more frames than are asked for, or fewer than there are.
///
/// # Safety
/// As for [`walk`]. Frames up to `from` were not checked.
#[inline(never)]
unsafe fn finish_part(state: &mut State, depth: usize, entry: usize, rbp: usize, from: usize) -> u64 {
    let depth = depth.clamp(1, MAX_DEPTH);
    let count = state.count;
    // Fewer are left than were asked for, though there are more.
    let is_short = count <= depth && state.outside == Outside::Dropped;
    // One more than is handed out: that there is one more is what `truncated` says.
    let first = count.saturating_sub(depth + 1);
    // SAFETY: if frames were met, they are beyond `from` and live at least as far as `entry`; first < from. (If this capture dropped
    // frames, `from` is by their old numbers: more are looked at than need be.)
    if is_short || (first < from && from < count && !unsafe { state.holds(first, from) }) {
        // SAFETY: the caller's promise.
        return unsafe { walk_afresh(state, depth, entry, rbp) };
    }
    // SAFETY: count <= FRAMES.
    let all = unsafe { state.hash(count) };
    if count <= depth {
        return finish(all, state.outside != Outside::Nothing, false);
    }
    // SAFETY: depth < count <= FRAMES.
    let outer = unsafe { state.hash(count - depth) };
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
    let (mut place, mut rule) = (entry, Rule::ENTRY);
    let (mut rbp, mut used_rbp) = (rbp, false);
    let start = (&raw mut state.fresh).cast::<Fresh>();
    // SAFETY: the array has one entry more.
    let end = unsafe { start.add(FRAMES) };
    let mut first = opaque(end);
    'step: loop {
        // Here `rule` has led to the return address at `place`, and its slot is in [entry, place].
        if place >= goal {
            if place > state.last {
                state.outside = Outside::Unreachable;
                kept = 0;
                break;
            }
            // SAFETY: the slot lies in [entry, place], and place <= last.
            rbp = restored(rule, rbp, unsafe {
                read(place.wrapping_add(8).wrapping_sub(rule.slot()))
            });
            if place == goal && state.is_met(kept, rbp) {
                break;
            }
            kept = state.meet(right.from, kept, place, rbp);
            goal = state.goal(kept);
            if place == goal {
                break;
            }
        }
        // SAFETY: the slot lies in [entry, place], and place <= last.
        rbp = restored(rule, rbp, unsafe {
            read(place.wrapping_add(8).wrapping_sub(rule.slot()))
        });
        let pc = loop {
            // Here the return address at `place` lies further in than the goal, and `rbp` has the value of the frame it returns to.
            // SAFETY: entry <= place <= last.
            let pc = unsafe { read(place) };
            if first == start {
                state.outside = Outside::Dropped;
                kept = 0;
                break 'step;
            }
            rule = rules::rule(pc);
            // SAFETY: start < first.
            first = opaque(unsafe { first.sub(1) });
            // SAFETY: start <= first < end.
            unsafe { first.write(Fresh { pc, place, rbp, rule }) };
            // Signed, as `rbp` may be any number; user-space addresses are positive.
            if !rule.is_by_frame_pointer() || (rbp as isize) < place.wrapping_add(8) as isize {
                break pc;
            }
            used_rbp = true;
            place = rbp.wrapping_add(8);
            if place >= goal {
                continue 'step;
            }
            // PERF: where it lies does not depend on the rule, which takes longer to come by. With frame pointers the mix takes 49 ns
            // a block, without this 51.
            // SAFETY: entry < rbp < place <= last.
            rbp = unsafe { read(rbp) };
        };
        if rule.steps_from_rsp() {
            // A rule's slot lies within its offset: above `place`.
            place = place.wrapping_add(rule.offset());
        } else if rule.steps() {
            used_rbp = true;
            let sp = place.wrapping_add(8);
            place = rbp.wrapping_add(rule.offset()).wrapping_sub(8);
            // Signed, as above; and the slot is up to 8 KiB less, below zero included. What is above the stack is found where `place`
            // is compared with the goal.
            if (place.wrapping_add(8).wrapping_sub(rule.slot()) as isize) < sp as isize {
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
