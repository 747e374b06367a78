//! A lock-free index from 64-bit hashes to ids, which grows by adding larger levels and never moves an entry.
//!
//! Record side, cold paths only (a thread's own cache answers first). Insert-only. A key may appear twice after a race at the
//! moment a level is added; readers of the tables merge by content. Cost: one probe sequence per level, at most six.

use crate::record::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, spin_loop};
use core::ptr::{self, NonNull};

use super::arena;

/// Turns that a thread waits for another one to make a table.
const PATIENCE: usize = if cfg!(allocscope_model) { 2 } else { 10_000 };

/// A table made at its first use by one thread, while the others wait a bounded number of turns.
pub(crate) struct Lazy<T> {
    table: AtomicPtr<T>,
    claimed: AtomicBool,
}

impl<T> Lazy<T> {
    pub(crate) const fn new() -> Self {
        Self {
            table: AtomicPtr::new(ptr::null_mut()),
            claimed: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<NonNull<T>> {
        // ORDERING: pairs with the Release in `get_or_make`. The memory was zero when handed out, so nothing else is published.
        NonNull::new(self.table.load(Ordering::Acquire))
    }

    /// `None` at the memory ceiling. When the thread that makes the table does not come back in time (it may have been stopped, or
    /// lost by a fork), this one makes it: no event is lost for want of it.
    ///
    /// # Safety
    /// - All-zero bytes are a valid `T`.
    #[cold]
    pub(crate) unsafe fn get_or_make(&self, count: usize) -> Option<NonNull<T>> {
        if let Some(table) = self.get() {
            return Some(table);
        }
        if self.claimed.swap(true, Ordering::Relaxed) {
            for _ in 0..PATIENCE {
                if let Some(table) = self.get() {
                    return Some(table);
                }
                spin_loop();
            }
        }
        // SAFETY: the caller's promise.
        let Some(made) = (unsafe { arena::take_zeroed::<T>(count) }) else {
            self.claimed.store(false, Ordering::Relaxed);
            return None;
        };
        // LIMIT: the memory is lost if the other thread comes back after all.
        // ORDERING: Acquire, on failure: as in `get`.
        let first = self
            .table
            .compare_exchange(ptr::null_mut(), made.as_ptr(), Ordering::Release, Ordering::Acquire);
        Some(first.err().and_then(NonNull::new).unwrap_or(made))
    }
}

const LEVELS: usize = 6;
const ID_BITS: u32 = 22;
const ID_MASK: u64 = (1 << ID_BITS) - 1;
const MAX_PROBES: u64 = if cfg!(allocscope_model) { 2 } else { 64 };

struct Level {
    /// Number of entries, as a power of two.
    bits: u32,
    entries: Lazy<AtomicU64>,
    used: AtomicU32,
}

impl Level {
    const fn new(bits: u32) -> Self {
        Self {
            bits,
            entries: Lazy::new(),
            used: AtomicU32::new(0),
        }
    }
}

/// See the file's head.
pub(crate) struct Index {
    levels: [Level; LEVELS],
}

/// The outcome of `insert`.
pub(crate) enum Place {
    /// An equal key was there; the id given was not used.
    Found(u32),
    /// The id given is in the index now.
    Inserted,
    /// No room.
    Full,
}

impl Index {
    pub(crate) const fn new() -> Self {
        // PERF: four times as many from 2^16 on, not eight: a level is handed out whole, and for 100,000 ids that is 2 MiB
        // instead of 4.
        Self {
            levels: [
                Level::new(10),
                Level::new(13),
                Level::new(16),
                Level::new(18),
                Level::new(20),
                Level::new(22),
            ],
        }
    }

    /// Entries of a probe sequence: the slots of a level of so many bits at which `hash` may stand.
    fn probe(entries: NonNull<AtomicU64>, bits: u32, hash: u64) -> impl Iterator<Item = &'static AtomicU64> {
        let start = hash >> (64 - bits);
        (0..MAX_PROBES).map(move |step| {
            let slot = (start + step) & ((1 << bits) - 1);
            // SAFETY: `slot` is below the number of entries that this level was made with, and levels are never freed.
            unsafe { entries.add(slot as usize).as_ref() }
        })
    }

    /// The id under `hash` for which `is_equal` holds.
    pub(crate) fn find(&self, hash: u64, is_equal: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = hash & !ID_MASK;
        for level in self.levels.iter().rev() {
            let bits = level.bits;
            let Some(entries) = level.entries.get() else { continue };
            for slot in Self::probe(entries, bits, hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                // ORDERING: pairs with the AcqRel in `insert`: what the id names is visible before the entry.
                let entry = slot.load(Ordering::Acquire);
                if entry == 0 {
                    break;
                }
                let id = (entry & ID_MASK) as u32;
                if entry & !ID_MASK == tag && is_equal(id) {
                    return Some(id);
                }
            }
        }
        None
    }

    /// Puts `id` under `hash`, unless another thread has just put an equal key where this one would go. The caller has looked
    /// with `find`; what `id` names must be complete before the call.
    pub(crate) fn insert(&self, hash: u64, id: u32, is_equal: impl Fn(u32) -> bool) -> Place {
        let entry = (hash & !ID_MASK) | u64::from(id);
        for level in &self.levels {
            let bits = level.bits;
            let room = (1u32 << bits) / 4 * 3;
            if level.used.load(Ordering::Relaxed) >= room {
                continue;
            }
            // SAFETY: zero is a valid AtomicU64.
            let Some(entries) = (unsafe { level.entries.get_or_make(1 << bits) }) else {
                continue;
            };
            for slot in Self::probe(entries, bits, hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                let mut now = slot.load(Ordering::Acquire);
                if now == 0 {
                    // ORDERING: Release publishes what `id` names; Acquire, on failure, sees what the winner's id names.
                    match slot.compare_exchange(0, entry, Ordering::AcqRel, Ordering::Acquire) {
                        Ok(_) => {
                            level.used.fetch_add(1, Ordering::Relaxed);
                            return Place::Inserted;
                        }
                        Err(other) => now = other,
                    }
                }
                let other = (now & ID_MASK) as u32;
                if now & !ID_MASK == entry & !ID_MASK && is_equal(other) {
                    return Place::Found(other);
                }
            }
        }
        Place::Full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inserted_key_is_found_across_levels() {
        arena::init(arena::DEFAULT_LIMIT);
        static INDEX: Index = Index::new();
        let hash = |id: u32| u64::from(id).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (u64::from(id) << 40);
        for id in 1..20_000 {
            assert!(matches!(
                INDEX.insert(hash(id), id, |other| other == id),
                Place::Inserted
            ));
        }
        for id in 1..20_000 {
            assert_eq!(INDEX.find(hash(id), |other| other == id), Some(id));
        }
        assert_eq!(INDEX.find(hash(77), |_| false), None);
    }

    #[test]
    fn a_key_inserted_by_two_threads_at_once_keeps_the_first_id() {
        arena::init(arena::DEFAULT_LIMIT);
        static INDEX: Index = Index::new();
        assert!(matches!(INDEX.insert(1 << 60, 5, |other| other == 5), Place::Inserted));
        assert!(matches!(INDEX.insert(1 << 60, 6, |other| other == 5), Place::Found(5)));
        assert_eq!(INDEX.find(1 << 60, |_| true), Some(5));
    }
}
