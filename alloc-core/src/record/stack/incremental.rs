//! Backend for x86-64 Linux: walk by cached rules, and only as far as the stack differs from the thread's last one.
//!
//! Record side; the hot path of every recorded stack.
//!
//! How it works. The machine state of a frame is its return address, its stack pointer and, if something further out
//! depends on it, `rbp`. The thread remembers the frames of its last stack, outermost first. A capture steps from its
//! caller outwards, by one rule per frame, until it meets a state that it remembers; then it checks, for every frame
//! further out, that the stack still holds the return address (and the saved `rbp`, where one is needed) that was
//! found there. These loads do not depend on each other, so a frame costs a fraction of a step. If one differs, frames
//! up to it are forgotten and stepping goes on.
//!
//! Why it is exact: equal states have the same rule, so the same slot holds the caller's address; equal content gives
//! an equal next state. By induction the remembered frames are what stepping would find.
//!
//! Invariants:
//! - INVARIANT (order): of the remembered frames, `sp` falls strictly from the outermost to the innermost, and the
//!   outermost is at most `top`.
//! - INVARIANT (link): frame `i - 1` is what the rule of frame `i` led to when `i` was recorded.
//! - INVARIANT (hash): `hash[i]` is a function of the return addresses of the remembered frames up to `i`, and of the
//!   hash of the frames dropped before them, which cancels out of every hash that is handed out.
//! - Every read of the stack lies in `[sp at entry, top)`.
//!
//! Cost: see `benches/benches/stack_capture.rs`. Depth: up to [`FRAMES`] frames are remembered, whatever depth is asked
//! for. Of a deeper stack the outer frames are dropped; if too few are left, the stack is walked afresh.
//!
//! LIMIT: a signal handler's walk ends at the signal trampoline, marked truncated.

use core::arch::{asm, naked_asm};

use super::rules::{self, Rule};
use super::{BASE, Captured, MAX_DEPTH, add, finish, modules, read};
use crate::record::sys::unwind;

/// Frames remembered. More than `MAX_DEPTH + 1`, so that a deep recursion goes up and down a bit between full walks.
const FRAMES: usize = 168;
/// Frames that a full array gives up at its outer end, to make room for the next ones.
const SLACK: usize = 24;
/// Frames checked at a time. As many entries in front of the outermost frame always pass the check.
const CHUNK: usize = 8;
/// The same for saved values of `rbp`, of which there are few.
const RBP_CHUNK: usize = 4;
/// Places of [`State::index`].
const PLACES: usize = 1024;

const _: () = assert!(FRAMES - SLACK > MAX_DEPTH && FRAMES <= 256);

/// A word to compare with in the entries that always pass.
static ZERO: usize = 0;

/// A frame met by stepping, until it is known how many there are.
#[derive(Clone, Copy)]
#[repr(C)]
struct Fresh {
    pc: usize,
    sp: usize,
    rbp: usize,
    rule: Rule,
}

/// A slot of the stack that held a value of `rbp` which the frames further out depend on.
#[derive(Clone, Copy)]
#[repr(C)]
struct Saved {
    slot: usize,
    rbp: usize,
}

/// What a thread remembers. Frames are outermost first; the arrays start with the entries that always pass.
#[repr(C)]
pub(super) struct State {
    /// Lowest address of the thread's stack; the first address above it; the bytes between them, less a word. All 0
    /// while unknown.
    low: usize,
    top: usize,
    room: usize,
    /// Remembered frames.
    count: usize,
    /// Frames that the last capture did not find among the remembered ones.
    fresh_count: usize,
    /// The one frame of a foreign stack.
    foreign_pc: usize,
    /// What the last capture was asked for.
    depth: usize,
    /// Multiplier of the hash to the power of `power_of`.
    power: u64,
    power_of: usize,
    epoch: u32,
    /// Why there is no frame outside frame 0.
    outside: Outside,
    foreign: bool,
    sp: [usize; CHUNK + FRAMES],
    pc: [usize; CHUNK + FRAMES],
    rbp: [usize; FRAMES],
    hash: [u64; FRAMES],
    /// Number of `saved` entries of the frames outside this one, times two; the low bit says whether this frame or one
    /// further out depends on `rbp`.
    need: [u32; FRAMES],
    saved: [Saved; RBP_CHUNK + FRAMES + 1],
    /// Where to look for a remembered frame, by stack pointer. A hint: what it says is checked.
    index: [u8; PLACES],
    /// The first entry is none: its rule restores nothing.
    fresh: [Fresh; 1 + FRAMES],
}

