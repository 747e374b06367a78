//! Live bytes and their peaks: of the process, of every scope node, and of the running call.
//!
//! Record side. Every thread keeps `net`, what it granted minus what it released, and only that moves per event. Three figures hang on it:
//! - *process peak*: a thread publishes `net` when it drifted by `FLUSH_BYTES`, and knows from the last publication above which
//!   value of `net` the process is at a new peak. Exact with one thread; with n threads off by at most `n * FLUSH_BYTES`.
//! - *scope peaks*: consecutive events on blocks of one scope node are *pending* as a stretch of `net`; when the next event is
//!   another node's, the stretch is settled on the node and the nodes around it. Exact with one thread; with n threads off by at
//!   most `2 * n * FLUSH_BYTES`: a stretch and what a node row has not published.
//! - *call peak*: largest `net` since the call began (`scope`). Exact for what the call's thread executes.
//!
//! Cost: an addition, a maximum and two compares per event; a cold call at a new peak or a change of node.
#![forbid(unsafe_code)]

use crate::record::atomic::{AtomicU32, Ordering, fence, spin_loop};

use super::block::Stamp;
use super::counters::{Counter, NodeRow, Row};
use super::scope;
use super::thread::{Registry, ThreadState};
use super::{call, context, frame};
use crate::ids::{ContextId, ScopeNodeId};

/// How far a thread's `net` may drift before the other threads hear of it.
pub(crate) const FLUSH_BYTES: i64 = 64 << 10;

static LIVE: Counter = Counter::new();
/// What no thread's own figures have: granted and released by threads that are folded, and by those without a state. They only grow.
static GRANTED_ELSEWHERE: Counter = Counter::new();
static RELEASED_ELSEWHERE: Counter = Counter::new();
static PEAK: Counter = Counter::new();
/// Grows when the process reaches a new peak: tells rows of other threads that their `at_peak` is out of date.
static SERIAL: AtomicU32 = AtomicU32::new(1);

pub(crate) fn serial() -> u32 {
    SERIAL.load(Ordering::Relaxed)
}

/// What a row needs before an event is counted on it.
pub(crate) enum Touched {
    /// Nothing more.
    Ready,
    /// It is the tracker's own row: counted, but no part of the program.
    Tracker,
    /// The context is that of samples, or of a block that was not sampled: nothing is counted on the row.
    Sampled,
    /// The context was never handed out.
    Corrupt,
}

