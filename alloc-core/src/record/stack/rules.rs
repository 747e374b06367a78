//! The rule cache: one 8-byte word per return address says how to get from a frame to its caller.
//!
//! Called by the walk, on the record side, for every fresh frame; shared by all threads, without locks, and filled
//! lazily from the unwind information of the module that holds the address.
//!
//! Invariants:
//! - A word is read and written whole (one relaxed atomic), so a rule is never torn.
//! - A rule that can step has `8 <= offset`, `8 <= slot * 8 <= offset`: every read it leads to lies between the base
//!   register and the new stack pointer. The walk's bounds rest on this.
//! - Zeroed memory is a valid table: a zero word steps nowhere.
//!
//! Cost: a hit is two loads and a compare; a miss some 0.6 µs (search and run the CFI program). 128 KiB of `.bss` per
//! process, touched only where used. Four ways per set: a set with one hot address too many costs more than every other
//! miss together. PERF: with two ways, one build of the bench in three had such a set, and 110 ns per allocation more in
//! the program that met it.
//!
//! LIMIT: frames over 512 KiB, a saved `rbp` more than 8 KiB below the caller's frame, and rules made of expressions
//! do not fit: they stop the walk, and the stack is marked truncated.

use crate::record::atomic::{AtomicU64, Ordering::Relaxed};

use super::cfi::{self, Cfa, Register};
use super::modules;

/// How to get from one frame to its caller.
///
/// Bits 63..29: the return address without its low 12 bits (they are the set). 28..19: the slot of the saved `rbp`, in
/// words below the new stack pointer; the return address's own slot, if `rbp` is unchanged. 18..3: the offset from base
/// to new stack pointer, in words, so that masking alone gives bytes. 2: steps, from `rbp`. 1: `rbp` is loaded. 0: steps,
/// from `rsp`. A rule that does not step has bit 3 set if there is no caller.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Rule(u64);

const SET_BITS: u32 = 12;
const TAG_SHIFT: u32 = 29;
const OFFSET_MASK: u64 = 0x7_fff8;
const SLOT_SHIFT: u32 = 19;
const SLOT_MASK: u64 = 0x3ff;
const FROM_RSP: u64 = 1;
const RESTORES: u64 = 2;
const FROM_RBP: u64 = 4;
const OUTERMOST: u64 = 8;
/// The return address's own slot.
const UNCHANGED: u64 = 1;

impl Rule {
    /// No way on from here is known.
    pub(super) const STOP: Self = Self(0);

    /// As if a frame had been left that saved nothing: the slot is the return address's.
    pub(super) const ENTRY: Self = Self(UNCHANGED << SLOT_SHIFT);

    /// Of [`Self::bits`].
    pub(super) const RESTORES: u64 = RESTORES;

    /// As of a function that keeps a frame pointer: the caller's `rbp` lies where `rbp` points to, the return address above it.
    #[inline(always)]
    pub(super) fn is_by_frame_pointer(self) -> bool {
        const LOW: u64 = (1 << TAG_SHIFT) - 1;
        self.0 & LOW == (2 << SLOT_SHIFT) | 16 | RESTORES | FROM_RBP
    }

    /// There is a caller, and this rule leads to it.
    #[inline(always)]
    pub(super) fn steps(self) -> bool {
        self.0 & (FROM_RSP | FROM_RBP) != 0
    }

    /// There is a caller, and its stack pointer is so far above this frame's.
    #[inline(always)]
    pub(super) fn steps_from_rsp(self) -> bool {
        self.0 & FROM_RSP != 0
    }

    /// There is no caller. Of a rule that does not step.
    #[inline(always)]
    pub(super) fn is_outermost(self) -> bool {
        self.0 & OUTERMOST != 0
    }

    /// The step depends on `rbp`.
    #[inline(always)]
    pub(super) fn uses_rbp(self) -> bool {
        self.0 & FROM_RBP != 0
    }

    /// The step depends on `rbp` or loads it.
    #[inline(always)]
    pub(super) fn touches_rbp(self) -> bool {
        self.0 & (FROM_RBP | RESTORES) != 0
    }

    /// [`Self::uses_rbp`] as a number.
    #[inline(always)]
    pub(super) fn uses_rbp_bit(self) -> u32 {
        ((self.0 & FROM_RBP) / FROM_RBP) as u32
    }

    /// Whether the step loads `rbp` from the stack, as a number.
    #[inline(always)]
    pub(super) fn restores_rbp_bit(self) -> u32 {
        ((self.0 & RESTORES) / RESTORES) as u32
    }

    /// A word with the bit [`Self::RESTORES`] set if the step loads `rbp` from the stack.
    #[inline(always)]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Bytes from the base register to the caller's stack pointer.
    #[inline(always)]
    pub(super) fn offset(self) -> usize {
        (self.0 & OFFSET_MASK) as usize
    }

