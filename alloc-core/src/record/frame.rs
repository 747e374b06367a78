//! The scopes that are entered on a thread, and the calls they are.
//!
//! Record side; `enter` makes the guards out of frames. Entering a scope only says which node comes next: nothing is measured before
//! the first event inside. That event opens the call, and the calls around it that are not open yet (`open_calls`, out of
//! `peak::touch`): what each has to put back is kept in a slot of the thread, one per level. A call without events thus costs a few
//! stores, and a call with events pays for the rest on the way that its first event takes anyway.
//!
//! # Invariants
//! - `ThreadState::depth` counts the calls on the thread's stack, `opened` how many of them, from the outside, are open.
//! - While `opened < depth` the thread's `expected_mark` is one that no row has, so that no event is counted before `open_calls`.
//! - A slot's `waiting` is 0 unless the call at its level is an async one that has an entry there.
//! - A frame inside a call of its own node (recursion), or too deep for a slot, is a *part* of the call around: only the node changes.
//!
//! Frames hold no pointers to each other: forgetting a guard, or dropping guards out of order, can harm figures but nothing else.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::block::{Birth, Stamp};
use super::call;
use super::counters::{Counter, LOSSES, NodeRow};
use super::thread::{LAZY_BITS, ThreadState};
use super::waiting;

/// Calls nested inside each other on one thread that are measured each for itself; recursion does not count.
pub(crate) const MAX_DEPTH: usize = 128;

/// What an open call puts back at its end, and where its figures began.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct OpenCall {
    /// The node's row, set on entry.
    row: AtomicPtr<NodeRow>,
    /// Index of the async call (`waiting`) that goes on at this level, set on entry. The rest is set when the call is opened.
    waiting: AtomicU32,
    outer_own_bits: Counter,
    outer_call_max: Counter,
    outer_correction: Counter,
    entry_net: Counter,
    entry_allocations: Counter,
    entry_granted: Counter,
}

const _: () = assert!(size_of::<OpenCall>() == 64);

/// Opens the calls on the thread's stack that are not open yet; an event is about to be counted, and has changed nothing so far.
#[cold]
#[inline(never)]
pub(super) fn open_calls(thread: &ThreadState) {
    let net = thread.fold_run();
    let depth = thread.depth.load(Ordering::Relaxed);
    for level in thread.opened.load(Ordering::Relaxed)..depth {
        let Some(call) = thread.calls.get(level as usize) else {
            break;
        };
        call.outer_own_bits.set(thread.own_bits.get());
        call.outer_call_max.set(thread.call_max.get());
        call.outer_correction.set(thread.correction.get());
        call.entry_net.set(net as u64);
        call.entry_allocations.set(thread.allocations.get());
        call.entry_granted.set(thread.granted.get());
        let (own_bytes, stamp) = match waiting::get(call.waiting.load(Ordering::Relaxed)) {
            Some(entry) => (entry.own_bytes.get(), entry.resume(thread)),
            None => (0, Stamp::LAZY),
        };
        thread.call_max.set(net as u64);
        thread.correction.set(own_bytes);
        thread.set_stamp(stamp);
    }
    thread.opened.store(depth, Ordering::Relaxed);
    thread.expect();
}

/// How many parts are open inside each call of a thread's stack, and outside all of them: what tells parts of one call apart.
pub(crate) type Parts = [AtomicU32; MAX_DEPTH + 1];

/// A scope entered on a thread's stack: a whole sync call, or one poll of an async one.
pub(super) struct Frame {
    thread: &'static ThreadState,
    row: &'static NodeRow,
    outer_scope: &'static NodeRow,
    outer_mark: u64,
    /// Calls on the thread's stack, this one included.
    depth: u32,
    /// The how manieth part of the call around it is; 0 for a call. (An integer: a `bool` would lend its niche to `Option<Frame>` and make every copy of a frame piecemeal.)
    part: u32,
}

