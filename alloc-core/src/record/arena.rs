//! The tracker's own memory: one lazily backed reservation, handed out upwards and never given back.
//!
//! Record side. Called on cold paths only. INVARIANT: what `take` returns is zeroed, aligned, disjoint from everything it
//! returned before, and valid until the process ends; so tables may hold `&'static` into it. Cost: one atomic addition.
//! Leaves out: freeing. Tables that shrink keep their own free lists.

use crate::record::atomic::{AtomicPtr, AtomicUsize, Ordering};
use core::ptr::NonNull;

use super::sys;

/// Ceiling of the tracker's own memory unless `ALLOCSCOPE_MEMORY_MIB` says otherwise.
pub(crate) const DEFAULT_LIMIT: usize = 256 << 20;
const SMALLEST: usize = 1 << 20;
/// Tables are aligned to this, so that their places are exact.
const PLACE: usize = 16;

static BASE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// Starts above 0, so that no memory has the place 0.
static USED: AtomicUsize = AtomicUsize::new(64);

/// Reserves the memory. Called once, during the first allocation of the process, before any `take`.
///
/// LIMIT: under a small `ulimit -v` the reservation is halved until it fits; below 1 MiB the tracker has no memory, and
/// every allocation stays untracked.
pub(crate) fn init(limit: usize) {
    let mut bytes = limit;
    while bytes >= SMALLEST {
        if let Some(base) = sys::reserve(bytes) {
            LIMIT.store(bytes, Ordering::Relaxed);
            // ORDERING: pairs with the Acquire in `take`; the limit is visible before the base. Only the first counts.
            let _ = BASE.compare_exchange(
                core::ptr::null_mut(),
                base.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            return;
        }
        bytes /= 2;
    }
}

/// Zeroed memory for a table, or `None` at the ceiling. `align` is a power of two of at most a page.
#[cold]
pub(crate) fn take(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    // ORDERING: pairs with the Release in `init`.
    let base = NonNull::new(BASE.load(Ordering::Acquire))?;
    let limit = LIMIT.load(Ordering::Relaxed);
    let mut used = USED.load(Ordering::Relaxed);
    loop {
        let start = used.checked_add(align - 1)? & !(align - 1);
        let end = start.checked_add(bytes)?;
        if end > limit {
            return None;
        }
        // ORDERING: Relaxed is enough: the winner of the exchange alone gets `start..end`, and the kernel zeroed it.
        match USED.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                // SAFETY: `start <= limit`, so the result stays inside the reservation made in `init`.
                let taken = unsafe { base.add(start) };
                // One execution of a model after the other takes the same memory, and what is written plainly stays.
                #[cfg(allocscope_model)]
                // SAFETY: `end <= limit`: all of it is ours.
                unsafe {
                    taken.as_ptr().write_bytes(0, bytes);
                }
                return Some(taken);
            }
            Err(now) => used = now,
        }
    }
}

/// Zeroed memory for `count` values of `T`.
///
/// # Safety
/// - All-zero bytes are a valid `T`.
pub(crate) unsafe fn take_zeroed<T>(count: usize) -> Option<NonNull<T>> {
    let bytes = size_of::<T>().checked_mul(count)?;
    take(bytes, align_of::<T>().max(PLACE)).map(NonNull::cast)
}

/// Where memory from `take_zeroed` lies in the reservation, in units of `PLACE`: a short name for it. Never 0: see `USED`.
pub(crate) fn place_of(memory: NonNull<u8>) -> u32 {
    let base = BASE.load(Ordering::Relaxed);
    (memory.as_ptr().addr().wrapping_sub(base.addr()) / PLACE) as u32
}

/// The memory whose `place_of` is `place`, which must have come from there; `None` for 0.
pub(crate) fn at_place(place: u32) -> Option<NonNull<u8>> {
    let base = NonNull::new(BASE.load(Ordering::Acquire))?;
    if place == 0 {
        return None;
    }
    // SAFETY: places are those of memory that `take` handed out, so inside the reservation.
    Some(unsafe { base.add(place as usize * PLACE) })
}

/// Bytes handed out so far.
pub(crate) fn used() -> usize {
    USED.load(Ordering::Relaxed)
}

/// The ceiling that was reserved.
pub(crate) fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}
