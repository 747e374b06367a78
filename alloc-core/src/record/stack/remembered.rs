//! What a thread remembers of its last stack, and the check of how much of that still holds.
//!
//! Record side; used by [`super::incremental`] alone, at every recorded stack.
//!
//! Frames are outermost first: frame 0 is the first function of the thread. [`State::still_right`] compares each with the
//! word of the stack that it was read from. These loads do not depend on each other, so a frame costs a fraction of a
//! step by its rule: four instructions.
//!
//! Invariants:
//! - INVARIANT (order): `sp` falls strictly from frame to frame, and that of frame 0 is at most `top`.
//! - INVARIANT (link): frame `i - 1` is what the rule of frame `i` led to when `i` was recorded.
//! - INVARIANT (hash): `hash[i]` is a function of the return addresses of the frames up to `i`, and of the hash of the
//!   frames dropped before them, which cancels out of every hash that is handed out.
//! - INVARIANT (past): entries beyond `count` are zero-initialised (see [`State::set_bounds`]) or were frames of this
//!   same stack: what they name is read only where it is live.

use core::arch::asm;
use core::arch::x86_64::{__m128i, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32};
use core::mem::offset_of;

use super::rules::Rule;
use super::{MAX_DEPTH, add, read};

/// Frames remembered. More than `MAX_DEPTH + 1`, so that a deep recursion goes up and down a bit between full walks.
pub(super) const FRAMES: usize = 168;
/// Frames that a full array gives up at its outer end, to make room for the next ones.
const SLACK: usize = 24;
/// Frames checked at a time.
const CHUNK: usize = 8;
/// Saved values of `rbp` checked at a time. As many entries in front of the first always pass the check.
const RBP_CHUNK: usize = 4;
/// What [`State::compare`] makes of a chunk whose frames all hold: two bits for each.
const ALL_HOLD: u32 = (1 << (2 * CHUNK)) - 1;

const _: () = assert!(FRAMES - SLACK > MAX_DEPTH && FRAMES.is_multiple_of(CHUNK));

/// A word that a frame is compared with if its own must not be read. No return address is like it: so high is no code.
static NO_ADDRESS: usize = usize::MAX;
/// A word to compare with in the entries of `saved` that always pass.
static ZERO: usize = 0;

/// Compares the words below two `sp`s, as `place` gives them, with the addresses that belong to frames `AT` and `AT + 1`
/// from `frames` on: all ones where they are equal.
///
/// PERF: three instructions, where the compiler makes five of it.
///
/// # Safety
/// `frames` must point into `State::sp`, at a multiple of CHUNK, and the words must be readable.
#[inline(always)]
unsafe fn pair<const AT: usize>(frames: *const usize, place: impl Fn(usize) -> usize) -> __m128i {
    // SAFETY: the caller's promise.
    let [outer, inner] = [AT, AT + 1].map(|at| place(unsafe { *frames.add(at) }));
    let equal;
    // SAFETY: reads the two words, and two addresses, which lie at a multiple of 16: see below.
    unsafe {
        asm!(
            "movq {equal}, qword ptr [{outer} - 8]",
            "movhps {equal}, qword ptr [{inner} - 8]",
            "pcmpeqd {equal}, xmmword ptr [{frames} + {to_addresses}]",
            equal = out(xmm_reg) equal,
            outer = in(reg) outer,
            inner = in(reg) inner,
            frames = in(reg) frames,
            to_addresses = const offset_of!(State, pc) - offset_of!(State, sp) + 8 * AT,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    equal
}

/// Where checking starts if fewer frames are asked for than are remembered.
#[cold]
#[inline(never)]
fn first_checked(count: usize, depth: usize) -> usize {
    // The stack may have become shallower since: check a few more than was asked for.
    count.saturating_sub(depth + 1 + CHUNK) & !(CHUNK - 1)
}

const _: () = assert!(offset_of!(State, pc).is_multiple_of(16) && align_of::<State>() == 16 && CHUNK == 8);

/// A frame met by stepping, until it is known how many there are.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Fresh {
    pub(super) pc: usize,
    pub(super) sp: usize,
    pub(super) rbp: usize,
    pub(super) rule: Rule,
}

/// A slot of the stack that held a value of `rbp` which the frames further out depend on.
#[derive(Clone, Copy)]
#[repr(C)]
struct Saved {
    slot: usize,
    rbp: usize,
}

/// What lies outside the outermost remembered frame.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Outside {
    /// Nothing: it is the outermost frame of the thread.
    Nothing = 0,
    /// Frames that cannot be reached, for want of usable unwind information.
    Unreachable = 1,
    /// Frames that were left out.
    Dropped = 2,
}

