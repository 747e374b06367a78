//! One async call: what it remembers between its polls, and the guard of each of them.
//!
//! Record side, called by `TrackedFuture` and what else polls (`measure`, `turn`, `carried`). A call's node is fixed at its first poll; its
//! figures add up over its polls, whatever threads they run on, in an entry of `waiting`.
//!
//! Cost: of a poll, as entering and leaving a scope (`enter`); more once something was allocated or freed inside.
#![forbid(unsafe_code)]

use crate::record::atomic::Ordering;
use core::marker::PhantomData;
use core::ptr;

use super::block::Stamp;
use super::counters::LOSSES;
#[cfg(feature = "tracing")]
use super::enter::usable_thread;
use super::enter::{enter_recording, recording_thread};
use super::frame::{self, Entered, Figures, Frame, Measured};
use super::observe::{self, Handle};
use super::scope::ScopeSite;
use super::thread::{self, LAZY_BITS, ThreadState};
use super::{call, settings, waiting};

/// One async call between its polls. The figures of one that has done anything are in `waiting`.
pub(crate) struct CallState {
    /// 0 before the first recorded poll and after the last. With `PART` for a call that is part of the one around it, or `OBSERVED`.
    node: u32,
    /// Its entry in `waiting`, or 0.
    waiting: u32,
}

/// Above every node id.
const PART: u32 = 1 << 31;
/// The call is observed, and the observation waits with it. Above every node id, too, so that later polls take the rare way.
const OBSERVED: u32 = 1 << 30;

impl CallState {
    pub(crate) const NEW: Self = Self { node: 0, waiting: 0 };

    /// True between the first recorded poll and the last.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.node != 0
    }

    /// The node of an open call.
    pub(super) fn place(&self) -> Option<u32> {
        self.is_open().then_some(self.node & !(PART | OBSERVED))
    }

    #[inline(always)]
    fn first_poll(&mut self, site: &'static ScopeSite) -> Frame {
        if settings::has_no_scopes() {
            return Frame::NOTHING;
        }
        let frame = enter_recording(site);
        self.begin(&frame);
        frame
    }

    /// Remembers the node that a first poll entered.
    #[inline(always)]
    fn begin(&mut self, frame: &Frame) {
        if let Some(call) = frame.entered() {
            self.node = call.row.node.load(Ordering::Relaxed);
        } else if frame.is_part()
            && let Some(thread) = thread::current()
        {
            self.node = thread.scope().node.load(Ordering::Relaxed) | PART;
        }
    }

    /// A call that was begun is followed to its end, whatever the mode is now.
    #[inline(never)]
    fn later_poll(&mut self) -> Frame {
        let Some(thread) = thread::unoccupied() else {
            return self.later_poll_slowly();
        };
        match thread.nodes.get(self.node as usize) {
            Some(row) if row.node.load(Ordering::Relaxed) == self.node => {
                // One event, as in `enter`; it ends when it is said which call goes on.
                thread.occupy();
                let frame = Frame::try_push(thread, row);
                if let Some(frame) = &frame {
                    frame.set_waiting(self.waiting);
                }
                thread.vacate();
                match frame {
                    Some(frame) => frame,
                    None => self.later_poll_slowly(),
                }
            }
            _ => self.later_poll_slowly(),
        }
    }

    #[cold]
    #[inline(never)]
    fn later_poll_slowly(&mut self) -> Frame {
        let entered = recording_thread().and_then(|thread| Some((thread, thread.node_row(self.place()?)?)));
        let Some((thread, row)) = entered else {
            return Frame::NOTHING;
        };
        if self.node & PART != 0 {
            return Frame::push_part(thread, row);
        }
        // LIMIT: polled inside another call of its own node (or too deep), the call has no figures for this poll.
        let frame = thread.occupied_for(|| {
            let frame = Frame::push(thread, row);
            frame.set_waiting(self.waiting);
            frame
        });
        if let Some(handle) = self.observation()
            && !frame.observe_again(handle)
        {
            self.node &= !OBSERVED;
        }
        frame
    }

    /// The observation that waits with the call.
    fn observation(&self) -> Option<Handle> {
        if self.node & OBSERVED == 0 {
            return None;
        }
        Handle::from_bits(waiting::get(self.waiting)?.observation.load(Ordering::Relaxed))
    }

    /// The observed call waits for its next poll: remembers by what it is observed.
    #[cold]
    fn observe_later(&mut self, thread: &ThreadState, handle: Handle) {
        self.node &= !OBSERVED;
        let is_call = self.is_open() && self.node & PART == 0;
        if is_call && self.waiting == 0 {
            // Nothing has happened yet.
            if let Some((index, entry)) = waiting::take(thread) {
                entry.set_stamp(Stamp::LAZY);
                self.waiting = index;
            }
        }
        match waiting::get(self.waiting) {
            Some(entry) if is_call => {
                entry.observation.store(handle.0, Ordering::Relaxed);
                self.node |= OBSERVED;
                observe::wait(handle);
            }
            _ => observe::give_up(handle),
        }
    }

    /// The call has ended without its figures.
    #[cold]
    fn give_up(&mut self, thread: Option<&ThreadState>) {
        if let Some(handle) = self.observation() {
            observe::give_up(handle);
        }
        self.node = 0;
        if let Some(entry) = waiting::get(self.waiting) {
            call::abandon(thread, entry.stamp());
            waiting::put(thread, self.waiting);
            self.waiting = 0;
        }
    }
}

