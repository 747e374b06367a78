//! Entering and leaving scopes: the guard of a sync call, and of one poll of an async call.
//!
//! Record side, called by the code that `#[track_memory]` and `scope!` write, and by `TrackedFuture`. A guard undoes exactly what it
//! did: also after a mode switch, and when guards are dropped out of order (then leaving the outer one leaves the inner ones too).
//!
//! Cost: a cache look-up and a few stores, and fewer at the end; more once something was allocated or freed inside. `docs/overhead.md`
//! has the numbers.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use super::counters::LOSSES;
use super::frame::{self, Figures, Frame, Measured};
use super::scope::{self, ScopeSite};
use super::thread::{self, LAZY_BITS, ThreadState};
use super::{call, settings, waiting};

/// The thread to enter a scope on. None for signal handlers that interrupt the tracker, and none at all in a program that has another
/// allocator.
#[cold]
#[inline(never)]
fn recording_thread() -> Option<&'static ThreadState> {
    if !thread::is_used() {
        return None;
    }
    thread::current_or_register().filter(|thread| !thread.is_busy())
}

/// The thread to enter a scope on, the usual way or not; `None` in mode `off`.
#[inline(always)]
pub(super) fn usable_thread() -> Option<&'static ThreadState> {
    if settings::is_off() {
        return None;
    }
    thread::unoccupied().or_else(recording_thread)
}

/// A scope that lasts until this guard is dropped. Not `Send`: it belongs to the thread's stack.
///
/// Guards are meant to be dropped in reverse order. Leaving an outer scope first leaves the inner ones with it.
#[must_use = "the scope ends when the guard is dropped: bind it to a name (`_` alone drops it at once)"]
pub struct ScopeGuard {
    frame: Option<Frame>,
    _not_send: PhantomData<*const ()>,
}

impl core::fmt::Debug for ScopeGuard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ScopeGuard")
            .field("is_recording", &self.frame.is_some())
            .finish()
    }
}

impl ScopeGuard {
    const NOTHING: Self = Self {
        frame: None,
        _not_send: PhantomData,
    };
}

/// A node that is entered until this guard is dropped, as a part of the call around. Not `Send`.
pub(crate) struct PartGuard {
    frame: Option<Frame>,
    _not_send: PhantomData<*const ()>,
}

impl core::fmt::Debug for PartGuard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PartGuard")
            .field("is_recording", &self.frame.is_some())
            .finish()
    }
}

/// Enters `node`, wherever the thread is: the call that runs goes on, and need not be one of that node. Nothing for 0. For `carried`.
#[inline]
pub(super) fn enter_part(node: u32) -> PartGuard {
    if node == 0 || settings::is_off() {
        return PartGuard {
            frame: None,
            _not_send: PhantomData,
        };
    }
    enter_part_recording(node)
}

#[inline(never)]
fn enter_part_recording(node: u32) -> PartGuard {
    match thread::unoccupied().map(|thread| (thread, thread.nodes.get(node as usize))) {
        Some((thread, Some(row))) if row.node.load(Ordering::Relaxed) == node => PartGuard {
            frame: Some(Frame::push_part(thread, row)),
            _not_send: PhantomData,
        },
        _ => enter_part_slowly(node),
    }
}

#[cold]
#[inline(never)]
fn enter_part_slowly(node: u32) -> PartGuard {
    PartGuard {
        frame: recording_thread().and_then(|thread| Some(Frame::push_part(thread, thread.node_row(node)?))),
        _not_send: PhantomData,
    }
}

impl Drop for PartGuard {
    #[inline]
    fn drop(&mut self) {
        if let Some(frame) = &self.frame {
            end_part(frame);
        }
    }
}

#[inline(never)]
fn end_part(frame: &Frame) {
    if thread::is_current(frame.thread()) {
        if frame.is_innermost() {
            frame.leave_part();
        } else {
            frame.leave_out_of_order();
        }
    }
}

/// Enters a scope until the guard is dropped.
///
/// # Overhead
/// About 60 instructions for entering and leaving when nothing is allocated inside; nothing in mode `off`, or for a program whose
/// global allocator is another.
#[inline]
pub fn enter(site: &'static ScopeSite) -> ScopeGuard {
    if settings::is_off() {
        return ScopeGuard::NOTHING;
    }
    enter_recording(site)
}

/// Enters a scope if everything is as usual; else nothing has changed.
#[inline(always)]
fn try_enter(site: &'static ScopeSite) -> Option<Frame> {
    let thread = thread::unoccupied()?;
    let row = scope::known_target(thread, site.known_id())?;
    let frame = Frame::try_push(thread, row)?;
    row.entered.add(1);
    Some(frame)
}

