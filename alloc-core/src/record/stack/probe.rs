//! The capture as tests and benches reach it; not part of the crate's face.
//!
//! Called by `tests/` and `benches/` only, through the crate's hidden module. On the record side: it allocates nothing.

use super::{Captured, MAX_DEPTH, StackState};

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

impl From<Captured> for Found {
    #[inline(always)]
    fn from(captured: Captured) -> Self {
        let Captured {
            hash,
            len,
            truncated,
            foreign,
        } = captured;
        Self {
            hash,
            len,
            truncated,
            foreign,
        }
    }
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
        let hash = super::capture(&mut self.0, depth.clamp(1, MAX_DEPTH));
        self.0.captured(hash).into()
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

/// What only the backend that reads unwind information has.
#[cfg(stack_rules)]
mod by_rules {
    use super::{Found, MAX_DEPTH, Probe};
    use crate::record::stack::{backend, cfi, rules};

    impl Probe {
        /// Walks made-up memory: `stack` as the thread's stack, from the return address at its word `entry`, with any
        /// value in `rbp`. Every word that is found is data: nothing is called.
        ///
        /// # Panics
        /// If `stack` has no word `entry`.
        pub fn walk_memory(&mut self, stack: &[usize], entry: usize, rbp: usize, depth: usize) -> Found {
            assert!(entry < stack.len(), "the entry is a word of the stack");
            let depth = depth.clamp(1, MAX_DEPTH);
            let hash = backend::walk_memory(&mut self.0.inner, stack, entry, rbp, depth);
            self.0.captured(hash).into()
        }
    }

    /// The rule for the frame that returns to `pc`, if it steps; as [`rule_from`] gives it.
    #[must_use]
    pub fn rule_at(pc: usize) -> Option<(bool, usize, usize)> {
        rules::rule(pc).parts()
    }

    /// Whether unwind information in `bytes`, as if loaded at `address`, has a row for `target`; and the rule made of
    /// it as (base is `rbp`, bytes to the caller's stack pointer, bytes back to the lowest word read), if it steps.
    #[must_use]
    pub fn rule_from(
        bytes: &[u8],
        address: usize,
        header: usize,
        target: usize,
    ) -> Option<Option<(bool, usize, usize)>> {
        let row = cfi::row_at(cfi::Image { address, bytes }, header, target)?;
        Some(rules::Rule::from_row(row).parts())
    }
}

#[cfg(stack_rules)]
pub use by_rules::{rule_at, rule_from};
