//! The block header and the address bit that marks it; the layouts that the inner allocator sees.
//!
//! Record side, used by `gate` only. Pure arithmetic, no memory touched except the header word itself.
//!
//! Two shapes, chosen by the alignment the program asked for, never by the mode:
//! - `align <= 8`: the inner layout is `(max(size, 16), 16)` without a header and `(max(size + 8, 16), 16)` with one. A block with a header
//!   starts 8 bytes after what the inner allocator returned, and has it in these 8 bytes: it lies at 8 mod 16, others at 0 mod 16, so one bit
//!   of the address tells. A tracked block has one; so has a large one in mode `sampled`, whose header says nothing (context 0).
//! - `align >= 16`: in every mode the inner layout has 8 more bytes, and the header lies behind the block at the next multiple of
//!   8 after `size`; context 0 in it means untracked.

use core::alloc::Layout;

use crate::ids::ContextId;

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 8;
const ADDRESS_BIT: usize = 8;
const INNER_ALIGN: usize = 16;
/// Requests of so many bytes and more are refused (null): no allocator can grant them, and the sums below cannot overflow.
const REFUSED_SIZE: usize = 1 << 62;

pub(crate) const CONTEXT_BITS: u32 = 22;
pub(crate) const EPOCH_BITS: u32 = 12;
/// Stamp of a call: slot of its record, and the generation of that slot.
pub(crate) const SLOT_BITS: u32 = 16;
pub(crate) const GENERATION_BITS: u32 = 14;

const CONTEXT_MASK: u64 = (1 << CONTEXT_BITS) - 1;
const EPOCH_SHIFT: u32 = CONTEXT_BITS;
const STAMP_SHIFT: u32 = CONTEXT_BITS + EPOCH_BITS;
const _: () = assert!(CONTEXT_BITS + EPOCH_BITS + SLOT_BITS + GENERATION_BITS == 64);

/// What a block remembers for life: the context that holds it now, and its birth: the epoch and the call that first granted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Header(u64);

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Epoch and call of a block's first grant, in the header's own bit positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Birth(u64);

/// A call, as blocks remember it; 0 is "no recorded call".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Stamp(pub(crate) u32);

impl Stamp {
    pub(crate) const NONE: Self = Self(0);
    /// "A call is open, and takes its record at its first allocation." Slot 0 is never handed out, so no block carries it.
    pub(crate) const LAZY: Self = Self(1 << SLOT_BITS);
    /// "A call is open that found no free record." Its blocks carry `NONE`, so none of its frees is taken for its own.
    pub(crate) const UNRECORDED: Self = Self(2 << SLOT_BITS);

    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(slot | ((generation & ((1 << GENERATION_BITS) - 1)) << SLOT_BITS))
    }
    #[inline(always)]
    pub(crate) fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }
    pub(crate) fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }
    #[inline(always)]
    pub(crate) fn is_recorded(self) -> bool {
        self.slot() != 0
    }
}

impl Birth {
    #[inline(always)]
    pub(crate) const fn new(epoch: u32, stamp: Stamp) -> Self {
        Self(((epoch as u64) << EPOCH_SHIFT) | ((stamp.0 as u64) << STAMP_SHIFT))
    }
    /// A birth from its two parts, each in its bit position (`bits` of a birth whose other part is zero).
    #[inline(always)]
    pub(crate) fn of(epoch_bits: u64, stamp_bits: u64) -> Self {
        Self(epoch_bits | stamp_bits)
    }
    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    #[inline(always)]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
    #[inline(always)]
    pub(crate) fn epoch(self) -> u32 {
        (self.0 >> EPOCH_SHIFT) as u32 & ((1 << EPOCH_BITS) - 1)
    }
    #[inline(always)]
    pub(crate) fn stamp(self) -> Stamp {
        Stamp((self.0 >> STAMP_SHIFT) as u32)
    }
}

impl Header {
    /// Header of an untracked block: of each of `align >= 16`, and of large ones in mode `sampled`.
    pub(crate) const UNTRACKED: Self = Self(0);

    #[inline(always)]
    pub(crate) fn new(context: ContextId, birth: Birth) -> Self {
        // Contexts are numbered below `1 << CONTEXT_BITS`: see `context`.
        Self(u64::from(context.0) | birth.0)
    }
    #[inline(always)]
    pub(crate) fn context(self) -> ContextId {
        ContextId((self.0 & CONTEXT_MASK) as u32)
    }
    #[inline(always)]
    pub(crate) fn birth(self) -> Birth {
        Birth(self.0 & !CONTEXT_MASK)
    }
    #[inline(always)]
    pub(crate) fn is_tracked(self) -> bool {
        self.0 & CONTEXT_MASK != 0
    }
}

/// Which of the two shapes a block has.
#[inline(always)]
pub(crate) fn header_is_in_front(layout: Layout) -> bool {
    layout.align() <= SMALL_ALIGN
}

/// Largest alignment whose blocks have their header in front.
pub(crate) const SMALL_ALIGN: usize = 8;

