//! Scopes: their sites, the tree of nodes, and entering and leaving them.
//!
//! Record side. `#[track_memory]` and `scope!` make a `static ScopeSite`; `enter` finds the node (scope inside the current node) in a
//! small cache of the thread; the guard keeps what it must put back, and undoes exactly what it did: also after a mode switch, and when
//! guards are dropped out of order (then leaving the outer one leaves the inner ones too). A scope entered again below itself
//! uses its first node, so recursion adds no nodes. Guards hold no pointer to each other: forgetting one harms nothing.
//!
//! Cost: a cache look-up, about a dozen stores, and as many at the end. `docs/overhead.md` has the numbers.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::block::Stamp;
use super::counters::{Counter, NodeRow};
use super::index::{Index, Lazy, Place};
use super::settings::{self, Mode};
use super::thread::{self, SCOPES, ThreadState};
use super::{arena, call, context, peak};
use crate::ids::{ContextId, ScopeNodeId};

/// Scope nodes in all; entering a scope beyond them does nothing.
pub(crate) const MAX_NODES: usize = 1 << 16;
const SEGMENT: usize = 256;

/// A scope in the source. Made by `#[track_memory]` and `scope!`, always as a `static`.
#[derive(Debug)]
pub struct ScopeSite {
    name: &'static str,
    file: &'static str,
    line: u32,
    /// Registered id; 0 before the first entry.
    id: AtomicU32,
}

impl ScopeSite {
    /// A site of the given name at `file:line`.
    #[must_use]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        Self {
            name,
            file,
            line,
            id: AtomicU32::new(0),
        }
    }

    #[inline(always)]
    fn id(&'static self) -> u32 {
        match self.id.load(Ordering::Relaxed) {
            0 => self.register(),
            id => id,
        }
    }

    /// The id of this name, file and line; a library that is loaded again gets the ids it had.
    #[cold]
    fn register(&'static self) -> u32 {
        let hash = self.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let is_equal = |id| site_info(id).is_some_and(|known| known.is_same(self));
        let id = SITE_INDEX.find(hash, is_equal).or_else(|| {
            let id = reserve(&NEXT_SITE)?;
            let info = make(&SITES, id)?;
            info.write(self)?;
            match SITE_INDEX.insert(hash, id, is_equal) {
                Place::Inserted => Some(id),
                Place::Found(other) => Some(other),
                Place::Full => None,
            }
        });
        let id = id.unwrap_or(0);
        self.id.store(id, Ordering::Relaxed);
        id
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.name
            .bytes()
            .chain(self.file.bytes())
            .chain(self.line.to_le_bytes())
    }
}

/// What a scope id stands for: a copy, because the library that holds the `static` may be unloaded.
#[derive(Default)]
pub(crate) struct SiteInfo {
    text: AtomicPtr<u8>,
    name_bytes: AtomicU32,
    file_bytes: AtomicU32,
    line: AtomicU32,
}

impl SiteInfo {
    fn write(&self, site: &ScopeSite) -> Option<()> {
        let (name, file) = (site.name.as_bytes(), site.file.as_bytes());
        let text = arena::take(name.len() + file.len(), 1)?;
        for (offset, &byte) in name.iter().chain(file).enumerate() {
            // SAFETY: `offset` is below the length of the memory just taken, which nobody else has.
            unsafe { text.add(offset).write(byte) };
        }
        self.name_bytes.store(name.len() as u32, Ordering::Relaxed);
        self.file_bytes.store(file.len() as u32, Ordering::Relaxed);
        self.line.store(site.line, Ordering::Relaxed);
        // ORDERING: Release: who sees the text sees its lengths and bytes.
        self.text.store(text.as_ptr(), Ordering::Release);
        Some(())
    }

    fn text(&self, from: u32, bytes: u32) -> &'static str {
        let text = self.text.load(Ordering::Acquire);
        if text.is_null() {
            return "";
        }
        // SAFETY: `write` copied name and file, one after the other, here; `from` and `bytes` select one of the two.
        let start = unsafe { text.add(from as usize) };
        // SAFETY: as above; arena memory is never changed after `write` nor freed.
        let bytes = unsafe { core::slice::from_raw_parts(start, bytes as usize) };
        core::str::from_utf8(bytes).unwrap_or("")
    }
    pub(crate) fn name(&self) -> &'static str {
        self.text(0, self.name_bytes.load(Ordering::Relaxed))
    }
    pub(crate) fn file(&self) -> &'static str {
        self.text(
            self.name_bytes.load(Ordering::Relaxed),
            self.file_bytes.load(Ordering::Relaxed),
        )
    }
    pub(crate) fn line(&self) -> u32 {
        self.line.load(Ordering::Relaxed)
    }
    fn is_same(&self, site: &ScopeSite) -> bool {
        self.name() == site.name && self.file() == site.file && self.line() == site.line
    }
}

