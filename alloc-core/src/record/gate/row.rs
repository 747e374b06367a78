//! The row that an allocation is counted on: that of the running scope and the call stack.
//!
//! Record side. Cost: a hash and a look-up in the thread's cache; the index of contexts when that does not know.

use crate::record::atomic::Ordering;

use crate::ids::ContextId;
use crate::record::counters::{LOSSES, NodeRow, Row};
use crate::record::settings::{self, Mode};
use crate::record::thread::ThreadState;
use crate::record::{context, stack};

/// The row that an allocation made now is counted on. The thread is occupied.
#[inline(always)]
pub(super) fn find_row(thread: &'static ThreadState, mode: Mode) -> (&'static Row, ContextId) {
    let scope = thread.scope();
    if mode != Mode::Exact {
        return scope_row(scope);
    }
    // SAFETY: the thread is occupied and ours, so this is the only reference to the stack state.
    let state = unsafe { &mut *thread.stack.get() };
    let hash = stack::capture(state, settings::depth());
    find_stack(thread, hash)
}

/// The row and context of the running scope and the stack that was just captured, whose hash this is.
#[inline(always)]
pub(super) fn find_stack(thread: &'static ThreadState, hash: u64) -> (&'static Row, ContextId) {
    let key = hash ^ thread.scope().salt.get();
    if let Some((row, context)) = thread.site(key).get(key) {
        // SAFETY: `find_site` stored the address of a row that lives as long as this thread's state is its own; the
        // salt in the key differs between owners.
        return (unsafe { &*row }, context);
    }
    find_site(thread, key, hash)
}

/// What is counted without a stack in a scope.
#[inline(always)]
pub(super) fn scope_row(scope: &'static NodeRow) -> (&'static Row, ContextId) {
    let context = scope.context();
    // SAFETY: `make_node_row` stored a row of the same thread, which lives while the thread does.
    (unsafe { &*scope.row.load(Ordering::Relaxed) }, context)
}

/// The row of a stack that the thread's cache does not have.
#[cold]
#[inline(never)]
pub(super) fn find_site(thread: &'static ThreadState, key: u64, hash: u64) -> (&'static Row, ContextId) {
    let site = thread.site(key);
    if site.promote(key)
        && let Some((row, context)) = site.get(key)
    {
        // SAFETY: as in `find_row`.
        return (unsafe { &*row }, context);
    }
    // SAFETY: as in `find_row`, whose reference is no longer used.
    let state = unsafe { &*thread.stack.get() };
    let captured = state.captured(hash);
    let flags = (if captured.truncated { context::TRUNCATED } else { 0 })
        | (if captured.foreign { context::FOREIGN } else { 0 });
    let scope = thread.scope();
    let node = scope.node.load(Ordering::Relaxed);
    let found = context::intern(node, hash, flags, captured.len, state.frames());
    let Some((row, context)) = found.and_then(|context| Some((thread.row(context)?, context))) else {
        // LIMIT: no room for another stack: "other" of the scope.
        LOSSES.other_allocations.add_shared(1);
        return scope_row(scope);
    };
    site.put(key, row, context);
    (row, context)
}
