//! How blocks grow, per context: what was copied, and the sizes that growing blocks have in the end.
//!
//! Record side. A reallocation takes a block from the context that had it and gives it to the one that asks, with a new size. Counting
//! arrivals minus departures per class of size leaves, for each class, the blocks that grew to it and no further: the final
//! capacities, also of blocks that are still alive, without a word in any block's header. Hash tables grow without `realloc`: they allocate
//! a larger table, move everything, and free the old one. Their blocks carry the header behind (alignment 16), where a few more
//! instructions do not matter, so each thread remembers the last such block it allocated.
//!
//! Accuracy: exact in mode `exact`, where a reallocation is another context than the allocation before it. Reallocations counted in the
//! shared shard are left out of the sizes. Cost: some 30 instructions per reallocation; nothing for allocations and frees with
//! the header in front.

use crate::record::atomic::{AtomicU32, Ordering};

use super::counters::Counter;
use super::pages::PageRow;
use super::thread::{self, ThreadState};
use crate::ids::ContextId;

/// Classes of sizes, by powers of two: the first is all below `2 * SMALLEST`, the last has no upper end.
pub(crate) const CLASSES: usize = 20;
const SMALLEST: usize = 16;

#[inline(always)]
fn class(size: usize) -> usize {
    ((size | SMALLEST).ilog2() - SMALLEST.ilog2()).min(CLASSES as u32 - 1) as usize
}

/// Lower end of a class.
pub(crate) fn class_bytes(class: usize) -> u64 {
    (SMALLEST as u64) << class
}

/// In pages of its own: most contexts never reallocate.
#[derive(Default)]
#[repr(C)]
pub(crate) struct GrowthRow {
    /// Bytes that reallocations copied to a new address. Exact for moves seen here; what the kernel remapped is counted as copied.
    pub(crate) copied_bytes: Counter,
    /// Sizes of tables that were replaced by larger ones.
    pub(crate) rehashed_bytes: Counter,
    /// Largest size that a block of this context grew to.
    pub(crate) largest: Counter,
    /// Blocks that grew to each class, minus those that went on from it: signed, and above or below zero on a single thread.
    ended: [Counter; CLASSES],
}

// SAFETY: atomics of integers, and `repr(C)` puts a `Counter` first.
unsafe impl PageRow for GrowthRow {}

impl GrowthRow {
    fn add(&self, size: usize, amount: i64) {
        if let Some(count) = self.ended.get(class(size)) {
            count.add(amount as u64);
        }
    }

    fn arrived(&self, size: usize) {
        self.largest.raise(size as u64);
        self.add(size, 1);
    }

    fn left(&self, size: usize) {
        self.add(size, -1);
    }

    /// Blocks per class. Signed.
    pub(crate) fn ended(&self) -> impl Iterator<Item = i64> {
        self.ended.iter().map(Counter::signed)
    }

    /// Adds what an ended thread did, where many threads write.
    pub(crate) fn add_shared(&self, ended: &Self) {
        self.copied_bytes.add_shared(ended.copied_bytes.get());
        self.rehashed_bytes.add_shared(ended.rehashed_bytes.get());
        self.largest.raise_shared(ended.largest.signed());
        for (total, part) in self.ended.iter().zip(&ended.ended) {
            total.add_shared(part.get());
        }
    }
}

/// A thread's last allocation with the header behind.
#[derive(Default)]
pub(crate) struct LastTable {
    context: AtomicU32,
    size: Counter,
    /// What the thread's number of allocations was then.
    at: Counter,
}

impl LastTable {
    /// The thread has ended.
    pub(super) fn forget(&self) {
        self.context.store(0, Ordering::Relaxed);
        self.size.set(0);
        self.at.set(0);
    }
}

/// A block went from one context to another with a new size; `copied` bytes of it, if it moved.
pub(super) fn resized(
    thread: &'static ThreadState,
    (from, size): (ContextId, usize),
    (to, new_size): (ContextId, usize),
    copied: Option<u64>,
) {
    let bytes = copied.unwrap_or(0);
    thread.copied_bytes.add(bytes);
    match thread.growth_row(to) {
        Some(row) => {
            row.copied_bytes.add(bytes);
            row.arrived(new_size);
        }
        None => thread::copied_shared(to, bytes),
    }
    if let Some(row) = thread.growth_row(from) {
        row.left(size);
    }
}

/// A block with its header behind was granted.
#[inline]
pub(super) fn granted_behind(thread: &ThreadState, context: ContextId, size: usize) {
    thread.last_table.context.store(context.0, Ordering::Relaxed);
    thread.last_table.size.set(size as u64);
    thread.last_table.at.set(thread.allocations.get());
}

/// A block with its header behind is freed: nothing happens unless it is the table that the one allocated last, here, took the place of.
#[inline]
pub(super) fn freed_behind(context: ContextId, size: usize) {
    let Some(thread) = thread::current() else { return };
    let last = &thread.last_table;
    let new_size = last.size.get() as usize;
    let is_replaced = last.at.get() == thread.allocations.get()
        && last.context.load(Ordering::Relaxed) == context.0
        // Tables double; what belongs to them besides the entries makes it a little more or less.
        && (size / 2 * 3..=size.saturating_mul(3)).contains(&new_size);
    if is_replaced {
        last.size.set(0);
        replaced(thread, context, size, new_size);
    }
}

#[cold]
fn replaced(thread: &'static ThreadState, context: ContextId, size: usize, new_size: usize) {
    if let Some(row) = thread.growth_row(context) {
        row.rehashed_bytes.add(size as u64);
        row.arrived(new_size);
        row.left(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_two_with_open_ends() {
        let classes = [1, 16, 31, 32, 63, 64, 8 << 20, usize::MAX].map(class);
        assert_eq!(classes, [0, 0, 0, 1, 1, 2, 19, 19]);
        assert_eq!([0, 1, 19].map(class_bytes), [16, 32, 8 << 20]);
    }
}
