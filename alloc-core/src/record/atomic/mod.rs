//! The atomics of the record side: those of `core`, and in model checking ones whose every access is an event of the model.
//!
//! Record side; every file of it that shares memory between threads imports from here. Cost: none, the names are re-exports. Built
//! with `--cfg allocscope_model` they are the types of `model`, of the same size and layout: see `crate::models`.

#[cfg(allocscope_model)]
pub(crate) mod model;

#[cfg(not(allocscope_model))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(allocscope_model))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence,
};
pub(crate) use core::sync::atomic::{Ordering, compiler_fence};

#[cfg(allocscope_model)]
pub(crate) use self::model::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, fence, spin_loop,
};
use core::ptr::NonNull;

/// Writes zeroes over atomics that nobody else uses.
///
/// # Safety
/// - `bytes` bytes from `start` on may be written, and hold nothing but atomics, which nobody else looks at.
pub(crate) unsafe fn zero_bytes(start: NonNull<u8>, bytes: usize) {
    #[cfg(allocscope_model)]
    if model::zero_bytes(start, bytes) {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { core::ptr::write_bytes(start.as_ptr(), 0, bytes) };
}