/// What lies outside the outermost remembered frame.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Outside {
    /// Nothing: it is the outermost frame of the thread.
    Nothing = 0,
    /// Frames that cannot be reached, for want of usable unwind information.
    Unreachable = 1,
    /// Frames that were left out.
    Dropped = 2,
}

pub(super) fn init_process() {
    modules::init();
}

pub(super) use super::modules::sync_with_loader;

pub(super) fn init_thread(state: &mut State) {
    if let Some((low, top)) = unwind::stack_bounds() {
        state.low = low;
        state.top = top;
        state.room = top.saturating_sub(low).saturating_sub(8);
    }
    let passes = (&raw const ZERO).addr() + 8;
    for sp in state.sp.iter_mut().take(CHUNK) {
        *sp = passes;
    }
    for saved in state.saved.iter_mut().take(RBP_CHUNK) {
        saved.slot = passes - 8;
    }
}

impl State {
    pub(super) fn frames(&self) -> impl Iterator<Item = usize> {
        let last = CHUNK + self.count;
        (1..=self.len()).filter_map(move |back| match self.foreign {
            true => Some(self.foreign_pc),
            false => self.pc.get(last.wrapping_sub(back)).copied(),
        })
    }

    /// Frames of the last capture that are handed out.
    #[inline(always)]
    fn len(&self) -> usize {
        if self.foreign { 1 } else { self.count.min(self.depth) }
    }

