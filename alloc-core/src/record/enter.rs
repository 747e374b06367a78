//! Entering and leaving scopes: the guards of sync calls and of parts of calls. Polls of async calls are in `poll`.
//!
//! Record side, called by the code that `#[track_memory]` and `scope!` write. A guard undoes exactly what it
//! did: also after a mode switch, and when guards are dropped out of order (then leaving the outer one leaves the inner ones too).
//!
//! Cost: a cache look-up and a few stores, and fewer at the end; more once something was allocated or freed inside. `docs/overhead.md`
//! has the numbers.
#![forbid(unsafe_code)]

use crate::record::atomic::Ordering;
use core::marker::PhantomData;

use super::counters::NodeRow;
use super::frame::{Entered, Figures, Frame, Measured};
use super::scope::{self, ScopeSite};
use super::thread::{self, ThreadState};
use super::{observe, settings};

/// The thread to enter a scope on. None for signal handlers that interrupt the tracker, and none at all in a program that has another
/// allocator.
#[cold]
#[inline(never)]
pub(super) fn recording_thread() -> Option<&'static ThreadState> {
    if !thread::is_used() {
        return None;
    }
    thread::current_or_register().filter(|thread| !thread.is_busy())
}

/// The thread to enter a scope on, the usual way or not; `None` in mode `off`.
#[inline(always)]
pub(super) fn usable_thread() -> Option<&'static ThreadState> {
    if settings::has_no_scopes() {
        return None;
    }
    thread::unoccupied().or_else(recording_thread)
}

/// A scope that lasts until this guard is dropped. Not `Send`: it belongs to the thread's stack.
///
/// Guards are meant to be dropped in reverse order. Leaving an outer scope first leaves the inner ones with it.
///
/// A future that holds one across an `.await` cannot be sent to another thread; `#[track_memory]` is for such code:
///
/// ```compile_fail
/// fn spawn(_: impl Future + Send) {}
/// spawn(async {
///     let _guard = alloc_core::scope!("load");
///     std::future::ready(()).await;
/// });
/// ```
#[must_use = "the scope ends when the guard is dropped: bind it to a name (`_` alone drops it at once)"]
pub struct ScopeGuard {
    frame: Frame,
    _not_send: PhantomData<*const ()>,
}

impl core::fmt::Debug for ScopeGuard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ScopeGuard")
            .field("is_recording", &!self.frame.is_nothing())
            .finish()
    }
}

impl ScopeGuard {
    /// The row that the call is counted on, if it is a call of its own.
    #[inline(always)]
    pub(super) fn row(&self) -> Option<&'static NodeRow> {
        Some(self.frame.entered()?.row)
    }
}

/// The guard of no scope: what `scope!` gives in builds without the feature `tracking`.
#[inline(always)]
pub const fn no_scope() -> ScopeGuard {
    ScopeGuard {
        frame: Frame::NOTHING,
        _not_send: PhantomData,
    }
}

/// Enters a scope until the guard is dropped.
///
/// # Overhead
/// About 110 instructions for entering and leaving when nothing is allocated inside; nothing in mode `off`, or for a program whose
/// global allocator is another.
#[inline]
pub fn enter(site: &'static ScopeSite) -> ScopeGuard {
    ScopeGuard {
        frame: if settings::has_no_scopes() {
            Frame::NOTHING
        } else {
            enter_recording(site)
        },
        _not_send: PhantomData,
    }
}

/// Enters a scope if everything is as usual; else nothing has changed.
#[inline(always)]
fn try_enter(site: &'static ScopeSite) -> Option<Frame> {
    let thread = thread::unoccupied()?;
    let row = scope::known_target(thread, site.known_id())?;
    // Entering is one event, and so is leaving: a signal handler that allocates meanwhile would open a call that is half made, and one that enters
    // scopes take a level that is not done with.
    thread.occupy();
    let frame = Frame::try_push(thread, row);
    thread.vacate();
    let frame = frame?;
    row.entered.add(1);
    Some(frame)
}

/// PERF: what is unusual is left to a tail call, so that no registers are saved for it. The same in `end_scope` and `end_poll`.
#[inline(never)]
pub(super) fn enter_recording(site: &'static ScopeSite) -> Frame {
    match try_enter(site) {
        Some(frame) => frame,
        None => enter_slowly(site),
    }
}