/// What a thread remembers.
#[repr(C, align(16))]
pub(super) struct State {
    /// Lowest address of the thread's stack; the first address above it; the bytes between them, less a word. All 0
    /// while unknown.
    pub(super) low: usize,
    pub(super) top: usize,
    pub(super) room: usize,
    /// Remembered frames.
    pub(super) count: usize,
    /// Frames that the last capture did not find among the remembered ones.
    pub(super) fresh_count: usize,
    /// The one frame of a foreign stack.
    pub(super) foreign_pc: usize,
    /// What the last capture was asked for.
    pub(super) depth: usize,
    /// Multiplier of the hash to the power of `power_of`.
    pub(super) power: u64,
    pub(super) power_of: usize,
    /// The modules' epoch that the frames belong to.
    pub(super) epoch: u32,
    /// Why there is no frame outside frame 0.
    pub(super) outside: Outside,
    pub(super) foreign: bool,
    pub(super) sp: [usize; FRAMES],
    pub(super) pc: [usize; FRAMES],
    pub(super) rbp: [usize; FRAMES],
    pub(super) hash: [u64; FRAMES],
    /// Number of `saved` entries of the frames outside this one, times two; the low bit says whether this frame or one
    /// further out depends on `rbp`.
    pub(super) need: [u32; FRAMES],
    saved: [Saved; RBP_CHUNK + FRAMES + 1],
    /// Filled from its end. The last entry is none: its rule restores nothing.
    pub(super) fresh: [Fresh; FRAMES + 1],
}

/// The frames that may be met, found by [`State::still_right`].
#[derive(Clone, Copy)]
pub(super) struct Right {
    /// Frames from here on were checked; those outside it may be wrong.
    pub(super) from: usize,
    /// Frames up to here are right, each if the one before is. 0 if none may be met.
    pub(super) to: usize,
}

impl State {
    /// Forgets all frames, and makes these the bounds of the stack.
    pub(super) fn set_bounds(&mut self, low: usize, top: usize) {
        (self.low, self.top) = (low, top);
        self.room = top.saturating_sub(low).saturating_sub(8);
        self.count = 0;
        // Below every stack.
        self.sp.fill(0);
        for saved in self.saved.iter_mut().take(RBP_CHUNK) {
            saved.slot = (&raw const ZERO).addr();
        }
    }

    /// Checks, from the outermost inwards, which frames the stack still holds as they are remembered: that of those that
    /// are handed out if `depth` is asked for, and of a few more.
    ///
    /// # Safety
    /// `[entry, top)` must be readable.
    #[inline(always)]
    pub(super) unsafe fn still_right(&self, depth: usize, entry: usize) -> Right {
        let count = self.count;
        let from = if count <= depth { 0 } else { first_checked(count, depth) };
        // SAFETY: from <= count <= FRAMES, and the caller's promise.
        let to = unsafe { self.unchanged(from, entry) };
        if to <= from {
            return Right { from, to: 0 };
        }
        // SAFETY: to <= count <= FRAMES, and from < FRAMES as it is at least CHUNK below `count` or 0.
        let (first, last) = unsafe { (*self.need.get_unchecked(from), *self.need.get_unchecked(to - 1)) };
        if first >> 1 >= last >> 1 {
            return Right { from, to };
        }
        // SAFETY: from < to as entries grow with the frames; and the caller's promise.
        let to = unsafe { self.unchanged_rbp(from, to) };
        Right {
            from,
            to: if to > from { to } else { 0 },
        }
    }

    /// The first frame from `from` on whose return address is not where it was, or lies below `entry`.
    ///
    /// # Safety
    /// `from` must be a multiple of CHUNK, at most `count`; `[entry, top)` must be readable.
    #[inline(always)]
    unsafe fn unchanged(&self, from: usize, entry: usize) -> usize {
        let count = self.count;
        // The return address of a frame lies below its `sp`.
        let lowest = entry + 8;
        let mut at = from;
        while at < count {
            // SAFETY: at < count <= FRAMES, both FRAMES and `at` multiples of CHUNK.
            let innermost = unsafe { *self.sp.get_unchecked(at + CHUNK - 1) };
            let held = if at + CHUNK <= count && innermost >= lowest {
                // SAFETY: as above. By INVARIANT (order) all slots of the chunk lie in [entry, top).
                unsafe { self.compare(at, |sp| sp) }
            } else {
                let elsewhere = (&raw const NO_ADDRESS).addr() + 8;
                // SAFETY: as above; every slot that is read lies in [entry, top), or is `NO_ADDRESS`: by INVARIANT
                // (past) this holds beyond `count`, too.
                unsafe { self.compare(at, |sp| if sp >= lowest { sp } else { elsewhere }) }
            };
            if held != ALL_HOLD {
                return count.min(at + (!held).trailing_zeros() as usize / 2);
            }
            at += CHUNK;
        }
        count
    }

