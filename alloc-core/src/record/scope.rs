//! Scopes: their sites and the tree of nodes.
//!
//! Record side. `#[track_memory]` and `scope!` make a `static ScopeSite`; `enter` asks here for the node (scope inside the current
//! node), which a small cache of the thread knows. A scope entered again below itself uses its first node, so recursion adds no
//! nodes. Leaves out: entering and leaving (`enter`, `frame`).

use crate::record::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, compiler_fence};
use core::ptr;

use super::counters::{Counter, LOSSES, NodeRow};
use super::index::{Index, Lazy, Place};
use super::thread::{SCOPES, ThreadState};
use super::{arena, context, peak};
use crate::ids::{ContextId, ScopeKind, ScopeNodeId};

/// Scope nodes in all; entering a scope beyond them does nothing.
pub(crate) const MAX_NODES: usize = 1 << 16;
const SEGMENT: usize = 256;

/// A scope in the source. Made by `#[track_memory]` and `scope!`, always as a `static`.
#[derive(Debug)]
pub struct ScopeSite {
    name: &'static str,
    file: &'static str,
    line: u32,
    kind: ScopeKind,
    /// Registered id; 0 before the first entry.
    id: AtomicU32,
}

impl ScopeSite {
    /// A site of the given name at `file:line`.
    #[must_use]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        Self::of_kind(ScopeKind::Function, name, file, line)
    }

    /// A site whose calls are the requests of a program.
    #[must_use]
    pub const fn request(name: &'static str, file: &'static str, line: u32) -> Self {
        Self::of_kind(ScopeKind::Request, name, file, line)
    }

    /// A site whose calls are the turns of a loop.
    #[must_use]
    pub const fn turn(name: &'static str, file: &'static str, line: u32) -> Self {
        Self::of_kind(ScopeKind::Loop, name, file, line)
    }

    const fn of_kind(kind: ScopeKind, name: &'static str, file: &'static str, line: u32) -> Self {
        Self {
            name,
            file,
            line,
            kind,
            id: AtomicU32::new(0),
        }
    }

    /// 0 before the first entry.
    #[inline(always)]
    pub(super) fn known_id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    /// Name, file and line.
    pub(crate) fn describe(&self) -> (&'static str, &'static str, u32) {
        (self.name, self.file, self.line)
    }

    pub(super) fn id(&'static self) -> u32 {
        match self.known_id() {
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
    kind: AtomicU8,
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
        self.kind.store(site.kind as u8, Ordering::Relaxed);
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
    pub(crate) fn kind(&self) -> ScopeKind {
        ScopeKind::ALL
            .into_iter()
            .find(|kind| *kind as u8 == self.kind.load(Ordering::Relaxed))
            .unwrap_or_default()
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
    // Of the calls that were observed; see `observe`.
    pub(crate) observed: Counter,
    pub(crate) suspended: Counter,
    pub(crate) moved: Counter,
    pub(crate) missed_events: Counter,
    /// First row of the loop; see `observe::sums`.
    pub(crate) loop_rows: AtomicU32,
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

/// What one call of `node` is.
pub(super) fn kind_of(node: u32) -> ScopeKind {
    let site = node_info(node).and_then(|info| site_info(info.scope()));
    site.map_or(ScopeKind::Function, SiteInfo::kind)
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

/// True when `inner` is `node` or inside it. (A node has a larger id than the one around it.)
pub(crate) fn is_around(node: u32, mut inner: u32) -> bool {
    while inner > node {
        inner = parent_of(inner);
    }
    inner == node
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

/// `bytes` (signed) of a node's own blocks were granted or released by no thread in particular.
pub(super) fn move_live(node: u32, bytes: i64) {
    move_own_live(node, bytes);
    let mut around = node;
    // The root's inclusive figures are the process's.
    while around > ScopeNodeId::ROOT.0 {
        move_live_inside(around, bytes);
        around = parent_of(around);
    }
}

/// The node's own live bytes.
pub(super) fn move_own_live(node: u32, bytes: i64) {
    if let Some(info) = node_info(node) {
        info.own_live.add_shared(bytes as u64);
        info.own_peak.raise_shared(info.own_live.signed());
    }
}

/// Those in the node and the nodes inside of it.
pub(super) fn move_live_inside(node: u32, bytes: i64) {
    if let Some(info) = node_info(node) {
        info.live.add_shared(bytes as u64);
        info.peak.raise_shared(info.live.signed());
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
        (&total.sampled_allocations, &row.sampled_allocations),
        (&total.sampled_bytes, &row.sampled_bytes),
        (&total.sampled_reallocations, &row.sampled_reallocations),
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

impl ScopeSlot {
    #[inline(always)]
    fn of(thread: &'static ThreadState, scope: u32) -> (&'static Self, u64) {
        // The row's address stands for the current node, and differs between threads. It is not 0, so no key is.
        let key = (ptr::from_ref(thread.scope()).addr() as u64).wrapping_shl(20) ^ u64::from(scope);
        // SAFETY: the index is below SCOPES.
        (
            unsafe { thread.scopes.get_unchecked((key >> 26 ^ key) as usize % SCOPES) },
            key,
        )
    }
}

/// Where entering the scope `id` leads on this thread, if the thread's cache knows. It knows nothing of id 0.
#[inline(always)]
pub(super) fn known_target(thread: &'static ThreadState, id: u32) -> Option<&'static NodeRow> {
    let (slot, key) = ScopeSlot::of(thread, id);
    if slot.key.load(Ordering::Relaxed) != key {
        return None;
    }
    // SAFETY: `target` stored the pointer before this key, which is not 0, from a row of this thread; `forget_scopes` clears the key
    // before the row goes.
    Some(unsafe { &*slot.row.load(Ordering::Relaxed) })
}

/// Where entering a scope leads on this thread; `None` when the table of nodes is full.
#[cold]
pub(super) fn target(thread: &'static ThreadState, site: &'static ScopeSite) -> Option<&'static NodeRow> {
    let scope = site.id();
    if let Some(row) = known_target(thread, scope) {
        return Some(row);
    }
    let parent = thread.scope().node.load(Ordering::Relaxed);
    let node = if scope == 0 { None } else { find_node(parent, scope) };
    let Some(row) = node.and_then(|node| thread.node_row(node)) else {
        LOSSES.refused_scopes.add_shared(1);
        return None;
    };
    let (slot, key) = ScopeSlot::of(thread, scope);
    slot.key.store(0, Ordering::Relaxed);
    // A signal handler that enters scopes here finds either the old pair, nothing, or the new one.
    compiler_fence(Ordering::SeqCst);
    slot.row.store(ptr::from_ref(row).cast_mut(), Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    slot.key.store(key, Ordering::Relaxed);
    Some(row)
}

/// The next time the row's scope is entered it is looked up again, the rare way.
#[cold]
pub(super) fn forget_target(thread: &ThreadState, row: &NodeRow) {
    for slot in &thread.scopes {
        if ptr::eq(slot.row.load(Ordering::Relaxed), row) {
            slot.key.store(0, Ordering::Relaxed);
        }
    }
}

/// Empties the cache of an ended thread: its rows go to others.
pub(crate) fn forget_scopes(slots: &[ScopeSlot]) {
    for slot in slots {
        slot.key.store(0, Ordering::Relaxed);
        slot.row.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// The node of `site` inside `parent`.
#[cfg(feature = "tracing")]
pub(super) fn node_inside(parent: u32, site: &'static ScopeSite) -> Option<u32> {
    match site.id() {
        0 => None,
        scope => find_node(parent, scope),
    }
}