/// What a frame measured.
pub(super) struct Measured {
    pub(super) allocations: u64,
    pub(super) bytes: u64,
    /// Largest `net` above that of the entry; at least 0.
    pub(super) peak: i64,
    /// Granted minus released.
    pub(super) net: i64,
    /// What the thread's `correction` was at the end.
    pub(super) correction: i64,
}

/// What a whole call did.
pub(super) struct Figures {
    pub(super) allocations: u64,
    pub(super) bytes: u64,
    pub(super) peak: u64,
}

impl Frame {
    /// Enters `row`'s node as a call of its own; `None` when that is not what it is, and nothing has changed.
    #[inline(always)]
    pub(super) fn try_push(thread: &'static ThreadState, row: &'static NodeRow) -> Option<Self> {
        let outer_depth = thread.depth.load(Ordering::Relaxed);
        let call = thread.calls.get(outer_depth as usize)?;
        if row.open.get() != 0 {
            return None;
        }
        let depth = outer_depth + 1;
        call.row.store(ptr::from_ref(row).cast_mut(), Ordering::Relaxed);
        let frame = Self {
            thread,
            row,
            outer_scope: thread.scope(),
            outer_mark: thread.expected_mark.get(),
            depth,
            part: 0,
        };
        thread.set_scope(row);
        thread.depth.store(depth, Ordering::Relaxed);
        thread.expect_nothing();
        row.open.set(u64::from(depth));
        Some(frame)
    }

    /// Enters `row`'s node as a call, or as a part of the call around if the node is on the stack already.
    pub(super) fn push(thread: &'static ThreadState, row: &'static NodeRow) -> Self {
        if let Some(frame) = Self::try_push(thread, row) {
            return frame;
        }
        if row.open.get() == 0 {
            LOSSES.unmeasured_calls.add_shared(1);
        }
        Self::push_part(thread, row)
    }

    /// Enters `row`'s node as a part of the call around.
    #[inline(always)]
    pub(super) fn push_part(thread: &'static ThreadState, row: &'static NodeRow) -> Self {
        let depth = thread.depth.load(Ordering::Relaxed);
        let frame = Self {
            thread,
            row,
            outer_scope: thread.scope(),
            outer_mark: 0,
            depth,
            part: parts(thread, depth) + 1,
        };
        set_parts(thread, depth, frame.part);
        thread.set_scope(row);
        frame
    }