/// One scope on one path of scopes. The totals are of ended threads and of what living ones have published.
#[derive(Default)]
pub(crate) struct NodeInfo {
    scope: AtomicU32,
    parent: AtomicU32,
    context: AtomicU32,
    pub(crate) live: Counter,
    pub(crate) peak: Counter,
    pub(crate) own_live: Counter,
    pub(crate) own_peak: Counter,
    pub(crate) total: NodeRow,
}

impl NodeInfo {
    pub(crate) fn scope(&self) -> u32 {
        self.scope.load(Ordering::Relaxed)
    }
    pub(crate) fn parent(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }
    /// 0 while the id is not in use.
    pub(crate) fn context(&self) -> u32 {
        self.context.load(Ordering::Acquire)
    }
}

type Table<T> = [Lazy<T>; MAX_NODES / SEGMENT];
static SITES: Table<SiteInfo> = [const { Lazy::new() }; MAX_NODES / SEGMENT];
static NODES: Table<NodeInfo> = [const { Lazy::new() }; MAX_NODES / SEGMENT];
static SITE_INDEX: Index = Index::new();
static NODE_INDEX: Index = Index::new();
static NEXT_SITE: AtomicU32 = AtomicU32::new(1);
static NEXT_NODE: AtomicU32 = AtomicU32::new(3);

fn reserve(next: &AtomicU32) -> Option<u32> {
    next.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |id| {
        ((id as usize) < MAX_NODES).then_some(id + 1)
    })
    .ok()
}

fn entry<T>(table: &'static Table<T>, id: u32) -> Option<&'static T> {
    let segment = table.get(id as usize / SEGMENT)?.get()?;
    // SAFETY: a segment has SEGMENT entries and is never freed; the offset is below SEGMENT.
    Some(unsafe { segment.add(id as usize % SEGMENT).as_ref() })
}

fn make<T: Zeroed>(table: &'static Table<T>, id: u32) -> Option<&'static T> {
    // SAFETY: `Zeroed` says that zero bytes are a valid T.
    unsafe { table.get(id as usize / SEGMENT)?.get_or_make(SEGMENT) }?;
    entry(table, id)
}

/// # Safety
/// - All-zero bytes are a valid value.
unsafe trait Zeroed: 'static {}
// SAFETY: atomics of integers and a nullable pointer.
unsafe impl Zeroed for SiteInfo {}
// SAFETY: atomics of integers.
unsafe impl Zeroed for NodeInfo {}

pub(crate) fn site_info(id: u32) -> Option<&'static SiteInfo> {
    entry(&SITES, id)
}

pub(crate) fn node_info(node: u32) -> Option<&'static NodeInfo> {
    entry(&NODES, node).filter(|info| info.context() != 0)
}

/// One past the largest node in use.
pub(crate) fn node_count() -> u32 {
    NEXT_NODE.load(Ordering::Acquire)
}

/// The node around `node`; 0 at the root.
pub(crate) fn parent_of(node: u32) -> u32 {
    entry(&NODES, node).map_or(0, NodeInfo::parent)
}

/// Makes the reserved nodes. Called once, before the first event.
pub(crate) fn init() -> bool {
    [
        (ScopeNodeId::ROOT, ContextId::ROOT),
        (ScopeNodeId::TRACKER, ContextId::TRACKER),
    ]
    .iter()
    .all(|(node, context)| {
        make(&NODES, node.0).is_some_and(|info| {
            info.context.store(context.0, Ordering::Release);
            true
        })
    })
}

