//! The observations that exist: a few, lent to one iteration after another.
//!
//! Record side. Each is free, running (its call is on a thread's stack) or waiting (its call is between two polls). When all are lent, one
//! that has waited for long may be taken away: its call may never go on, or go on for days (a connection). Cost: cold; a few atomic operations.

use crate::record::atomic::{AtomicU32, Ordering};
use core::ops::Range;

use super::iteration::Iteration;
use crate::record::index::Lazy;

/// Iterations and windows that can be observed at once. LIMIT: with more at once, the others are not observed.
const MAX: usize = WINDOWS + if cfg!(allocscope_model) { 2 } else { 32 };
/// Places of windows: one stays lent while its thread allocates nothing, and that must not keep iterations from being observed.
/// LIMIT: with so many idle threads in a window, there are no others.
const WINDOWS: usize = 8;

fn places(node: u32) -> Range<usize> {
    if node == 0 { 0..WINDOWS } else { WINDOWS..MAX }
}

/// An observation, lent to one call: its place in the low 8 bits, from 1 on, and how often it was lent in the others. 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) u32);

impl Handle {
    /// `None` for 0.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }

    fn place(self) -> usize {
        (self.0 as usize & 0xff).wrapping_sub(1)
    }

    fn round(self) -> u32 {
        self.0 >> 8
    }
}

const FREE: u32 = 0;
const RUNNING: u32 = 1;
const WAITING: u32 = 2;

/// State in the low two bits, and how often it was lent above.
static STATES: [AtomicU32; MAX] = [const { AtomicU32::new(FREE) }; MAX];
static ITERATIONS: [Lazy<Iteration>; MAX] = [const { Lazy::new() }; MAX];
/// Attempts to get one so far, and what they were when each was lent.
static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
static LENT_AT: [AtomicU32; MAX] = [const { AtomicU32::new(0) }; MAX];
/// Attempts before one that waits may be taken away: most requests are over by then, even if a hundred of them wait at once.
const OLD: i32 = 256;

const ROUNDS: u32 = 1 << 24;

fn word(round: u32, state: u32) -> u32 {
    ((round % ROUNDS) << 2) | state
}

/// Changes the state of the observation at `place` from one word to another.
fn exchange(place: usize, from: u32, to: u32) -> bool {
    // ORDERING: Acquire and Release: whoever has the observation next sees what the one before wrote.
    STATES.get(place).is_some_and(|state| {
        state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    })
}

/// An observation for a call of `node`, empty and running. With `is_urgent` also from a call that has waited for a short time only.
pub(super) fn take(node: u32, is_urgent: bool) -> Option<Handle> {
    let now = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let place = take_free(places(node)).or_else(|| take_waiting(places(node), now, if is_urgent { 0 } else { OLD }))?;
    LENT_AT.get(place)?.store(now, Ordering::Relaxed);
    // SAFETY: zero is a valid Iteration: all its fields are atomics of integers.
    let made = unsafe { ITERATIONS.get(place)?.get_or_make(1) };
    let round = STATES.get(place)?.load(Ordering::Relaxed) >> 2;
    let handle = Handle((round << 8) | (place as u32 + 1));
    let Some(made) = made else {
        give(handle);
        return None;
    };
    // SAFETY: the memory is never freed.
    let iteration = unsafe { made.as_ref() };
    iteration.clear();
    iteration.begin(node);
    Some(handle)
}

fn take_free(mut places: Range<usize>) -> Option<usize> {
    places.find(|&place| {
        let now = STATES.get(place).map_or(RUNNING, |state| state.load(Ordering::Relaxed));
        // A new round with every loan, so that who had it before finds out.
        now & 3 == FREE && exchange(place, now, word((now >> 2) + 1, RUNNING))
    })
}

fn take_waiting(mut places: Range<usize>, attempt: u32, old: i32) -> Option<usize> {
    places.find(|&place| {
        let lent_at = LENT_AT.get(place).map_or(attempt, |at| at.load(Ordering::Relaxed));
        let now = STATES.get(place).map_or(RUNNING, |state| state.load(Ordering::Relaxed));
        attempt.wrapping_sub(lent_at) as i32 > old
            && now & 3 == WAITING
            && exchange(place, now, word((now >> 2) + 1, RUNNING))
    })
}

/// What is kept for the call that the observation is lent to.
pub(super) fn get(handle: Handle) -> Option<&'static Iteration> {
    let iteration = ITERATIONS.get(handle.place())?.get()?;
    // SAFETY: the memory is never freed.
    Some(unsafe { iteration.as_ref() })
}

/// The observation with these bits, which is running.
pub(super) fn running(bits: u32) -> Option<&'static Iteration> {
    get(Handle::from_bits(bits)?)
}

pub(super) fn is_running(handle: Handle) -> bool {
    STATES
        .get(handle.place())
        .is_some_and(|state| state.load(Ordering::Relaxed) == word(handle.round(), RUNNING))
}

/// The call waits for its next poll.
pub(super) fn wait(handle: Handle) {
    exchange(
        handle.place(),
        word(handle.round(), RUNNING),
        word(handle.round(), WAITING),
    );
}

/// The call goes on. False when the observation was taken away.
pub(super) fn resume(handle: Handle) -> bool {
    exchange(
        handle.place(),
        word(handle.round(), WAITING),
        word(handle.round(), RUNNING),
    )
}

/// The call is over.
pub(super) fn give(handle: Handle) {
    exchange(
        handle.place(),
        word(handle.round(), RUNNING),
        word(handle.round(), FREE),
    );
}

/// Where the states are, and how many bytes, for models.
#[cfg(all(test, allocscope_model))]
pub(crate) fn memory() -> (usize, usize) {
    (STATES.as_ptr().addr(), size_of_val(&STATES))
}

/// In a forked process: gives back what threads have that do not exist here. `is_ours` tells the calling thread's.
pub(super) fn forget_others(is_ours: impl Fn(Handle) -> bool) {
    for (place, state) in STATES.iter().enumerate() {
        let now = state.load(Ordering::Relaxed);
        let handle = Handle(((now >> 2) << 8) | (place as u32 + 1));
        if now & 3 == RUNNING && !is_ours(handle) {
            exchange(place, now, word(now >> 2, FREE));
        }
    }
}
