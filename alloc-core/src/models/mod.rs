//! Model checking of everything that threads share without a lock. Tests only, built with `--cfg allocscope_model`; run by `ci/models`.
//!
//! The code checked is the record side as it is: its atomics (`record::atomic`) hand every access to a checker. Four ways:
//! - `weak`: all executions of a few threads, weak memory included: a load may see any value that its ordering lets it see (`loom`);
//! - `steps`: many random interleavings of longer lives, each access one step (`shuttle`);
//! - `lost`: a thread vanishes for ever at each of its accesses, as all others do in the child of a fork, and another goes on;
//! - `interrupted`: at each of its accesses a signal handler runs on the thread.
//!
//! A check that cannot fail proves nothing, so each has a twin with a planted [`Fault`], which must be found.
//!
//! LIMIT: only atomics are the model's. What is written to plain memory before it is published (frames of contexts, headers of
//! blocks) is seen at once; ThreadSanitizer looks at that (`ci/sanitizers`). Some constants are smaller here (patience of waiting
//! threads, lengths of probe sequences), so that their rare ends are common.
#![allow(clippy::unwrap_used, reason = "tests")]

mod checker;
mod contexts;
mod growth;
mod handover;
mod interrupted;
mod lost;
mod pools;
mod rules;
mod threads;

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::TrackingAllocator;
use crate::record::settings::{self, Mode};
use crate::record::thread;

/// What a model gets wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Every access is relaxed, as if no ordering had been asked for.
    Unordered,
    /// Whatever reads and writes in one step does so in two.
    Torn,
    /// The same, of what lies in this part of the memory.
    TornIn(Part),
    /// What is stored in this part of the memory is stored in two steps, the lower half first.
    HalvedIn(Part),
    /// Exchanges of this value for that one succeed, and change nothing.
    Unclaimed {
        from: u64,
        to: u64,
    },
}

/// A part of the memory: address and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part(usize, usize);

impl Part {
    fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.0) < self.1
    }
}

static ALLOCATOR: TrackingAllocator = TrackingAllocator::new();

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn allocate(size: usize) -> usize {
    // SAFETY: the size is not 0.
    let block = unsafe { ALLOCATOR.alloc(layout(size)) };
    assert!(!block.is_null());
    block.expose_provenance()
}

fn free(block: usize, size: usize) {
    // SAFETY: callers pass what `allocate` gave for the size, once.
    unsafe { ALLOCATOR.dealloc(std::ptr::with_exposed_provenance_mut(block), layout(size)) };
}

fn resize(block: usize, size: usize, new_size: usize) -> usize {
    let block = std::ptr::with_exposed_provenance_mut(block);
    // SAFETY: callers pass what `allocate` or this function gave for the size, once; the new size is not 0.
    let resized = unsafe { ALLOCATOR.realloc(block, layout(size), new_size) };
    assert!(!resized.is_null());
    resized.expose_provenance()
}

/// Models share the tables of the process, so one runs at a time. Makes the tables.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    settings::set_mode(Mode::Scopes);
    assert!(thread::is_initialised());
    free(allocate(8), 8);
    alone
}

/// Random interleavings of a check: `ALLOCSCOPE_MODELS` times as many in the long form.
fn count(short: usize) -> usize {
    let factor = std::env::var("ALLOCSCOPE_MODELS")
        .ok()
        .and_then(|text| text.parse().ok());
    short * factor.unwrap_or(1)
}