/// True when a request with a header in front can be granted at all.
#[inline(always)]
pub(crate) fn is_grantable_in_front(size: usize) -> bool {
    // PERF: the size of a valid layout is at most `isize::MAX`, so this one bit says it, in two instructions.
    size & REFUSED_SIZE == 0
}

/// True when the request can be granted at all.
#[inline(always)]
pub(crate) fn is_grantable(size: usize, align: usize) -> bool {
    size < REFUSED_SIZE && align < REFUSED_SIZE
}

/// Inner layout of an untracked block with `align <= 8`.
#[inline(always)]
pub(crate) fn plain_layout(size: usize) -> Layout {
    // SAFETY: the callers checked `is_grantable`, so the size rounded up to 16 does not overflow `isize`; 16 is a power of two.
    unsafe { Layout::from_size_align_unchecked(if size < 16 { 16 } else { size }, INNER_ALIGN) }
}

/// Inner layout of a tracked block with `align <= 8`.
#[inline(always)]
pub(crate) fn fronted_layout(size: usize) -> Layout {
    plain_layout(size + HEADER_BYTES)
}

/// Inner layout of any block with `align >= 16`.
#[inline(always)]
pub(crate) fn backed_layout(size: usize, align: usize) -> Layout {
    // SAFETY: as in `plain_layout`; `align` is that of a valid `Layout`, so a power of two.
    unsafe { Layout::from_size_align_unchecked(behind(size) + HEADER_BYTES, align) }
}

/// Offset of the header of a block with `align >= 16`.
#[inline(always)]
fn behind(size: usize) -> usize {
    (size + (HEADER_BYTES - 1)) & !(HEADER_BYTES - 1)
}

/// True when a block with `align <= 8` carries a header in front.
#[inline(always)]
pub(crate) fn address_says_tracked(block: *mut u8) -> bool {
    block.addr() & ADDRESS_BIT != 0
}

/// The block that belongs to what the inner allocator returned for a `fronted_layout`, after writing its header.
///
/// # Safety
/// - `inner` is valid for writes of `HEADER_BYTES` and aligned to 8, and no one else has it.
#[inline(always)]
pub(crate) unsafe fn write_front(inner: *mut u8, header: Header) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { inner.cast::<Header>().write(header) };
    // SAFETY: `inner` is the start of at least HEADER_BYTES bytes.
    unsafe { inner.add(HEADER_BYTES) }
}

/// What `write_front` was given, from what it returned.
///
/// # Safety
/// - `block` came from `write_front` and has not been freed.
#[inline(always)]
pub(crate) unsafe fn read_front(block: *mut u8) -> (*mut u8, Header) {
    // SAFETY: `write_front` returned the address HEADER_BYTES after the start of the same allocation.
    let inner = unsafe { block.sub(HEADER_BYTES) };
    // SAFETY: `write_front` wrote a header here; only the owner of the block, our caller, may touch it.
    (inner, unsafe { inner.cast::<Header>().read() })
}

/// Writes the header behind a block of `align >= 16`.
///
/// # Safety
/// - `block` was granted with `backed_layout(size, _)`, and the caller owns it.
#[inline(always)]
pub(crate) unsafe fn write_behind(block: *mut u8, size: usize, header: Header) {
    // SAFETY: the layout has HEADER_BYTES at this offset, which is a multiple of 8 in a block aligned to 16.
    unsafe { block.add(behind(size)).cast::<Header>().write(header) };
}

/// Reads what `write_behind` wrote.
///
/// # Safety
/// - `write_behind` was called for this block with this `size`, and the caller owns it.
#[inline(always)]
pub(crate) unsafe fn read_behind(block: *mut u8, size: usize) -> Header {
    // SAFETY: the caller's promise: a header lies there.
    unsafe { block.add(behind(size)).cast::<Header>().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_keeps_context_epoch_and_stamp_apart() {
        let stamp = Stamp::new(0xffff, 0x3fff);
        let birth = Birth::new(0xfff, stamp);
        let header = Header::new(ContextId(0x3f_ffff), birth);
        assert_eq!(header.context(), ContextId(0x3f_ffff));
        assert_eq!(header.birth(), birth);
        assert_eq!(birth.epoch(), 0xfff);
        assert_eq!(birth.stamp(), stamp);
        let header = Header::new(ContextId(1), Birth::new(0, Stamp::NONE));
        assert_eq!(
            (header.context().0, header.birth().epoch(), header.birth().stamp().0),
            (1, 0, 0)
        );
        assert!(header.is_tracked() && !Header::UNTRACKED.is_tracked());
    }

    #[test]
    fn inner_layouts_hold_block_and_header_for_every_alignment() {
        for size in (1..200).chain([4095, 4096, 4097, 1 << 20]) {
            assert!(plain_layout(size).size() >= size && plain_layout(size).align() == 16);
            assert!(fronted_layout(size).size() >= size + HEADER_BYTES);
            for align in [16, 32, 128, 4096, 1 << 16] {
                let layout = backed_layout(size, align);
                assert!(behind(size) >= size && behind(size).is_multiple_of(8));
                assert_eq!((layout.size(), layout.align()), (behind(size) + 8, align));
            }
        }
        assert!(!is_grantable(isize::MAX as usize, 1));
    }
}
