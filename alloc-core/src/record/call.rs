//! Call records: which of the blocks that a call granted are still alive, whoever frees them.
//!
//! Record side. A call takes a record at its first allocation; its blocks carry the record's stamp (slot and generation). A free by
//! the call itself is one compare and two additions in the thread's own state (`gate`); every other free comes here, to
//! `released`. When a call ends with survivors inside another call, its record stays as an *alias* that forwards frees to the
//! enclosing call, until the survivors are dead or the enclosing call ends too.
//!
//! Cost: a few ns to take and give back a record; about 20 ns per free of a block of another open call.
//! Accuracy: exact, except that (LIMIT) a call that found no free record, or that dropped aliases because over 4096 of them
//! had survivors, reports an upper bound and says so; and a block that outlives 4 million recorded calls of its thread and dies in
//! the very call that has its stamp again would be subtracted from that call.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::block::{GENERATION_BITS, SLOT_BITS, Stamp};
use super::index::Lazy;
use super::thread::ThreadState;

const VALUE_BITS: u32 = 49;
const CLOSED: u64 = 1 << VALUE_BITS;
const VALUE: u64 = CLOSED - 1;
const GENERATION_SHIFT: u32 = 64 - GENERATION_BITS;
const _: () = assert!(VALUE_BITS + 1 + GENERATION_BITS == 64);

const SEGMENT: usize = 1024;
const RECORDS: usize = 1 << SLOT_BITS;
const MAX_ALIASES: u32 = 4096;
const FIRST_SCAN: u32 = 64;
/// Longest chain of aliases that a free follows.
const MAX_HOPS: usize = 64;

/// Generation, closed flag and a signed value in one word, so that a late free cannot reach the next user of the slot.
#[derive(Default)]
struct Tally(AtomicU64);

enum Added {
    Yes,
    Closed,
    OtherGeneration,
}

fn signed(word: u64) -> i64 {
    ((word << (64 - VALUE_BITS)) as i64) >> (64 - VALUE_BITS)
}

impl Tally {
    fn word(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn reset(&self, generation: u32) {
        self.0
            .store(u64::from(generation) << GENERATION_SHIFT, Ordering::Release);
    }
    fn add(&self, generation: u32, amount: i64, even_closed: bool) -> Added {
        let mut word = self.word();
        loop {
            if word >> GENERATION_SHIFT != u64::from(generation) {
                return Added::OtherGeneration;
            }
            if word & CLOSED != 0 && !even_closed {
                return Added::Closed;
            }
            let next = (word & !VALUE) | ((word & VALUE).wrapping_add(amount as u64) & VALUE);
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Added::Yes,
                Err(now) => word = now,
            }
        }
    }
    fn close(&self) -> i64 {
        signed(self.0.fetch_or(CLOSED, Ordering::AcqRel))
    }
}

/// One slot. The tallies are written by anyone; everything below them by the thread that runs the call.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct CallRecord {
    /// Blocks of this call freed by others than the running call itself.
    blocks: Tally,
    /// Net bytes of the same.
    bytes: Tally,
    /// The part of `bytes` that was freed outside the call's own extent: what its peak must not count.
    elsewhere: Tally,
    /// Index of the thread that executes the call now; 0: suspended.
    runner: AtomicU32,
    /// Stamp of the enclosing call, once closed.
    forward: AtomicU32,
    /// Blocks stamped in all: dead when `blocks` has reached it. Set when closed.
    stamped: AtomicU64,
    alias_head: AtomicU32,
    /// Next alias in the enclosing call's list, or next free slot.
    next: AtomicU32,
    aliases: AtomicU32,
    scan_at: AtomicU32,
}

const _: () = assert!(size_of::<CallRecord>() == 64);

static TABLE: [Lazy<CallRecord>; RECORDS / SEGMENT] = [const { Lazy::new() }; RECORDS / SEGMENT];
/// Slot 0 is never used: it means "none".
static NEXT_SLOT: AtomicU32 = AtomicU32::new(1);
/// Free slots of ended threads: a stack; the high half counts changes, so that a stale head cannot be exchanged.
static FREE: AtomicU64 = AtomicU64::new(0);

