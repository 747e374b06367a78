//! Interns the pair (scope node, call stack) as a `ContextId`, and keeps what the id stands for.
//!
//! Record side: `intern` runs on a miss of the thread's own cache (`thread::SiteSlot`). INVARIANT: an id below `count()` that was
//! published by the index has complete information, and it never changes. Bounded: at the memory ceiling or at 2^22
//! contexts `intern` gives `None` and the caller charges the scope's own context ("other"). Identity is the node and the 64-bit
//! hash of the kept frames: among a million stacks two share one with a probability of 3e-8.

use crate::record::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, spin_loop};
use core::ptr::NonNull;

use super::arena;
use super::block::CONTEXT_BITS;
use super::index::{Index, Lazy, Place};
use super::sample::{self, Interval};
use super::thread;
use crate::ids::{ContextId, ScopeNodeId};

const SEGMENT: usize = 1024;
const SEGMENTS: usize = (1 << CONTEXT_BITS) / SEGMENT;
const FIRST_FREE: u32 = 3;

/// Outermost frames are missing.
pub(crate) const TRUNCATED: u32 = 1 << 16;
/// Taken on a stack that is not the thread's own.
pub(crate) const FOREIGN: u32 = 1 << 17;
/// From here on the bits of the interval that the context's blocks were sampled with; 0 for blocks that are not samples.
const INTERVAL_SHIFT: u32 = 18;
const _: () = assert!(Interval::MOST.bits() <= u32::MAX >> INTERVAL_SHIFT);

/// A return address in 48 bits, low bits first.
///
/// PERF: the frames are the second largest table; with 100,000 contexts of 30 frames this saves 6 MB.
/// LIMIT: higher bits are lost; code lies there only where a program asks the system for such addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed([u16; 3]);

impl Packed {
    fn new(address: usize) -> Self {
        Self([0, 16, 32].map(|shift| (address as u64 >> shift) as u16))
    }
    pub(crate) fn address(self) -> usize {
        let parts = self.0.iter().rev();
        parts.fold(0, |bits, &part| (bits << 16) | u64::from(part)) as usize
    }
}

/// What a `ContextId` stands for.
#[derive(Default)]
pub(crate) struct ContextInfo {
    hash: AtomicU64,
    frames: AtomicPtr<Packed>,
    node: AtomicU32,
    /// Low half: number of frames. High half: the flags above, and the interval.
    shape: AtomicU32,
}

static TABLE: [Lazy<ContextInfo>; SEGMENTS] = [const { Lazy::new() }; SEGMENTS];
static INDEX: Index = Index::new();
static NEXT: AtomicU32 = AtomicU32::new(FIRST_FREE);
/// Keys of the contexts that are being made; 0: none.
static IN_THE_MAKING: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
/// Turns that a thread waits for another one to make a context.
const PATIENCE: usize = if cfg!(allocscope_model) { 2 } else { 2000 };

impl ContextInfo {
    /// The scope node; 0 while the id is not in use.
    pub(crate) fn node(&self) -> u32 {
        // ORDERING: pairs with the Release in `write`.
        self.node.load(Ordering::Acquire)
    }
    /// The call stack, innermost frame first. Empty when none was recorded.
    pub(crate) fn frames(&self) -> &'static [Packed] {
        let length = (self.shape.load(Ordering::Relaxed) & 0xffff) as usize;
        match NonNull::new(self.frames.load(Ordering::Acquire)) {
            // SAFETY: `write` stored the start of `length` entries of arena memory, which are never changed or freed after.
            Some(start) => unsafe { core::slice::from_raw_parts(start.as_ptr(), length) },
            None => &[],
        }
    }
    /// Equal for contexts of the same stack, cut at the same place, whatever their scopes and intervals. Identity is the hash: see the file's head.
    pub(crate) fn stack_key(&self) -> u64 {
        let shape = self.shape.load(Ordering::Relaxed);
        of_samples(self.hash.load(Ordering::Relaxed), shape >> INTERVAL_SHIFT)
            ^ u64::from(shape & (TRUNCATED | FOREIGN))
    }
    pub(crate) fn is_truncated(&self) -> bool {
        self.shape.load(Ordering::Relaxed) & TRUNCATED != 0
    }
    pub(crate) fn is_foreign(&self) -> bool {
        self.shape.load(Ordering::Relaxed) & FOREIGN != 0
    }
    /// What the context's blocks were sampled with; `None` when they are not samples.
    pub(crate) fn interval(&self) -> Option<Interval> {
        Interval::from_bits(self.shape.load(Ordering::Relaxed) >> INTERVAL_SHIFT)
    }
    fn write(&self, node: u32, hash: u64, frames: *mut Packed, shape: u32) {
        self.hash.store(hash, Ordering::Relaxed);
        self.shape.store(shape, Ordering::Relaxed);
        self.frames.store(frames, Ordering::Release);
        self.node.store(node, Ordering::Release);
    }
}

/// Makes the reserved contexts. Called once, before the first event.
pub(crate) fn init() -> bool {
    let reserved = [
        (ContextId::ROOT, ScopeNodeId::ROOT),
        (ContextId::TRACKER, ScopeNodeId::TRACKER),
    ];
    reserved
        .iter()
        .all(|&(context, node)| publish(context, node.0, 0, core::ptr::null_mut(), 0))
}

/// One past the largest id in use.
pub(crate) fn count() -> u32 {
    NEXT.load(Ordering::Acquire)
}

/// What `context` stands for; `None` for an id that was never handed out.
pub(crate) fn info(context: ContextId) -> Option<&'static ContextInfo> {
    let segment = TABLE.get(context.0 as usize / SEGMENT)?.get()?;
    // SAFETY: a segment holds SEGMENT entries and is never freed; the offset is below SEGMENT.
    Some(unsafe { segment.add(context.0 as usize % SEGMENT).as_ref() })
}

