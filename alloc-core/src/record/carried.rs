//! Entering a given scope node on the calling thread: work that was handed over runs in the scope it was started in.
//!
//! Record side. Called by `carry` (handles) and the futures in `future`. The node is entered wherever the thread is, not
//! as a child of the thread's own node. No call begins: the blocks are charged to the node and the nodes around it, and to the
//! call that runs on this thread, if one does, because that is what executes the work. Nodes are never given back, so an old
//! handle cannot name another scope.
//!
//! Cost: a look-up of the thread's row of the node, and some dozen loads and stores.
//! Leaves out: figures of calls. The call that started the work may be over.
#![forbid(unsafe_code)]

use crate::record::atomic::Ordering;

use super::enter;
pub(crate) use super::enter::PartGuard;
#[cfg(feature = "tracing")]
use super::poll::{CallState, OwnedPoll};
use super::scope;
#[cfg(feature = "tracing")]
use super::scope::ScopeSite;
use crate::ids::ScopeNodeId;

/// The node that the calling thread is in; `None` when nothing is recorded here and now.
pub(crate) fn current_node() -> Option<ScopeNodeId> {
    let thread = enter::usable_thread()?;
    Some(ScopeNodeId(thread.scope().node.load(Ordering::Relaxed)))
}

/// Enters `node` until the guard is dropped. Does nothing for `None`, in mode `off`, and when the thread can have no row of the node.
#[inline]
pub(crate) fn enter_node(node: Option<ScopeNodeId>) -> PartGuard {
    enter::enter_part(node.map_or(0, |node| node.0))
}

/// Name, file and line of the scope that `node` is of; `None` for the root.
pub(crate) fn describe(node: ScopeNodeId) -> Option<(&'static str, &'static str, u32)> {
    let site = scope::site_info(scope::node_info(node.0)?.scope()).filter(|_| node > ScopeNodeId::TRACKER)?;
    Some((site.name(), site.file(), site.line()))
}

/// The node of the scope `site` inside `parent`; `None` when the tables are full.
#[cfg(feature = "tracing")]
pub(crate) fn node_inside(parent: ScopeNodeId, site: &'static ScopeSite) -> Option<ScopeNodeId> {
    scope::node_inside(parent.0, site).map(ScopeNodeId)
}

/// A call of a scope that is entered and left by hand, any number of times, on any thread, before it ends: a span's.
#[cfg(feature = "tracing")]
pub(crate) struct OpenCall(CallState);

/// One entry of an `OpenCall`, which it holds meanwhile. Belongs to its thread.
#[cfg(feature = "tracing")]
pub(crate) struct EnteredCall(OwnedPoll);

#[cfg(feature = "tracing")]
impl OpenCall {
    pub(crate) const NEW: Self = Self(CallState::NEW);

    /// Enters `node`, or the node in which the call was begun.
    pub(crate) fn enter(self, node: ScopeNodeId) -> EnteredCall {
        EnteredCall(OwnedPoll::enter(node.0, self.0))
    }

    /// Ends the call, if it was ever begun.
    pub(crate) fn end(self) {
        if self.0.is_open() {
            OwnedPoll::enter(0, self.0).leave(true);
        }
    }
}

#[cfg(feature = "tracing")]
impl EnteredCall {
    /// Leaves it for now, in order or not. Out of order the call has no figures, and the next entry begins another.
    pub(crate) fn leave(self) -> OpenCall {
        OpenCall(self.0.leave(false))
    }
}
