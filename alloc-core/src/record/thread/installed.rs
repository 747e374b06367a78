//! Whether the program's allocator is ours.
//!
//! Record side. Known once the program has allocated; a scope that is entered before asks. INVARIANT: that is the one place where the record
//! side calls the program's allocator; it is never reached from inside of ours, and ours refuses before it asks the inner one.

use crate::record::atomic::{AtomicBool, Ordering};
use core::alloc::Layout;
use core::cell::Cell;
use core::hint::black_box;

use super::{current, current_or_register};
use crate::ids::ContextId;
use crate::record::settings;

/// What the read side has allocated on this thread, ever: the probe that tells whether we are the global allocator.
///
/// `None` on a thread without a state, which counts nothing of its own.
pub(crate) fn own_allocations() -> Option<u64> {
    current_or_register()?
        .row(ContextId::TRACKER)
        .map(|row| row.allocations.get())
}

/// Set by the first allocation that goes through any `TrackingAllocator`.
static IS_USED: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_used() {
    if !IS_USED.load(Ordering::Relaxed) && !IS_USED.swap(true, Ordering::SeqCst) {
        settings::decide_about_scopes();
    }
}

thread_local! {
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Asks the program's allocator for a little memory: if it is ours, it hears of itself, and refuses, so that nothing is counted.
#[cold]
#[inline(never)]
pub(crate) fn ask_allocator() {
    let layout = Layout::new::<u64>();
    // SAFETY: the layout is not empty.
    let ask = || black_box(unsafe { std::alloc::alloc(layout) });
    IS_ASKING.set(true);
    // What is ours hears of itself on the rare paths only, which is where a thread without a state comes anyway.
    let granted = match current() {
        Some(thread) => {
            thread.look();
            thread.occupied_for(ask)
        }
        None => ask(),
    };
    IS_ASKING.set(false);
    if !granted.is_null() {
        // SAFETY: granted above, for this layout.
        unsafe { std::alloc::dealloc(granted, layout) };
    }
}

/// True when the request of this thread is the one of `ask_allocator`.
pub(crate) fn is_asking() -> bool {
    IS_ASKING.get()
}

/// True once any `TrackingAllocator` has been asked for memory.
pub(crate) fn is_used() -> bool {
    IS_USED.load(Ordering::SeqCst)
}
