//! The scopes that are entered on a thread, and the calls they are.
//!
//! Record side; `enter` and `poll` make the guards out of frames. Entering a scope only says which node comes next: nothing is measured before
//! the first event inside. That event opens the call, and the calls around it that are not open yet (`open_calls`, out of
//! `peak::touch`): what each has to put back is kept in a slot of the thread, one per level. A call without events thus costs a few
//! stores, and a call with events pays for the rest on the way that its first event takes anyway.
//!
//! # Invariants
//! - Calls are entered and left with the thread occupied: a signal handler meets none that is half made, and takes no level that is in use.
//! - `ThreadState::depth` counts the calls on the thread's stack, `opened` how many of them, from the outside, are open.
//! - While `opened < depth` the thread's `expected_mark` is one that no row has, and its `look_at` is 0, so that no event is counted before
//!   `open_calls`.
//! - A slot's `waiting` is 0 unless the call at its level is an async one that has an entry there.
//! - A frame inside a call of its own node (recursion), or too deep for a slot, is a *part* of the call around: only the node changes.
//!
//! Frames hold no pointers to each other: forgetting a guard, or dropping guards out of order, can harm figures but nothing else.

use crate::record::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::ptr;

use super::block::{Birth, Stamp};
use super::call;
use super::counters::{Counter, LOSSES, NodeRow};
use super::observe::{self, Handle};
use super::thread::{self, LAZY_BITS, ThreadState};
use super::waiting;

/// Calls nested inside each other on one thread that are measured each for itself; recursion does not count.
pub(crate) const MAX_DEPTH: usize = 64;

/// One level of a thread's stack of calls: what the call there puts back when it is left, and where its figures began.
#[derive(Default)]
#[repr(C, align(128))]
pub(crate) struct OpenCall {
    // Set on entry.
    /// Says which entry is on this level, so that a guard that is dropped too late finds out. 0 for none.
    serial: Counter,
    thread: AtomicPtr<ThreadState>,
    row: AtomicPtr<NodeRow>,
    outer_scope: AtomicPtr<NodeRow>,
    outer_mark: Counter,
    /// Levels of the thread's stack, this one included. With `OBSERVED` while the call is observed.
    depth: AtomicU32,
    /// Parts of the call that are entered.
    parts: AtomicU32,
    /// Index of the async call (`waiting`) that goes on here.
    waiting: AtomicU32,
    /// Bits of the observation of the call; meaningful with `OBSERVED`.
    observation: AtomicU32,
    // Set when the call is opened.
    outer_own_bits: Counter,
    outer_call_max: Counter,
    outer_correction: Counter,
    entry_net: Counter,
    entry_allocations: Counter,
    entry_bytes: Counter,
}

const _: () = assert!(size_of::<OpenCall>() == 128);

/// PERF: a mark that makes an observed call look like one that is not the innermost, so that only the rare ways of leaving it ask.
const OBSERVED: u32 = 1 << 31;

impl OpenCall {
    /// Remembers what the enclosing call goes on with. `net` is the thread's, just folded.
    #[inline(always)]
    fn open(&self, thread: &ThreadState, net: i64) {
        self.outer_own_bits.set(thread.own_bits.get());
        self.outer_call_max.set(thread.call_max.get());
        self.outer_correction.set(thread.correction.get());
        self.entry_net.set(net as u64);
        self.entry_allocations.set(thread.allocations.get());
        self.entry_bytes.set(thread.bytes());
        thread.call_max.set(net as u64);
    }

    fn set_observed(&self, handle: Handle) {
        self.observation.store(handle.0, Ordering::Relaxed);
        self.depth.fetch_or(OBSERVED, Ordering::Relaxed);
    }

    fn outer_stamp(&self) -> Stamp {
        Birth::from_bits(self.outer_own_bits.get()).stamp()
    }
}

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
        call.open(thread, net);
        let (own_bytes, stamp) = match waiting::get(call.waiting.load(Ordering::Relaxed)) {
            Some(entry) => (entry.own_bytes.get(), entry.resume(thread)),
            None => (0, Stamp::LAZY),
        };
        thread.correction.set(own_bytes);
        thread.opened.store(level + 1, Ordering::Relaxed);
        thread.go_on_with(stamp);
    }
}

