//! The record side (worktree stand-in).
#![allow(dead_code, reason = "worktree stand-in")]
pub(crate) mod stack;
pub(crate) mod sys;