/// The node of `scope` inside `parent`: an enclosing node of the same scope, or a child, made if it is new.
#[cold]
fn find_node(parent: u32, scope: u32) -> Option<u32> {
    let mut around = parent;
    while around > ScopeNodeId::ROOT.0 {
        if node_info(around)?.scope() == scope {
            return Some(around);
        }
        around = parent_of(around);
    }
    let key = (u64::from(parent) << 32) | u64::from(scope);
    let hash = key.wrapping_mul(0xff51_afd7_ed55_8ccd);
    let is_equal = |id| node_info(id).is_some_and(|info| info.parent() == parent && info.scope() == scope);
    if let Some(node) = NODE_INDEX.find(hash, is_equal) {
        return Some(node);
    }
    let node = reserve(&NEXT_NODE)?;
    let info = make(&NODES, node)?;
    info.scope.store(scope, Ordering::Relaxed);
    info.parent.store(parent, Ordering::Relaxed);
    // LIMIT: with no context left the node's blocks without a stack are charged to the root's.
    let context = context::for_node(node).unwrap_or(ContextId::ROOT);
    info.context.store(context.0, Ordering::Release);
    match NODE_INDEX.insert(hash, node, is_equal) {
        Place::Inserted => Some(node),
        Place::Found(other) => Some(other),
        Place::Full => None,
    }
}

/// Adds what a thread has pending for a node to the node.
pub(crate) fn publish_live(node: u32, row: &NodeRow) {
    let Some(info) = node_info(node) else { return };
    peak::take_delta(row, |delta, delta_max, own_delta, own_delta_max| {
        for (live, peak, change, highest) in [
            (&info.live, &info.peak, delta, delta_max),
            (&info.own_live, &info.own_peak, own_delta, own_delta_max),
        ] {
            peak.raise_shared(live.signed() + highest);
            live.add_shared(change as u64);
        }
    });
}

/// Moves what an ended thread did in a node to the node's totals.
pub(crate) fn fold_node(node: u32, row: &NodeRow) {
    let Some(info) = node_info(node) else { return };
    publish_live(node, row);
    add_calls(&info.total, row);
}

fn add_calls(total: &NodeRow, row: &NodeRow) {
    for (sum, part) in [
        (&total.entered, &row.entered),
        (&total.completed, &row.completed),
        (&total.allocations, &row.allocations),
        (&total.bytes, &row.bytes),
        (&total.sum_peak, &row.sum_peak),
        (&total.retained_bytes, &row.retained_bytes),
        (&total.retained_blocks, &row.retained_blocks),
        (&total.upper_bound, &row.upper_bound),
    ] {
        sum.add_shared(part.get());
    }
    for (largest, part) in [
        (&total.max_allocations, &row.max_allocations),
        (&total.max_bytes, &row.max_bytes),
        (&total.max_peak, &row.max_peak),
        (&total.max_retained, &row.max_retained),
    ] {
        largest.raise_shared(part.signed());
    }
}

/// One entry of a thread's cache from (current node, scope) to the scope's node.
#[derive(Default)]
pub(crate) struct ScopeSlot {
    key: AtomicU64,
    row: AtomicPtr<NodeRow>,
    node: AtomicU32,
    context: AtomicU32,
}

/// Where `enter` leads: the node, its context, and this thread's row of it.
#[derive(Clone, Copy)]
struct Target {
    node: u32,
    context: u32,
    row: &'static NodeRow,
}

#[inline(always)]
fn target(thread: &'static ThreadState, scope: u32) -> Option<Target> {
    let parent = thread.node.load(Ordering::Relaxed);
    // The index of the thread is in the key: a state may have had another owner, whose rows are gone.
    let key = (u64::from(thread.index()) << 40) ^ (u64::from(parent) << 20) ^ u64::from(scope);
    let slot = thread.scopes.get((parent ^ scope) as usize % SCOPES)?;
    if slot.key.load(Ordering::Relaxed) == key
        // SAFETY: the pointer was stored with this key by `fill`, from a row that lives while this thread does.
        && let Some(row) = unsafe { slot.row.load(Ordering::Relaxed).as_ref() }
    {
        let (node, context) = (slot.node.load(Ordering::Relaxed), slot.context.load(Ordering::Relaxed));
        return Some(Target { node, context, row });
    }
    fill(thread, slot, key, parent, scope)
}

#[cold]
#[inline(never)]
fn fill(thread: &'static ThreadState, slot: &ScopeSlot, key: u64, parent: u32, scope: u32) -> Option<Target> {
    let target = if scope == 0 {
        None
    } else {
        node_target(thread, find_node(parent, scope)?)
    }?;
    slot.row
        .store(core::ptr::from_ref(target.row).cast_mut(), Ordering::Relaxed);
    slot.node.store(target.node, Ordering::Relaxed);
    slot.context.store(target.context, Ordering::Relaxed);
    slot.key.store(key, Ordering::Relaxed);
    Some(target)
}

