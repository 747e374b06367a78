//! Small plain types that both sides share: ids, and nothing else.
//!
//! Imports nothing of ours. Zero is never a real id, so zeroed memory reads as "none".
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// A scope site: one `#[track_memory]` function or one `scope!` in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeId(pub u32);

/// A scope together with the path of scopes it runs inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeNodeId(pub u32);

impl ScopeNodeId {
    /// The whole program: the parent of every scope that runs inside no other.
    pub const ROOT: Self = Self(1);
    /// What the tracker's read side allocates for itself. Not part of the program's totals.
    pub const TRACKER: Self = Self(2);
}

/// What one call of a scope is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScopeKind {
    /// A call of a function or a closure, or one run of a block.
    #[default]
    Function,
    /// One request of those that the program serves: `#[track_memory(request)]`. An iteration.
    Request,
    /// One turn of a loop: `#[track_memory(loops)]`. An iteration.
    Loop,
}

impl ScopeKind {
    pub(crate) const ALL: [Self; 3] = [Self::Function, Self::Request, Self::Loop];
}

/// The pair (scope node, call stack): the key that every allocation is counted under. 0 in a header: untracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContextId(pub(crate) u32);

impl ContextId {
    /// In a header: the block is untracked.
    pub(crate) const NONE: Self = Self(0);
    /// Root scope, stack not recorded.
    pub(crate) const ROOT: Self = Self(1);
    /// What the tracker's read side allocates for itself.
    pub(crate) const TRACKER: Self = Self(2);
}