impl ThreadState {
    fn bump_peak_mark(&self) {
        self.peak_mark.store(
            self.peak_mark.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
        self.expect();
    }

    /// This thread grants `bytes`, if that needs no attention; else nothing has changed, and `grant` must do it.
    #[inline(always)]
    pub(crate) fn try_grant(&self, bytes: u64) -> bool {
        let granted = self.granted.get().wrapping_add(bytes);
        let net = granted.wrapping_sub(self.released.get()) as i64;
        if net > self.run_max.signed() {
            if net > self.window_high.signed() {
                return false;
            }
            self.run_max.set(net as u64);
        }
        if granted >= self.window_at.get() {
            return false;
        }
        self.granted.set(granted);
        true
    }

    /// This thread releases `bytes`, if that needs no attention; else nothing has changed, and `release` must do it.
    #[inline(always)]
    pub(crate) fn try_release(&self, bytes: u64) -> bool {
        let released = self.released.get().wrapping_add(bytes);
        if (self.granted.get().wrapping_sub(released) as i64) < self.window_low.signed() {
            return false;
        }
        self.released.set(released);
        true
    }

    /// This thread grants `bytes`.
    pub(crate) fn grant(&'static self, bytes: u64) {
        self.granted.set(self.granted.get().wrapping_add(bytes));
        let net = self.net();
        if net > self.run_max.signed() {
            self.run_max.set(net as u64);
            if net > self.window_high.signed() {
                climb(self, net);
            }
        }
    }

    /// This thread releases `bytes`. `end_climb` was called before the event touched any row.
    pub(crate) fn release(&'static self, bytes: u64) {
        self.released.set(self.released.get().wrapping_add(bytes));
        if self.net() < self.window_low.signed() {
            publish(self);
        }
    }

    /// A release is coming: a climb to a new peak ends here, and rows remember what they held at it from now on.
    #[inline(always)]
    pub(crate) fn end_climb(&self) {
        if self.is_climbing() {
            self.climbing.store(0, Ordering::Relaxed);
            self.peak_net.set(self.net() as u64);
            self.bump_peak_mark();
            open_window(self);
        }
    }

    fn is_climbing(&self) -> bool {
        self.climbing.load(Ordering::Relaxed) != 0
    }

    /// The mark of rows that remember what they held at the process peak. `None`: what they hold now, because the peak is this very
    /// moment, or the thread has not heard of a later peak of another thread.
    pub(crate) fn mark_at_peak(&self) -> Option<u32> {
        let is_now = self.is_climbing() || self.seen_serial.load(Ordering::Relaxed) != serial();
        (!is_now).then(|| self.peak_mark.load(Ordering::Relaxed))
    }

    /// Brings the maxima up to date and starts a new run. Gives `net`.
    #[inline(always)]
    pub(crate) fn fold_run(&self) -> i64 {
        let top = self.run_max.signed();
        if top > self.call_max.signed() {
            self.call_max.set(top as u64);
        }
        if top > self.pending_max.signed() {
            self.pending_max.set(top as u64);
        }
        let net = self.net();
        self.run_max.set(net as u64);
        net
    }
}

/// Prepares the row of `context` for its next event: `Row::mark` differs from the thread's `expected_mark`.
#[cold]
#[inline(never)]
pub(crate) fn touch(thread: &'static ThreadState, row: &Row, context: ContextId) -> Touched {
    let mut node = row.node();
    if node == 0 {
        // Rows of samples are never marked, so that each of their events comes here.
        match context::info(context).filter(|info| info.node() != 0) {
            Some(info) if info.interval().is_some() => return Touched::Sampled,
            Some(info) => node = info.node(),
            None if context == ContextId::NONE => return Touched::Sampled,
            None => return Touched::Corrupt,
        }
        row.at_peak.set(row.live_bytes());
        row.mark
            .set_last(u64::from(node) | (u64::from(thread.peak_mark.load(Ordering::Relaxed)) << 32));
    }
    if node == ScopeNodeId::TRACKER.0 {
        return Touched::Tracker;
    }
    if thread.opened.load(Ordering::Relaxed) != thread.depth.load(Ordering::Relaxed) {
        frame::open_calls(thread);
    }
    if thread.stamp() == Stamp::LAZY {
        thread.go_on_with(call::open(thread));
    }
    row.rebase(thread.peak_mark.load(Ordering::Relaxed));
    if node != thread.pending_node.load(Ordering::Relaxed) {
        settle(thread, node);
    }
    thread.expect();
    Touched::Ready
}

/// Adds the pending stretch to its node and the nodes around it, and begins one of the node `next`.
pub(crate) fn settle(thread: &'static ThreadState, next: u32) {
    let net = thread.fold_run();
    let stretch = Stretch::of(thread);
    let mut node = stretch.node;
    let version = thread.settling.get();
    thread.settling.set(version.wrapping_add(1));
    // ORDERING: with the Acquire fence in `Stretch::and`: who sees anything of what follows, or of later events, sees the odd version.
    fence(Ordering::Release);
    thread.pending_max.set(net as u64);
    thread.pending_base.set(net as u64);
    thread.pending_node.store(next, Ordering::Relaxed);
    match thread.node_row(node) {
        Some(row) => add_stretch(&row.own_delta, &row.own_delta_max, &stretch),
        None => scope::move_own_live(node, stretch.change),
    }
    // The root's inclusive figures are the process's.
    while node > ScopeNodeId::ROOT.0 {
        match thread.node_row(node) {
            Some(row) => {
                add_stretch(&row.delta, &row.delta_max, &stretch);
                if row.delta.signed().abs() > FLUSH_BYTES || row.own_delta.signed().abs() > FLUSH_BYTES {
                    scope::publish_live(node, row);
                }
            }
            None => scope::move_live_inside(node, stretch.change),
        }
        node = scope::parent_of(node);
    }
    thread.settling.set_last(version.wrapping_add(2));
}

fn add_stretch(delta: &Counter, max: &Counter, stretch: &Stretch) {
    let top = delta.signed() + stretch.highest;
    if top > max.signed() {
        max.set(top as u64);
    }
    delta.set((delta.signed() + stretch.change) as u64);
}

/// Events on blocks of one node, one after another: their sum, and the highest it was.
pub(crate) struct Stretch {
    pub(crate) node: u32,
    pub(crate) change: i64,
    pub(crate) highest: i64,
}

impl Stretch {
    /// What the rows of a thread, which may be another one than the caller's, say by `settled`, and what is pending there: of one moment, so that
    /// nothing is missed or seen twice. `None` when the thread settles without pause, or has been stopped while it does.
    pub(crate) fn and<R>(thread: &ThreadState, settled: impl Fn() -> R) -> Option<(R, Self)> {
        for _ in 0..if cfg!(allocscope_model) { 2 } else { 100 } {
            let version = thread.settling.read();
            let (settled, stretch) = (settled(), Self::of(thread));
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && thread.settling.get() == version {
                return Some((settled, stretch));
            }
            spin_loop();
        }
        None
    }

