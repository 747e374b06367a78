//! What observed iterations come to, by loop and context.
//!
//! Record side. Written by any thread at the end of an observed iteration, with atomic additions; read by `control`. Bounded: `ROWS`
//! rows; what finds none is counted as missed.

use crate::record::atomic::{AtomicU32, AtomicU64, Ordering};

use super::iteration::{Iteration, Site};
use crate::ids::ContextId;
use crate::record::counters::Counter;
use crate::record::index::{Index, Lazy, Place};
use crate::record::scope::{self, NodeInfo};
use crate::record::thread::ThreadState;

const ROWS: usize = 1 << 14;
const SEGMENT: usize = 64;
/// Sizes of ended blocks that a row keeps.
const SAMPLE: usize = 48;
/// Observed iterations of a loop of which is remembered, one by one, what allocated in them: the last ones.
pub(crate) const RECENT: usize = 512;
/// Contexts that a row's blocks may have been inside of.
pub(crate) const TARGETS: usize = 4;

/// Sums over the observed iterations of the loop `node` that allocated in `context`. See `model::LoopSite`.
#[derive(Default)]
pub(crate) struct LoopRow {
    node: AtomicU32,
    context: AtomicU32,
    /// Id of the next row of the same loop; 0 for none.
    next: AtomicU32,
    pub(crate) present: Counter,
    pub(crate) allocations: Counter,
    pub(crate) bytes: Counter,
    pub(crate) growths: Counter,
    pub(crate) copied_bytes: Counter,
    pub(crate) blocks: Counter,
    pub(crate) grown: Counter,
    pub(crate) confined: Counter,
    pub(crate) crossed_await: Counter,
    pub(crate) crossed_threads: Counter,
    pub(crate) temporaries: [Counter; 4],
    pub(crate) most_live: Counter,
    pub(crate) one_live: Counter,
    pub(crate) few_live: Counter,
    /// One bit for each of the last observed iterations of the loop, whichever it was: set when it allocated here.
    recent: [AtomicU64; RECENT / 64],
    ended: Counter,
    sample: Sample,
    targets: [AtomicU32; TARGETS],
    target_blocks: [Counter; TARGETS],
}

/// The sizes that blocks had in the end: a random sample.
struct Sample([AtomicU64; SAMPLE]);

impl Default for Sample {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; SAMPLE])
    }
}

impl LoopRow {
    pub(crate) fn node(&self) -> u32 {
        self.node.load(Ordering::Relaxed)
    }

    pub(crate) fn context(&self) -> ContextId {
        ContextId(self.context.load(Ordering::Relaxed))
    }

    /// Bits of the last `RECENT` observed iterations, in no order that means anything, but in the same one for all rows of a loop.
    pub(crate) fn recent(&self) -> impl Iterator<Item = u64> {
        self.recent.iter().map(|bits| bits.load(Ordering::Relaxed))
    }

    fn bit(&self, number: u64) -> Option<(&AtomicU64, u64)> {
        let number = number as usize % RECENT;
        Some((self.recent.get(number / 64)?, 1 << (number % 64)))
    }

    pub(crate) fn final_bytes(&self) -> impl Iterator<Item = u64> {
        let known = self.ended.get().min(SAMPLE as u64) as usize;
        self.sample
            .0
            .iter()
            .take(known)
            .map(|size| size.load(Ordering::Relaxed))
    }

    /// Contexts, and how many blocks were freed before one of theirs in the same run of frees.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (ContextId, u64)> {
        let pairs = self.targets.iter().zip(&self.target_blocks);
        pairs
            .map(|(context, blocks)| (ContextId(context.load(Ordering::Relaxed)), blocks.get()))
            .filter(|(context, _)| context.0 != 0)
    }

    fn add_final(&self, size: u64, thread: &ThreadState) {
        let before = self.ended.next_shared();
        let place = if before < SAMPLE as u64 {
            before
        } else {
            thread.random() % (before + 1)
        };
        if let Some(kept) = self.sample.0.get(place as usize) {
            kept.store(size, Ordering::Relaxed);
        }
    }

    fn add_target(&self, context: ContextId, blocks: u64) {
        for (kept, count) in self.targets.iter().zip(&self.target_blocks) {
            let now = kept
                .compare_exchange(0, context.0, Ordering::Relaxed, Ordering::Relaxed)
                .unwrap_or_else(|now| now);
            if now == 0 || now == context.0 {
                return count.add_shared(blocks);
            }
        }
    }
}

static TABLE: [Lazy<LoopRow>; ROWS / SEGMENT] = [const { Lazy::new() }; ROWS / SEGMENT];
static INDEX: Index = Index::new();
/// Row 0 is never used.
static NEXT: AtomicU32 = AtomicU32::new(1);

