//! Call-stack capture: the return addresses of the running thread, innermost first, and a hash of them.
//!
//! Called by the gate, on the record side, from inside an allocation and under the thread's busy flag, so one
//! [`StackState`] is never used twice at once. One file per backend; this one picks the backend and owns the face.
//!
//! Invariants:
//! - Nothing here allocates, panics, blocks, or takes the loader's lock.
//! - A capture reads only the thread's own stack, between its stack pointer and the top of that stack; both ends of
//!   the stack must be known and must contain the stack pointer, otherwise the stack is *foreign* (a coroutine, a
//!   signal stack): one address and a mark.
//! - Equal frames and flags give equal hashes, whatever was captured before and on whatever thread.
//!
//! What it leaves out: symbols (the read side), what a hash is mapped to (the caller).

// One backend per target; `build.rs` decides which, and says so by these cfgs.
#[cfg(stack_rules)]
mod cfi;
#[cfg(stack_fallback)]
mod fallback;
#[cfg(stack_frame_pointers)]
mod frame_pointers;
#[cfg(stack_rules)]
mod incremental;
#[cfg(stack_rules)]
mod modules;
pub mod probe;
#[cfg(stack_rules)]
mod remembered;
#[cfg(stack_rules)]
mod rules;

#[cfg(stack_fallback)]
use fallback as backend;
#[cfg(stack_frame_pointers)]
use frame_pointers as backend;
#[cfg(stack_rules)]
use incremental as backend;

use crate::record::thread::NoFork;

/// Frames that a capture can keep at most, whatever depth it is asked for.
pub(crate) const MAX_DEPTH: usize = 128;

/// What one thread remembers between two captures, and the frames of the last one.
///
/// INVARIANT: plain data; all-zero bytes are a valid value (no bounds known yet: every stack is foreign).
#[repr(C)]
pub(crate) struct StackState {
    inner: backend::State,
}

const _: () = assert!(size_of::<StackState>() < 16 << 10);

/// What a capture found; the frames stay in the [`StackState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Never 0; a function of the kept frames and the two flags only.
    pub(crate) hash: u64,
    /// Frames kept: at most the depth asked for.
    pub(crate) len: usize,
    /// Outer frames exist that were not kept: the stack is deeper than asked for, or its code has no usable
    /// unwind information from some frame on.
    pub(crate) truncated: bool,
    /// The stack pointer was not inside the thread's own stack: at most one frame.
    pub(crate) foreign: bool,
}

/// Prepares what the process shares. Cold; called once, during the first allocation, before any other function here.
pub(crate) fn init_process() {
    backend::init_process();
}

/// Looks up both ends of the calling thread's stack. Cold; once per thread.
pub(crate) fn init_thread(state: &mut StackState) {
    backend::init_thread(&mut state.inner);
}

/// Captures the calling thread's stack, starting at the caller of this function, and returns its hash:
/// [`StackState::captured`] says more.
///
/// `depth` must be in `1..=MAX_DEPTH`. `state` must belong to the calling thread.
///
/// Inlined, so that the caller of the first function behind it is the innermost frame: no frame is ours.
#[inline(always)]
pub(crate) fn capture(state: &mut StackState, depth: usize) -> u64 {
    backend::capture(&mut state.inner, depth)
}

/// What a function that is being called finds in the registers: from here a stack can be captured without the frame of
/// that function, and of all that it calls.
#[cfg(stack_rules)]
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// The stack pointer: the return address lies there.
    pub(crate) sp: usize,
    /// The caller's.
    pub(crate) rbp: usize,
}

/// [`capture`], from a function on that has not returned: the innermost frame is its caller.
///
/// # Safety
/// `entry` must be what the function found, on this thread's stack.
#[cfg(stack_rules)]
#[inline(always)]
pub(crate) unsafe fn capture_from(state: &mut StackState, depth: usize, entry: Entry) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { backend::capture_from(&mut state.inner, depth, entry) }
}

/// Drops what was learned from libraries that were unloaded since; where needed, learns which are loaded.
///
/// Takes the loader's lock: never call it inside an allocation. Meant for where a snapshot is taken or the mode is set.
pub(crate) fn sync_with_loader() {
    if let Some(_no_fork) = NoFork::begin_with_loader() {
        backend::sync_with_loader();
    }
}

/// How the rule of a return address steps, for models.
#[cfg(all(test, allocscope_model, stack_rules))]
pub(crate) fn rule_parts(pc: usize) -> Option<(bool, usize, usize)> {
    rules::rule(pc).parts()
}

/// Where the rules are, and how many bytes, for models.
#[cfg(all(test, allocscope_model, stack_rules))]
pub(crate) fn rule_memory() -> (usize, usize) {
    rules::memory()
}

/// What an unload does, for models.
#[cfg(all(test, allocscope_model, stack_rules))]
pub(crate) fn forget_modules() {
    modules::forget();
}

impl StackState {
    /// What the last capture found, which returned this hash.
    pub(crate) fn captured(&self, hash: u64) -> Captured {
        self.inner.captured(hash)
    }

    /// The return addresses of the last capture, innermost first: exactly `len` of them.
    pub(crate) fn frames(&self) -> impl Iterator<Item = usize> {
        self.inner.frames()
    }
}

/// Reads a word of the stack, wherever it lies in a word.
///
/// # Safety
/// `[address, address + 8)` must be readable.
#[cfg(stack_rules)]
#[inline(always)]
unsafe fn read(address: usize) -> usize {
    // A word that was remembered may lie between two variables by now. AddressSanitizer takes reading it for a fault, unless it is not told.
    #[cfg(allocscope_sanitized)]
    {
        let word;
        // SAFETY: the caller's promise; nothing else is touched.
        unsafe {
            core::arch::asm!("mov {}, [{}]", out(reg) word, in(reg) address, options(readonly, nostack, preserves_flags))
        };
        word
    }
    #[cfg(not(allocscope_sanitized))]
    {
        /// A word without alignment.
        #[derive(Clone, Copy)]
        #[repr(C, packed)]
        struct Word(usize);
        // SAFETY: the caller's promise. Volatile, because the compiler must not conclude anything from frames it owns.
        unsafe { core::ptr::with_exposed_provenance::<Word>(address).read_volatile().0 }
    }
}

/// Multiplier of the hash. A window of frames has a hash of its own: that of all, less that of the ones outside, times
/// this to the power of the window's length.
const BASE: u64 = 0xD134_2543_DE82_EF95;

/// The hash of some frames, and of one more inside them; starts from 0.
#[inline(always)]
fn add(hash: u64, pc: usize) -> u64 {
    // Spread, so that differences between addresses do not cancel out.
    let spread = (pc as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash.wrapping_mul(BASE).wrapping_add(spread ^ (spread >> 32))
}

/// Ends a hash: spreads it over all bits, marks the flags, and keeps 0 free.
#[inline]
fn finish(hash: u64, truncated: bool, foreign: bool) -> u64 {
    let flagged = hash ^ (u64::from(truncated) << 62) ^ (u64::from(foreign) << 63);
    (flagged ^ (flagged >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93).max(1)
}