    fn of(thread: &ThreadState) -> Self {
        let base = thread.pending_base.signed();
        let net = thread.net();
        let highest = thread.pending_max.signed().max(thread.run_max.signed()).max(net);
        Self {
            node: thread.pending_node.load(Ordering::Relaxed),
            change: net - base,
            highest: highest - base,
        }
    }
}

/// A new thread: it has nothing pending, and knows the process's figures of this moment. Its `net` is 0, or that of the thread before.
pub(crate) fn begin(thread: &ThreadState) {
    let net = thread.net() as u64;
    for figure in [
        &thread.run_max,
        &thread.call_max,
        &thread.pending_base,
        &thread.pending_max,
    ] {
        figure.set(net);
    }
    thread.pending_node.store(ScopeNodeId::ROOT.0, Ordering::Relaxed);
    thread.climbing.store(0, Ordering::Relaxed);
    // The mark stays: rows may know what they held at a peak.
    thread.expect();
    after_publication(thread, LIVE.signed());
}

fn after_publication(thread: &ThreadState, live: i64) {
    // `grant` looks at the window only above `run_max`, which therefore must not be above the new window.
    let net = thread.fold_run();
    thread.raised.store(0, Ordering::Relaxed);
    let version = thread.version.load(Ordering::Relaxed);
    thread.version.store(version.wrapping_add(1), Ordering::Relaxed);
    // ORDERING: with the Acquire fence in `own_peak`: who sees one of the new three figures sees the odd version.
    fence(Ordering::Release);
    thread.published.set(net as u64);
    thread.live_at_publication.set(live as u64);
    thread.peak_net.set((net + (PEAK.signed() - live).max(0)) as u64);
    thread.version.store(version.wrapping_add(2), Ordering::Release);
    let serial = SERIAL.load(Ordering::Relaxed);
    if thread.seen_serial.swap(serial, Ordering::Relaxed) != serial {
        thread.bump_peak_mark();
    }
    open_window(thread);
}

fn open_window(thread: &ThreadState) {
    let published = thread.published.signed();
    if thread.is_climbing() {
        // PERF: while only grants come, every one is a new peak, and none needs to be looked at; the first release does.
        thread.window_high.set((published + FLUSH_BYTES) as u64);
        thread.window_low.set(i64::MAX as u64);
    } else {
        thread
            .window_high
            .set(thread.peak_net.signed().min(published + FLUSH_BYTES) as u64);
        thread.window_low.set((published - FLUSH_BYTES) as u64);
    }
}

/// `net` has left the window upwards.
#[cold]
#[inline(never)]
fn climb(thread: &'static ThreadState, net: i64) {
    if net > thread.peak_net.signed() && !thread.is_climbing() {
        let live_now = LIVE.signed() - thread.published.signed() + net;
        if live_now <= PEAK.signed() {
            // Other threads have raised the peak, or released, since this one last looked: it is none.
            return publish(thread);
        }
        thread.climbing.store(1, Ordering::Relaxed);
        if thread.raised.swap(1, Ordering::Relaxed) == 0 {
            // First new peak since the publication: the rows of other threads hear of it now, ours with every climb.
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            thread.seen_serial.store(serial, Ordering::Relaxed);
        }
    }
    if net - thread.published.signed() > FLUSH_BYTES {
        publish(thread);
    } else {
        open_window(thread);
    }
}

/// Live bytes of the process at this thread's highest point since its publication; `None` when it publishes without pause.
fn own_peak(thread: &ThreadState) -> Option<i64> {
    for _ in 0..100 {
        let version = thread.version.load(Ordering::Acquire);
        let highest = thread.peak_net.signed();
        let highest = if thread.is_climbing() {
            highest.max(thread.net())
        } else {
            highest
        };
        let peak = thread.live_at_publication.signed() + highest - thread.published.signed();
        fence(Ordering::Acquire);
        if version.is_multiple_of(2) && thread.version.load(Ordering::Relaxed) == version {
            return Some(peak);
        }
        spin_loop();
    }
    None
}

/// Tells the other threads what this one has granted and released.
#[cold]
#[inline(never)]
fn publish(thread: &'static ThreadState) {
    // Settled here too, a stretch is never longer than the window: that bounds the error of scope peaks.
    settle(thread, thread.pending_node.load(Ordering::Relaxed));
    thread.end_climb();
    // The process's peak of the publication before, or a new one of this thread.
    PEAK.raise_shared(own_peak(thread).unwrap_or(0));
    let change = thread.net() - thread.published.signed();
    LIVE.add_shared(change as u64);
    let live = LIVE.signed();
    PEAK.raise_shared(live);
    after_publication(thread, live);
}

/// Settles and publishes everything a thread has pending: it ends.
pub(crate) fn flush(thread: &'static ThreadState) {
    publish(thread);
}

/// `amount` bytes (signed) of blocks of `node` were granted or released, and no thread counts them.
pub(crate) fn move_shared(node: u32, amount: i64) {
    let side = if amount < 0 {
        &RELEASED_ELSEWHERE
    } else {
        &GRANTED_ELSEWHERE
    };
    side.add_shared(amount.unsigned_abs());
    LIVE.add_shared(amount as u64);
    PEAK.raise_shared(LIVE.signed());
    scope::move_live(node, amount);
}

/// The figures of a thread that has ended are about to be emptied. The caller holds the registry.
pub(crate) fn fold(thread: &ThreadState) {
    GRANTED_ELSEWHERE.add_shared(thread.granted.get());
    RELEASED_ELSEWHERE.add_shared(thread.released.get());
}

/// So many bytes were alive at one moment of this call, if not more: every figure that is read grows, so what had been granted by that moment is no
/// less than is read before it, and what had been released no more than is read after it.
fn live_at_least(registry: &Registry) -> i64 {
    let sum = |elsewhere: &Counter, figure: fn(&ThreadState) -> &Counter| {
        // The list is read each time: threads that began before the moment may release what others granted.
        registry
            .threads()
            .fold(elsewhere.read(), |sum, thread| sum.wrapping_add(figure(thread).read()))
    };
    let granted = sum(&GRANTED_ELSEWHERE, |thread| &thread.granted);
    let released = sum(&RELEASED_ELSEWHERE, |thread| &thread.released);
    granted.wrapping_sub(released) as i64
}

/// Peak of the process, given the threads that have not published everything. Never less than what is alive now: that may be a peak which no
/// thread has noticed, each having granted too little to tell the others.
pub(crate) fn of_process(registry: &Registry) -> u64 {
    let now = live_at_least(registry);
    let known = registry.threads().filter_map(own_peak).fold(PEAK.signed(), i64::max);
    if now > known {
        PEAK.raise_shared(now);
        // Rows hold what they held at the peak, which is this moment.
        SERIAL.fetch_add(1, Ordering::Relaxed);
    }
    known.max(now).max(0) as u64
}

/// Takes what a node row has not published: inclusive change and highest, own change and highest.
pub(crate) fn take_delta(row: &NodeRow) -> [i64; 4] {
    // Gone here before it is added there: a reader on another thread, who looks there first, may miss it, but never sees it twice.
    [&row.delta_max, &row.delta, &row.own_delta_max, &row.own_delta].map(|figure| {
        let value = figure.signed();
        figure.set(0);
        value
    })
}
