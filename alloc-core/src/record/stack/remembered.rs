//! What a thread remembers of its last stack, and the check of how much of that still holds.
//!
//! Record side; used by [`super::incremental`] alone, at every recorded stack.
//!
//! Frames are counted from 1, outermost first: frame 1 is the first function of the thread. A frame is known by words of the stack: its
//! return address and, if it or a frame further out depends on `rbp`, the value of `rbp` in it, where the function that it called saved
//! that. All these words are one list. [`State::still_right`] compares each with what the stack holds now. The loads do not depend on
//! each other, so a word costs a fraction of a step by a rule: four instructions.
//!
//! Invariants:
//! - INVARIANT (words): the return address of frame `i` is word `frames[i].word`, and lies at `frames[i].place`; its `rbp`, if that
//!   is a word, follows; then comes frame `i + 1`. In front of the first are `CHUNK` that always hold.
//! - INVARIANT (order): `place` falls strictly from word to word of the frames, and the first lies at `last` or below.
//! - INVARIANT (left): `left` of a frame's return address is one less than the frame's number, `left` of the word after it is that number.
//! - INVARIANT (link): frame `i - 1` is what the rule of frame `i` led to when `i` was recorded.
//! - INVARIANT (hash): `frames[i].hash` is a function of the return addresses of the frames up to `i`, and of the hash of the
//!   frames dropped before them, which cancels out of every hash that is handed out. That of frame 0, which is none, is 0.

use core::arch::asm;
use core::arch::x86_64::{__m128i, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32};
use core::mem::offset_of;

use super::rules::Rule;
use super::{MAX_DEPTH, add, read};

/// Frames remembered. More than `MAX_DEPTH + 1`, so that a deep recursion goes up and down a bit between full walks.
pub(super) const FRAMES: usize = 160;
/// Frames that a full array gives up at its outer end, to make room for the next ones.
const SLACK: usize = 24;
/// Frames checked beyond those that were asked for: the stack may have become shallower since.
const MORE: usize = 8;
/// Words checked at a time. As many in front of the first always pass the check.
const CHUNK: usize = 8;
/// Those in front, two words a frame, and room for one that does not count; even.
const WORDS: usize = CHUNK + 2 * FRAMES + 2;

const _: () = assert!(FRAMES - SLACK > MAX_DEPTH && FRAMES <= u8::MAX as usize);

/// What the words in front of the first compare with.
static ZERO: usize = 0;

