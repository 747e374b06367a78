//! Scopes: their sites, the tree of nodes, and entering and leaving them.
//!
//! Record side. `#[track_memory]` and `scope!` make a `static ScopeSite`; `enter` finds the node (scope inside the current node) in a
//! small cache of the thread; the guard keeps what it must put back, and undoes exactly what it did: also after a mode switch, and when
//! guards are dropped out of order (then leaving the outer one leaves the inner ones too). A scope entered again below itself
//! uses its first node, so recursion adds no nodes. Guards hold no pointer to each other: forgetting one harms nothing.
//!
//! Cost: a cache look-up, about a dozen stores, and as many at the end. `docs/overhead.md` has the numbers.

use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::block::{Birth, Stamp};
use super::counters::{Counter, NodeRow};
use super::index::{Index, Lazy, Place};
use super::settings;
use super::thread::{self, LAZY_BITS, SCOPES, ThreadState};
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

    /// Name, file and line.
    pub(crate) fn describe(&self) -> (&'static str, &'static str, u32) {
        (self.name, self.file, self.line)
    }

    #[inline(always)]
    pub(super) fn id(&'static self) -> u32 {
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

/// One past the largest site in use.
pub(crate) fn site_count() -> u32 {
    NEXT_SITE.load(Ordering::Acquire)
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
        Place::Found(other) => {
            // Another thread made the same node at the same instant: ours is not in use.
            info.context.store(0, Ordering::Release);
            Some(other)
        }
        Place::Full => None,
    }
}