/// Enters a scope whatever it takes.
#[cold]
#[inline(never)]
fn enter_slowly(site: &'static ScopeSite) -> Frame {
    let entered = recording_thread().and_then(|thread| Some((thread, scope::target(thread, site)?)));
    let Some((thread, row)) = entered else {
        return Frame::NOTHING;
    };
    row.entered.add(1);
    let is_due = observe::is_due(thread, row);
    let frame = thread.occupied_for(|| Frame::push(thread, row));
    if is_due {
        frame.observe();
    }
    frame
}

impl Drop for ScopeGuard {
    #[inline]
    fn drop(&mut self) {
        if !self.frame.is_nothing() {
            end_scope(self.frame);
        }
    }
}

#[inline(never)]
fn end_scope(frame: Frame) {
    let Some(call) = frame.entered().filter(Entered::is_innermost) else {
        return end_scope_slowly(frame);
    };
    // One event: see `try_enter`.
    if !call.thread.try_occupy() {
        return end_attended_scope(call);
    }
    if call.is_opened() {
        return end_opened_scope(frame);
    }
    end_unopened(call);
    call.thread.vacate();
}

#[inline(never)]
fn end_opened_scope(frame: Frame) {
    if let Some(call) = frame.entered() {
        end_opened(call);
        call.thread.vacate();
    }
}

#[cold]
#[inline(never)]
fn end_attended_scope(call: Entered) {
    call.thread.occupied_for(|| {
        if call.is_opened() {
            end_opened(call);
        } else {
            end_unopened(call);
        }
    });
}

#[inline(always)]
fn end_unopened(call: Entered) {
    call.leave_unopened();
    call.row.completed.add(1);
}

#[inline(always)]
fn end_opened(call: Entered) {
    let Measured {
        allocations,
        bytes,
        peak,
        net,
        correction,
    } = call.leave_opened();
    let figures = Figures {
        allocations,
        bytes,
        peak: peak as u64,
    };
    call.end_call(&figures, net + correction, net);
}

#[cold]
#[inline(never)]
fn end_scope_slowly(frame: Frame) {
    // A call that is not on the stack any more ended with an outer one, or with its thread.
    match frame.entered() {
        Some(call) => match call.stop_observing() {
            Some(handle) => {
                end_scope(frame);
                observe::end(call.thread, handle);
            }
            None => call.leave_out_of_order(),
        },
        None if frame.is_part() => frame.leave_part(),
        None => {}
    }
}

/// A node that is entered until this guard is dropped, as a part of the call around. Not `Send`.
pub(crate) struct PartGuard {
    frame: Frame,
    _not_send: PhantomData<*const ()>,
}

impl core::fmt::Debug for PartGuard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PartGuard")
            .field("is_recording", &!self.frame.is_nothing())
            .finish()
    }
}

/// Enters `node`, wherever the thread is: the call that runs goes on, and need not be one of that node. Nothing for 0. For `carried`.
#[inline]
pub(super) fn enter_part(node: u32) -> PartGuard {
    PartGuard {
        frame: if node == 0 || settings::has_no_scopes() {
            Frame::NOTHING
        } else {
            enter_part_recording(node)
        },
        _not_send: PhantomData,
    }
}

#[inline(never)]
fn enter_part_recording(node: u32) -> Frame {
    match thread::unoccupied().map(|thread| (thread, thread.nodes.get(node as usize))) {
        Some((thread, Some(row))) if row.node.load(Ordering::Relaxed) == node => Frame::push_part(thread, row),
        _ => enter_part_slowly(node),
    }
}

#[cold]
#[inline(never)]
fn enter_part_slowly(node: u32) -> Frame {
    let entered = recording_thread().and_then(|thread| Some((thread, thread.node_row(node)?)));
    entered.map_or(Frame::NOTHING, |(thread, row)| Frame::push_part(thread, row))
}

impl Drop for PartGuard {
    #[inline]
    fn drop(&mut self) {
        if self.frame.is_part() {
            self.frame.leave_part();
        }
    }
}