/// Enters a scope whatever it takes.
fn enter_anyhow(site: &'static ScopeSite) -> Option<Frame> {
    let thread = recording_thread()?;
    let row = scope::target(thread, site)?;
    row.entered.add(1);
    Some(Frame::push(thread, row))
}

/// PERF: what is unusual is left to a tail call, so that no registers are saved for it. The same in `end_scope` and `end_poll`.
#[inline(never)]
fn enter_recording(site: &'static ScopeSite) -> ScopeGuard {
    let Some(frame) = try_enter(site) else {
        return enter_slowly(site);
    };
    ScopeGuard {
        frame: Some(frame),
        _not_send: PhantomData,
    }
}

#[cold]
#[inline(never)]
fn enter_slowly(site: &'static ScopeSite) -> ScopeGuard {
    ScopeGuard {
        frame: enter_anyhow(site),
        _not_send: PhantomData,
    }
}

impl Drop for ScopeGuard {
    #[inline]
    fn drop(&mut self) {
        if let Some(frame) = &self.frame {
            end_scope(frame);
        }
    }
}

#[inline(never)]
fn end_scope(frame: &Frame) {
    if !thread::is_current(frame.thread()) || !frame.try_leave_unopened() {
        return end_scope_slowly(frame);
    }
    frame.row().completed.add(1);
}

#[inline(never)]
fn end_scope_slowly(frame: &Frame) {
    if !thread::is_current(frame.thread()) {
        // LIMIT: dropped after the thread's state was given up, in a late destructor: the call has no figures.
        return;
    }
    if !frame.is_innermost() {
        return frame.leave_out_of_order();
    }
    if frame.is_part() {
        return frame.leave_part();
    }
    let Measured {
        allocations,
        bytes,
        peak,
        net,
        correction,
    } = frame.leave_opened();
    let figures = Figures {
        allocations,
        bytes,
        peak: peak as u64,
    };
    frame.end_call(&figures, net + correction, net);
}

/// One async call between its polls. The figures of one that has done anything are in `waiting`.
pub(crate) struct CallState {
    /// 0 before the first recorded poll and after the last. With `PART` for a call that is part of the one around it.
    node: u32,
    /// Its entry in `waiting`, or 0.
    waiting: u32,
}

/// Above every node id.
const PART: u32 = 1 << 31;

impl CallState {
    pub(crate) const NEW: Self = Self { node: 0, waiting: 0 };

    /// True between the first recorded poll and the last.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.node != 0
    }

    #[inline(always)]
    fn first_poll(&mut self, site: &'static ScopeSite) -> Option<Frame> {
        if settings::is_off() {
            return None;
        }
        let frame = try_enter(site).or_else(|| enter_anyhow(site))?;
        self.begin(&frame);
        Some(frame)
    }

    #[inline(always)]
    fn begin(&mut self, frame: &Frame) {
        self.node = frame.row().node.load(Ordering::Relaxed) | if frame.is_part() { PART } else { 0 };
    }

    /// A call that was begun is followed to its end, whatever the mode is now.
    #[inline(always)]
    fn later_poll(&mut self) -> Option<Frame> {
        let frame = match thread::unoccupied().map(|thread| (thread, thread.nodes.get(self.node as usize))) {
            // A row of a call is made by its first poll on the thread, with its node.
            Some((thread, Some(row))) if row.node.load(Ordering::Relaxed) == self.node => Frame::try_push(thread, row),
            _ => None,
        };
        match frame {
            Some(frame) => {
                frame.set_waiting(self.waiting);
                Some(frame)
            }
            None => self.later_poll_slowly(),
        }
    }

    #[cold]
    #[inline(never)]
    fn later_poll_slowly(&mut self) -> Option<Frame> {
        let thread = recording_thread()?;
        let row = thread.node_row(self.node & !PART)?;
        if self.node & PART != 0 {
            return Some(Frame::push_part(thread, row));
        }
        let frame = Frame::push(thread, row);
        // LIMIT: polled inside another call of its own node (or too deep), the call has no figures for this poll.
        if !frame.is_part() {
            frame.set_waiting(self.waiting);
        }
        Some(frame)
    }

    /// The call has ended without its figures.
    #[cold]
    fn give_up(&mut self, thread: Option<&ThreadState>) {
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
    frame: Option<Frame>,
    call: &'call mut CallState,
    is_last: bool,
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
    }
}

