//! The spans a thread has entered, and the state of each span.
//!
//! Read side. Called by the layer alone. Spans may be left in any order, and on threads that never entered them, while scopes
//! are a stack. So a span that is left below others is marked, and left when those above it have been. INVARIANT: an entry's frame
//! is left exactly once, on the thread it was entered on; the call is in the span's slot or in one entry, never in two.
//!
//! Cost: a thread-local, a lock that is contended only when two threads enter one span, and entering or leaving a scope.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_core::span::Id;

use crate::ids::ScopeNodeId;
use crate::inside::inside_tracker;
use crate::record::carried::{self, EnteredCall, OpenCall, PartGuard};
use crate::record::scope::ScopeSite;

/// What the layer keeps for a span.
pub(super) struct SpanScope {
    site: &'static ScopeSite,
    slot: Mutex<Slot>,
    /// Entries of this span on the stacks of all threads.
    entered: AtomicU32,
    /// Of these, how many were left on other threads than they were entered on.
    left_elsewhere: AtomicU32,
}

struct Slot {
    /// `None` until something is recorded where the span is made or entered.
    node: Option<ScopeNodeId>,
    /// `None` while an entry has it.
    call: Option<OpenCall>,
    is_closed: bool,
}

impl SpanScope {
    pub(super) fn new(site: &'static ScopeSite, around: Option<ScopeNodeId>) -> Self {
        Self {
            site,
            slot: Mutex::new(Slot {
                node: around.and_then(|around| carried::node_inside(around, site)),
                call: Some(OpenCall::NEW),
                is_closed: false,
            }),
            entered: AtomicU32::new(0),
            left_elsewhere: AtomicU32::new(0),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn node(&self) -> Option<ScopeNodeId> {
        self.slot().node
    }

    /// The span was left on a thread that has no entry of it.
    pub(super) fn left_elsewhere(&self) {
        if self.entered.load(Ordering::Relaxed) > self.left_elsewhere.load(Ordering::Relaxed) {
            self.left_elsewhere.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// True once for every entry that was left elsewhere.
    fn take_left_elsewhere(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.left_elsewhere.load(Ordering::Relaxed) != 0
            && self
                .left_elsewhere
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
    }

    /// The last handle of the span is gone. An entry that has the call ends it when it is left.
    pub(super) fn close(&self) {
        let mut slot = self.slot();
        slot.is_closed = true;
        let call = slot.call.take();
        drop(slot);
        if let Some(call) = call {
            call.end();
        }
    }

    fn enter(&self) -> Option<Frame> {
        let mut slot = self.slot();
        if slot.node.is_none() {
            slot.node = carried::node_inside(carried::current_node()?, self.site);
        }
        let node = slot.node?;
        let call = slot.call.take();
        drop(slot);
        Some(match call {
            Some(call) => Frame::Call(call.enter(node)),
            None => Frame::Carried(carried::enter_node(Some(node))),
        })
    }

    fn leave(&self, frame: Frame) {
        let call = match frame {
            Frame::Call(entered) => entered.leave(),
            Frame::Carried(guard) => return drop(guard),
        };
        let mut slot = self.slot();
        if slot.is_closed {
            drop(slot);
            call.end();
        } else {
            slot.call = Some(call);
        }
    }
}

/// What entering a span did.
enum Frame {
    Call(EnteredCall),
    /// The call was entered elsewhere already.
    Carried(PartGuard),
}

struct Entry {
    layer: u32,
    id: u64,
    scope: Arc<SpanScope>,
    frame: Option<Frame>,
    /// Left while others were entered above it.
    is_left: bool,
}

impl Entry {
    fn leave(mut self) {
        self.scope.entered.fetch_sub(1, Ordering::Relaxed);
        if let Some(frame) = self.frame.take() {
            self.scope.leave(frame);
        }
    }
}

/// The spans that a thread has entered, outermost first.
struct Stack(Vec<Entry>);

impl Stack {
    /// Leaves what waited for the entries above it, and what was left elsewhere.
    fn settle(&mut self) {
        while self
            .0
            .last()
            .is_some_and(|last| last.is_left || last.scope.take_left_elsewhere())
        {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(last) = self.0.pop() {
            last.leave();
        }
    }
}

impl Drop for Stack {
    /// The thread ends inside spans.
    fn drop(&mut self) {
        while !self.0.is_empty() {
            self.pop();
        }
    }
}

thread_local! {
    static ENTERED: RefCell<Stack> = const { RefCell::new(Stack(Vec::new())) };
}

/// Runs `work` on the thread's stack, unless the thread has none any more or is at work on it.
fn with_stack<R>(work: impl FnOnce(&mut Stack) -> R) -> Option<R> {
    ENTERED
        .try_with(|stack| stack.try_borrow_mut().ok().map(|mut stack| work(&mut stack)))
        .ok()
        .flatten()
}

/// Enters a span on the calling thread.
pub(super) fn enter(layer: u32, id: &Id, scope: Arc<SpanScope>) {
    with_stack(|stack| {
        stack.settle();
        if stack.0.len() == stack.0.capacity() {
            inside_tracker(|| stack.0.reserve(8));
        }
        scope.entered.fetch_add(1, Ordering::Relaxed);
        let frame = scope.enter();
        stack.0.push(Entry {
            layer,
            id: id.into_u64(),
            scope,
            frame,
            is_left: false,
        });
    });
}

/// Leaves a span that the calling thread has entered; false if it has not.
pub(super) fn exit(layer: u32, id: &Id) -> bool {
    let id = id.into_u64();
    with_stack(|stack| {
        let is_entered = |entry: &Entry| entry.id == id && entry.layer == layer && !entry.is_left;
        let place = stack.0.iter().rposition(is_entered);
        match place {
            Some(place) if place + 1 == stack.0.len() => stack.pop(),
            Some(place) => stack.0[place].is_left = true,
            None => {}
        }
        stack.settle();
        place.is_some()
    })
    .unwrap_or(true)
}