/// Scope node of a context read from a block's header, or `None` for an id that was never handed out: a corrupt header.
pub(crate) fn node_of(context: ContextId) -> Option<u32> {
    let node = info(context)?.node();
    (node != 0).then_some(node)
}

/// Makes the context of a scope node without a stack.
pub(crate) fn for_node(node: u32) -> Option<ContextId> {
    let context = reserve_id()?;
    publish(context, node, 0, core::ptr::null_mut(), 0).then_some(context)
}

/// The same as `intern` for samples that were taken with `interval`.
#[cold]
pub(crate) fn intern_sampled(
    node: u32,
    interval: Interval,
    hash: u64,
    flags: u32,
    length: usize,
    frames: impl Iterator<Item = usize>,
) -> Option<ContextId> {
    let bits = interval.bits();
    intern(
        node,
        of_samples(hash, bits),
        flags | (bits << INTERVAL_SHIFT),
        length,
        frames,
    )
}

/// Another hash for each interval, so that its samples have contexts of their own. Done twice it is undone; for 0 nothing is.
fn of_samples(hash: u64, interval_bits: u32) -> u64 {
    hash ^ u64::from(interval_bits).wrapping_mul(0x9fb2_1c65_1e98_df25)
}

/// The context of `node` with the stack of `length` frames that `hash` identifies, made if it is new.
#[cold]
#[inline(never)]
pub(crate) fn intern(
    node: u32,
    hash: u64,
    flags: u32,
    length: usize,
    frames: impl Iterator<Item = usize>,
) -> Option<ContextId> {
    let key = (hash ^ u64::from(node).wrapping_mul(0xff51_afd7_ed55_8ccd)).max(1);
    let is_equal = |id| {
        info(ContextId(id)).is_some_and(|known| known.hash.load(Ordering::Relaxed) == hash && known.node() == node)
    };
    if let Some(id) = INDEX.find(key, is_equal) {
        return Some(ContextId(id));
    }
    let claim = Claim::on(key);
    // Made by another thread meanwhile?
    if let Some(id) = INDEX.find(key, is_equal) {
        return Some(ContextId(id));
    }
    let made = make(node, hash, flags, length, frames).and_then(|context| {
        Some(match INDEX.insert(key, context.0, is_equal) {
            Place::Inserted => context,
            // LIMIT: an id and its frames are lost when two threads make the same context in spite of the claim.
            Place::Found(id) => ContextId(id),
            Place::Full => return None,
        })
    });
    drop(claim);
    made
}

/// Says that a context is being made, so that threads that meet the same new stack at the same instant, as workers do
/// that start together, do not each use up an id, its frames, and its row in every thread.
///
/// PERF: 100,000 contexts on 16 threads took up to 25 MiB more without it. LIMIT: a hint. A thread waits for another one a
/// bounded number of turns, for it may have been stopped, or lost by a fork; then it makes the context itself.
struct Claim(Option<&'static AtomicU64>);

impl Claim {
    /// Claims the making of `key`, or waits until the thread that makes it has done so.
    fn on(key: u64) -> Self {
        let Some(place) = IN_THE_MAKING.get((key >> 32) as usize % IN_THE_MAKING.len()) else {
            return Self(None);
        };
        // ORDERING: Acquire, here and below: pairs with the Release in `drop`: what was made is in the index.
        match place.compare_exchange(0, key, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => Self(Some(place)),
            Err(other) => {
                for _ in 0..PATIENCE {
                    if other != key || place.load(Ordering::Acquire) != key {
                        break;
                    }
                    spin_loop();
                }
                Self(None)
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(0, Ordering::Release);
        }
    }
}

/// Makes a context, which is in no index yet.
fn make(node: u32, hash: u64, flags: u32, length: usize, frames: impl Iterator<Item = usize>) -> Option<ContextId> {
    let bytes = length.checked_mul(size_of::<Packed>())?;
    let stored = arena::take(bytes, align_of::<Packed>())?.cast::<Packed>();
    let mut written = 0;
    for frame in frames.take(length) {
        // SAFETY: `written < length`, the size of the memory just taken, which nobody else has.
        unsafe { stored.add(written).write(Packed::new(frame)) };
        written += 1;
    }
    let context = reserve_id()?;
    publish(context, node, hash, stored.as_ptr(), written as u32 | flags).then_some(context)
}

fn reserve_id() -> Option<ContextId> {
    let next = NEXT.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |next| {
        (next < (1 << CONTEXT_BITS)).then_some(next + 1)
    });
    next.ok().map(ContextId)
}

/// False when there is no memory for the id, or none for the row that the shared shard needs for it.
fn publish(context: ContextId, node: u32, hash: u64, frames: *mut Packed, shape: u32) -> bool {
    let Some(segment) = TABLE.get(context.0 as usize / SEGMENT) else {
        return false;
    };
    // SAFETY: zero is a valid ContextInfo: its fields are atomics of plain integers and a nullable pointer.
    if unsafe { segment.get_or_make(SEGMENT) }.is_none() {
        return false;
    }
    let has_row = match shape >> INTERVAL_SHIFT {
        0 => thread::make_shared_row(context),
        _ => sample::make_row(context),
    };
    if !has_row {
        return false;
    }
    let Some(entry) = info(context) else { return false };
    entry.write(node, hash, frames, shape);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_kept() {
        for address in [1, 0x5555_1234_abcd, 0x7fff_ffff_ffff, 0xffff_0000_0000] {
            assert_eq!(Packed::new(address).address(), address);
        }
    }
}