fn node_target(thread: &'static ThreadState, node: u32) -> Option<Target> {
    Some(Target {
        node,
        context: node_info(node)?.context(),
        row: thread.node_row(node)?,
    })
}

/// What a thread goes back to when a scope is left.
#[derive(Clone, Copy)]
struct Saved {
    node: u32,
    context: u32,
    stamp: Stamp,
    upper_bound: u32,
    call_max: i64,
    own_blocks: i64,
    own_bytes: i64,
}

/// A scope entered on a thread's stack: a whole sync call, or one poll of an async one.
struct Frame {
    thread: &'static ThreadState,
    row: &'static NodeRow,
    saved: Saved,
    entry_net: i64,
    entry_allocations: u64,
    entry_bytes: u64,
    depth: u32,
    serial: u32,
    /// A call of the same node is open further out: this one is part of it.
    is_recursive: bool,
}

/// What a frame measured, at its end.
struct Measured {
    allocations: u64,
    bytes: u64,
    /// Largest `net` above that of the entry; at least 0.
    peak: i64,
    net: i64,
}

impl Frame {
    #[inline(always)]
    fn push(thread: &'static ThreadState, target: Target, is_recursive: bool, call: &CallState) -> Self {
        thread.fold_run();
        let net = thread.net.signed();
        let saved = Saved {
            node: thread.node.load(Ordering::Relaxed),
            context: thread.scope_context.load(Ordering::Relaxed),
            stamp: thread.stamp(),
            upper_bound: thread.upper_bound.load(Ordering::Relaxed),
            call_max: thread.call_max.signed(),
            own_blocks: thread.own_blocks.signed(),
            own_bytes: thread.own_bytes.signed(),
        };
        thread.set_node(target.node, target.context);
        thread.call_max.set(net as u64);
        if !is_recursive {
            thread.set_stamp(call.stamp);
            thread.own_blocks.set(call.own_blocks as u64);
            thread.own_bytes.set(call.own_bytes as u64);
            thread
                .upper_bound
                .store(u32::from(call.is_upper_bound), Ordering::Relaxed);
        }
        let depth = thread.depth.load(Ordering::Relaxed) + 1;
        thread.depth.store(depth, Ordering::Relaxed);
        let serial = thread.serial.load(Ordering::Relaxed).wrapping_add(1);
        thread.serial.store(serial, Ordering::Relaxed);
        if let Some(place) = thread.open_frames.get(depth as usize) {
            place.store(serial, Ordering::Relaxed);
        }
        target.row.open.set(target.row.open.get() + 1);
        Self {
            thread,
            row: target.row,
            saved,
            entry_net: net,
            entry_allocations: thread.allocations.get(),
            entry_bytes: thread.bytes.get(),
            depth,
            serial,
            is_recursive,
        }
    }

    /// False when an outer frame was left before: it has taken this one with it.
    ///
    /// LIMIT: beyond `OPEN_FRAMES` scopes deep, a frame left too late may be taken for one that was entered since.
    #[inline(always)]
    fn is_open(&self) -> bool {
        self.thread.depth.load(Ordering::Relaxed) >= self.depth
            && self
                .thread
                .open_frames
                .get(self.depth as usize)
                .is_none_or(|place| place.load(Ordering::Relaxed) == self.serial)
    }

    /// Ends a frame that an outer one has left already. Its blocks stay where they were counted; its call has no figures.
    #[cold]
    fn end_too_late(&self) {
        self.row.open.set(self.row.open.get() - 1);
        if !self.is_recursive {
            call::abandon(self.thread, self.saved.stamp);
        }
    }

    #[inline(always)]
    fn measure(&self) -> Measured {
        let thread = self.thread;
        thread.fold_run();
        Measured {
            allocations: thread.allocations.get() - self.entry_allocations,
            bytes: thread.bytes.get() - self.entry_bytes,
            peak: thread.call_max.signed() - self.entry_net,
            net: thread.net.signed() - self.entry_net,
        }
    }

    /// Puts back what the thread had, but for the figures of the running call.
    #[inline(always)]
    fn pop(&self) {
        let (thread, saved) = (self.thread, &self.saved);
        self.row.open.set(self.row.open.get() - 1);
        thread.depth.store(self.depth - 1, Ordering::Relaxed);
        thread.set_node(saved.node, saved.context);
        if saved.call_max > thread.call_max.signed() {
            thread.call_max.set(saved.call_max as u64);
        }
    }

