//! Async calls between their polls: what they have granted and released so far.
//!
//! Record side; used by `frame` and `poll`. Kept here and not in the future, so that a tracked future grows by 16 bytes only. A call
//! takes an entry at the end of the first poll that did anything, and gives it back when it ends: calls that are
//! ready at their first poll never have one. Memory follows the largest number of calls that waited at once.
//! Cost: a few loads and stores per poll with events.

use crate::record::atomic::{AtomicU32, Ordering};

use super::block::Stamp;
use super::call;
use super::counters::Counter;
use super::free::FreeStack;
use super::index::Lazy;
use super::thread::ThreadState;

/// Written by the thread that polls the call, and only while it does: the executor hands it from one thread to the next.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct WaitingCall {
    /// Next free entry.
    next: AtomicU32,
    stamp: AtomicU32,
    /// Bits of the observation that waits with the call; 0: none.
    pub(crate) observation: AtomicU32,
    /// Granted minus released by the call itself, of its own blocks. Signed.
    pub(crate) own_bytes: Counter,
    pub(crate) allocations: Counter,
    pub(crate) bytes: Counter,
    /// Granted minus released in all polls, and minus what others released of it between them. Signed.
    pub(crate) net: Counter,
    /// Signed.
    pub(crate) peak: Counter,
    /// What of it others have released so far, already subtracted from `net`. Signed.
    pub(crate) released_elsewhere: Counter,
}

const _: () = assert!(size_of::<WaitingCall>() == 64);

impl WaitingCall {
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Relaxed))
    }
    pub(crate) fn set_stamp(&self, stamp: Stamp) {
        self.stamp.store(stamp.0, Ordering::Relaxed);
    }

    /// The call goes on on `thread`: takes what others released meanwhile from its live bytes, and gives its stamp.
    pub(crate) fn resume(&self, thread: &ThreadState) -> Stamp {
        let stamp = self.stamp();
        if stamp.is_recorded() {
            let released = call::released_elsewhere(stamp);
            let news = released - self.released_elsewhere.signed();
            self.net.set((self.net.signed() - news) as u64);
            self.released_elsewhere.set(released as u64);
            call::set_runner(stamp, thread.index());
        }
        stamp
    }
}

const SEGMENT: usize = 1024;
/// Four million calls; at 64 bytes each the memory ceiling comes first.
const MAX: usize = 1 << 22;

static TABLE: [Lazy<WaitingCall>; MAX / SEGMENT] = [const { Lazy::new() }; MAX / SEGMENT];
/// Entry 0 is never used: it means "none".
static NEXT: AtomicU32 = AtomicU32::new(1);
static FREE: FreeStack = FreeStack::new();

/// `None` for 0.
pub(crate) fn get(index: u32) -> Option<&'static WaitingCall> {
    if index == 0 {
        return None;
    }
    let segment = TABLE.get(index as usize / SEGMENT)?.get()?;
    // SAFETY: a segment has SEGMENT entries and is never freed; the offset is below SEGMENT.
    Some(unsafe { segment.add(index as usize % SEGMENT).as_ref() })
}

/// An entry with all figures 0; `None` at the memory ceiling.
pub(crate) fn take(thread: &ThreadState) -> Option<(u32, &'static WaitingCall)> {
    let index = thread
        .spare_waiting
        .take()
        .or_else(|| FREE.pop(|index| get(index).map(|entry| &entry.next)))
        .or_else(fresh)?;
    let entry = get(index)?;
    for figure in [
        &entry.own_bytes,
        &entry.allocations,
        &entry.bytes,
        &entry.net,
        &entry.peak,
        &entry.released_elsewhere,
    ] {
        figure.set(0);
    }
    entry.observation.store(0, Ordering::Relaxed);
    Some((index, entry))
}

fn fresh() -> Option<u32> {
    let index = NEXT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            ((next as usize) < MAX).then_some(next + 1)
        })
        .ok()?;
    // SAFETY: zero is a valid WaitingCall: all its fields are atomics of integers.
    let made = unsafe { TABLE.get(index as usize / SEGMENT)?.get_or_make(SEGMENT) };
    made.map(|_| index)
}

/// Gives an entry back.
pub(crate) fn put(thread: Option<&ThreadState>, index: u32) {
    if !thread.is_some_and(|thread| thread.spare_waiting.put(index)) {
        put_shared(index);
    }
}

/// Gives an entry back for all threads to use.
pub(crate) fn put_shared(index: u32) {
    if let Some(entry) = get(index) {
        FREE.push(index, &entry.next);
    }
}