/// Adds what a thread has pending for a node to the node.
pub(crate) fn publish_live(node: u32, row: &NodeRow) {
    let Some(info) = node_info(node) else { return };
    let [highest, change, own_highest, own_change] = peak::take_delta(row);
    for (live, peak, change, highest) in [
        (&info.live, &info.peak, change, highest),
        (&info.own_live, &info.own_peak, own_change, own_highest),
    ] {
        peak.raise_shared(live.signed() + highest);
        live.add_shared(change as u64);
    }
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

/// One entry of a thread's cache from (current node, scope) to the thread's row of the scope's node.
#[derive(Default)]
pub(crate) struct ScopeSlot {
    key: AtomicU64,
    row: AtomicPtr<NodeRow>,
}

/// Where entering `scope` leads on this thread.
#[inline(always)]
pub(super) fn target(thread: &'static ThreadState, scope: u32) -> Option<&'static NodeRow> {
    // The row's address stands for the current node, and differs between threads.
    let key = (ptr::from_ref(thread.scope()).addr() as u64).wrapping_shl(20) ^ u64::from(scope);
    let slot = thread.scopes.get((key >> 26 ^ key) as usize % SCOPES)?;
    if slot.key.load(Ordering::Relaxed) == key
        // SAFETY: `fill` stored the pointer with this key, from a row of this thread; `forget_scopes` clears it before the row goes.
        && let Some(row) = unsafe { slot.row.load(Ordering::Relaxed).as_ref() }
    {
        return Some(row);
    }
    fill(thread, slot, key, scope)
}

#[cold]
#[inline(never)]
fn fill(thread: &'static ThreadState, slot: &ScopeSlot, key: u64, scope: u32) -> Option<&'static NodeRow> {
    if scope == 0 {
        return None;
    }
    let parent = thread.scope().node.load(Ordering::Relaxed);
    let row = thread.node_row(find_node(parent, scope)?)?;
    slot.row.store(ptr::from_ref(row).cast_mut(), Ordering::Relaxed);
    slot.key.store(key, Ordering::Relaxed);
    Some(row)
}

/// Empties the cache of an ended thread: its rows go to others.
pub(crate) fn forget_scopes(slots: &[ScopeSlot]) {
    for slot in slots {
        slot.key.store(0, Ordering::Relaxed);
        slot.row.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// A scope entered on a thread's stack: a whole sync call, or one poll of an async one. Keeps what the thread goes back to.
struct Frame {
    thread: &'static ThreadState,
    row: &'static NodeRow,
    outer_scope: &'static NodeRow,
    outer_own_bits: u64,
    outer_birth_bits: u64,
    outer_call_max: i64,
    outer_correction: i64,
    entry_net: i64,
    entry_allocations: u64,
    entry_granted: u64,
    depth: u32,
    /// Not 0: a call of the same node is open further out, and this one is part of it. (An integer: a `bool` would lend its
    /// niche to `Option<Frame>` and make every copy of a frame piecemeal.)
    recursive: u32,
}

/// What a frame measured.
struct Measured {
    allocations: u64,
    bytes: u64,
    /// Largest `net` above that of the entry; at least 0.
    peak: i64,
    net: i64,
}

impl Frame {
    /// Enters `row`'s node. The caller gives the thread the stamp and the correction of a call of its own.
    #[inline(always)]
    fn push(thread: &'static ThreadState, row: &'static NodeRow, is_recursive: bool) -> Self {
        let net = thread.fold_run();
        let depth = thread.depth.load(Ordering::Relaxed) + 1;
        let frame = Self {
            thread,
            row,
            outer_scope: thread.scope(),
            outer_own_bits: thread.own_bits.get(),
            outer_birth_bits: thread.birth_bits.get(),
            outer_call_max: thread.call_max.signed(),
            outer_correction: thread.correction.signed(),
            entry_net: net,
            entry_allocations: thread.allocations.get(),
            entry_granted: thread.granted.get(),
            depth,
            recursive: u32::from(is_recursive),
        };
        thread.depth.store(depth, Ordering::Relaxed);
        thread.set_scope(row);
        thread.call_max.set(net as u64);
        if !is_recursive {
            row.open.set(u64::from(depth));
        }
        frame
    }

    #[inline(always)]
    fn is_recursive(&self) -> bool {
        self.recursive != 0
    }

    /// False when an outer frame was left before: it has taken this one with it.
    ///
    /// LIMIT: a guard that is dropped too late, and as deep as a scope of the same node that was entered since, ends that one.
    #[inline(always)]
    fn is_open(&self) -> bool {
        self.thread.depth.load(Ordering::Relaxed) == self.depth && ptr::eq(self.thread.scope(), self.row)
    }

    /// Leaves a scope that is not the innermost, or was left before with an outer one. LIMIT: its call has no figures.
    #[cold]
    #[inline(never)]
    fn leave_out_of_order(&self) {
        let thread = self.thread;
        if thread.depth.load(Ordering::Relaxed) > self.depth {
            // Scopes inside are still open: they end with this one.
            let inner = thread.stamp();
            self.leave();
            self.resume_outer(0, 0);
            let outer = thread.stamp();
            if inner != outer {
                if outer == Stamp::NONE {
                    call::abandon(Some(thread), inner);
                } else {
                    thread.set_stamp(call::adopt(inner, outer));
                }
            }
        } else {
            self.close_node();
            let outer = self.outer_stamp();
            if !self.is_recursive() && outer != thread.stamp() {
                call::abandon(Some(thread), outer);
            }
        }
    }

    /// The node has no open call on this thread any more, if this was the one.
    #[inline(always)]
    fn close_node(&self) {
        if self.row.open.get() == u64::from(self.depth) && !self.is_recursive() {
            self.row.open.set(0);
        }
    }

    /// Goes back to the outer scope, and says what happened in this one.
    #[inline(always)]
    fn leave(&self) -> Measured {
        let thread = self.thread;
        let net = thread.fold_run();
        let highest = thread.call_max.signed();
        thread.call_max.set(highest.max(self.outer_call_max) as u64);
        thread.depth.store(self.depth - 1, Ordering::Relaxed);
        thread.set_scope(self.outer_scope);
        self.close_node();
        Measured {
            allocations: thread.allocations.get().wrapping_sub(self.entry_allocations),
            bytes: thread.granted.get().wrapping_sub(self.entry_granted),
            peak: (highest - self.entry_net).max(0),
            net: net - self.entry_net,
        }
    }

    fn outer_stamp(&self) -> Stamp {
        Birth::from_bits(self.outer_own_bits).stamp()
    }

    /// True when the thread granted and released nothing in the whole call, which is not a recursive one, and has inherited nothing
    /// from an async call that ended in it.
    #[inline(always)]
    fn is_uneventful(&self) -> bool {
        let thread = self.thread;
        thread.granted.get() == self.entry_granted
            && thread.net() == self.entry_net
            && thread.correction.get() == 0
            && !self.is_recursive()
    }

    /// The end of such a call: every maximum is as it was, and so is the record, if the call was given one.
    ///
    /// PERF: 60 instructions less than the general way, for functions that are called often and allocate rarely.
    #[inline(always)]
    fn leave_uneventful(&self) {
        let thread = self.thread;
        thread.call_max.set(self.outer_call_max as u64);
        thread.correction.set(self.outer_correction as u64);
        thread.depth.store(self.depth - 1, Ordering::Relaxed);
        thread.set_scope(self.outer_scope);
        self.close_node();
        self.row.completed.add(1);
        if thread.own_bits.get() != LAZY_BITS {
            let count = thread.ready_count.load(Ordering::Relaxed);
            if let Some(place) = thread.ready.get(count as usize) {
                place.store(thread.stamp().0, Ordering::Relaxed);
                thread.ready_count.store(count + 1, Ordering::Relaxed);
            }
        }
        thread.resume_call(self.outer_own_bits, self.outer_birth_bits);
    }

    /// Goes back to the enclosing call. It counts `inherited` bytes of what this frame did, which moved `net` by as much as given.
    #[inline(always)]
    fn resume_outer(&self, inherited: i64, net: i64) {
        self.thread
            .correction
            .set((self.outer_correction + inherited - net) as u64);
        self.thread.resume_call(self.outer_own_bits, self.outer_birth_bits);
    }

    /// Ends the call that this frame, its last, belongs to. `own_bytes`: what it granted minus what it released of it itself.
    #[inline(always)]
    fn end_call(&self, figures: &Figures, own_bytes: i64, net: i64) {
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
        let count = thread.ready_count.load(Ordering::Relaxed);
        let Some(place) = thread.ready.get(count as usize) else {
            return false;
        };
        // A call that granted nothing leaves its record as it was.
        if figures.bytes != 0 && !call::is_pristine(stamp) || !stamp.is_recorded() {
            return false;
        }
        place.store(stamp.0, Ordering::Relaxed);
        thread.ready_count.store(count + 1, Ordering::Relaxed);
        true
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
}

struct Figures {
    allocations: u64,
    bytes: u64,
    peak: u64,
}

/// True when a call of the node is open on this thread's stack. (A depth beyond the present one is that of a forgotten guard.)
#[inline(always)]
fn is_open_on(thread: &ThreadState, row: &NodeRow) -> bool {
    let open = row.open.get();
    open != 0 && open <= u64::from(thread.depth.load(Ordering::Relaxed))
}

/// A record that the thread has ready.
#[inline(always)]
fn ready_stamp(thread: &ThreadState) -> Option<Stamp> {
    let left = thread.ready_count.load(Ordering::Relaxed).wrapping_sub(1);
    let stamp = Stamp(thread.ready.get(left as usize)?.load(Ordering::Relaxed));
    thread.ready_count.store(left, Ordering::Relaxed);
    Some(stamp)
}

/// The thread to enter a scope on; `None` when nothing is to be recorded.
#[inline(always)]
pub(super) fn entering_thread() -> Option<&'static ThreadState> {
    if settings::is_off() {
        return None;
    }
    thread::unoccupied().or_else(unusual_thread)
}

/// The thread's first event, or one inside the tracker. None for signal handlers that interrupt the tracker, and none at all in a
/// program that has another allocator.
#[cold]
fn unusual_thread() -> Option<&'static ThreadState> {
    if !thread::is_used() {
        return None;
    }
    thread::current_or_register().filter(|thread| !thread.is_busy())
}

/// A scope that lasts until this guard is dropped. Not `Send`: it belongs to the thread's stack.
///
/// Guards are meant to be dropped in reverse order. Leaving an outer scope first leaves the inner ones with it.
#[must_use = "the scope ends when the guard is dropped: bind it to a name (`_` alone drops it at once)"]
pub struct ScopeGuard {
    frame: Option<Frame>,
    _not_send: PhantomData<*const ()>,
}

impl ScopeGuard {
    /// A guard of nothing.
    pub(super) const NONE: Self = Self {
        frame: None,
        _not_send: PhantomData,
    };

    /// Enters `row`'s node as an inner call of an open one does: no call begins, the running one goes on. For `carried`.
    pub(super) fn of_row(thread: &'static ThreadState, row: &'static NodeRow) -> Self {
        Self {
            frame: Some(Frame::push(thread, row, true)),
            _not_send: PhantomData,
        }
    }
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
/// About 180 instructions for entering and leaving; nothing in mode `off`, or for a program whose global allocator is another.
#[inline]
pub fn enter(site: &'static ScopeSite) -> ScopeGuard {
    if settings::is_off() {
        return ScopeGuard {
            frame: None,
            _not_send: PhantomData,
        };
    }
    enter_recording(site)
}

fn enter_recording(site: &'static ScopeSite) -> ScopeGuard {
    let entered = entering_thread().and_then(|thread| Some((thread, target(thread, site.id())?)));
    let Some((thread, row)) = entered else {
        return ScopeGuard {
            frame: None,
            _not_send: PhantomData,
        };
    };
    row.entered.add(1);
    let is_recursive = is_open_on(thread, row);
    // PERF: built in place; a frame copied from one `Option` to another cost 40 instructions.
    let guard = ScopeGuard {
        frame: Some(Frame::push(thread, row, is_recursive)),
        _not_send: PhantomData,
    };
    if !is_recursive {
        thread.correction.set(0);
        thread.start_call(ready_stamp(thread));
    }
    guard
}

impl Drop for ScopeGuard {
    #[inline]
    fn drop(&mut self) {
        if let Some(frame) = &self.frame {
            end_scope(frame);
        }
    }
}

fn end_scope(frame: &Frame) {
    if !thread::is_current(frame.thread) {
        // LIMIT: dropped after the thread's state was given up, in a late destructor: the call has no figures.
        return;
    }
    if !frame.is_open() {
        return frame.leave_out_of_order();
    }
    if frame.is_uneventful() {
        return frame.leave_uneventful();
    }
    let correction = frame.thread.correction.signed();
    let Measured {
        allocations,
        bytes,
        peak,
        net,
    } = frame.leave();
    if !frame.is_recursive() {
        frame.end_call(
            &Figures {
                allocations,
                bytes,
                peak: peak as u64,
            },
            net + correction,
            net,
        );
    }
}

/// One async call between its polls.
pub(crate) struct CallState {
    /// 0 before the first recorded poll and after the last.
    node: u32,
    is_recursive: bool,
    stamp: Stamp,
    /// Granted minus released by the call itself, of its own blocks.
    own_bytes: i64,
    allocations: u64,
    bytes: u64,
    /// Granted minus released in all polls, and minus what others released of it between them.
    net: i64,
    peak: i64,
    released_elsewhere: i64,
}

impl CallState {
    pub(crate) const NEW: Self = Self {
        node: 0,
        is_recursive: false,
        stamp: Stamp::LAZY,
        own_bytes: 0,
        allocations: 0,
        bytes: 0,
        net: 0,
        peak: 0,
        released_elsewhere: 0,
    };

    /// True between the first recorded poll and the last.
    pub(crate) fn is_open(&self) -> bool {
        self.node != 0
    }

    /// The node of an open call.
    pub(super) fn place(&self) -> Option<u32> {
        self.is_open().then_some(self.node)
    }

    fn push(&self, thread: &'static ThreadState, row: &'static NodeRow) -> Frame {
        let frame = Frame::push(thread, row, self.is_recursive);
        if !self.is_recursive {
            thread.correction.set(self.own_bytes as u64);
            thread.set_stamp(self.stamp);
        }
        frame
    }

    fn first_poll(&mut self, site: &'static ScopeSite) -> Option<Frame> {
        let thread = entering_thread()?;
        let row = target(thread, site.id())?;
        row.entered.add(1);
        self.node = row.node.load(Ordering::Relaxed);
        self.is_recursive = is_open_on(thread, row);
        Some(self.push(thread, row))
    }

    /// A call that was begun is followed to its end, whatever the mode is now.
    fn later_poll(&mut self) -> Option<Frame> {
        let thread = thread::unoccupied().or_else(unusual_thread)?;
        let row = thread.node_row(self.node)?;
        if self.stamp.is_recorded() {
            let released = call::released_elsewhere(self.stamp);
            self.net -= released - self.released_elsewhere;
            self.released_elsewhere = released;
            call::set_runner(self.stamp, thread.index());
        }
        Some(self.push(thread, row))
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
    pub(crate) fn is_last(&mut self) {
        self.is_last = true;
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let call = &mut *self.call;
        let Some(frame) = self.frame.as_ref().filter(|frame| thread::is_current(frame.thread)) else {
            if self.is_last && call.is_open() {
                // Ended on a thread without a state: nobody else can give the record back.
                call.node = 0;
                call::abandon(None, call.stamp);
            }
            return;
        };
        if !frame.is_open() {
            call.node = 0;
            return frame.leave_out_of_order();
        }
        let correction = frame.thread.correction.signed();
        let measured = frame.leave();
        if self.is_last {
            call.node = 0;
        }
        if frame.is_recursive() {
            return;
        }
        call.allocations += measured.allocations;
        call.bytes += measured.bytes;
        call.peak = call.peak.max(call.net + measured.peak);
        call.net += measured.net;
        // `correction` began as the own bytes of the polls before.
        call.own_bytes = correction + measured.net;
        if self.is_last {
            let (allocations, bytes, peak) = (call.allocations, call.bytes, call.peak.max(0) as u64);
            return frame.end_call(
                &Figures {
                    allocations,
                    bytes,
                    peak,
                },
                call.own_bytes,
                measured.net,
            );
        }
        call.stamp = frame.thread.stamp();
        frame.resume_outer(0, measured.net);
        if call.stamp.is_recorded() {
            if frame.thread.own_bits.get() == LAZY_BITS {
                // The call around must hear of what others free while this one waits.
                frame.thread.set_stamp(call::open(frame.thread));
            }
            call::suspend(call.stamp, frame.thread.stamp());
        }
    }
}
