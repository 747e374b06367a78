//! A thread's cache from (stack, scope node) to the row that counts it.
//!
//! Record side. Two slots per set; what is looked for last stands in the first, which is the only one the hot path reads.
#![forbid(unsafe_code)]

use crate::record::atomic::{AtomicU64, Ordering};
use core::ptr;

use crate::ids::ContextId;
use crate::record::block::CONTEXT_BITS;
use crate::record::counters::Row;

/// Sets of the cache, two slots each.
pub(super) const SITE_SETS: usize = 1 << SITE_BITS;
pub(super) const SITE_BITS: u32 = 11;

/// One entry of a thread's cache from (stack, scope node) to its row.
///
/// PERF: the row's address and the context in one word, so that four entries share a cache line.
#[derive(Default)]
pub(crate) struct SiteSlot {
    key: AtomicU64,
    /// The address of the row, without the low bits that its alignment makes 0, and below them the context.
    found: AtomicU64,
}

/// Two slots: the key looked for last stands in the first.
#[derive(Default)]
#[repr(align(32))]
pub(crate) struct SiteSet {
    first: SiteSlot,
    second: SiteSlot,
}

const ROW_SHIFT: u32 = align_of::<Row>().trailing_zeros();

impl SiteSet {
    /// Address of the row under `key`, and the context, if the first slot has them.
    #[inline(always)]
    pub(crate) fn get(&self, key: u64) -> Option<(*const Row, ContextId)> {
        if self.first.key.load(Ordering::Relaxed) != key {
            return None;
        }
        let found = self.first.found.load(Ordering::Relaxed);
        let row = (found >> CONTEXT_BITS << ROW_SHIFT) as usize;
        Some((
            ptr::with_exposed_provenance(row),
            ContextId(found as u32 & ((1 << CONTEXT_BITS) - 1)),
        ))
    }

    /// Moves what the second slot has under `key` to the first, if that is where it is.
    pub(crate) fn promote(&self, key: u64) -> bool {
        let found = self.second.found.load(Ordering::Relaxed);
        let is_here = self.second.key.load(Ordering::Relaxed) == key;
        if is_here {
            self.push(key, found);
        }
        is_here
    }

    /// Remembers a row and its context in place of the key looked for least recently.
    pub(crate) fn put(&self, key: u64, row: &'static Row, context: ContextId) {
        let address = ptr::from_ref(row).expose_provenance() as u64 >> ROW_SHIFT;
        // LIMIT: rows at addresses that need more than 48 bits are looked up every time.
        if address >> (64 - CONTEXT_BITS) == 0 {
            self.push(key, (address << CONTEXT_BITS) | u64::from(context.0));
        }
    }

    fn push(&self, key: u64, found: u64) {
        for (to, from) in [
            (&self.second.key, &self.first.key),
            (&self.second.found, &self.first.found),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.first.key.store(key, Ordering::Relaxed);
        self.first.found.store(found, Ordering::Relaxed);
    }
}