/// Compares two words of the stack with what they held, from word `AT` after `places` on: all ones where they are equal.
///
/// PERF: three instructions, where the compiler makes five of it; four if `UNALIGNED`.
///
/// # Safety
/// `places` must point to an entry of `place` of a whole `State` that has AT + 1 more, an even one unless `UNALIGNED`; and what lies at
/// the words must be readable.
#[inline(always)]
unsafe fn pair<const AT: usize, const UNALIGNED: bool>(places: *const usize) -> __m128i {
    // SAFETY: the caller's promise.
    let [outer, inner] = [AT, AT + 1].map(|at| unsafe { *places.add(at) });
    let equal: __m128i;
    // SAFETY: reads the two words, and two values; these lie at a multiple of 16 where that matters: see below.
    unsafe {
        if UNALIGNED {
            asm!(
                "movq {equal}, qword ptr [{outer}]",
                "movhps {equal}, qword ptr [{inner}]",
                "movdqu {values}, xmmword ptr [{places} + {to_values}]",
                "pcmpeqd {equal}, {values}",
                equal = out(xmm_reg) equal,
                values = out(xmm_reg) _,
                outer = in(reg) outer,
                inner = in(reg) inner,
                places = in(reg) places,
                to_values = const TO_VALUES + 8 * AT,
                options(pure, readonly, nostack, preserves_flags)
            );
        } else {
            asm!(
                "movq {equal}, qword ptr [{outer}]",
                "movhps {equal}, qword ptr [{inner}]",
                "pcmpeqd {equal}, xmmword ptr [{places} + {to_values}]",
                equal = out(xmm_reg) equal,
                outer = in(reg) outer,
                inner = in(reg) inner,
                places = in(reg) places,
                to_values = const TO_VALUES + 8 * AT,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
    }
    equal
}

/// Bytes from an entry of `place` to the same one of `word`.
const TO_VALUES: usize = offset_of!(State, word) - offset_of!(State, place);

const _: () =
    assert!(offset_of!(State, word).is_multiple_of(16) && align_of::<State>() == 16 && CHUNK.is_multiple_of(2));

/// Where checking starts if fewer frames are asked for than are remembered.
#[cold]
#[inline(never)]
fn first_checked(count: usize, depth: usize) -> usize {
    count.saturating_sub(depth + 1 + MORE)
}

/// A frame met by stepping, until it is known how many there are.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Fresh {
    pub(super) pc: usize,
    /// Where it lies.
    pub(super) place: usize,
    pub(super) rbp: usize,
    pub(super) rule: Rule,
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

/// A remembered frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Frame {
    /// Of the frames up to this one.
    hash: u64,
    /// Its value in this frame.
    rbp: usize,
    /// Where the return address lies.
    place: usize,
    /// The number of the word that is its return address.
    word: u32,
    /// 1 if this frame or one further out depends on `rbp`, else 0.
    needs_rbp: u32,
}

/// What a thread remembers.
#[repr(C, align(16))]
pub(super) struct State {
    /// Lowest address of the thread's stack; that of its last word; the bytes between them. All 0 while unknown.
    pub(super) low: usize,
    pub(super) last: usize,
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
    /// Why there is no frame outside frame 1.
    pub(super) outside: Outside,
    pub(super) foreign: bool,
    /// Where each word lies.
    place: [usize; WORDS],
    /// What it holds.
    word: [usize; WORDS],
    /// Frame 0 is none: it lies above the stack.
    frames: [Frame; FRAMES + 1],
    /// For each word, how many frames are left if it is the first that does not hold: those before it; and its own if it is an `rbp`, as
    /// whether that is right is also asked where the frame is met.
    left: [u8; WORDS + 1],
    /// Filled from its end. The last entry is none: its rule restores nothing.
    pub(super) fresh: [Fresh; FRAMES + 1],
}

/// The frames that may be met, found by [`State::still_right`].
#[derive(Clone, Copy)]
pub(super) struct Right {
    /// Frames beyond this one were checked; up to it they may be wrong.
    pub(super) from: usize,
    /// Frames up to here are right, each if the one before is. 0 if none may be met.
    pub(super) to: usize,
}

impl State {
    /// Forgets all frames, and makes these the bounds of the stack.
    pub(super) fn set_bounds(&mut self, low: usize, top: usize) {
        self.low = low;
        self.last = top.saturating_sub(8);
        self.room = self.last.saturating_sub(low);
        self.count = 0;
        for place in self.place.iter_mut().take(CHUNK) {
            *place = (&raw const ZERO).addr();
        }
        if let Some(none) = self.frames.first_mut() {
            none.place = self.last.wrapping_add(1);
            none.word = CHUNK as u32 - 1;
        }
    }

    /// The return address of a remembered frame.
    pub(super) fn pc(&self, frame: usize) -> Option<usize> {
        let frame = self.frames.get(frame)?;
        self.word.get(frame.word as usize).copied()
    }

    /// # Safety
    /// `number <= FRAMES`.
    #[inline(always)]
    unsafe fn frame(&self, number: usize) -> &Frame {
        // SAFETY: the caller's promise.
        unsafe { self.frames.get_unchecked(number) }
    }

    /// The hash of the frames up to this one.
    ///
    /// # Safety
    /// `frame <= count`.
    #[inline(always)]
    pub(super) unsafe fn hash(&self, frame: usize) -> u64 {
        // SAFETY: the caller's promise; count <= FRAMES.
        unsafe { self.frame(frame) }.hash
    }

    /// Checks which frames the stack still holds as they are remembered: of those that are handed out if `depth` is asked
    /// for, and of a few more.
    ///
    /// # Safety
    /// The bounds must be set, and `[entry, last + 8)` be readable.
    #[inline(always)]
    pub(super) unsafe fn still_right(&self, depth: usize, entry: usize) -> Right {
        let count = self.count;
        let from = if count <= depth { 0 } else { first_checked(count, depth) };
        // SAFETY: from < count <= FRAMES or from == 0; words are numbered from CHUNK on and below WORDS.
        unsafe {
            // Even, as `changed` wants it.
            let first = if from == 0 {
                CHUNK
            } else {
                self.frame(from + 1).word as usize & !1
            };
            let mut end = self.frame(count).word as usize + 1;
            // What lies below `entry` is gone.
            while end > CHUNK && *self.place.get_unchecked(end - 1) < entry {
                end -= 1;
            }
            // By INVARIANT (order) all frames' words before `end` lie in [entry, last].
            let to = *self.left.get_unchecked(self.changed(first, end)) as usize;
            Right {
                from,
                to: if to > from { to } else { 0 },
            }
        }
    }

    /// The first word from `first` on that is not what it was, or `end`; or one before `first`, of which some are looked at.
    ///
    /// PERF: no word is a branch of its own, which would be hard to predict. (Compared one by one, with the same number of instructions,
    /// programs that have few stacks took 3 ns a block less, and recursive ones 6 ns more.)
    ///
    /// # Safety
    /// `CHUNK <= first`, `CHUNK <= end < WORDS`, `first` even, and what lies at the words before `end` must be readable.
    #[inline(always)]
    unsafe fn changed(&self, first: usize, end: usize) -> usize {
        let mut at = first;
        // SAFETY: `at` is even and at + CHUNK < end, or it is end - CHUNK, which is not negative; the caller's promise.
        unsafe {
            while at + CHUNK < end {
                let held = self.compare::<false>(at);
                if held != u16::MAX {
                    return at + (!held).trailing_zeros() as usize / 2;
                }
                at += CHUNK;
            }
            // The last ones, and with them some that were looked at, or are in front of the first.
            at = end - CHUNK;
            let held = self.compare::<true>(at);
            at + (!u32::from(held)).trailing_zeros() as usize / 2
        }
    }

    /// Two bits for each word of the chunk at `at`, set if it holds.
    ///
    /// # Safety
    /// `at + CHUNK <= WORDS`, `at` even unless `UNALIGNED`, and what lies at the words must be readable.
    #[inline(always)]
    unsafe fn compare<const UNALIGNED: bool>(&self, at: usize) -> u16 {
        // SAFETY: `at` is in bounds. The pointer is that of the whole state, because the values follow.
        let places = unsafe { (&raw const *self).byte_add(offset_of!(Self, place) + 8 * at) }.cast();
        // SAFETY: the caller's promise; and every x86-64 processor has these instructions.
        unsafe {
            let outer = _mm_packs_epi32(pair::<0, UNALIGNED>(places), pair::<2, UNALIGNED>(places));
            let inner = _mm_packs_epi32(pair::<4, UNALIGNED>(places), pair::<6, UNALIGNED>(places));
            _mm_movemask_epi8(_mm_packs_epi16(outer, inner)) as u16
        }
    }

    /// Where the innermost of `kept` frames is, which stepping may meet; above the stack if there is none.
    #[inline(always)]
    pub(super) fn goal(&self, kept: usize) -> usize {
        // SAFETY: kept <= count <= FRAMES.
        unsafe { self.frame(kept) }.place
    }

    /// Whether the innermost of `kept` frames, whose return address stepping has come to with this `rbp`, is right: whether nothing depends
    /// on `rbp`, or it is what it was.
    #[inline(always)]
    pub(super) fn is_met(&self, kept: usize, rbp: usize) -> bool {
        // SAFETY: kept <= count <= FRAMES.
        let frame = unsafe { self.frame(kept) };
        frame.needs_rbp == 0 || frame.rbp == rbp
    }

    /// How many of `kept` frames are left when stepping has come to `place`, with this `rbp`: the innermost of them is
    /// there, which is met, or further out. Frames up to `from` are not met.
    #[cold]
    #[inline(never)]
    pub(super) fn meet(&self, from: usize, mut kept: usize, place: usize, rbp: usize) -> usize {
        while kept > from {
            let goal = self.goal(kept);
            if goal > place || (goal == place && self.is_met(kept, rbp)) {
                return kept;
            }
            kept -= 1;
        }
        0
    }

    /// Whether frames `first + 1` up to `from` hold, which are outside one that was met.
    ///
    /// # Safety
    /// `first <= from < count`, and what lies further out than frame `from + 1` must be readable.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn holds(&self, first: usize, from: usize) -> bool {
        // SAFETY: first < from + 1 <= count <= FRAMES; the words are those of frames further out.
        let words = unsafe { self.frame(first + 1).word as usize..self.frame(from + 1).word as usize };
        let mut pairs = self.place.iter().zip(&self.word).take(words.end).skip(words.start);
        // SAFETY: as above.
        pairs.all(|(&place, &word)| unsafe { read(place) } == word)
    }

    /// Appends the last `fresh` entries of [`State::fresh`] to the `kept` remembered frames. `rbp` is its value in the
    /// innermost kept frame; `uses_rbp` says whether a rule of a fresh one does.
    #[inline(always)]
    pub(super) fn remember(&mut self, kept: usize, fresh: usize, rbp: usize, uses_rbp: bool) {
        // SAFETY: kept <= FRAMES.
        let Frame {
            mut hash,
            place,
            word,
            needs_rbp,
            ..
        } = *unsafe { self.frame(kept) };
        let mut word = word as usize;
        let first = FRAMES - fresh;
        if needs_rbp == 0 && !uses_rbp {
            // No fresh frame depends on rbp: the common case without frame pointers.
            for next in 0..fresh {
                // SAFETY: kept + fresh <= FRAMES, and there are at most two words a frame.
                unsafe {
                    let Fresh { pc, place, rbp, .. } = *self.fresh.get_unchecked(first + next);
                    hash = add(hash, pc);
                    word += 1;
                    self.set_word(word, place, pc);
                    self.set_frame(
                        kept + next + 1,
                        Frame {
                            hash,
                            rbp,
                            place,
                            word: word as u32,
                            needs_rbp: 0,
                        },
                    );
                }
            }
            return;
        }
        let mut needs_rbp = needs_rbp;
        // The innermost kept frame is reached by another path now, which may have saved its rbp elsewhere; or not at
        // all: then the word written here does not count, and is overwritten.
        // SAFETY: first <= FRAMES, kept <= FRAMES, kept + fresh <= FRAMES, and there are at most two words a frame.
        unsafe {
            let rule = self.fresh.get_unchecked(first).rule;
            self.set_word(word + 1, place.wrapping_add(8).wrapping_sub(rule.slot()), rbp);
            word += (needs_rbp & rule.restores_rbp_bit()) as usize;
            for next in 0..fresh {
                let Fresh { pc, place, rbp, rule } = *self.fresh.get_unchecked(first + next);
                // The frame's value of rbp was loaded by the rule of the next frame inside, or not at all.
                let inner = self.fresh.get_unchecked(first + next + 1).rule;
                hash = add(hash, pc);
                needs_rbp = if rule.touches_rbp() {
                    rule.uses_rbp_bit()
                } else {
                    needs_rbp
                };
                word += 1;
                self.set_word(word, place, pc);
                self.set_frame(
                    kept + next + 1,
                    Frame {
                        hash,
                        rbp,
                        place,
                        word: word as u32,
                        needs_rbp,
                    },
                );
                self.set_word(word + 1, place.wrapping_add(8).wrapping_sub(inner.slot()), rbp);
                word += (needs_rbp & inner.restores_rbp_bit()) as usize;
            }
        }
    }

    /// # Safety
    /// `word < WORDS`.
    #[inline(always)]
    unsafe fn set_word(&mut self, word: usize, place: usize, value: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            *self.place.get_unchecked_mut(word) = place;
            *self.word.get_unchecked_mut(word) = value;
        }
    }

    /// # Safety
    /// `number <= FRAMES`, and `frame.word < WORDS - 1`.
    #[inline(always)]
    unsafe fn set_frame(&mut self, number: usize, frame: Frame) {
        // SAFETY: the caller's promise.
        unsafe {
            // Of the return address, and of what comes after it: the frame's rbp, or the next frame, or nothing.
            let left = (&raw mut self.left)
                .cast::<u8>()
                .add(frame.word as usize)
                .cast::<[u8; 2]>();
            left.write([(number as u8).wrapping_sub(1), number as u8]);
            *self.frames.get_unchecked_mut(number) = frame;
        }
    }

    /// Drops outer frames until `kept + fresh` fit, with room to spare. Returns how many of the kept ones are left.
    #[cold]
    #[inline(never)]
    pub(super) fn shift(&mut self, kept: usize, fresh: usize) -> usize {
        let drop = (kept + fresh + SLACK).saturating_sub(FRAMES).min(kept);
        self.outside = Outside::Dropped;
        let left = kept - drop;
        if left == 0 {
            return 0;
        }
        // SAFETY: drop < kept <= FRAMES.
        let gone = (unsafe { self.frame(drop + 1) }.word as usize).saturating_sub(CHUNK);
        self.place.copy_within(CHUNK + gone.., CHUNK);
        self.word.copy_within(CHUNK + gone.., CHUNK);
        for number in 1..=left {
            // SAFETY: number + drop <= kept <= FRAMES, and words only come to be further out.
            unsafe {
                let frame = *self.frame(number + drop);
                self.set_frame(
                    number,
                    Frame {
                        word: frame.word.saturating_sub(gone as u32),
                        ..frame
                    },
                );
            }
        }
        left
    }
}
