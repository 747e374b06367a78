//! Free slots of a table: a lock-free stack for all threads, and a few kept back by each.
//!
//! Record side; used by the tables whose slots come back (`call`, `waiting`). Cost: one compare-and-exchange per slot taken or given
//! on the shared stack, a load and a store on a thread's own.
#![forbid(unsafe_code)]

use crate::record::atomic::{AtomicU32, AtomicU64, Ordering};

/// Slots linked through a word of their own. Slot 0 is never in it: it means "none".
pub(crate) struct FreeStack {
    /// The first slot; the high half counts changes, so that a stale head cannot be exchanged.
    head: AtomicU64,
}

impl FreeStack {
    pub(crate) const fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
        }
    }

    /// `next` is the link of `slot`.
    pub(crate) fn push(&self, slot: u32, next: &AtomicU32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            next.store(head as u32, Ordering::Relaxed);
            let after = (((head >> 32) + 1) << 32) | u64::from(slot);
            match self
                .head
                .compare_exchange_weak(head, after, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// `next_of` finds the link of a slot.
    pub(crate) fn pop(&self, next_of: impl Fn(u32) -> Option<&'static AtomicU32>) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let slot = head as u32;
            if slot == 0 {
                return None;
            }
            // May be the link of a slot that another thread has taken meanwhile: then the exchange fails.
            let next = next_of(slot)?.load(Ordering::Relaxed);
            let after = (((head >> 32) + 1) << 32) | u64::from(next);
            match self
                .head
                .compare_exchange_weak(head, after, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(slot),
                Err(now) => head = now,
            }
        }
    }
}

const SPARES: usize = 16;

/// What one thread keeps back for its next use. Written by that thread alone.
#[derive(Default)]
pub(crate) struct Spares {
    count: AtomicU32,
    kept: [AtomicU32; SPARES],
}

impl Spares {
    /// False when there is no room.
    #[inline(always)]
    pub(crate) fn put(&self, spare: u32) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        let Some(place) = self.kept.get(count as usize) else {
            return false;
        };
        place.store(spare, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
        true
    }

    #[inline(always)]
    pub(crate) fn take(&self) -> Option<u32> {
        let left = self.count.load(Ordering::Relaxed).wrapping_sub(1);
        let spare = self.kept.get(left as usize)?.load(Ordering::Relaxed);
        self.count.store(left, Ordering::Relaxed);
        Some(spare)
    }
}
