//! How an event finds the state of its thread, and whether it may use it.
//!
//! Record side. Called first thing by every event. INVARIANT: what stands for the state of a thread that has none is occupied, and has something
//! to look at, so that the usual ways are closed to it.

use crate::record::atomic::{AtomicU64, Ordering, compiler_fence};
#[cfg(not(allocscope_model))]
use core::cell::Cell;
use core::ptr::{self, NonNull};

use super::{ThreadState, registry};
#[cfg(allocscope_model)]
use crate::record::atomic::AtomicPtr;
use crate::record::counters::Counter;
use crate::record::sample;

/// What an event looks at first.
#[repr(C)]
pub(super) struct Head {
    /// 0 when the thread can record an event the usual way.
    occupied: AtomicU64,
    /// An allocation in mode `sampled` that brings `sampled_bytes` to this or more has something to look at: see `sample`. 0 when the next one
    /// has in any case, and always where `occupied` is not 0 for other reasons than an event.
    /// Set to 0 by another thread that changes the interval, else written by the thread alone.
    look_at: Counter,
    /// Bytes granted by this thread in mode `sampled`, sampled or not, reallocations included, ever.
    sampled_bytes: Counter,
}

/// The thread is between the first and the last step of recording an event: whoever allocates then (a signal handler) is
/// counted in the shared shard.
const BUSY: u64 = 1;
/// One `InTracker` guard.
const INSIDE: u64 = 2;
/// Allocations are denied on the thread, or made to fail: see `watch`. Above all guards there can be.
const WATCHED: u64 = 1 << 32;
/// An iteration is observed: see `observe`.
const OBSERVED: u64 = 1 << 33;
/// Every iteration is to be observed.
const OBSERVES_ALL: u64 = 1 << 34;

/// Why the events of a thread take the rare path while it could record them the usual way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attention(u64);

impl Attention {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) fn is_any(self) -> bool {
        self.0 != 0
    }
}

/// What stands for the state of a thread that has none: occupied, so that nobody looks further.
pub(super) struct Nobody(pub(super) Head);
/// Not registered yet.
pub(super) static UNKNOWN: Nobody = Nobody(Head::occupied());
/// Ended, or no memory left: counted in the shared shard from now on.
pub(super) static WITHOUT: Nobody = Nobody(Head::occupied());

impl Head {
    const fn occupied() -> Self {
        Self {
            occupied: AtomicU64::new(BUSY),
            look_at: Counter::new(),
            sampled_bytes: Counter::new(),
        }
    }
}

/// Points to a `Head` that is the first field of a `ThreadState` unless it is one of the two `Nobody`.
#[cfg_attr(allocscope_model, allow(dead_code, reason = "models keep it elsewhere"))]
#[derive(Clone, Copy)]
struct StatePointer(NonNull<Head>);

// SAFETY: the address of a `static` is not null.
#[cfg(not(allocscope_model))]
const NOBODY_YET: NonNull<Head> = unsafe { NonNull::new_unchecked((&raw const UNKNOWN.0).cast_mut()) };

#[cfg(not(allocscope_model))]
thread_local! {
    // `const` and without a destructor: reading it never allocates, registers or fails, to the very end of the thread.
    static STATE: Cell<StatePointer> = const { Cell::new(StatePointer(NOBODY_YET)) };
}

/// What `STATE` is where threads are those of a model.
#[cfg(allocscope_model)]
static STATES: [AtomicPtr<Head>; 16] = [const { AtomicPtr::new((&raw const UNKNOWN.0).cast_mut()) }; 16];

/// The calling thread's state, if it has one and is not occupied: the usual case of every event.
#[inline(always)]
pub(crate) fn unoccupied() -> Option<&'static ThreadState> {
    let state = state_pointer();
    // SAFETY: `state` points to a `Head` in any case.
    if unsafe { &*state }.occupied.load(Ordering::Relaxed) != 0 {
        return None;
    }
    // SAFETY: the two `Nobody` are always occupied, so this is a pointer that `register` made from a whole state.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