    /// Bytes from the slot of the saved `rbp` (or of the return address, if it is unchanged) to the caller's stack
    /// pointer.
    #[inline(always)]
    pub(super) fn slot(self) -> usize {
        (((self.0 >> SLOT_SHIFT) & SLOT_MASK) << 3) as usize
    }

    /// Base, offset and slot, if it steps.
    pub(super) fn parts(self) -> Option<(bool, usize, usize)> {
        self.steps().then(|| (self.uses_rbp(), self.offset(), self.slot()))
    }

    /// From an unwind row, if it fits.
    pub(super) fn from_row(row: cfi::Row) -> Self {
        if row.return_address == Register::Undefined {
            return Self(OUTERMOST);
        }
        if row.signal || row.odd_rsp || row.return_address != Register::Saved(-8) {
            return Self::STOP;
        }
        let (offset, base) = match row.cfa {
            Cfa::Rsp(offset) => (offset, FROM_RSP),
            Cfa::Rbp(offset) => (offset, FROM_RBP),
            Cfa::Other(_) | Cfa::Expression => return Self::STOP,
        };
        let Ok(offset) = u64::try_from(offset) else {
            return Self::STOP;
        };
        let slot = match row.rbp {
            Register::Unchanged | Register::Undefined => UNCHANGED,
            Register::Saved(at) if at % 8 == 0 && (-8 * SLOT_MASK as i64..=-16).contains(&at) => at.unsigned_abs() / 8,
            Register::Saved(_) | Register::Other => return Self::STOP,
        };
        if offset & !OFFSET_MASK != 0 || offset < slot * 8 {
            return Self::STOP;
        }
        let restores = if slot == UNCHANGED { 0 } else { RESTORES };
        Self((slot << SLOT_SHIFT) | offset | restores | base)
    }

    fn tagged(self, pc: usize) -> u64 {
        self.0 | ((pc as u64 >> SET_BITS) << TAG_SHIFT)
    }
}

const WAYS: usize = 4;

/// One set, in one cache line.
#[repr(align(32))]
struct Set([AtomicU64; WAYS]);

static TABLE: [Set; 1 << SET_BITS] = [const { Set([const { AtomicU64::new(0) }; WAYS]) }; 1 << SET_BITS];

/// The rule for the frame that returns to `pc`.
#[inline(always)]
pub(super) fn rule(pc: usize) -> Rule {
    // SAFETY: the mask keeps the index below the table's length.
    let set = unsafe { TABLE.get_unchecked(pc & ((1 << SET_BITS) - 1)) };
    // ORDERING: a word stands for itself; it publishes nothing.
    let first = set.0[0].load(Relaxed);
    if first >> TAG_SHIFT == pc as u64 >> SET_BITS {
        return Rule(first);
    }
    elsewhere(pc, set)
}

/// Looks in the other ways.
#[cold]
#[inline(never)]
fn elsewhere(pc: usize, set: &Set) -> Rule {
    for way in &set.0[1..] {
        let word = way.load(Relaxed);
        if word >> TAG_SHIFT == pc as u64 >> SET_BITS {
            return Rule(word);
        }
    }
    missing(pc, set)
}

/// Computes and stores the rule for `pc`.
#[cold]
#[inline(never)]
fn missing(pc: usize, set: &Set) -> Rule {
    // A tag has 35 bits: the rest of the address must be zero, as it is in every user-space address. And a word of
    // zeroes is no rule: the first page is never code.
    if pc as u64 >> (64 - TAG_SHIFT + SET_BITS) != 0 || pc >> SET_BITS == 0 {
        return Rule::STOP;
    }
    let epoch = modules::epoch();
    // LIMIT: an address in no module (code made at run time) is looked up again each time, so that a library loaded
    // there later is seen.
    let Some(rule) = compute(pc) else { return Rule::STOP };
    if epoch == modules::epoch() {
        // A free way, else one that depends on the address alone: which of two addresses stays is then not decided anew
        // each time, as it would be by age.
        let any = set.0.get(pc >> SET_BITS & (WAYS - 1));
        if let Some(way) = set.0.iter().find(|way| way.load(Relaxed) == 0).or(any) {
            way.store(rule.tagged(pc), Relaxed);
        }
    }
    rule
}

/// From the module's unwind information; `None` if no module holds `pc`.
fn compute(pc: usize) -> Option<Rule> {
    // A return address may be the first byte of the next function: look up the call before it.
    let target = pc.checked_sub(1)?;
    modules::with_module_at(target, |image, header| {
        cfi::row_at(image, header, target).map_or(Rule::STOP, Rule::from_row)
    })
}

/// For models.
#[cfg(all(test, allocscope_model))]
pub(super) fn memory() -> (usize, usize) {
    (TABLE.as_ptr().addr(), size_of_val(&TABLE))
}

/// Forgets every rule.
pub(super) fn clear() {
    for set in &TABLE {
        for way in &set.0 {
            way.store(0, Relaxed);
        }
    }
}