    #[inline(always)]
    pub(super) fn thread(&self) -> &'static ThreadState {
        self.thread
    }

    #[inline(always)]
    pub(super) fn row(&self) -> &'static NodeRow {
        self.row
    }

    #[inline(always)]
    pub(super) fn is_part(&self) -> bool {
        self.part != 0
    }

    /// False when the scope is not the innermost, or an outer frame was left before: it has taken this one with it.
    ///
    /// LIMIT: a guard that is dropped too late, and as deep as a scope of the same node that was entered since, ends that one.
    #[inline(always)]
    pub(super) fn is_innermost(&self) -> bool {
        self.thread.depth.load(Ordering::Relaxed) == self.depth && ptr::eq(self.thread.scope(), self.row)
    }

    /// True once there was an event inside. Only for the innermost frame, and not for a part.
    #[inline(always)]
    pub(super) fn is_opened(&self) -> bool {
        self.thread.opened.load(Ordering::Relaxed) == self.depth
    }

    /// `None` for none, as for a level beyond the last, which no frame has.
    #[inline(always)]
    fn call(&self) -> Option<&'static OpenCall> {
        self.thread.calls.get((self.depth as usize).wrapping_sub(1))
    }

    /// The async call `index` goes on in this frame.
    #[inline(always)]
    pub(super) fn set_waiting(&self, index: u32) {
        if let Some(call) = self.call() {
            call.waiting.store(index, Ordering::Relaxed);
        }
    }

    /// Leaves a call in which nothing happened, if that is what this frame is; else nothing has changed.
    #[inline(always)]
    pub(super) fn try_leave_unopened(&self) -> bool {
        let is_usual = self.is_innermost() && !self.is_part() && !self.is_opened();
        if is_usual {
            self.leave_unopened();
        }
        is_usual
    }

    /// Leaves a part of the innermost call.
    #[inline(always)]
    pub(super) fn leave_part(&self) {
        if parts(self.thread, self.depth) != self.part {
            return self.leave_out_of_order();
        }
        set_parts(self.thread, self.depth, self.part - 1);
        self.thread.set_scope(self.outer_scope);
    }

    /// Leaves a call in which nothing happened: everything is as it was.
    #[inline(always)]
    pub(super) fn leave_unopened(&self) {
        let thread = self.thread;
        thread.depth.store(self.depth - 1, Ordering::Relaxed);
        thread.set_scope(self.outer_scope);
        thread.expected_mark.set(self.outer_mark);
        self.row.open.set(0);
    }

    /// Leaves an open call, and says what happened in this frame. `end_call` or `resume_outer` must follow.
    pub(super) fn leave_opened(&self) -> Measured {
        let thread = self.thread;
        let net = thread.fold_run();
        let highest = thread.call_max.signed();
        thread.depth.store(self.depth - 1, Ordering::Relaxed);
        thread.opened.store(self.depth - 1, Ordering::Relaxed);
        thread.set_scope(self.outer_scope);
        self.row.open.set(0);
        let mut measured = Measured {
            allocations: 0,
            bytes: 0,
            peak: 0,
            net: 0,
            correction: thread.correction.signed(),
        };
        if let Some(call) = self.call() {
            call.waiting.store(0, Ordering::Relaxed);
            thread.call_max.set(highest.max(call.outer_call_max.signed()) as u64);
            measured.allocations = thread.allocations.get().wrapping_sub(call.entry_allocations.get());
            measured.bytes = thread.granted.get().wrapping_sub(call.entry_granted.get());
            measured.peak = (highest - call.entry_net.signed()).max(0);
            measured.net = net - call.entry_net.signed();
        }
        measured
    }

    fn outer_stamp(&self) -> Stamp {
        self.call()
            .map_or(Stamp::NONE, |call| Birth::from_bits(call.outer_own_bits.get()).stamp())
    }

    /// Goes back to the enclosing call. It counts `inherited` bytes of what this frame did, which moved `net` by as much as given.
    #[inline(always)]
    pub(super) fn resume_outer(&self, inherited: i64, net: i64) {
        if let Some(call) = self.call() {
            let correction = call.outer_correction.signed() + inherited - net;
            self.thread.correction.set(correction as u64);
        }
        self.thread.set_stamp(self.outer_stamp());
    }

    /// Ends the call that this frame, its last, belongs to. `own_bytes`: what it granted minus what it released of it itself.
    pub(super) fn end_call(&self, figures: &Figures, own_bytes: i64, net: i64) {
        let row = self.row;
        row.completed.add(1);
        if figures.allocations != 0 || figures.bytes != 0 {
            row.allocations.add(figures.allocations);
            row.bytes.add(figures.bytes);
            row.sum_peak.add(figures.peak);
            row.max_allocations.raise(figures.allocations);
            row.max_bytes.raise(figures.bytes);
            row.max_peak.raise(figures.peak);
        }
        if own_bytes == 0 && self.keep_for_next_call(figures) {
            return self.resume_outer(0, net);
        }
        self.end_with_survivors(own_bytes, net);
    }

    /// True when the call needs no end: it has no record, or one as good as new, which the thread's next call gets.
    #[inline(always)]
    fn keep_for_next_call(&self, figures: &Figures) -> bool {
        let thread = self.thread;
        if thread.own_bits.get() == LAZY_BITS {
            return true;
        }
        let stamp = thread.stamp();
        // A call that granted nothing leaves its record as it was.
        (figures.bytes == 0 || call::is_pristine(stamp)) && stamp.is_recorded() && thread.spare_stamps.put(stamp.0)
    }

    #[cold]
    #[inline(never)]
    fn end_with_survivors(&self, own_bytes: i64, net: i64) {
        let (thread, row) = (self.thread, self.row);
        let stamp = thread.stamp();
        let is_upper_bound = call::is_upper_bound(stamp);
        let ended = call::end(thread, stamp, own_bytes, self.outer_stamp());
        let survivors = ended.survivor_bytes.max(0) as u64;
        row.retained_bytes.add(survivors);
        row.max_retained.raise(survivors);
        let mut outer = ended.outer;
        if is_upper_bound {
            row.upper_bound.add(1);
            outer = call::mark_upper_bound(outer);
        }
        self.resume_outer(ended.inherited_bytes, net);
        thread.set_stamp(outer);
    }

    /// Leaves a scope that is not the innermost, or was left before with an outer one. LIMIT: its call, and the calls inside that
    /// end with it, have no figures.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_out_of_order(&self) {
        let thread = self.thread;
        if thread.depth.load(Ordering::Relaxed) < self.depth {
            return;
        }
        if self.is_part() {
            if parts(thread, self.depth) < self.part {
                return;
            }
            abandon_calls(thread, self.depth);
            set_parts(thread, self.depth, self.part - 1);
        } else if self
            .call()
            .is_some_and(|call| ptr::eq(call.row.load(Ordering::Relaxed), self.row))
        {
            abandon_calls(thread, self.depth - 1);
        } else {
            return;
        }
        thread.set_scope(self.outer_scope);
    }
}

