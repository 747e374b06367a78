//! THE RECORD SIDE: everything that runs inside the program's own allocations.
//!
//! Rules of this folder: no panics, no use of the global heap, no waiting (a thread that begins or ends, and a fork, may let others
//! run for a bounded number of turns). Trouble becomes a counter (`counters::Losses`).
//! `gate` is the one way in for events, `scope` the one way in for scopes; `control` (outside) reads the tables.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core
)]

pub(crate) mod allocator;
pub(crate) mod arena;
pub(crate) mod atomic;
pub(crate) mod block;
pub(crate) mod call;
pub(crate) mod carried;
pub(crate) mod context;
pub(crate) mod counters;
pub(crate) mod enter;
pub(crate) mod epoch;
pub(crate) mod frame;
pub(crate) mod free;
pub(crate) mod gate;
pub(crate) mod growth;
pub(crate) mod index;
pub(crate) mod measure;
pub(crate) mod observe;
pub(crate) mod pages;
pub(crate) mod peak;
pub(crate) mod poll;
pub(crate) mod sample;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod stack;
pub(crate) mod sys;
pub(crate) mod thread;
pub(crate) mod waiting;
pub(crate) mod watch;