fn row(id: u32) -> Option<&'static LoopRow> {
    let segment = TABLE.get(id as usize / SEGMENT)?.get()?;
    // SAFETY: a segment has SEGMENT rows and is never freed; the offset is below SEGMENT.
    Some(unsafe { segment.add(id as usize % SEGMENT).as_ref() })
}

/// Every row.
pub(crate) fn rows() -> impl Iterator<Item = &'static LoopRow> {
    (1..NEXT.load(Ordering::Acquire))
        .filter_map(row)
        .filter(|row| row.present.get() != 0)
}

/// The row of a loop and a context, made if it is new.
fn find(node: u32, context: ContextId) -> Option<&'static LoopRow> {
    let hash = ((u64::from(node) << 32) | u64::from(context.0)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let is_equal = |id| row(id).is_some_and(|row| row.node() == node && row.context() == context);
    if let Some(id) = INDEX.find(hash, is_equal) {
        return row(id);
    }
    // Windows see every context in the end, and leave room for loops.
    let room = if node == 0 { ROWS / 2 } else { ROWS };
    let id = NEXT
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |id| {
            ((id as usize) < room).then_some(id + 1)
        })
        .ok()?;
    // SAFETY: zero is a valid LoopRow: all its fields are atomics of integers.
    unsafe { TABLE.get(id as usize / SEGMENT)?.get_or_make(SEGMENT) }?;
    let made = row(id)?;
    made.node.store(node, Ordering::Relaxed);
    made.context.store(context.0, Ordering::Relaxed);
    match INDEX.insert(hash, id, is_equal) {
        Place::Inserted => {
            link(node, made, id);
            Some(made)
        }
        // LIMIT: the row that two threads made at once is lost.
        Place::Found(other) => row(other),
        Place::Full => None,
    }
}

/// Puts a new row on the list of its loop. Windows have none.
fn link(node: u32, made: &LoopRow, id: u32) {
    let Some(info) = scope::node_info(node) else { return };
    let mut first = info.loop_rows.load(Ordering::Relaxed);
    loop {
        made.next.store(first, Ordering::Relaxed);
        // ORDERING: Release: who finds the row finds what it is linked to.
        match info
            .loop_rows
            .compare_exchange_weak(first, id, Ordering::Release, Ordering::Relaxed)
        {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Observed iteration `number` of a loop has ended: forgets the one that had its bit before.
pub(super) fn forget_oldest(info: &NodeInfo, number: u64) {
    if number < RECENT as u64 {
        return;
    }
    let mut next = info.loop_rows.load(Ordering::Acquire);
    while let Some(row) = row(next).filter(|_| next != 0) {
        if let Some((bits, bit)) = row.bit(number) {
            bits.fetch_and(!bit, Ordering::Relaxed);
        }
        next = row.next.load(Ordering::Relaxed);
    }
}

/// Adds what `site` did in one iteration: the loop's observed iteration `number`.
pub(super) fn add(thread: &ThreadState, iteration: &Iteration, site: &Site, number: u64) {
    let context = ContextId(site.context.load(Ordering::Relaxed));
    let Some(row) = find(iteration.node(), context) else {
        if let Some(info) = scope::node_info(iteration.node()) {
            info.missed_events.add_shared(site.allocations.get());
        }
        return;
    };
    for (sum, part) in [
        (&row.allocations, &site.allocations),
        (&row.bytes, &site.bytes),
        (&row.growths, &site.growths),
        (&row.copied_bytes, &site.copied_bytes),
        (&row.blocks, &site.blocks),
        (&row.grown, &site.grown),
        (&row.confined, &site.confined),
        (&row.crossed_await, &site.crossed_await),
        (&row.crossed_threads, &site.crossed_threads),
    ] {
        sum.add_shared(part.get());
    }
    for (sum, part) in row.temporaries.iter().zip(&site.temporaries) {
        sum.add_shared(part.get());
    }
    let most_live = site.most_live.load(Ordering::Relaxed);
    row.most_live.raise_shared(i64::from(most_live));
    row.one_live.add_shared(u64::from(most_live == 1));
    row.few_live.add_shared(u64::from((2..=8).contains(&most_live)));
    for size in site.finals() {
        row.add_final(size, thread);
    }
    for (context, blocks) in iteration.targets(site) {
        row.add_target(context, u64::from(blocks));
    }
    if let Some((bits, bit)) = row.bit(number) {
        bits.fetch_or(bit, Ordering::Relaxed);
    }
    // Last: a row without it is not read.
    row.present.add_shared(1);
}