/// The same for the usual case: only the innermost call is to be opened, it is a new one, and the thread has a record ready for it.
/// False when it is another case; then nothing has changed.
#[inline(always)]
pub(super) fn try_open_call(thread: &ThreadState) -> bool {
    let opened = thread.opened.load(Ordering::Relaxed);
    let depth = thread.depth.load(Ordering::Relaxed);
    let Some(call) = thread.calls.get(opened as usize) else {
        return false;
    };
    if depth != opened + 1 || call.waiting.load(Ordering::Relaxed) != 0 {
        return false;
    }
    let Some(stamp) = thread.spare_stamps.take() else {
        return false;
    };
    call.open(thread, thread.fold_run());
    thread.correction.set(0);
    thread.opened.store(depth, Ordering::Relaxed);
    thread.go_on_with_record(Stamp(stamp));
    true
}

/// A scope entered on a thread's stack: a whole sync call, or one poll of an async one.
///
/// PERF: two words, so that it travels in registers; the rest is on the level.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// `None` for a part, and for nothing.
    call: Option<&'static OpenCall>,
    /// Of a call: its serial number. Of a part: see `PartId`. 0 for nothing.
    id: u64,
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

/// What a part is known by: the node around it (32 bits), the how manieth part of its call it is (20), and the end of the serial number
/// of that call (12), or 0 outside all calls.
///
/// LIMIT: beyond a million parts inside each other, dropping their guards out of order can leave the thread in the wrong scope.
#[derive(Clone, Copy)]
struct PartId(u64);

impl PartId {
    const NUMBER_BITS: u32 = 20;
    const SERIAL_BITS: u32 = 12;

    fn new(outer: u32, number: u32, serial: u64) -> Self {
        let number = number.min((1 << Self::NUMBER_BITS) - 1);
        let low = (number << Self::SERIAL_BITS) | Self::end_of(serial);
        Self((u64::from(outer) << 32) | u64::from(low))
    }
    fn end_of(serial: u64) -> u32 {
        serial as u32 & ((1 << Self::SERIAL_BITS) - 1)
    }
    fn outer(self) -> u32 {
        (self.0 >> 32) as u32
    }
    fn number(self) -> u32 {
        self.0 as u32 >> Self::SERIAL_BITS
    }
    /// True for the level that the part was entered on.
    fn is_of(self, serial: u64) -> bool {
        Self::end_of(self.0) == Self::end_of(serial)
    }
}

/// How many parts are entered in the innermost of `depth` calls, or outside all calls, and that call's serial number.
#[inline(always)]
fn parts(thread: &ThreadState, depth: u32) -> (&AtomicU32, u64) {
    match thread.calls.get((depth as usize).wrapping_sub(1)) {
        Some(call) => (&call.parts, call.serial.get()),
        None => (&thread.parts, 0),
    }
}

impl Frame {
    /// No scope was entered.
    pub(super) const NOTHING: Self = Self { call: None, id: 0 };

    #[inline(always)]
    pub(super) fn is_nothing(&self) -> bool {
        // Neither serial numbers nor the ids of parts are ever 0.
        self.id == 0
    }

    /// Enters `row`'s node as a call of its own; `None` when that is not what it is, and nothing has changed. The thread is occupied.
    #[inline(always)]
    pub(super) fn try_push(thread: &'static ThreadState, row: &'static NodeRow) -> Option<Self> {
        let outer_depth = thread.depth.load(Ordering::Relaxed);
        let call = thread.calls.get(outer_depth as usize)?;
        if row.open.get() != 0 {
            return None;
        }
        let outer_mark = thread.expected_mark.get();
        thread.depth.store(outer_depth + 1, Ordering::Relaxed);
        let serial = thread.last_serial.get() + 1;
        thread.last_serial.set(serial);
        call.serial.set(serial);
        call.thread.store(ptr::from_ref(thread).cast_mut(), Ordering::Relaxed);
        call.row.store(ptr::from_ref(row).cast_mut(), Ordering::Relaxed);
        call.outer_scope
            .store(ptr::from_ref(thread.scope()).cast_mut(), Ordering::Relaxed);
        call.outer_mark.set(outer_mark);
        call.depth.store(outer_depth + 1, Ordering::Relaxed);
        call.parts.store(0, Ordering::Relaxed);
        thread.set_scope(row);
        thread.expect_nothing();
        thread.look();
        row.open.set(1);
        Some(Self {
            call: Some(call),
            id: serial,
        })
    }