impl PollGuard<'_> {
    /// The call ends with this poll.
    #[inline(always)]
    pub(crate) fn is_last(&mut self) {
        self.is_last = true;
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        end_poll(self.frame.as_ref(), self.call, self.is_last);
    }
}

#[inline(never)]
fn end_poll(frame: Option<&Frame>, call: &mut CallState, is_last: bool) {
    if let Some(frame) = frame
        && !is_last
        && thread::is_current(frame.thread())
        && frame.try_leave_unopened()
    {
        return frame.set_waiting(0);
    }
    end_poll_slowly(frame, call, is_last);
}

#[inline(never)]
fn end_poll_slowly(frame: Option<&Frame>, call: &mut CallState, is_last: bool) {
    let Some(frame) = frame.filter(|frame| thread::is_current(frame.thread())) else {
        if is_last && call.is_open() {
            // Ended on a thread without a state: nobody else can give the record back.
            call.give_up(None);
        }
        return;
    };
    if !frame.is_innermost() {
        frame.leave_out_of_order();
        return call.give_up(Some(frame.thread()));
    }
    if frame.is_part() {
        frame.leave_part();
        if is_last {
            call.give_up(Some(frame.thread()));
        }
        return;
    }
    if frame.is_opened() || call.waiting != 0 {
        return end_opened_poll(frame, call, is_last);
    }
    // Its last poll, and nothing happened in any.
    call.node = 0;
    frame.leave_unopened();
    frame.row().completed.add(1);
}

#[inline(never)]
fn end_opened_poll(frame: &Frame, call: &mut CallState, is_last: bool) {
    let thread = frame.thread();
    if !frame.is_opened() {
        frame::open_calls(thread);
    }
    let measured = frame.leave_opened();
    let stamp = thread.stamp();
    let own_bytes = measured.correction + measured.net;
    let known = waiting::get(call.waiting);
    let (allocations, bytes, net, peak) = known.map_or((0, 0, 0, 0), |entry| {
        (
            entry.allocations.get(),
            entry.bytes.get(),
            entry.net.signed(),
            entry.peak.signed(),
        )
    });
    let figures = Figures {
        allocations: allocations + measured.allocations,
        bytes: bytes + measured.bytes,
        peak: peak.max(net + measured.peak).max(0) as u64,
    };
    if is_last {
        call.node = 0;
        if known.is_some() {
            waiting::put(Some(thread), call.waiting);
            call.waiting = 0;
        }
        return frame.end_call(&figures, own_bytes, measured.net);
    }
    let Some((index, entry)) = known
        .map(|entry| (call.waiting, entry))
        .or_else(|| waiting::take(thread))
    else {
        // LIMIT: no memory to remember the call by: it ends here, and goes on as a part of the one around.
        LOSSES.unmeasured_calls.add_shared(1);
        call.node |= PART;
        return frame.end_call(&figures, own_bytes, measured.net);
    };
    call.waiting = index;
    entry.set_stamp(stamp);
    entry.own_bytes.set(own_bytes as u64);
    entry.allocations.set(figures.allocations);
    entry.bytes.set(figures.bytes);
    entry.net.set((net + measured.net) as u64);
    entry.peak.set(figures.peak);
    frame.resume_outer(0, measured.net);
    if stamp.is_recorded() {
        if thread.own_bits.get() == LAZY_BITS {
            // The call around must hear of what others free while this one waits.
            thread.set_stamp(call::open(thread));
        }
        call::suspend(stamp, thread.stamp());
    }
}

/// One poll of a call that comes and goes with it: for spans, which are left in any order.
#[cfg(feature = "tracing")]
pub(super) struct OwnedPoll {
    frame: Option<Frame>,
    call: CallState,
}

#[cfg(feature = "tracing")]
impl OwnedPoll {
    /// Goes on with `call`, or begins it in `node`.
    pub(super) fn enter(node: u32, mut call: CallState) -> Self {
        let frame = if call.is_open() {
            call.later_poll()
        } else {
            usable_thread().and_then(|thread| {
                let row = thread.node_row(node)?;
                row.entered.add(1);
                let frame = Frame::push(thread, row);
                call.begin(&frame);
                Some(frame)
            })
        };
        Self { frame, call }
    }

    /// Hands the call back: an open one, or a new one if it ended with this poll.
    pub(super) fn leave(mut self, is_last: bool) -> CallState {
        end_poll(self.frame.as_ref(), &mut self.call, is_last);
        self.call
    }
}