    /// Goes back to the enclosing call, which inherits `blocks` and `bytes`.
    #[inline(always)]
    fn restore_call(&self, stamp: Stamp, blocks: i64, bytes: i64) {
        let (thread, saved) = (self.thread, &self.saved);
        thread.set_stamp(stamp);
        thread.own_blocks.set((saved.own_blocks + blocks) as u64);
        thread.own_bytes.set((saved.own_bytes + bytes) as u64);
        thread.upper_bound.store(saved.upper_bound, Ordering::Relaxed);
    }

    /// Ends the call that this frame, its last, belongs to.
    #[inline(always)]
    fn end_call(&self, figures: &Figures) {
        let thread = self.thread;
        let row = self.row;
        row.completed.add(1);
        row.allocations.add(figures.allocations);
        row.bytes.add(figures.bytes);
        row.sum_peak.add(figures.peak);
        row.max_allocations.raise(figures.allocations);
        row.max_bytes.raise(figures.bytes);
        row.max_peak.raise(figures.peak);
        let stamp = thread.stamp();
        let (blocks, bytes) = (thread.own_blocks.signed(), thread.own_bytes.signed());
        if blocks == 0 && bytes == 0 && (stamp == Stamp::LAZY || self.keep_for_next_call(stamp)) {
            return self.restore_call(self.saved.stamp, 0, 0);
        }
        self.end_with_survivors(stamp, blocks, bytes);
    }

    /// True when the record is as good as new; then the thread's next call gets it.
    #[inline(always)]
    fn keep_for_next_call(&self, stamp: Stamp) -> bool {
        if !stamp.is_recorded() || !call::is_pristine(stamp) {
            return false;
        }
        let thread = self.thread;
        let count = thread.ready_count.load(Ordering::Relaxed);
        let Some(place) = thread.ready.get(count as usize) else {
            return false;
        };
        place.store(stamp.0, Ordering::Relaxed);
        thread.ready_count.store(count + 1, Ordering::Relaxed);
        true
    }

    #[cold]
    #[inline(never)]
    fn end_with_survivors(&self, stamp: Stamp, blocks: i64, bytes: i64) {
        let (thread, row) = (self.thread, self.row);
        let is_upper_bound = stamp == Stamp::UNRECORDED || thread.upper_bound.load(Ordering::Relaxed) != 0;
        let ended = call::end(thread, stamp, blocks, bytes, self.saved.stamp);
        row.retained_blocks.add(ended.survivors.max(0) as u64);
        row.retained_bytes.add(ended.survivor_bytes.max(0) as u64);
        row.max_retained.raise(ended.survivor_bytes.max(0) as u64);
        row.upper_bound.add(u64::from(is_upper_bound));
        self.restore_call(ended.outer, ended.inherited_blocks, ended.inherited_bytes);
        if ended.is_upper_bound || is_upper_bound {
            thread.upper_bound.store(1, Ordering::Relaxed);
        }
    }
}

struct Figures {
    allocations: u64,
    bytes: u64,
    peak: u64,
}

#[inline(always)]
fn next_stamp(thread: &ThreadState) -> Stamp {
    let count = thread.ready_count.load(Ordering::Relaxed);
    match thread.ready.get(count.wrapping_sub(1) as usize) {
        Some(ready) => {
            thread.ready_count.store(count - 1, Ordering::Relaxed);
            Stamp(ready.load(Ordering::Relaxed))
        }
        None => Stamp::LAZY,
    }
}

/// The thread to enter a scope on; `None` when nothing is to be recorded.
#[inline(always)]
fn entering_thread() -> Option<&'static ThreadState> {
    if settings::mode() == Mode::Off {
        return None;
    }
    thread::current().or_else(thread::current_or_register)
}

/// A scope that lasts until this guard is dropped. Not `Send`: it belongs to the thread's stack.
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