/// The calling thread's state, if an allocation of `size` bytes in mode `sampled` is no sample, not large, and has nothing else to look at:
/// the usual case in that mode.
///
/// PERF: one compare for all of it.
#[inline(always)]
pub(crate) fn unsampled(size: u64) -> Option<&'static ThreadState> {
    let state = state_pointer();
    // SAFETY: `state` points to a `Head` in any case.
    let head = unsafe { &*state };
    if head.sampled_bytes.get().wrapping_add(size) >= head.look_at.get() {
        return None;
    }
    // SAFETY: the two `Nobody` always have something to look at, so this is a pointer that `register` made from a whole state.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

/// The calling thread's state if it can record an event, and what else is to be done about the event: for paths that are not hot.
#[inline(always)]
pub(crate) fn recording() -> Option<(&'static ThreadState, Attention)> {
    match unoccupied() {
        Some(thread) => Some((thread, Attention::NONE)),
        None => attended(),
    }
}

/// The same where the event may be the thread's first.
#[inline(always)]
pub(crate) fn recording_or_register() -> Option<(&'static ThreadState, Attention)> {
    match unoccupied() {
        Some(thread) => Some((thread, Attention::NONE)),
        None => registered(),
    }
}

#[cold]
#[inline(never)]
fn registered() -> Option<(&'static ThreadState, Attention)> {
    current_or_register()?;
    recording()
}

/// The calling thread's state, if nothing but attention occupies it.
#[cold]
#[inline(never)]
fn attended() -> Option<(&'static ThreadState, Attention)> {
    let thread = current()?;
    let attention = thread.attention();
    (attention.is_any() && !thread.is_busy() && !thread.is_inside()).then_some((thread, attention))
}

/// The calling thread's state, if it has one.
pub(crate) fn current() -> Option<&'static ThreadState> {
    let state = state_pointer();
    if ptr::eq(state, &raw const UNKNOWN.0) || ptr::eq(state, &raw const WITHOUT.0) {
        return None;
    }
    // SAFETY: as in `unoccupied`.
    Some(unsafe { &*state.cast::<ThreadState>() })
}

#[cfg(not(allocscope_model))]
#[inline(always)]
fn state_pointer() -> *const Head {
    STATE.with(Cell::get).0.as_ptr()
}

#[cfg(not(allocscope_model))]
pub(super) fn set_current(state: NonNull<Head>) {
    STATE.with(|current| current.set(StatePointer(state)));
}

#[cfg(allocscope_model)]
fn state_pointer() -> *const Head {
    STATES[crate::record::atomic::model::thread()].load(Ordering::Relaxed)
}

#[cfg(allocscope_model)]
pub(super) fn set_current(state: NonNull<Head>) {
    STATES[crate::record::atomic::model::thread()].store(state.as_ptr(), Ordering::Relaxed);
}

/// The calling thread's state, made now if this is its first event.
#[cold]
#[inline(never)]
pub(crate) fn current_or_register() -> Option<&'static ThreadState> {
    let state = state_pointer();
    if ptr::eq(state, &raw const UNKNOWN.0) {
        registry::register()
    } else {
        current()
    }
}

/// The end of a model's thread.
#[cfg(allocscope_model)]
pub(crate) fn end_current() {
    if let Some(state) = current() {
        registry::end(state);
    }
}

/// The hook of a fork in the child, for models in which a thread is lost.
#[cfg(allocscope_model)]
pub(crate) fn forked() {
    registry::forked();
}

impl ThreadState {
    #[inline(always)]
    pub(crate) fn sampled_bytes(&self) -> u64 {
        self.head.sampled_bytes.get()
    }

    /// Counts the bytes of an event of mode `sampled`; negative ones take some back.
    #[inline(always)]
    pub(crate) fn count_sampled(&self, bytes: i64) {
        self.head.sampled_bytes.add(bytes as u64);
    }

    /// The next allocation in mode `sampled` has something to look at.
    #[inline(always)]
    pub(crate) fn look(&self) {
        self.head.look_at.set(0);
    }