/// One poll of an async call; on drop the thread goes back to what it did before.
pub(crate) struct PollGuard<'call> {
    frame: Frame,
    call: &'call mut CallState,
    is_last: bool,
    _not_send: PhantomData<*const ()>,
}

/// Enters the scope of an async call for one poll. The call's node is fixed at its first.
#[inline]
pub(crate) fn enter_poll<'call>(site: &'static ScopeSite, call: &'call mut CallState) -> PollGuard<'call> {
    let frame = if call.is_open() {
        call.later_poll()
    } else {
        call.first_poll(site)
    };
    PollGuard {
        frame,
        call,
        is_last: false,
        _not_send: PhantomData,
    }
}

/// A poll that goes on without its guard, to be kept beside its call. Forgetting it is forgetting a guard.
pub(crate) struct OpenPoll {
    frame: Frame,
    /// Address of the thread's state.
    thread: usize,
}

/// Address of the calling thread's state; 0 when it has none.
fn here() -> usize {
    thread::current().map_or(0, |thread| ptr::from_ref(thread).addr())
}

impl OpenPoll {
    /// The guard again. `call` has to be that of the guard before. On another thread it is the guard of nothing, and the call has no
    /// figures (LIMIT: its entry in `waiting` is lost, because the other thread's level still names it).
    #[inline(always)]
    pub(crate) fn resume(self, call: &mut CallState) -> PollGuard<'_> {
        let is_here = self.frame.is_nothing() || self.thread == here();
        if !is_here {
            *call = CallState::NEW;
        }
        PollGuard {
            frame: if is_here { self.frame } else { Frame::NOTHING },
            call,
            is_last: false,
            _not_send: PhantomData,
        }
    }
}

impl PollGuard<'_> {
    /// Takes the guard away and leaves the scope entered.
    #[inline(always)]
    pub(crate) fn keep(self) -> OpenPoll {
        let poll = OpenPoll {
            frame: self.frame,
            thread: here(),
        };
        core::mem::forget(self);
        poll
    }

    /// False when the call will have no figures for this poll: it is a part of another one, or was left with an outer one.
    pub(crate) fn has_figures(&self) -> bool {
        self.frame.entered().is_some_and(|entered| entered.is_innermost())
    }

    /// The call ends with this poll.
    #[inline(always)]
    pub(crate) fn is_last(&mut self) {
        self.is_last = true;
    }
}

#[cfg(feature = "stream")]
impl PollGuard<'_> {
    /// The call ends with this poll, and was no iteration after all: it is not observed.
    pub(crate) fn is_no_iteration(&mut self) {
        if let Some(handle) = self.frame.entered().and_then(|call| call.stop_observing()) {
            observe::give_up(handle);
        }
        self.is_last = true;
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_last {
            leave_poll(self.frame, self.call);
        } else if self.call.is_open() {
            end_call(self.frame, self.call);
        }
    }
}

/// The end of a poll that is not the last.
#[inline(never)]
fn leave_poll(frame: Frame, call: &mut CallState) {
    match frame.entered() {
        Some(entered) if entered.is_innermost() => {
            // One event, as in `enter`. The same in `end_call`.
            if !entered.thread.try_occupy() {
                return leave_attended_poll(entered, call);
            }
            if entered.is_opened() {
                return leave_opened_poll(entered, call);
            }
            leave_unopened(entered);
            entered.thread.vacate();
        }
        _ => leave_poll_slowly(frame, call),
    }
}

#[inline(never)]
fn leave_opened_poll(entered: Entered, call: &mut CallState) {
    leave_opened(entered, call);
    entered.thread.vacate();
}

#[cold]
#[inline(never)]
fn leave_attended_poll(entered: Entered, call: &mut CallState) {
    entered.thread.occupied_for(|| {
        if entered.is_opened() {
            leave_opened(entered, call);
        } else {
            leave_unopened(entered);
        }
    });
}

#[inline(always)]
fn leave_unopened(entered: Entered) {
    entered.leave_unopened();
    entered.set_waiting(0);
}

#[cold]
#[inline(never)]
fn leave_poll_slowly(frame: Frame, call: &mut CallState) {
    if let Some(entered) = frame.entered()
        && let Some(handle) = entered.stop_observing()
    {
        leave_poll(frame, call);
        return call.observe_later(entered.thread, handle);
    }
    end_poll_slowly(frame, call);
}

