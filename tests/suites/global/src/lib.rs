//! Allocscope as the global allocator of a program that only names this crate: `extern crate allocscope_global as _;`.
//!
//! For the test suites of other people's crates; see `tests/suites/run`.
#![forbid(unsafe_code)]

use alloc_core::TrackingAllocator;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();