fn record(slot: u32) -> Option<&'static CallRecord> {
    let segment = TABLE.get(slot as usize / SEGMENT)?.get()?;
    // SAFETY: a segment has SEGMENT records and is never freed; the offset is below SEGMENT.
    Some(unsafe { segment.add(slot as usize % SEGMENT).as_ref() })
}

fn push_free(slot: u32) {
    let Some(freed) = record(slot) else { return };
    let mut head = FREE.load(Ordering::Relaxed);
    loop {
        freed.next.store(head as u32, Ordering::Relaxed);
        let next = (((head >> 32) + 1) << 32) | u64::from(slot);
        match FREE.compare_exchange_weak(head, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

fn pop_free() -> Option<u32> {
    let mut head = FREE.load(Ordering::Acquire);
    loop {
        let slot = head as u32;
        let next = record(slot).filter(|_| slot != 0)?.next.load(Ordering::Relaxed);
        let after = (((head >> 32) + 1) << 32) | u64::from(next);
        match FREE.compare_exchange_weak(head, after, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(slot),
            Err(now) => head = now,
        }
    }
}

fn new_slot() -> Option<u32> {
    let slot = NEXT_SLOT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            ((next as usize) < RECORDS).then_some(next + 1)
        })
        .ok()?;
    let segment = TABLE.get(slot as usize / SEGMENT)?;
    // SAFETY: zero is a valid CallRecord: all its fields are atomics of integers.
    unsafe { segment.get_or_make(SEGMENT) }?;
    Some(slot)
}

/// Free slots that one thread keeps, used in turn, so that a generation returns as late as possible.
pub(crate) struct SlotRing {
    slots: [AtomicU32; Self::SIZE as usize],
    head: AtomicU32,
    tail: AtomicU32,
}

impl SlotRing {
    const SIZE: u32 = 256;

    fn slot(&self, position: u32) -> Option<&AtomicU32> {
        self.slots.get((position % Self::SIZE) as usize)
    }
    pub(crate) fn put(&self, slot: u32) {
        let tail = self.tail.load(Ordering::Relaxed);
        match self.slot(tail) {
            Some(place) if tail.wrapping_sub(self.head.load(Ordering::Relaxed)) < Self::SIZE => {
                place.store(slot, Ordering::Relaxed);
                self.tail.store(tail.wrapping_add(1), Ordering::Relaxed);
            }
            _ => push_free(slot),
        }
    }
    /// Fresh slots are preferred until the ring is full: see the file's head on generations.
    fn get(&self) -> Option<u32> {
        let head = self.head.load(Ordering::Relaxed);
        let waiting = self.tail.load(Ordering::Relaxed).wrapping_sub(head);
        if waiting < Self::SIZE
            && let Some(slot) = pop_free().or_else(new_slot)
        {
            return Some(slot);
        }
        if waiting == 0 {
            return None;
        }
        self.head.store(head.wrapping_add(1), Ordering::Relaxed);
        Some(self.slot(head)?.load(Ordering::Relaxed))
    }
    /// Gives every slot back; the thread ends.
    pub(crate) fn drain(&self) {
        let mut head = self.head.load(Ordering::Relaxed);
        while head != self.tail.load(Ordering::Relaxed) {
            if let Some(place) = self.slot(head) {
                push_free(place.load(Ordering::Relaxed));
            }
            head = head.wrapping_add(1);
        }
        self.head.store(head, Ordering::Relaxed);
    }
}

/// A record for a call that is about to grant its first block; `Stamp::NONE` when there is none.
#[cold]
#[inline(never)]
pub(crate) fn open(thread: &ThreadState) -> Stamp {
    let Some(slot) = thread.slots.get() else {
        return Stamp::NONE;
    };
    let Some(record) = record(slot) else { return Stamp::NONE };
    record.runner.store(thread.index(), Ordering::Relaxed);
    Stamp::new(slot, (record.blocks.word() >> GENERATION_SHIFT) as u32)
}

/// True when nobody but the call itself freed blocks of it, and no ended call hangs on it: with no survivors either, the stamp
/// can serve the thread's next call as it is.
#[inline]
pub(crate) fn is_pristine(stamp: Stamp) -> bool {
    let blank = u64::from(stamp.generation()) << GENERATION_SHIFT;
    record(stamp.slot()).is_some_and(|record| {
        record.blocks.word() == blank
            && record.bytes.word() == blank
            && record.elsewhere.word() == blank
            && record.alias_head.load(Ordering::Relaxed) == 0
    })
}

/// Net bytes of the call that were freed outside its extent so far.
pub(crate) fn freed_elsewhere(stamp: Stamp) -> i64 {
    record(stamp.slot()).map_or(0, |record| signed(record.elsewhere.word()))
}

/// Blocks and bytes of the call that others have freed so far.
pub(crate) fn freed_by_others(stamp: Stamp) -> (i64, i64) {
    record(stamp.slot()).map_or((0, 0), |record| {
        (signed(record.blocks.word()), signed(record.bytes.word()))
    })
}

/// Says which thread executes the call from now on (0: none).
pub(crate) fn set_runner(stamp: Stamp, index: u32) {
    if let Some(record) = record(stamp.slot()) {
        record.runner.store(index, Ordering::Relaxed);
    }
}

/// Counts a free (or, with `blocks` 0, a change of size) of a block of the call `stamp`, which is not the one `thread` is in.
#[cold]
#[inline(never)]
pub(crate) fn released(thread: Option<&ThreadState>, stamp: Stamp, blocks: i64, bytes: i64) {
    let (mut stamp, mut blocks, mut bytes) = (stamp, blocks, bytes);
    for _ in 0..MAX_HOPS {
        if !stamp.is_recorded() {
            return;
        }
        if let Some(thread) = thread
            && thread.stamp() == stamp
        {
            thread.own_blocks.add((-blocks) as u64);
            thread.own_bytes.add((-bytes) as u64);
            return;
        }
        let Some(record) = record(stamp.slot()) else { return };
        let generation = stamp.generation();
        let is_closed = match record.blocks.add(generation, blocks, false) {
            Added::OtherGeneration => return,
            Added::Closed => {
                record.blocks.add(generation, blocks, true);
                true
            }
            Added::Yes => {
                blocks = 0;
                match record.bytes.add(generation, bytes, false) {
                    Added::OtherGeneration => return,
                    Added::Closed => true,
                    Added::Yes => {
                        let runner = record.runner.load(Ordering::Relaxed);
                        if thread.is_none_or(|thread| thread.index() != runner) {
                            record.elsewhere.add(generation, bytes, true);
                        }
                        bytes = 0;
                        false
                    }
                }
            }
        };
        if !is_closed {
            return;
        }
        // ORDERING: `forward` was stored before the tallies were closed (AcqRel).
        stamp = Stamp(record.forward.load(Ordering::Acquire));
    }
}

/// Gives a slot back; blocks that still carry its stamp count for no call from now on.
fn release(thread: &ThreadState, slot: u32) {
    let Some(record) = record(slot) else { return };
    let generation = ((record.blocks.word() >> GENERATION_SHIFT) as u32).wrapping_add(1) & ((1 << GENERATION_BITS) - 1);
    record.runner.store(0, Ordering::Relaxed);
    record.forward.store(0, Ordering::Relaxed);
    for empty in [&record.alias_head, &record.next, &record.aliases, &record.scan_at] {
        empty.store(0, Ordering::Relaxed);
    }
    record.elsewhere.reset(generation);
    record.bytes.reset(generation);
    record.blocks.reset(generation);
    thread.slots.put(slot);
}

fn release_with_aliases(thread: &ThreadState, slot: u32) {
    let Some(owner) = record(slot) else { return };
    let mut alias = owner.alias_head.load(Ordering::Relaxed);
    while let Some(ended) = record(alias).filter(|_| alias != 0) {
        let next = ended.next.load(Ordering::Relaxed);
        release(thread, alias);
        alias = next;
    }
    release(thread, slot);
}

/// Gives back the record of a call that nobody will end properly.
#[cold]
pub(crate) fn abandon(thread: &ThreadState, stamp: Stamp) {
    if stamp.is_recorded() {
        release_with_aliases(thread, stamp.slot());
    }
}

/// What a call left alive, and what its enclosing call goes on with.
pub(crate) struct Ended {
    pub(crate) survivors: i64,
    pub(crate) survivor_bytes: i64,
    /// Stamp of the enclosing call from now on.
    pub(crate) outer: Stamp,
    /// What the enclosing call inherits.
    pub(crate) inherited_blocks: i64,
    pub(crate) inherited_bytes: i64,
    /// Aliases had to be dropped: the enclosing call's figures are upper bounds.
    pub(crate) is_upper_bound: bool,
}

/// Ends the call `stamp` that granted `own_blocks` net of its own frees, inside the call `outer`.
#[cold]
#[inline(never)]
pub(crate) fn end(thread: &ThreadState, stamp: Stamp, own_blocks: i64, own_bytes: i64, outer: Stamp) -> Ended {
    let left = |survivors, survivor_bytes| Ended {
        survivors,
        survivor_bytes,
        outer,
        inherited_blocks: survivors,
        inherited_bytes: survivor_bytes,
        is_upper_bound: false,
    };
    let Some(ended) = record(stamp.slot()).filter(|_| stamp.is_recorded()) else {
        return left(own_blocks, own_bytes);
    };
    if outer == Stamp::LAZY {
        // The enclosing call has granted nothing itself: it takes over the record, blocks and all.
        let (freed, freed_bytes) = freed_by_others(stamp);
        set_runner(stamp, thread.index());
        return Ended {
            outer: stamp,
            inherited_blocks: own_blocks,
            inherited_bytes: own_bytes,
            ..left(own_blocks - freed, own_bytes - freed_bytes)
        };
    }
    ended.forward.store(outer.0, Ordering::Release);
    let survivors = own_blocks - ended.blocks.close();
    let survivor_bytes = own_bytes - ended.bytes.close();
    let Some(heir) = record(outer.slot()).filter(|_| outer.is_recorded() && survivors > 0) else {
        release_with_aliases(thread, stamp.slot());
        return left(survivors, survivor_bytes);
    };
    ended.stamped.store(own_blocks as u64, Ordering::Relaxed);
    append_alias(heir, ended, stamp.slot());
    Ended {
        is_upper_bound: scan_aliases(thread, heir),
        ..left(survivors, survivor_bytes)
    }
}

/// Hangs an ended call, and what hung on it, on the enclosing call.
fn append_alias(heir: &CallRecord, ended: &CallRecord, slot: u32) {
    let mut last = ended;
    let mut added = 1;
    let mut next = ended.alias_head.swap(0, Ordering::Relaxed);
    last.next.store(next, Ordering::Relaxed);
    while let Some(alias) = record(next).filter(|_| next != 0) {
        last = alias;
        added += 1;
        next = alias.next.load(Ordering::Relaxed);
    }
    last.next
        .store(heir.alias_head.load(Ordering::Relaxed), Ordering::Relaxed);
    heir.alias_head.store(slot, Ordering::Relaxed);
    heir.aliases
        .store(heir.aliases.load(Ordering::Relaxed) + added, Ordering::Relaxed);
}

/// Gives back the aliases whose blocks are all dead. True when live ones had to go too.
fn scan_aliases(thread: &ThreadState, heir: &CallRecord) -> bool {
    if heir.aliases.load(Ordering::Relaxed) < heir.scan_at.load(Ordering::Relaxed).max(FIRST_SCAN) {
        return false;
    }
    let mut kept_head = 0;
    let mut kept = 0;
    let mut is_upper_bound = false;
    let mut slot = heir.alias_head.load(Ordering::Relaxed);
    while let Some(alias) = record(slot).filter(|_| slot != 0) {
        let next = alias.next.load(Ordering::Relaxed);
        let is_dead = signed(alias.blocks.word()) as u64 >= alias.stamped.load(Ordering::Relaxed);
        if is_dead || kept == MAX_ALIASES {
            is_upper_bound |= !is_dead;
            release(thread, slot);
        } else {
            alias.next.store(kept_head, Ordering::Relaxed);
            kept_head = slot;
            kept += 1;
        }
        slot = next;
    }
    heir.alias_head.store(kept_head, Ordering::Relaxed);
    heir.aliases.store(kept, Ordering::Relaxed);
    heir.scan_at
        .store(kept.saturating_mul(2).min(2 * MAX_ALIASES), Ordering::Relaxed);
    is_upper_bound
}