    /// Two bits for each frame of the chunk at `at`, set if the word below the frame's `sp`, as `place` gives it, is the
    /// return address of the frame.
    ///
    /// # Safety
    /// `at + CHUNK <= FRAMES`, `at` a multiple of CHUNK, and the words must be readable.
    #[inline(always)]
    unsafe fn compare(&self, at: usize, place: impl Fn(usize) -> usize + Copy) -> u32 {
        // SAFETY: `at` is in bounds. The pointer is that of the whole state, because the addresses follow.
        let frames = unsafe { (&raw const *self).byte_add(offset_of!(Self, sp) + 8 * at) }.cast();
        // SAFETY: the caller's promise; and every x86-64 processor has these instructions.
        unsafe {
            let outer = _mm_packs_epi32(pair::<0>(frames, place), pair::<2>(frames, place));
            let inner = _mm_packs_epi32(pair::<4>(frames, place), pair::<6>(frames, place));
            _mm_movemask_epi8(_mm_packs_epi16(outer, inner)) as u32
        }
    }

    /// The first frame from `from` on, before `to`, whose `rbp` is not where it was saved; or `to`.
    ///
    /// # Safety
    /// `from < to <= count`, and `[sp of frame to - 1, top)` must be readable.
    #[inline(always)]
    unsafe fn unchanged_rbp(&self, from: usize, to: usize) -> usize {
        // SAFETY: from < to <= FRAMES.
        let (first, last) = unsafe { (*self.need.get_unchecked(from), *self.need.get_unchecked(to - 1)) };
        let (first, mut end) = (RBP_CHUNK + (first >> 1) as usize, RBP_CHUNK + (last >> 1) as usize);
        let mut differs = 0;
        while end > first {
            for back in 1..=RBP_CHUNK {
                // SAFETY: there is at most one entry a frame, so RBP_CHUNK < end <= RBP_CHUNK + FRAMES; slots are words
                // of frames that lie in [sp of frame to - 1, top), or `ZERO`.
                unsafe {
                    let saved = self.saved.get_unchecked(end - back);
                    differs |= read(saved.slot) ^ saved.rbp;
                }
            }
            end -= RBP_CHUNK;
        }
        if differs == 0 {
            return to;
        }
        // SAFETY: the same conditions.
        unsafe { self.changed_rbp(from, to) }
    }

    /// The slow half of [`Self::unchanged_rbp`].
    ///
    /// # Safety
    /// As there.
    #[cold]
    #[inline(never)]
    unsafe fn changed_rbp(&self, from: usize, to: usize) -> usize {
        for frame in from..to - 1 {
            // SAFETY: frame + 1 < to <= FRAMES; an entry of `saved` belongs to frame i if the number of entries outside
            // frame i + 1 is larger than outside frame i; its slot is a word of the frames outside frame `to - 1`.
            unsafe {
                let before = *self.need.get_unchecked(frame) >> 1;
                let saved = self.saved.get_unchecked(RBP_CHUNK + before as usize);
                if *self.need.get_unchecked(frame + 1) >> 1 > before && read(saved.slot) != saved.rbp {
                    return frame;
                }
            }
        }
        to
    }

    /// Where frame `kept - 1` is, which stepping may meet; above the stack if there is none.
    #[inline(always)]
    pub(super) fn goal(&self, kept: usize) -> usize {
        if kept > 0 {
            // SAFETY: kept <= count <= FRAMES.
            unsafe { *self.sp.get_unchecked(kept - 1) }
        } else {
            self.top.wrapping_add(1)
        }
    }

    /// Whether the innermost of `kept` frames is at `sp`, with this `rbp` if anything depends on it.
    #[inline(always)]
    pub(super) fn is_met(&self, kept: usize, sp: usize, rbp: usize) -> bool {
        // SAFETY: 0 < kept <= count <= FRAMES, as without a frame the goal is above the top.
        self.goal(kept) == sp
            && unsafe { *self.need.get_unchecked(kept - 1) & 1 == 0 || *self.rbp.get_unchecked(kept - 1) == rbp }
    }

    /// How many of `kept` frames are left when stepping has come to `sp`, with this `rbp`: the innermost of them is at
    /// `sp`, which is met, or further out. Frames outside `from` are not met.
    #[inline(never)]
    pub(super) fn meet(&self, from: usize, mut kept: usize, sp: usize, rbp: usize) -> usize {
        while kept > from {
            if self.goal(kept) > sp || self.is_met(kept, sp, rbp) {
                return kept;
            }
            kept -= 1;
        }
        0
    }