    /// Enters `row`'s node as a call, or as a part of the call around if the node is on the stack already. The thread is occupied.
    pub(super) fn push(thread: &'static ThreadState, row: &'static NodeRow) -> Self {
        if let Some(frame) = Self::try_push(thread, row) {
            return frame;
        }
        if row.open.get() == 0 {
            LOSSES.unmeasured_calls.add_shared(1);
        }
        Self::push_part(thread, row)
    }

    /// Observes the call that was just entered, from now on.
    #[cold]
    pub(super) fn observe(&self) {
        if let Some(Entered { call, thread, row }) = self.entered()
            && let Some(handle) = observe::begin(thread, row)
        {
            call.set_observed(handle);
        }
    }

    /// The call goes on in this frame, and so does its observation; false when that was given up meanwhile.
    #[cold]
    pub(super) fn observe_again(&self, handle: Handle) -> bool {
        let Some(Entered { call, thread, .. }) = self.entered() else {
            // Polled as a part: the observation waits on.
            return true;
        };
        let goes_on = observe::resume(thread, handle);
        if goes_on {
            call.set_observed(handle);
        }
        goes_on
    }

    /// Enters `row`'s node as a part of the call around.
    #[inline(always)]
    pub(super) fn push_part(thread: &'static ThreadState, row: &'static NodeRow) -> Self {
        let (parts, serial) = parts(thread, thread.depth.load(Ordering::Relaxed));
        let number = parts.load(Ordering::Relaxed) + 1;
        parts.store(number, Ordering::Relaxed);
        let outer = thread.scope().node.load(Ordering::Relaxed);
        thread.set_scope(row);
        Self {
            call: None,
            id: PartId::new(outer, number, serial).0,
        }
    }

    #[inline(always)]
    pub(super) fn is_part(&self) -> bool {
        self.call.is_none() && self.id != 0
    }

    /// The async call `index` goes on in this frame; 0 for none. Nothing for a part.
    #[inline(always)]
    pub(super) fn set_waiting(&self, index: u32) {
        if let Some(call) = self.call {
            call.waiting.store(index, Ordering::Relaxed);
        }
    }

    /// Leaves a part of a call. Parts and calls inside that are still entered are left with it; one that was left so is left already.
    #[inline(never)]
    pub(super) fn leave_part(&self) {
        let id = PartId(self.id);
        let Some(thread) = thread::unoccupied() else {
            return self.leave_part_slowly();
        };
        let (parts, serial) = parts(thread, thread.depth.load(Ordering::Relaxed));
        match thread.nodes.get(id.outer() as usize) {
            Some(outer)
                if outer.node.load(Ordering::Relaxed) == id.outer()
                    && id.is_of(serial)
                    && parts.load(Ordering::Relaxed) == id.number() =>
            {
                parts.store(id.number() - 1, Ordering::Relaxed);
                thread.set_scope(outer);
            }
            _ => self.leave_part_slowly(),
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_part_slowly(&self) {
        let Some(thread) = thread::current() else { return };
        let id = PartId(self.id);
        let depth = thread.depth.load(Ordering::Relaxed);
        let is_here = |&depth: &u32| {
            let (parts, serial) = parts(thread, depth);
            id.is_of(serial) && parts.load(Ordering::Relaxed) >= id.number()
        };
        let Some(level) = (0..=depth).rev().find(is_here) else {
            return;
        };
        thread.occupied_for(|| while thread.depth.load(Ordering::Relaxed) > level && abandon_innermost(thread) {});
        parts(thread, level).0.store(id.number() - 1, Ordering::Relaxed);
        if let Some(outer) = thread.node_row(id.outer()) {
            thread.set_scope(outer);
        }
    }

    /// The call, unless it is a part or was left before, with an outer one or by the end of its thread.
    #[inline(always)]
    pub(super) fn entered(&self) -> Option<Entered> {
        let call = self.call.filter(|call| call.serial.get() == self.id)?;
        // SAFETY: `try_push` stored the thread's state with the serial number; states live as long as the process.
        let thread = unsafe { &*call.thread.load(Ordering::Relaxed) };
        // SAFETY: likewise; the row lives while the thread does, whose end takes the serial number away.
        let row = unsafe { &*call.row.load(Ordering::Relaxed) };
        Some(Entered { call, thread, row })
    }
}

/// A call that is on its thread's stack.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    call: &'static OpenCall,
    pub(super) thread: &'static ThreadState,
    pub(super) row: &'static NodeRow,
}

impl Entered {
    fn depth(&self) -> u32 {
        self.call.depth.load(Ordering::Relaxed)
    }