/// Enters a scope until the guard is dropped.
///
/// # Overhead
/// About ten nanoseconds for entering and leaving; nothing in mode `off`, or for a program whose global allocator is another.
#[inline]
pub fn enter(site: &'static ScopeSite) -> ScopeGuard {
    let frame = entering_thread().and_then(|thread| {
        let target = target(thread, site.id())?;
        target.row.entered.add(1);
        let is_recursive = target.row.open.get() != 0;
        let call = CallState {
            stamp: if is_recursive { Stamp::NONE } else { next_stamp(thread) },
            ..CallState::NEW
        };
        Some(Frame::push(thread, target, is_recursive, &call))
    });
    ScopeGuard {
        frame,
        _not_send: PhantomData,
    }
}

impl Drop for ScopeGuard {
    #[inline]
    fn drop(&mut self) {
        let Some(frame) = &self.frame else { return };
        if !frame.is_open() {
            return frame.end_too_late();
        }
        let measured = frame.measure();
        frame.pop();
        if !frame.is_recursive {
            let (allocations, bytes) = (measured.allocations, measured.bytes);
            frame.end_call(&Figures {
                allocations,
                bytes,
                peak: measured.peak.max(0) as u64,
            });
        }
    }
}

/// One async call between its polls.
pub(crate) struct CallState {
    /// 0 before the first recorded poll.
    node: u32,
    is_recursive: bool,
    is_upper_bound: bool,
    stamp: Stamp,
    own_blocks: i64,
    own_bytes: i64,
    allocations: u64,
    bytes: u64,
    /// Granted minus released in all polls, and minus what others freed of it between them.
    net: i64,
    peak: i64,
    freed_elsewhere: i64,
}

impl CallState {
    pub(crate) const NEW: Self = Self {
        node: 0,
        is_recursive: false,
        is_upper_bound: false,
        stamp: Stamp::LAZY,
        own_blocks: 0,
        own_bytes: 0,
        allocations: 0,
        bytes: 0,
        net: 0,
        peak: 0,
        freed_elsewhere: 0,
    };

    /// Takes note of what others freed since the last poll.
    fn subtract_freed_elsewhere(&mut self) {
        let freed = call::freed_elsewhere(self.stamp);
        self.net -= freed - self.freed_elsewhere;
        self.freed_elsewhere = freed;
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
    let frame = if call.node == 0 {
        first_poll(site, call)
    } else {
        later_poll(call)
    };
    PollGuard {
        frame,
        call,
        is_last: false,
    }
}

fn first_poll(site: &'static ScopeSite, call: &mut CallState) -> Option<Frame> {
    let thread = entering_thread()?;
    let target = target(thread, site.id())?;
    target.row.entered.add(1);
    call.node = target.node;
    call.is_recursive = target.row.open.get() != 0;
    Some(Frame::push(thread, target, call.is_recursive, call))
}

/// A call that was begun is followed to its end, whatever the mode is now.
fn later_poll(call: &mut CallState) -> Option<Frame> {
    let thread = thread::current().or_else(thread::current_or_register)?;
    let target = node_target(thread, call.node)?;
    if call.stamp.is_recorded() {
        call.subtract_freed_elsewhere();
        call::set_runner(call.stamp, thread.index());
    }
    Some(Frame::push(thread, target, call.is_recursive, call))
}

impl PollGuard<'_> {
    /// The call ends with this poll.
    pub(crate) fn is_last(&mut self) {
        self.is_last = true;
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let Some(frame) = &self.frame else { return };
        if !frame.is_open() {
            return frame.end_too_late();
        }
        let measured = frame.measure();
        frame.pop();
        if frame.is_recursive {
            return;
        }
        let (thread, call) = (frame.thread, &mut *self.call);
        call.allocations += measured.allocations;
        call.bytes += measured.bytes;
        call.peak = call.peak.max(call.net + measured.peak);
        call.net += measured.net;
        if self.is_last {
            call.node = 0;
            let (allocations, bytes, peak) = (call.allocations, call.bytes, call.peak.max(0) as u64);
            return frame.end_call(&Figures {
                allocations,
                bytes,
                peak,
            });
        }
        call.stamp = thread.stamp();
        call.own_blocks = thread.own_blocks.signed();
        call.own_bytes = thread.own_bytes.signed();
        call.is_upper_bound = thread.upper_bound.load(Ordering::Relaxed) != 0;
        if call.stamp.is_recorded() {
            call::set_runner(call.stamp, 0);
        }
        frame.restore_call(frame.saved.stamp, 0, 0);
    }
}

impl CallState {
    /// True between the first recorded poll and the last.
    pub(crate) fn is_open(&self) -> bool {
        self.node != 0
    }
}