    /// Allocations in mode `sampled` have nothing to look at before the next sample, or before so many bytes that every large block is looked
    /// at. The thread is occupied by an event alone, and all calls on its stack are open; `now` are its `sampled_bytes`.
    #[inline(always)]
    pub(crate) fn look_later(&self, now: u64) {
        self.head
            .look_at
            .set(self.sample_at.get().min(now.wrapping_add(sample::LARGE as u64)));
    }

    #[inline(always)]
    pub(crate) fn occupy(&self) {
        self.head.occupied.store(BUSY, Ordering::Relaxed);
        // A signal handler on this thread sees the mark before anything that follows.
        compiler_fence(Ordering::SeqCst);
    }

    /// Ends what `occupy` began; only from an unoccupied state can it have begun.
    #[inline(always)]
    pub(crate) fn vacate(&self) {
        compiler_fence(Ordering::SeqCst);
        self.head.occupied.store(0, Ordering::Relaxed);
    }

    /// Occupies a thread that is not occupied in any way; else false.
    #[inline(always)]
    pub(crate) fn try_occupy(&self) -> bool {
        let is_free = self.head.occupied.load(Ordering::Relaxed) == 0;
        if is_free {
            self.occupy();
        }
        is_free
    }

    /// Runs `record` as one event, or a part of one, on a thread that may be inside the tracker or under attention; the rare paths' form of
    /// `occupy`.
    pub(crate) fn occupied_for<R>(&self, record: impl FnOnce() -> R) -> R {
        let before = self.head.occupied.fetch_or(BUSY, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        let result = record();
        compiler_fence(Ordering::SeqCst);
        if before & BUSY == 0 {
            self.head.occupied.fetch_and(!BUSY, Ordering::Relaxed);
        }
        result
    }

    /// For models that keep it from somebody.
    #[cfg(allocscope_model)]
    pub(crate) fn occupied_address(&self) -> usize {
        ptr::from_ref(&self.head.occupied).addr()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) & BUSY != 0
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) % WATCHED >= INSIDE
    }

    pub(crate) fn attention(&self) -> Attention {
        Attention(self.head.occupied.load(Ordering::Relaxed) & (WATCHED | OBSERVED | OBSERVES_ALL))
    }

    /// Puts the thread under attention again; whatever it is under now stays.
    pub(crate) fn attend(&self, attention: Attention) {
        self.head.occupied.fetch_or(attention.0, Ordering::Relaxed);
        self.look();
    }

    /// Ends what `occupy` began, on a thread that may be under attention.
    #[inline(always)]
    pub(crate) fn vacate_to(&self, attention: Attention) {
        compiler_fence(Ordering::SeqCst);
        self.head.occupied.store(attention.0, Ordering::Relaxed);
    }

    fn set_attention(&self, bit: u64, is_on: bool) {
        if is_on {
            self.head.occupied.fetch_or(bit, Ordering::Relaxed);
            self.look();
        } else {
            self.head.occupied.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_watched(&self, is_on: bool) {
        self.set_attention(WATCHED, is_on);
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) & OBSERVED != 0
    }

    pub(crate) fn set_observed(&self, is_on: bool) {
        self.set_attention(OBSERVED, is_on);
    }

    pub(crate) fn observes_all(&self) -> bool {
        self.head.occupied.load(Ordering::Relaxed) & OBSERVES_ALL != 0
    }

    pub(crate) fn set_observes_all(&self, is_on: bool) {
        self.set_attention(OBSERVES_ALL, is_on);
    }
}

/// While it lives, what the calling thread allocates is counted as the tracker's own.
pub(crate) struct InTracker {
    thread: Option<&'static ThreadState>,
    // Not Send: it belongs to the thread it was made on.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl InTracker {
    pub(crate) fn enter() -> Self {
        let thread = current_or_register();
        if let Some(thread) = thread {
            thread.head.occupied.fetch_add(INSIDE, Ordering::Relaxed);
            thread.look();
        }
        Self {
            thread,
            _not_send: core::marker::PhantomData,
        }
    }
}

impl Drop for InTracker {
    fn drop(&mut self) {
        if let Some(thread) = self.thread {
            thread.head.occupied.fetch_sub(INSIDE, Ordering::Relaxed);
        }
    }
}