    /// False for one that is observed: see `stop_observing`.
    #[inline(always)]
    pub(super) fn is_innermost(&self) -> bool {
        self.thread.depth.load(Ordering::Relaxed) == self.depth()
    }

    /// If the call is the innermost and observed, it is the former only from now on. What was observed is left to the caller.
    #[cold]
    pub(super) fn stop_observing(&self) -> Option<Handle> {
        if self.thread.depth.load(Ordering::Relaxed) | OBSERVED != self.depth() {
            return None;
        }
        self.call.depth.fetch_and(!OBSERVED, Ordering::Relaxed);
        let handle = Handle::from_bits(self.call.observation.swap(0, Ordering::Relaxed))?;
        observe::leave(self.thread, handle);
        Some(handle)
    }

    /// True once there was an event inside. Only for the innermost call.
    #[inline(always)]
    pub(super) fn is_opened(&self) -> bool {
        self.thread.opened.load(Ordering::Relaxed) == self.depth()
    }

    /// The async call `index` goes on in this frame; 0 for none.
    #[inline(always)]
    pub(super) fn set_waiting(&self, index: u32) {
        self.call.waiting.store(index, Ordering::Relaxed);
    }

    /// Takes the call off the stack; the figures are left to the caller. Gives how many calls are left.
    #[inline(always)]
    fn pop(&self) -> u32 {
        let thread = self.thread;
        let outer_depth = self.depth() - 1;
        thread
            .scope_pointer()
            .store(self.call.outer_scope.load(Ordering::Relaxed), Ordering::Relaxed);
        self.row.open.set(0);
        self.call.serial.set(0);
        thread.depth.store(outer_depth, Ordering::Relaxed);
        outer_depth
    }

    /// Leaves a call in which nothing happened: everything is as it was.
    #[inline(always)]
    pub(super) fn leave_unopened(&self) {
        self.pop();
        self.thread.expect_again(self.call.outer_mark.get());
    }

    /// Leaves an open call, and says what happened in this frame. `end_call` or `resume_outer` must follow.
    #[inline(always)]
    pub(super) fn leave_opened(&self) -> Measured {
        let (thread, call) = (self.thread, self.call);
        let net = thread.fold_run();
        let highest = thread.call_max.signed();
        let outer_depth = self.pop();
        thread.opened.store(outer_depth, Ordering::Relaxed);
        call.waiting.store(0, Ordering::Relaxed);
        thread.call_max.set(highest.max(call.outer_call_max.signed()) as u64);
        Measured {
            allocations: thread.allocations.get().wrapping_sub(call.entry_allocations.get()),
            bytes: thread.bytes().wrapping_sub(call.entry_bytes.get()),
            peak: (highest - call.entry_net.signed()).max(0),
            net: net - call.entry_net.signed(),
            correction: thread.correction.signed(),
        }
    }

    /// Goes back to the enclosing call. It counts `inherited` bytes of what this frame did, which moved `net` by as much as given.
    #[inline(always)]
    pub(super) fn resume_outer(&self, inherited: i64, net: i64) {
        let correction = self.call.outer_correction.signed() + inherited - net;
        self.thread.correction.set(correction as u64);
        self.thread.go_on_with(self.call.outer_stamp());
    }

