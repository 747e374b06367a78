//! OS calls (worktree stand-in).
pub(crate) mod unwind;