    /// What the last capture found, whose hash this is.
    #[inline(always)]
    fn captured(&self, hash: u64) -> Captured {
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
pub(super) fn capture(state: &mut State, depth: usize) -> Captured {
    // SAFETY: `state` is a valid reference for the duration of the call.
    let hash = unsafe { enter(state, depth.clamp(1, MAX_DEPTH)) };
    state.captured(hash)
}

/// [`capture`] of made-up memory instead of the running stack, for tests: `stack` is the thread's stack, `entry` the word
/// in it that holds the innermost return address.
pub(super) fn walk_memory(state: &mut State, stack: &[usize], entry: usize, rbp: usize, depth: usize) -> Captured {
    let bytes = core::mem::size_of_val(stack);
    let low = stack.as_ptr().addr();
    // Frames of other memory are not remembered.
    if (state.low, state.top) != (low, low + bytes) {
        state.count = 0;
    }
    (state.low, state.top, state.room) = (low, low + bytes, bytes.saturating_sub(8));
    let entry = low.wrapping_add(entry.wrapping_mul(8));
    // SAFETY: the state is a valid reference; `entry` is only used if it lies in the slice, all of which is readable;
    // and what lies there is only read.
    let hash = unsafe { walk(state, depth.clamp(1, MAX_DEPTH), entry, rbp) };
    state.captured(hash)
}

/// Hands the caller's registers to [`walk`], without a frame of its own: the return address at the stack pointer, the
/// stack pointer, and `rbp`.
///
/// # Safety
/// `state` must be valid for reads and writes, and nobody else may use it during the call.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter(state: *mut State, depth: usize) -> u64 {
    naked_asm!("mov rdx, rsp", "mov rcx, rbp", "jmp {walk}", walk = sym walk)
}

/// Captures the stack whose innermost frame has its return address at `entry`. Returns the hash.
///
/// # Safety
/// `state` must be valid for reads and writes, and nobody else may use it during the call. `entry` must be the stack
/// pointer of the calling thread, or (in tests) `[entry, top)` must be readable memory.
unsafe extern "sysv64" fn walk(state: *mut State, depth: usize, entry: usize, rbp: usize) -> u64 {
    // SAFETY: the caller's promise.
    let state = unsafe { &mut *state };

    // SAFETY: on a stack of its own or not, the running thread's stack pointer can be read; and so can what tests pass.
    let pc = unsafe { read(entry) };
    // `room` is the stack's size less a word: what the return address at `entry` needs.
    if entry.wrapping_sub(state.low) > state.room {
        return foreign(state, pc);
    }
    if state.epoch != modules::epoch() {
        // SAFETY: the caller's promise.
        return unsafe { walk_afresh(state, depth, entry, rbp) };
    }
    // SAFETY: low <= entry <= top - 8, and everything above `entry` is live frames.
    let Some(Steps {
        fresh,
        mut kept,
        rbp: last_rbp,
        rules,
    }) = (unsafe { step(state, depth, pc, entry + 8, rbp) })
    else {
        // SAFETY: the caller's promise.
        return unsafe { walk_afresh(state, depth, entry, rbp) };
    };
    if kept + fresh > FRAMES {
        kept = shift(state, kept, fresh);
    }
    remember(state, kept, fresh, last_rbp, rules);
    let count = kept + fresh;
    state.count = count;
    state.fresh_count = fresh;
    state.foreign = false;
    // `count` is at least 1: the innermost frame is always fresh or kept.
    // SAFETY: 1 <= count <= FRAMES.
    let all = unsafe { *state.hash.get_unchecked(count - 1) };
    state.depth = depth;
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
    // SAFETY: the caller's promise. It comes back here only if the epoch moves again: with no frames remembered, `step`
    // always has a result.
    unsafe { walk(state, depth, entry, rbp) }
}

/// Keeps the compiler from taking a condition apart into several branches, each hard to predict.
#[inline(always)]
fn opaque(mut value: usize) -> usize {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// What stepping found.
struct Steps {
    /// Frames that were met, in `State::fresh`, innermost first.
    fresh: usize,
    /// Remembered frames that are still right, the one where stepping ended included.
    kept: usize,
    /// The last value of `rbp`.
    rbp: usize,
    /// All rules that were used, put together.
    rules: Rule,
}

/// Steps outwards from a state, into `state.fresh`, until a remembered frame or the end is met. `None` if the frames
/// that are left are fewer than `depth` asks for while more exist.
///
/// # Safety
/// `[sp, top)` must be readable.
#[inline(always)]
unsafe fn step(state: &mut State, depth: usize, pc: usize, sp: usize, rbp: usize) -> Option<Steps> {
    let (mut pc, mut sp, mut rbp) = (pc, sp, rbp);
    let mut fresh = 0;
    let mut limit = state.count;
    let mut rules = Rule::STOP;
    loop {
        // SAFETY: the mask keeps the place below PLACES; what the index holds is below FRAMES.
        let (candidate, differs) = unsafe {
            let candidate = usize::from(*state.index.get_unchecked((sp >> 4) & (PLACES - 1)));
            let (its_sp, its_pc) = (
                state.sp.get_unchecked(CHUNK + candidate),
                state.pc.get_unchecked(CHUNK + candidate),
            );
            (
                candidate,
                (its_sp ^ sp) | (its_pc ^ pc) | usize::from(candidate >= limit),
            )
        };
        if opaque(differs) == 0 {
            // SAFETY: candidate < limit <= count <= FRAMES.
            let (need, its_rbp) = unsafe {
                (
                    *state.need.get_unchecked(candidate),
                    *state.rbp.get_unchecked(candidate),
                )
            };
            if need & 1 == 0 || its_rbp == rbp {
                let count = candidate + 1 + fresh;
                if count <= depth && state.outside == Outside::Dropped {
                    return None;
                }
                // One more than is handed out: that there is one more is what `truncated` says.
                let from = count.saturating_sub(depth + 1).min(candidate);
                // SAFETY: the candidate is a remembered frame at `sp`, so by INVARIANT (order) all frames outside it
                // lie in (sp, top]; and from <= candidate < count.
                match unsafe { verify(state, from, candidate, need) } {
                    None => {
                        return Some(Steps {
                            fresh,
                            kept: candidate + 1,
                            rbp,
                            rules,
                        });
                    }
                    Some(changed) => limit = changed,
                }
            }
        }
        if fresh == FRAMES {
            state.outside = Outside::Dropped;
            break;
        }
        let rule = rules::rule(pc);
        // SAFETY: fresh < FRAMES.
        unsafe { *state.fresh.get_unchecked_mut(1 + fresh) = Fresh { pc, sp, rbp, rule } };
        fresh += 1;
        rules = rules.or(rule);
        let (cfa, slot);
        if rule.steps_from_rsp() {
            // A rule's slot lies within its offset, so sp <= slot.
            cfa = sp.wrapping_add(rule.offset());
            slot = cfa.wrapping_sub(rule.slot());
        } else if rule.steps() {
            cfa = rbp.wrapping_add(rule.offset());
            slot = cfa.wrapping_sub(rule.slot());
            // Signed, as `cfa` may be any number up to `top`, and `slot` up to 8 KiB less, below zero included; user-space
            // addresses are positive.
            if (slot as isize) < sp as isize {
                state.outside = Outside::Unreachable;
                break;
            }
        } else {
            state.outside = if rule.is_outermost() {
                Outside::Nothing
            } else {
                Outside::Unreachable
            };
            if pc == 0 && fresh > 1 {
                // Not a frame: the word outside the first function of a stack that starts without unwind information.
                fresh -= 1;
                state.outside = Outside::Nothing;
            }
            break;
        }
        if cfa > state.top {
            state.outside = Outside::Unreachable;
            break;
        }
        // SAFETY: sp <= slot < cfa <= top, and the return address lies in the last word of that: slot() is 8 at least.
        let (above, saved) = unsafe { (read(cfa - 8), read(slot)) };
        pc = above;
        rbp ^= (rbp ^ saved) & opaque(rule.restores_rbp_mask());
        sp = cfa;
    }
    Some(Steps {
        fresh,
        kept: 0,
        rbp,
        rules,
    })
}

/// Checks that the stack still holds what frames `from..to` were made from. Returns the innermost that differs. `last`
/// is what frame `to` needs.
///
/// # Safety
/// `from <= to < count`, and `[sp of frame to, top)` must be readable.
// Not inlined: the registers it needs are missing in the loop that calls it. PERF: 20 instructions a capture.
#[inline(never)]
unsafe fn verify(state: &State, from: usize, to: usize, last: u32) -> Option<usize> {
    // Ends of the chunks, counted from the start of the arrays, which begin with CHUNK entries that pass.
    let mut end = CHUNK + to;
    let mut differs = 0;
    while end > CHUNK + from {
        for back in 1..=CHUNK {
            // SAFETY: back <= CHUNK < end < CHUNK + FRAMES, so the index is in bounds. Entries of frames lie in
            // (sp of frame to, top] by INVARIANT (order); those in front of the first point behind `ZERO`.
            unsafe {
                let sp = *state.sp.get_unchecked(end - back);
                differs |= read(sp.wrapping_sub(8)) ^ *state.pc.get_unchecked(end - back);
            }
        }
        if differs != 0 {
            break;
        }
        end -= CHUNK;
    }
    // SAFETY: from <= to < count <= FRAMES.
    let first = unsafe { *state.need.get_unchecked(from) };
    let (first, mut end) = (RBP_CHUNK + (first >> 1) as usize, RBP_CHUNK + (last >> 1) as usize);
    while end > first {
        for back in 1..=RBP_CHUNK {
            // SAFETY: there is at most one entry a frame, so RBP_CHUNK < end <= RBP_CHUNK + FRAMES; slots are words of
            // frames that lie in [sp of frame to, top), or `ZERO`.
            unsafe {
                let saved = state.saved.get_unchecked(end - back);
                differs |= read(saved.slot) ^ saved.rbp;
            }
        }
        end -= RBP_CHUNK;
    }
    if differs == 0 {
        return None;
    }
    // SAFETY: the same conditions.
    unsafe { find_change(state, from, to) }
}

/// The slow half of [`verify`].
///
/// # Safety
/// As for [`verify`].
#[inline(never)]
unsafe fn find_change(state: &State, from: usize, to: usize) -> Option<usize> {
    // SAFETY: frames below `to` are remembered, and their slots readable, as `verify` says; an entry of `saved`
    // belongs to frame i if the number of entries before frame i + 1 is larger than before frame i.
    unsafe {
        let mut entries = *state.need.get_unchecked(to) >> 1;
        for frame in (from..to).rev() {
            if read(state.sp.get_unchecked(CHUNK + frame).wrapping_sub(8)) != *state.pc.get_unchecked(CHUNK + frame) {
                return Some(frame);
            }
            let before = *state.need.get_unchecked(frame) >> 1;
            if before < entries {
                let saved = state.saved.get_unchecked(RBP_CHUNK + before as usize);
                if read(saved.slot) != saved.rbp {
                    return Some(frame);
                }
            }
            entries = before;
        }
    }
    None
}

/// Appends the fresh frames to the `kept` remembered ones. `rbp` is its value in the innermost kept frame; `rules` are
/// all rules of the fresh ones.
#[inline(always)]
fn remember(state: &mut State, kept: usize, fresh: usize, rbp: usize, rules: Rule) {
    let (mut hash, mut need) = (0, 0);
    if kept > 0 {
        // SAFETY: kept <= FRAMES.
        unsafe {
            hash = *state.hash.get_unchecked(kept - 1);
            need = *state.need.get_unchecked(kept - 1);
        }
    }
    if need & 1 != 0 || rules.uses_rbp() {
        return remember_rbp(state, kept, fresh, rbp, hash, need);
    }
    // No fresh frame depends on rbp: the common case without frame pointers.
    for at in kept..kept + fresh {
        // SAFETY: kept + fresh <= FRAMES.
        unsafe {
            let Fresh { pc, sp, .. } = *state.fresh.get_unchecked(kept + fresh - at);
            hash = add(hash, pc);
            *state.sp.get_unchecked_mut(CHUNK + at) = sp;
            *state.pc.get_unchecked_mut(CHUNK + at) = pc;
            *state.hash.get_unchecked_mut(at) = hash;
            *state.need.get_unchecked_mut(at) = need;
            *state.index.get_unchecked_mut((sp >> 4) & (PLACES - 1)) = at as u8;
        }
    }
}

/// [`remember`], with the saved values of `rbp` that frames depend on. `hash` and `need` are those of the innermost kept
/// frame.
#[inline(always)]
fn remember_rbp(state: &mut State, kept: usize, fresh: usize, rbp: usize, mut hash: u64, need: u32) {
    let mut entries = (need >> 1) as usize;
    let mut need = need & 1;
    // A frame's value of rbp was loaded by the rule of the next frame inside, or not at all: then the entry written here
    // does not count, and is overwritten.
    // SAFETY: fresh <= FRAMES.
    let mut rule = unsafe { state.fresh.get_unchecked(fresh).rule };
    if kept > 0 {
        // The innermost kept frame is reached by another path now, which may have saved its rbp elsewhere.
        // SAFETY: kept <= FRAMES, and there are fewer entries than frames.
        unsafe {
            let slot = state.sp.get_unchecked(CHUNK + kept - 1).wrapping_sub(rule.slot());
            *state.saved.get_unchecked_mut(RBP_CHUNK + entries) = Saved { slot, rbp };
        }
        entries += (need & rule.restores_rbp_bit()) as usize;
    }
    for at in kept..kept + fresh {
        // SAFETY: kept + fresh <= FRAMES; entries grows by at most one a frame.
        unsafe {
            let Fresh { pc, sp, rbp, rule: own } = *state.fresh.get_unchecked(kept + fresh - at);
            rule = state.fresh.get_unchecked(kept + fresh - at - 1).rule;
            hash = add(hash, pc);
            need = if own.touches_rbp() { own.uses_rbp_bit() } else { need };
            *state.sp.get_unchecked_mut(CHUNK + at) = sp;
            *state.pc.get_unchecked_mut(CHUNK + at) = pc;
            *state.rbp.get_unchecked_mut(at) = rbp;
            *state.hash.get_unchecked_mut(at) = hash;
            *state.need.get_unchecked_mut(at) = (entries as u32) << 1 | need;
            *state.index.get_unchecked_mut((sp >> 4) & (PLACES - 1)) = at as u8;
            *state.saved.get_unchecked_mut(RBP_CHUNK + entries) = Saved {
                slot: sp.wrapping_sub(rule.slot()),
                rbp,
            };
            entries += (need & rule.restores_rbp_bit()) as usize;
        }
    }
}

/// Drops outer frames until `kept + fresh` fit, with room to spare. Returns how many of the kept ones are left.
#[cold]
#[inline(never)]
fn shift(state: &mut State, kept: usize, fresh: usize) -> usize {
    let drop = (kept + fresh + SLACK).saturating_sub(FRAMES).min(kept);
    state.outside = Outside::Dropped;
    let left = kept - drop;
    let gone = state.need.get(drop).map_or(0, |need| need >> 1);
    state.sp.copy_within(CHUNK + drop..CHUNK + kept, CHUNK);
    state.pc.copy_within(CHUNK + drop..CHUNK + kept, CHUNK);
    state.rbp.copy_within(drop..kept, 0);
    state.hash.copy_within(drop..kept, 0);
    state.need.copy_within(drop..kept, 0);
    state.saved.copy_within(RBP_CHUNK + gone as usize.., RBP_CHUNK);
    for (at, need) in state.need.iter_mut().enumerate().take(left) {
        *need -= gone << 1;
        let sp = state.sp.get(CHUNK + at).copied().unwrap_or(0);
        if let Some(place) = state.index.get_mut((sp >> 4) & (PLACES - 1)) {
            *place = at as u8;
        }
    }
    left
}

/// One address and a mark: this is not the thread's own stack.
#[cold]
#[inline(never)]
fn foreign(state: &mut State, pc: usize) -> u64 {
    state.foreign_pc = pc;

    state.foreign = true;
    finish(add(0, pc), false, true)
}