/// The end of the last poll.
#[inline(never)]
fn end_call(frame: Frame, call: &mut CallState) {
    let Some(entered) = frame.entered().filter(Entered::is_innermost) else {
        return end_call_slowly(frame, call);
    };
    call.node = 0;
    if !entered.thread.try_occupy() {
        return end_attended_call(entered, call);
    }
    end_entered(entered, call);
    entered.thread.vacate();
}

#[cold]
#[inline(never)]
fn end_attended_call(entered: Entered, call: &mut CallState) {
    entered.thread.occupied_for(|| end_entered(entered, call));
}

#[inline(always)]
fn end_entered(entered: Entered, call: &mut CallState) {
    if !entered.is_opened() {
        if call.waiting == 0 {
            entered.leave_unopened();
            return entered.row.completed.add(1);
        }
        frame::open_calls(entered.thread);
    }
    let measured = entered.leave_opened();
    let (figures, own_bytes, _) = call.add_up(&measured);
    if call.waiting != 0 {
        waiting::put(Some(entered.thread), call.waiting);
        call.waiting = 0;
    }
    entered.end_call(&figures, own_bytes, measured.net);
}

#[cold]
#[inline(never)]
fn end_call_slowly(frame: Frame, call: &mut CallState) {
    if let Some(entered) = frame.entered()
        && let Some(handle) = entered.stop_observing()
    {
        end_call(frame, call);
        return observe::end(entered.thread, handle);
    }
    end_poll_slowly(frame, call);
    call.give_up(thread::current());
}

/// The end of a poll that was no call of its own, or was left before.
#[cold]
#[inline(never)]
fn end_poll_slowly(frame: Frame, call: &mut CallState) {
    match frame.entered() {
        Some(entered) => {
            let thread = entered.thread;
            entered.leave_out_of_order();
            call.give_up(Some(thread));
        }
        None if frame.is_part() => frame.leave_part(),
        None if frame.is_nothing() => {}
        None => call.give_up(thread::current()),
    }
}

impl CallState {
    /// Figures of the whole call after a poll, its own bytes, and its `net`.
    fn add_up(&self, poll: &Measured) -> (Figures, i64, i64) {
        let (allocations, bytes, net, peak) = waiting::get(self.waiting).map_or((0, 0, 0, 0), |entry| {
            (
                entry.allocations.get(),
                entry.bytes.get(),
                entry.net.signed(),
                entry.peak.signed(),
            )
        });
        let figures = Figures {
            allocations: allocations + poll.allocations,
            bytes: bytes + poll.bytes,
            peak: peak.max(net + poll.peak).max(0) as u64,
        };
        // The thread's correction began as the own bytes of the polls before.
        (figures, poll.correction + poll.net, net + poll.net)
    }
}

/// The end of a poll with events that is not the last: what the call has done so far is remembered.
#[inline(always)]
fn leave_opened(entered: Entered, call: &mut CallState) {
    let thread = entered.thread;
    let measured = entered.leave_opened();
    let stamp = thread.stamp();
    let (figures, own_bytes, net) = call.add_up(&measured);
    let known = waiting::get(call.waiting).map(|entry| (call.waiting, entry));
    let Some((index, entry)) = known.or_else(|| waiting::take(thread)) else {
        // LIMIT: no memory to remember the call by: it ends here, and goes on as a part of the one around.
        LOSSES.unmeasured_calls.add_shared(1);
        call.node |= PART;
        return entered.end_call(&figures, own_bytes, measured.net);
    };
    call.waiting = index;
    entry.set_stamp(stamp);
    entry.own_bytes.set(own_bytes as u64);
    entry.allocations.set(figures.allocations);
    entry.bytes.set(figures.bytes);
    entry.net.set(net as u64);
    entry.peak.set(figures.peak);
    entered.resume_outer(0, measured.net);
    if stamp.is_recorded() {
        if thread.own_bits.get() == LAZY_BITS {
            // The call around must hear of what others free while this one waits.
            thread.go_on_with(call::open(thread));
        }
        call::suspend(stamp, thread.stamp());
    }
}

/// One poll of a call that comes and goes with it: for spans, which are left in any order.
#[cfg(feature = "tracing")]
pub(super) struct OwnedPoll {
    frame: Frame,
    call: CallState,
}

#[cfg(feature = "tracing")]
impl OwnedPoll {
    /// Goes on with `call`, or begins it in `node`.
    pub(super) fn enter(node: u32, mut call: CallState) -> Self {
        let frame = if call.is_open() {
            call.later_poll()
        } else {
            let entered = usable_thread().and_then(|thread| Some((thread, thread.node_row(node)?)));
            entered.map_or(Frame::NOTHING, |(thread, row)| {
                row.entered.add(1);
                let frame = thread.occupied_for(|| Frame::push(thread, row));
                call.begin(&frame);
                frame
            })
        };
        Self { frame, call }
    }

    /// Hands the call back: an open one, or a new one if it ended with this poll.
    pub(super) fn leave(mut self, is_last: bool) -> CallState {
        if !is_last {
            leave_poll(self.frame, &mut self.call);
        } else if self.call.is_open() {
            end_call(self.frame, &mut self.call);
        }
        self.call
    }
}
