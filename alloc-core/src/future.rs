//! The future that enters its scope around every poll.
//!
//! Made by `#[track_memory]` on an async function. Between polls the scope is left, so a task may move between threads and
//! other tasks run in between; the call's figures add up over its polls (`record::enter::CallState`). Dropping it half-run drops
//! what it holds inside the scope and ends the call. Cost: entering and leaving the scope once per poll.

use core::future::Future;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::record::enter::{self, CallState};
use crate::record::scope::ScopeSite;

/// A future whose polls run inside a scope. See `#[track_memory]`.
#[must_use = "futures do nothing unless polled"]
pub struct TrackedFuture<F> {
    site: &'static ScopeSite,
    call: CallState,
    /// INVARIANT: structurally pinned, never moved once pinned, and dropped only in `Drop`.
    future: ManuallyDrop<F>,
}

impl<F> core::fmt::Debug for TrackedFuture<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrackedFuture")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Runs every poll of `future` inside the scope of `site`.
#[inline]
pub fn track<F: Future>(site: &'static ScopeSite, future: F) -> TrackedFuture<F> {
    TrackedFuture {
        site,
        call: CallState::NEW,
        future: ManuallyDrop::new(future),
    }
}

impl<F: Future> Future for TrackedFuture<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is not moved out of: it is pinned again at once, and the other fields are not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` was pinned and `future` is structurally pinned: see its INVARIANT.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        let mut poll = enter::enter_poll(this.site, &mut this.call);
        let result = future.poll(context);
        if result.is_ready() {
            poll.is_last();
        }
        result
    }
}

impl<F> Drop for TrackedFuture<F> {
    fn drop(&mut self) {
        // Only an open call is entered again: for one that has ended or never begun this is a plain drop.
        let _poll = self.call.is_open().then(|| {
            let mut poll = enter::enter_poll(self.site, &mut self.call);
            poll.is_last();
            poll
        });
        // SAFETY: dropped here and nowhere else, in place, and not used again.
        unsafe { ManuallyDrop::drop(&mut self.future) };
    }
}
