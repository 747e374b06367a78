//! Guards that watch the calling thread, dropped in whatever order.
//!
//! Read side; called by `deny` and `fail`. `guard = deny_allocations(..)?` makes the new guard before it drops the old one, and fields are
//! dropped in the order they stand in: so a guard puts back what was before it only while it is the innermost, else the one inside it gets
//! that to put back. Cost: some loads and stores. A guard that is forgotten lives as long as its thread.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::thread::LocalKey;

use crate::record::watch::{self, Watching};

/// Guards of one kind that can live on a thread at once.
pub(super) const MOST: usize = 8;

/// The guards of one kind on one thread: the number of each, and what was watched for before it; innermost last.
///
/// A thread-local of it has no destructor, so it is there to the very end of the thread.
pub(super) struct Guards {
    count: Cell<usize>,
    last: Cell<u64>,
    entries: Cell<[(u64, Watching); MOST]>,
}

impl Guards {
    pub(super) const fn new() -> Self {
        Self {
            count: Cell::new(0),
            last: Cell::new(0),
            entries: Cell::new([(0, Watching::NOTHING); MOST]),
        }
    }
}

/// Notes a new guard; `None` when there are too many.
pub(super) fn push(guards: &'static LocalKey<Guards>, before: Watching) -> Option<u64> {
    guards.with(|guards| {
        let (count, number) = (guards.count.get(), guards.last.get() + 1);
        let mut entries = guards.entries.get();
        *entries.get_mut(count)? = (number, before);
        guards.entries.set(entries);
        guards.count.set(count + 1);
        guards.last.set(number);
        Some(number)
    })
}

/// What the guard has found so far: until now, or until the one inside it was made.
pub(super) fn found(guards: &'static LocalKey<Guards>, number: u64) -> Option<Watching> {
    guards.with(|guards| {
        let (count, entries) = (guards.count.get(), guards.entries.get());
        let at = entries[..count].iter().position(|entry| entry.0 == number)?;
        match entries[..count].get(at + 1) {
            Some((_, before)) => Some(*before),
            None => watch::get(),
        }
    })
}

/// Takes a guard away: `put_back` makes of what is watched for now, and of what was before the guard, what is watched for from now on.
/// Gives what the guard has found.
pub(super) fn take(
    guards: &'static LocalKey<Guards>,
    number: u64,
    put_back: fn(Watching, Watching) -> Watching,
) -> Option<Watching> {
    let found = found(guards, number)?;
    guards.with(|guards| {
        let (count, mut entries) = (guards.count.get(), guards.entries.get());
        let at = entries[..count].iter().position(|entry| entry.0 == number)?;
        let before = entries[at].1;
        match entries[..count].get_mut(at + 1) {
            Some(inner) => inner.1 = before,
            None => watch::set(put_back(found, before)),
        }
        entries.copy_within(at + 1..count, at);
        guards.entries.set(entries);
        guards.count.set(count - 1);
        Some(found)
    })
}
