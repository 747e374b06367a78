//! Epochs: which snapshot a block is older than, and what later events did to the blocks of each epoch.
//!
//! Record side. A snapshot ends an epoch. An event on a block of the running epoch needs nothing here; an event on an older
//! block adds to the table `(context, epoch) -> net change`, from which a diff of any two snapshots of a run can tell "allocated
//! since and still alive" from the rest. Cost: nothing per allocation, one compare per free; about 20 ns for a free of an older
//! block, and each block is older at most once per snapshot.
//! LIMIT: after 4095 snapshots, or with the table full, epochs stop and `is_exact` turns false.

use crate::record::atomic::{AtomicBool, AtomicU64, Ordering};

use super::block::{Birth, EPOCH_BITS, Stamp};
use super::counters::Counter;
use super::index::Lazy;
use crate::ids::ContextId;

const LAST: u32 = (1 << EPOCH_BITS) - 1;
/// The running epoch, as `Birth::bits` of epoch and no stamp.
static CURRENT: AtomicU64 = AtomicU64::new(0);
static EXACT: AtomicBool = AtomicBool::new(true);

/// The epoch that blocks are born in now, as the bits of a birth.
#[inline(always)]
pub(crate) fn current_bits() -> u64 {
    CURRENT.load(Ordering::Relaxed)
}

/// The epoch that blocks are born in now.
pub(crate) fn current() -> u32 {
    Birth::of(current_bits(), 0).epoch()
}

/// Ends the running epoch and returns its number. The caller holds the registry, so epochs end one at a time.
pub(crate) fn end() -> u32 {
    let ended = current();
    if ended < LAST {
        CURRENT.store(Birth::new(ended + 1, Stamp::NONE).bits(), Ordering::Relaxed);
    } else {
        EXACT.store(false, Ordering::Relaxed);
    }
    ended
}

/// False once a diff can no longer tell older blocks from newer ones exactly.
pub(crate) fn is_exact() -> bool {
    EXACT.load(Ordering::Relaxed)
}

#[derive(Default)]
struct Change {
    /// `context << EPOCH_BITS | epoch`; 0: free. A context is never 0.
    key: AtomicU64,
    blocks: Counter,
    bytes: Counter,
    frees: Counter,
    granted_bytes: Counter,
}

/// What an event did to the blocks of an earlier epoch that one context holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Blocks received minus blocks freed or handed over.
    pub(crate) blocks: i64,
    /// The same in bytes.
    pub(crate) bytes: i64,
    /// Blocks freed.
    pub(crate) frees: u64,
    /// Bytes granted by reallocation.
    pub(crate) granted_bytes: u64,
}

impl Effect {
    pub(crate) fn free(size: usize) -> Self {
        Self {
            blocks: -1,
            bytes: -(size as i64),
            frees: 1,
            granted_bytes: 0,
        }
    }
    pub(crate) fn handed_over(size: usize) -> Self {
        Self {
            frees: 0,
            ..Self::free(size)
        }
    }
    pub(crate) fn received(size: usize) -> Self {
        Self {
            blocks: 1,
            bytes: size as i64,
            frees: 0,
            granted_bytes: size as u64,
        }
    }
}

const LEVEL_BITS: [u32; 4] = [10, 13, 16, 19];
const MAX_PROBES: u64 = if cfg!(allocscope_model) { 2 } else { 32 };
static LEVELS: [Lazy<Change>; LEVEL_BITS.len()] = [const { Lazy::new() }; LEVEL_BITS.len()];

fn entry(table: core::ptr::NonNull<Change>, bits: u32, hash: u64, step: u64) -> &'static Change {
    let slot = ((hash >> (64 - bits)) + step) & ((1 << bits) - 1);
    // SAFETY: `slot` is below `1 << bits`, the number of entries of this level; levels are never freed.
    unsafe { table.add(slot as usize).as_ref() }
}

/// Records an event on a block that is older than the running epoch.
#[cold]
#[inline(never)]
pub(crate) fn change(context: ContextId, epoch: u32, effect: Effect) {
    let key = (u64::from(context.0) << EPOCH_BITS) | u64::from(epoch);
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (level, &bits) in LEVELS.iter().zip(&LEVEL_BITS) {
        // SAFETY: zero is a valid Change.
        let Some(table) = (unsafe { level.get_or_make(1 << bits) }) else {
            break;
        };
        for step in 0..MAX_PROBES {
            let change = entry(table, bits, hash, step);
            let mut now = change.key.load(Ordering::Relaxed);
            if now == 0 {
                now = match change
                    .key
                    .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed)
                {
                    Ok(_) => key,
                    Err(other) => other,
                };
            }
            if now == key {
                change.blocks.add_shared(effect.blocks as u64);
                change.bytes.add_shared(effect.bytes as u64);
                change.frees.add_shared(effect.frees);
                change.granted_bytes.add_shared(effect.granted_bytes);
                return;
            }
        }
    }
    EXACT.store(false, Ordering::Relaxed);
}

/// Calls `each` with context, epoch and sum of effects, for every pair of the first two that has any.
pub(crate) fn for_each_change(mut each: impl FnMut(ContextId, u32, Effect)) {
    for (level, &bits) in LEVELS.iter().zip(&LEVEL_BITS) {
        let Some(table) = level.get() else { continue };
        for slot in 0..1u64 << bits {
            let change = entry(table, bits, 0, slot);
            let key = change.key.load(Ordering::Relaxed);
            if key != 0 {
                let epoch = (key & u64::from(LAST)) as u32;
                let effect = Effect {
                    blocks: change.blocks.signed(),
                    bytes: change.bytes.signed(),
                    frees: change.frees.get(),
                    granted_bytes: change.granted_bytes.get(),
                };
                each(ContextId((key >> EPOCH_BITS) as u32), epoch, effect);
            }
        }
    }
}