    /// Whether frames `from..to` hold, which are outside one that was met.
    ///
    /// # Safety
    /// `from <= to < count`, both multiples of CHUNK, and `[sp of frame to, top)` must be readable.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn holds(&self, from: usize, to: usize) -> bool {
        // SAFETY: from <= to <= FRAMES, both multiples of CHUNK; the slots are above the stack pointer of frame `to`.
        let addresses = (from..to)
            .step_by(CHUNK)
            .all(|at| unsafe { self.compare(at, |sp| sp) } == ALL_HOLD);
        // SAFETY: from < to + 1 <= count.
        addresses && unsafe { self.unchanged_rbp(from, to + 1) } == to + 1
    }

    /// Appends the last `fresh` entries of [`State::fresh`] to the `kept` remembered frames. `rbp` is its value in the
    /// innermost kept frame; `uses_rbp` says whether a rule of a fresh one does.
    #[inline(always)]
    pub(super) fn remember(&mut self, kept: usize, fresh: usize, rbp: usize, uses_rbp: bool) {
        let (mut hash, mut need) = (0, 0);
        if kept > 0 {
            // SAFETY: kept <= FRAMES.
            unsafe {
                hash = *self.hash.get_unchecked(kept - 1);
                need = *self.need.get_unchecked(kept - 1);
            }
        }
        if need & 1 != 0 || uses_rbp {
            return self.remember_rbp(kept, fresh, rbp, hash, need);
        }
        // No fresh frame depends on rbp: the common case without frame pointers.
        let first = FRAMES - fresh;
        for next in 0..fresh {
            // SAFETY: kept + fresh <= FRAMES.
            unsafe {
                let Fresh { pc, sp, .. } = *self.fresh.get_unchecked(first + next);
                hash = add(hash, pc);
                let at = kept + next;
                *self.sp.get_unchecked_mut(at) = sp;
                *self.pc.get_unchecked_mut(at) = pc;
                *self.hash.get_unchecked_mut(at) = hash;
                *self.need.get_unchecked_mut(at) = need;
            }
        }
    }

    /// [`Self::remember`], with the saved values of `rbp` that frames depend on. `hash` and `need` are those of the
    /// innermost kept frame.
    #[inline(always)]
    fn remember_rbp(&mut self, kept: usize, fresh: usize, rbp: usize, mut hash: u64, need: u32) {
        let mut entries = (need >> 1) as usize;
        let mut need = need & 1;
        let first = FRAMES - fresh;
        if kept > 0 {
            // The innermost kept frame is reached by another path now, which may have saved its rbp elsewhere; or not at
            // all: then the entry written here does not count, and is overwritten.
            // SAFETY: first <= FRAMES, kept <= FRAMES, and there are fewer entries than frames.
            unsafe {
                let rule = self.fresh.get_unchecked(first).rule;
                let slot = self.sp.get_unchecked(kept - 1).wrapping_sub(rule.slot());
                *self.saved.get_unchecked_mut(RBP_CHUNK + entries) = Saved { slot, rbp };
                entries += (need & rule.restores_rbp_bit()) as usize;
            }
        }
        for next in 0..fresh {
            // SAFETY: kept + fresh <= FRAMES; entries grows by at most one a frame.
            unsafe {
                let Fresh { pc, sp, rbp, rule } = *self.fresh.get_unchecked(first + next);
                // The frame's value of rbp was loaded by the rule of the next frame inside, or not at all.
                let inner = self.fresh.get_unchecked(first + next + 1).rule;
                let at = kept + next;
                hash = add(hash, pc);
                need = if rule.touches_rbp() { rule.uses_rbp_bit() } else { need };
                *self.sp.get_unchecked_mut(at) = sp;
                *self.pc.get_unchecked_mut(at) = pc;
                *self.rbp.get_unchecked_mut(at) = rbp;
                *self.hash.get_unchecked_mut(at) = hash;
                *self.need.get_unchecked_mut(at) = (entries as u32) << 1 | need;
                *self.saved.get_unchecked_mut(RBP_CHUNK + entries) = Saved {
                    slot: sp.wrapping_sub(inner.slot()),
                    rbp,
                };
                entries += (need & inner.restores_rbp_bit()) as usize;
            }
        }
    }

    /// Drops outer frames until `kept + fresh` fit, with room to spare. Returns how many of the kept ones are left.
    #[cold]
    #[inline(never)]
    pub(super) fn shift(&mut self, kept: usize, fresh: usize) -> usize {
        let drop = (kept + fresh + SLACK).saturating_sub(FRAMES).min(kept);
        self.outside = Outside::Dropped;
        let left = kept - drop;
        let gone = self.need.get(drop).map_or(0, |need| need >> 1);
        self.sp.copy_within(drop..kept, 0);
        self.pc.copy_within(drop..kept, 0);
        self.rbp.copy_within(drop..kept, 0);
        self.hash.copy_within(drop..kept, 0);
        self.need.copy_within(drop..kept, 0);
        self.saved.copy_within(RBP_CHUNK + gone as usize.., RBP_CHUNK);
        for need in self.need.iter_mut().take(left) {
            *need -= gone << 1;
        }
        left
    }
}
