//! Call records: how much of what a call granted is still alive, whoever frees it.
//!
//! Record side. A call takes a record at its first allocation; its blocks carry the record's stamp (slot and generation). A free
//! by the call itself costs one compare (`gate`); every other free of a stamped block comes here, to `released`. When a call
//! ends with survivors inside another call, its record stays as an *alias* that forwards frees to the enclosing call, until the
//! survivors are dead or the enclosing call ends too.
//!
//! Cost: a few ns to take and give back a record; about 20 ns per free of a block of another open call.
//! Accuracy: exact, except that (LIMIT) a call that found no free record, or that dropped aliases because over 4096 of them
//! had survivors, reports an upper bound and says so; and a block that dies in the very call that has its stamp again would be
//! subtracted from that call: stamps come again after four million calls with survivors on one thread, or after 16,384 threads
//! that each live for one such call.

use crate::record::atomic::{AtomicU32, AtomicU64, Ordering};

use super::block::{GENERATION_BITS, SLOT_BITS, Stamp};
use super::free::FreeStack;
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

/// Generation, closed flag and a signed number of bytes in one word, so that a late free cannot reach the next user of the slot.
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

fn generation_of(word: u64) -> u32 {
    (word >> GENERATION_SHIFT) as u32
}

impl Tally {
    fn word(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn reset(&self, generation: u32) {
        self.0
            .store(u64::from(generation) << GENERATION_SHIFT, Ordering::Release);
    }
    fn add(&self, generation: u32, bytes: i64) -> Added {
        let mut word = self.word();
        loop {
            if generation_of(word) != generation {
                return Added::OtherGeneration;
            }
            let next = (word & !VALUE) | ((word & VALUE).wrapping_add(bytes as u64) & VALUE);
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) if word & CLOSED != 0 => return Added::Closed,
                Ok(_) => return Added::Yes,
                Err(now) => word = now,
            }
        }
    }
    /// What was added so far; what is added from now on is answered with `Closed`.
    fn close(&self) -> i64 {
        signed(self.0.fetch_or(CLOSED, Ordering::AcqRel))
    }
}

/// One slot. The tallies are written by anyone; everything below them by the thread that runs the call.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct CallRecord {
    /// Bytes of this call's blocks released by others than the running call itself.
    released: Tally,
    /// The part of it that happened outside the call's own extent: what its peak must not count.
    elsewhere: Tally,
    /// Index of the thread that executes the call now; 0: suspended.
    runner: AtomicU32,
    /// Stamp of the enclosing call: once closed, and while open but suspended.
    forward: AtomicU32,
    /// Bytes stamped and not freed by the call itself: all dead when `released` has reached it. Set when closed.
    stamped: AtomicU64,
    /// Aliases of this open call: a list through `next`.
    alias_head: AtomicU32,
    aliases: AtomicU32,
    scan_at: AtomicU32,
    /// Next alias in the enclosing call's list, or next free slot.
    next: AtomicU32,
    /// Not 0: aliases had to be dropped, the call's figures are upper bounds.
    is_upper_bound: AtomicU32,
    /// Not 0: a suspended call forwards to this one.
    is_known: AtomicU32,
}

const _: () = assert!(size_of::<CallRecord>() == 64);

static TABLE: [Lazy<CallRecord>; RECORDS / SEGMENT] = [const { Lazy::new() }; RECORDS / SEGMENT];
/// Slot 0 is never used: it means "none".
static NEXT_SLOT: AtomicU32 = AtomicU32::new(1);
/// Free slots of ended threads.
static FREE: FreeStack = FreeStack::new();

fn record(slot: u32) -> Option<&'static CallRecord> {
    let segment = TABLE.get(slot as usize / SEGMENT)?.get()?;
    // SAFETY: a segment has SEGMENT records and is never freed; the offset is below SEGMENT.
    Some(unsafe { segment.add(slot as usize % SEGMENT).as_ref() })
}

/// The record of an open or aliased call; `None` for stamps without one.
fn record_of(stamp: Stamp) -> Option<&'static CallRecord> {
    if stamp.is_recorded() {
        record(stamp.slot())
    } else {
        None
    }
}

fn push_free(slot: u32) {
    if let Some(freed) = record(slot) {
        FREE.push(slot, &freed.next);
    }
}

