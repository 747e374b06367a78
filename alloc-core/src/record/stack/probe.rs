//! The capture as tests and benches reach it; not part of the crate's face.
//!
//! Called by `tests/` and `benches/` only, through the crate's hidden module.

use super::{MAX_DEPTH, StackState};

/// A thread's capture state.
pub struct Probe(StackState);

/// What a capture found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// See `Captured`.
    pub hash: u64,
    /// See `Captured`.
    pub len: usize,
    /// See `Captured`.
    pub truncated: bool,
    /// See `Captured`.
    pub foreign: bool,
}

/// Prepares what the process shares.
pub fn init_process() {
    super::init_process();
}

/// See the function of the same name in the capture's face.
pub fn sync_with_loader() {
    super::sync_with_loader();
}

impl Probe {
    /// A state of zero bytes, as the allocator's memory has it.
    #[must_use]
    pub const fn zeroed() -> Self {
        // SAFETY: all-zero bytes are a valid `StackState`, by its invariant.
        Self(unsafe { core::mem::zeroed() })
    }

    /// Prepares the state for the calling thread.
    pub fn init_thread(&mut self) {
        super::init_thread(&mut self.0);
    }

    /// Captures from the caller on.
    #[inline(always)]
    pub fn capture(&mut self, depth: usize) -> Found {
        let captured = super::capture(&mut self.0, depth);
        Found {
            hash: captured.hash,
            len: captured.len,
            truncated: captured.truncated,
            foreign: captured.foreign,
        }
    }

    /// Copies the frames of the last capture; returns how many there are.
    pub fn frames(&self, into: &mut [usize; MAX_DEPTH]) -> usize {
        self.0.frames().zip(into).map(|(frame, slot)| *slot = frame).count()
    }

    /// Frames of the last capture that were not remembered from the one before.
    #[must_use]
    pub fn fresh(&self) -> usize {
        self.0.inner.fresh()
    }
}