#[inline(always)]
fn parts(thread: &ThreadState, depth: u32) -> u32 {
    let parts = thread.parts.get(depth as usize);
    parts.map_or(0, |parts| parts.load(Ordering::Relaxed))
}

#[inline(always)]
fn set_parts(thread: &ThreadState, depth: u32, open: u32) {
    if let Some(parts) = thread.parts.get(depth as usize) {
        parts.store(open, Ordering::Relaxed);
    }
}

/// Takes the calls above `depth` off the thread's stack: their blocks are from now on the enclosing call's.
fn abandon_calls(thread: &ThreadState, depth: u32) {
    for level in (depth..thread.depth.load(Ordering::Relaxed)).rev() {
        let Some(call) = thread.calls.get(level as usize) else {
            continue;
        };
        let index = call.waiting.load(Ordering::Relaxed);
        call.waiting.store(0, Ordering::Relaxed);
        set_parts(thread, level + 1, 0);
        // SAFETY: `push` stored a row of this thread, which lives while the thread does.
        if let Some(row) = unsafe { call.row.load(Ordering::Relaxed).as_ref() } {
            row.open.set(0);
        }
        if level >= thread.opened.load(Ordering::Relaxed) {
            continue;
        }
        thread.fold_run();
        thread.call_max.raise_signed(call.outer_call_max.signed());
        let inner = thread.stamp();
        let outer = Birth::from_bits(call.outer_own_bits.get()).stamp();
        let taken = if outer == Stamp::NONE {
            call::abandon(Some(thread), inner);
            0
        } else {
            thread.correction.signed()
        };
        thread.correction.set((call.outer_correction.signed() + taken) as u64);
        thread.set_stamp(if outer == Stamp::NONE || inner == outer {
            outer
        } else {
            call::adopt(inner, outer)
        });
        if let Some(entry) = waiting::get(index) {
            entry.set_stamp(Stamp::NONE);
        }
        thread.opened.store(level, Ordering::Relaxed);
    }
    if depth < thread.depth.load(Ordering::Relaxed) {
        thread.depth.store(depth, Ordering::Relaxed);
    }
    thread.expect();
}

/// The thread has ended: nothing is on its stack any more, whatever guards were forgotten.
pub(super) fn forget_calls(thread: &ThreadState) {
    let depth = thread.depth.swap(0, Ordering::Relaxed);
    for call in thread.calls.iter().take(depth as usize) {
        call.waiting.store(0, Ordering::Relaxed);
    }
    thread.opened.store(0, Ordering::Relaxed);
    for depth in 0..=depth {
        set_parts(thread, depth, 0);
    }
}