fn pop_free() -> Option<u32> {
    FREE.pop(|slot| record(slot).map(|freed| &freed.next))
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

/// A record for a call that is about to grant its first block, or `UNRECORDED`.
pub(crate) fn open(thread: &ThreadState) -> Stamp {
    match thread.spare_stamps.take() {
        Some(stamp) => Stamp(stamp),
        None => open_slot(thread),
    }
}

#[cold]
#[inline(never)]
fn open_slot(thread: &ThreadState) -> Stamp {
    let Some((slot, record)) = thread.slots.get().and_then(|slot| Some((slot, record(slot)?))) else {
        return Stamp::UNRECORDED;
    };
    record.runner.store(thread.index(), Ordering::Relaxed);
    Stamp::new(slot, generation_of(record.released.word()))
}

/// Makes the record of a call without survivors as good as new for the thread's next call. False when it is not: others than the call
/// itself released blocks of it, or an ended call hangs on it.
#[inline]
pub(crate) fn renew(stamp: Stamp) -> bool {
    record_of(stamp).is_some_and(|record| {
        let untouched = u64::from(stamp.generation()) << GENERATION_SHIFT;
        let is_new = record.released.word() == untouched
            && record.elsewhere.word() == untouched
            && record.alias_head.load(Ordering::Relaxed) == 0
            && record.is_known.load(Ordering::Relaxed) == 0;
        if is_new {
            // No block has the stamp any more, so nobody asks for it meanwhile.
            record.forward.store(0, Ordering::Relaxed);
        }
        is_new
    })
}

/// Bytes of the call that were released outside its extent so far.
pub(crate) fn released_elsewhere(stamp: Stamp) -> i64 {
    record_of(stamp).map_or(0, |record| signed(record.elsewhere.word()))
}

/// Says which thread executes the call from now on (0: none).
pub(crate) fn set_runner(stamp: Stamp, index: u32) {
    if let Some(record) = record_of(stamp) {
        record.runner.store(index, Ordering::Relaxed);
    }
}

/// True when the call's figures are upper bounds.
pub(crate) fn is_upper_bound(stamp: Stamp) -> bool {
    stamp == Stamp::UNRECORDED
        || record_of(stamp).is_some_and(|record| record.is_upper_bound.load(Ordering::Relaxed) != 0)
}

/// Passes the mark on to the enclosing call, and gives the stamp it goes on with.
pub(crate) fn mark_upper_bound(stamp: Stamp) -> Stamp {
    match record_of(stamp) {
        Some(record) => record.is_upper_bound.store(1, Ordering::Relaxed),
        None if stamp == Stamp::LAZY => return Stamp::UNRECORDED,
        None => {}
    }
    stamp
}

/// Counts the release of `bytes` (net, for a reallocation) of a block of the call `stamp`, which is not the one that `thread` is in.
#[cold]
#[inline(never)]
pub(crate) fn released(thread: Option<&ThreadState>, mut stamp: Stamp, bytes: i64) {
    for _ in 0..MAX_HOPS {
        if let Some(thread) = thread
            && thread.stamp() == stamp
        {
            // An alias of the running call: its own after all.
            thread.correction.add((-bytes) as u64);
            return;
        }
        let Some(record) = record_of(stamp) else { return };
        let known = record.forward.load(Ordering::Acquire);
        match record.released.add(stamp.generation(), bytes) {
            Added::OtherGeneration => return,
            Added::Yes => return released_elsewhere_of(thread, record, stamp, known, bytes),
            Added::Closed => stamp = forward_of(record, stamp, known),
        }
    }
}

/// Stamp of the call around; `known` when the record has gone to another call meanwhile.
fn forward_of(record: &CallRecord, stamp: Stamp, known: u32) -> Stamp {
    // ORDERING: `forward` is stored before the tally is closed (AcqRel), and reset before its generation changes.
    let now = record.forward.load(Ordering::Acquire);
    Stamp(if generation_of(record.released.word()) == stamp.generation() {
        now
    } else {
        known
    })
}

/// Tells an open call and the ones around it of a release that none of them executed.
fn released_elsewhere_of(thread: Option<&ThreadState>, record: &CallRecord, stamp: Stamp, known: u32, bytes: i64) {
    let (mut record, mut stamp, mut known) = (record, stamp, known);
    for _ in 0..MAX_HOPS {
        // Each level is judged by its own runner: a sibling may free what a suspended call holds, inside the call around both.
        let runner = record.runner.load(Ordering::Relaxed);
        if thread.is_none_or(|thread| thread.index() != runner) {
            record.elsewhere.add(stamp.generation(), bytes);
        }
        stamp = forward_of(record, stamp, known);
        let Some(around) = record_of(stamp) else { return };
        record = around;
        known = record.forward.load(Ordering::Acquire);
        if generation_of(record.released.word()) != stamp.generation() {
            // That call has ended, and what its slot forwards to is not its own.
            return;
        }
    }
}

/// An async call is suspended inside the call `outer`: what others release of it from now on concerns both.
pub(crate) fn suspend(stamp: Stamp, outer: Stamp) {
    let Some(record) = record_of(stamp) else { return };
    record.runner.store(0, Ordering::Relaxed);
    if let Some(around) = record_of(outer) {
        around.is_known.store(1, Ordering::Relaxed);
    }
    let known = Stamp(record.forward.swap(outer.0, Ordering::AcqRel));
    pass_on_elsewhere(record, known, outer);
}

/// Tells the call around of what was released elsewhere before it could be known there. `known` is the call that heard of it so far: where that
/// is another one, the bytes were granted inside of that one.
fn pass_on_elsewhere(record: &CallRecord, known: Stamp, outer: Stamp) {
    if known.is_recorded() {
        return;
    }
    if let Some(around) = record_of(outer) {
        around
            .elsewhere
            .add(outer.generation(), signed(record.elsewhere.word()));
    }
}

/// Gives a slot back; blocks that still carry its stamp count for no call from now on.
fn release(thread: Option<&ThreadState>, slot: u32) {
    let Some(record) = record(slot) else { return };
    let generation = generation_of(record.released.word()).wrapping_add(1) & ((1 << GENERATION_BITS) - 1);
    for zero in [
        &record.runner,
        &record.forward,
        &record.alias_head,
        &record.aliases,
        &record.scan_at,
        &record.next,
        &record.is_upper_bound,
        &record.is_known,
    ] {
        zero.store(0, Ordering::Relaxed);
    }
    record.elsewhere.reset(generation);
    record.released.reset(generation);
    match thread {
        Some(thread) => thread.slots.put(slot),
        None => push_free(slot),
    }
}

/// Gives back a record and what hangs on it: nobody asks for its figures any more.
#[cold]
pub(crate) fn abandon(thread: Option<&ThreadState>, stamp: Stamp) {
    let Some(owner) = record_of(stamp).filter(|owner| generation_of(owner.released.word()) == stamp.generation())
    else {
        return;
    };
    let mut slot = owner.alias_head.load(Ordering::Relaxed);
    while let Some(alias) = record(slot).filter(|_| slot != 0) {
        let next = alias.next.load(Ordering::Relaxed);
        release(thread, slot);
        slot = next;
    }
    release(thread, stamp.slot());
}

/// A call was left without its figures, inside the call `outer`: its blocks are that one's from now on. Gives the stamp to go on
/// with, and the bytes of it that others have released.
#[cold]
pub(crate) fn adopt(stamp: Stamp, outer: Stamp) -> (Stamp, i64) {
    let Some(ended) = record_of(stamp) else {
        return (outer, 0);
    };
    if outer == Stamp::LAZY {
        return (stamp, 0);
    }
    ended.forward.store(outer.0, Ordering::Release);
    let released = ended.released.close();
    // Nobody knows how much of it is alive: it is kept until the enclosing call ends.
    ended.stamped.store(VALUE >> 1, Ordering::Relaxed);
    match record_of(outer) {
        Some(heir) => append_alias(heir, ended, stamp.slot()),
        None => abandon(None, stamp),
    }
    (outer, released)
}

/// What a call left alive, and what its enclosing call goes on with.
pub(crate) struct Ended {
    pub(crate) survivor_bytes: i64,
    /// Stamp of the enclosing call from now on.
    pub(crate) outer: Stamp,
    /// Bytes that the enclosing call counts as its own from now on, releases by others not subtracted.
    pub(crate) inherited_bytes: i64,
}

/// Ends the call `stamp`, whose blocks hold `own_bytes` when only its own releases are subtracted, inside the call `outer`.
#[cold]
#[inline(never)]
pub(crate) fn end(thread: &ThreadState, stamp: Stamp, own_bytes: i64, outer: Stamp) -> Ended {
    let Some(ended) = record_of(stamp) else {
        return Ended {
            survivor_bytes: own_bytes,
            outer,
            inherited_bytes: own_bytes,
        };
    };
    if outer == Stamp::LAZY {
        // The enclosing call has granted nothing itself: it takes over the record, blocks and all.
        ended.runner.store(thread.index(), Ordering::Relaxed);
        ended.forward.store(0, Ordering::Release);
        let survivor_bytes = own_bytes - signed(ended.released.word());
        return Ended {
            survivor_bytes,
            outer: stamp,
            inherited_bytes: own_bytes,
        };
    }
    let known = Stamp(ended.forward.swap(outer.0, Ordering::AcqRel));
    pass_on_elsewhere(ended, known, outer);
    let survivor_bytes = own_bytes - ended.released.close();
    match record_of(outer).filter(|_| survivor_bytes > 0) {
        Some(heir) => {
            ended.stamped.store(own_bytes as u64, Ordering::Relaxed);
            append_alias(heir, ended, stamp.slot());
            scan_aliases(thread, heir);
        }
        None => abandon(Some(thread), stamp),
    }
    Ended {
        survivor_bytes,
        outer,
        inherited_bytes: survivor_bytes,
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

/// Gives back the aliases whose blocks are all dead, and the ones beyond the limit.
fn scan_aliases(thread: &ThreadState, heir: &CallRecord) {
    if heir.aliases.load(Ordering::Relaxed) < heir.scan_at.load(Ordering::Relaxed).max(FIRST_SCAN) {
        return;
    }
    let mut kept_head = 0;
    let mut kept = 0;
    let mut slot = heir.alias_head.load(Ordering::Relaxed);
    while let Some(alias) = record(slot).filter(|_| slot != 0) {
        let next = alias.next.load(Ordering::Relaxed);
        let is_dead = signed(alias.released.word()) >= alias.stamped.load(Ordering::Relaxed) as i64;
        if is_dead || kept == MAX_ALIASES {
            if !is_dead {
                heir.is_upper_bound.store(1, Ordering::Relaxed);
            }
            release(Some(thread), slot);
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
}