    /// Ends the call that this frame, its last, belongs to. `own_bytes`: what it granted minus what it released of it itself.
    #[inline(always)]
    pub(super) fn end_call(&self, figures: &Figures, own_bytes: i64, net: i64) {
        let row = self.row;
        row.completed.add(1);
        observe::look_ahead(self.thread, row);
        if figures.allocations != 0 || figures.bytes != 0 {
            row.allocations.add(figures.allocations);
            row.bytes.add(figures.bytes);
            row.sum_peak.add(figures.peak);
            row.max_allocations.raise(figures.allocations);
            row.max_bytes.raise(figures.bytes);
            row.max_peak.raise(figures.peak);
        }
        if own_bytes == 0 && self.keep_for_next_call() {
            return self.resume_outer(0, net);
        }
        self.end_with_survivors(own_bytes, net);
    }

    /// True when the call needs no end: it has no record, or one as good as new, which the thread's next call gets.
    #[inline(always)]
    fn keep_for_next_call(&self) -> bool {
        let thread = self.thread;
        if thread.own_bits.get() == LAZY_BITS {
            return true;
        }
        let stamp = thread.stamp();
        call::renew(stamp) && thread.spare_stamps.put(stamp.0)
    }

    #[cold]
    #[inline(never)]
    fn end_with_survivors(&self, own_bytes: i64, net: i64) {
        let (thread, row) = (self.thread, self.row);
        let stamp = thread.stamp();
        let is_upper_bound = call::is_upper_bound(stamp);
        let ended = call::end(thread, stamp, own_bytes, self.call.outer_stamp());
        let survivors = ended.survivor_bytes.max(0) as u64;
        row.retained_bytes.add(survivors);
        row.max_retained.raise(survivors);
        let mut outer = ended.outer;
        if is_upper_bound {
            row.upper_bound.add(1);
            outer = call::mark_upper_bound(outer);
        }
        self.resume_outer(ended.inherited_bytes, net);
        thread.go_on_with(outer);
    }

    /// Leaves a call that is not the innermost. LIMIT: it, and the calls inside that end with it, have no figures.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_out_of_order(&self) {
        let depth = (self.depth() & !OBSERVED) - 1;
        let thread = self.thread;
        thread.occupied_for(|| while thread.depth.load(Ordering::Relaxed) > depth && abandon_innermost(thread) {});
    }
}

/// Takes the innermost call off the thread's stack without its figures: its blocks are from now on the enclosing call's. False when
/// there is none.
fn abandon_innermost(thread: &'static ThreadState) -> bool {
    let level = thread.depth.load(Ordering::Relaxed).wrapping_sub(1);
    let Some(call) = thread.calls.get(level as usize) else {
        return false;
    };
    let frame = Frame {
        call: Some(call),
        id: call.serial.get(),
    };
    let Some(entered) = frame.entered() else {
        return false;
    };
    if let Some(handle) = entered.stop_observing() {
        observe::give_up(handle);
    }
    if !entered.is_opened() {
        entered.set_waiting(0);
        entered.leave_unopened();
        return true;
    }
    let inner = thread.stamp();
    let outer = call.outer_stamp();
    let index = call.waiting.load(Ordering::Relaxed);
    let measured = entered.leave_opened();
    if outer == Stamp::NONE {
        call::abandon(Some(thread), inner);
        entered.resume_outer(0, measured.net);
    } else {
        let (outer, released) = call::adopt(inner, outer);
        entered.resume_outer(measured.net + measured.correction - released, measured.net);
        thread.go_on_with(outer);
    }
    if let Some(entry) = waiting::get(index) {
        // Its record is the enclosing call's, or gone: not to be given back once more.
        entry.set_stamp(Stamp::NONE);
    }
    true
}

/// The thread has ended: nothing is on its stack any more, whatever guards were forgotten or are still to be dropped.
pub(super) fn forget_calls(thread: &ThreadState) {
    let depth = thread.depth.swap(0, Ordering::Relaxed);
    for call in thread.calls.iter().take(depth as usize) {
        // SAFETY: null, or a row of this thread: the next one may go on with its state, and enter the same scopes.
        if let Some(row) = unsafe { call.row.load(Ordering::Relaxed).as_ref() } {
            row.open.set(0);
        }
        call.serial.set(0);
        call.waiting.store(0, Ordering::Relaxed);
        call.observation.store(0, Ordering::Relaxed);
    }
    observe::forget(thread);
    thread.opened.store(0, Ordering::Relaxed);
    thread.parts.store(0, Ordering::Relaxed);
}
