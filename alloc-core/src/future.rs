//! The futures and streams that enter a scope around every poll.
//!
//! `TrackedFuture` and `TrackedStream` are calls of a scope, `InScope` is carried work (see `carry`).
//!
//! Made by `#[track_memory]` on an async function. Between polls the scope is left, so a task may move between threads and
//! other tasks run in between; the call's figures add up over its polls (`record::poll::CallState`). Dropping it half-run drops
//! what it holds inside the scope and ends the call. Cost: entering and leaving the scope once per poll.

use core::future::Future;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll};

#[cfg(feature = "stream")]
use futures_core::Stream;

use crate::budget::{CallBudget, CallCheck};
use crate::carry::ScopeHandle;
use crate::record::poll::{self, CallState};
use crate::record::scope::ScopeSite;
use crate::record::settings;

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

impl<F: Future> TrackedFuture<F> {
    /// A future that goes on with a call begun elsewhere.
    #[inline]
    pub(crate) fn resume(site: &'static ScopeSite, call: CallState, future: F) -> Self {
        Self {
            site,
            call,
            future: ManuallyDrop::new(future),
        }
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
        if !this.call.is_open() && settings::has_no_scopes() {
            return future.poll(context);
        }
        let mut poll = poll::enter_poll(this.site, &mut this.call);
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
            let mut poll = poll::enter_poll(self.site, &mut self.call);
            poll.is_last();
            poll
        });
        // SAFETY: dropped here and nowhere else, in place, and not used again.
        unsafe { ManuallyDrop::drop(&mut self.future) };
    }
}

/// A stream whose polls run inside a scope. See [`track_stream!`](crate::track_stream).
#[cfg(feature = "stream")]
#[must_use = "streams do nothing unless polled"]
pub struct TrackedStream<S, const BY_ITEM: bool = false> {
    site: &'static ScopeSite,
    call: CallState,
    /// INVARIANT: structurally pinned, never moved once pinned, and dropped only in `Drop`.
    stream: ManuallyDrop<S>,
}

#[cfg(feature = "stream")]
impl<S, const BY_ITEM: bool> core::fmt::Debug for TrackedStream<S, BY_ITEM> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrackedStream")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Runs every poll of `stream` inside the scope of `site`.
#[cfg(feature = "stream")]
#[inline]
pub fn track_stream<S: Stream>(site: &'static ScopeSite, stream: S) -> TrackedStream<S> {
    TrackedStream {
        site,
        call: CallState::NEW,
        stream: ManuallyDrop::new(stream),
    }
}

/// The same, with one call for each item: from the first poll after the item before it.
#[cfg(feature = "stream")]
#[inline]
pub fn track_items<S: Stream>(site: &'static ScopeSite, stream: S) -> TrackedStream<S, true> {
    TrackedStream {
        site,
        call: CallState::NEW,
        stream: ManuallyDrop::new(stream),
    }
}

#[cfg(feature = "stream")]
impl<S: Stream, const BY_ITEM: bool> Stream for TrackedStream<S, BY_ITEM> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        // SAFETY: `stream` is not moved out of: it is pinned again at once, and the other fields are not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` was pinned and `stream` is structurally pinned: see its INVARIANT.
        let stream = unsafe { Pin::new_unchecked(&mut *this.stream) };
        let mut poll = poll::enter_poll(this.site, &mut this.call);
        let result = stream.poll_next(context);
        match result {
            // Polled on after its end, it is another call.
            Poll::Ready(None) if BY_ITEM => poll.is_no_iteration(),
            Poll::Ready(None) => poll.is_last(),
            Poll::Ready(Some(_)) if BY_ITEM => poll.is_last(),
            _ => {}
        }
        result
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

#[cfg(feature = "stream")]
impl<S, const BY_ITEM: bool> Drop for TrackedStream<S, BY_ITEM> {
    fn drop(&mut self) {
        // As for a future: only an open call is entered again.
        let _poll = self.call.is_open().then(|| {
            let mut poll = poll::enter_poll(self.site, &mut self.call);
            poll.is_last();
            poll
        });
        // SAFETY: dropped here and nowhere else, in place, and not used again.
        unsafe { ManuallyDrop::drop(&mut self.stream) };
    }
}

/// A future or stream that is polled and dropped in the scope of a [`ScopeHandle`]. Made by [`CarryFuture`](crate::CarryFuture)
/// and `CarryStream`.
#[must_use = "futures and streams do nothing unless polled"]
pub struct InScope<T> {
    handle: ScopeHandle,
    /// INVARIANT: structurally pinned, never moved once pinned, and dropped only in `Drop`.
    inner: ManuallyDrop<T>,
}

impl<T> InScope<T> {
    #[inline]
    pub(crate) fn new(inner: T, handle: ScopeHandle) -> Self {
        Self {
            handle,
            inner: ManuallyDrop::new(inner),
        }
    }

    /// The scope it is polled in.
    pub fn handle(&self) -> &ScopeHandle {
        &self.handle
    }

    /// The scope, and what runs in it.
    #[inline]
    fn project(self: Pin<&mut Self>) -> (&ScopeHandle, Pin<&mut T>) {
        // SAFETY: `inner` is not moved out of: it is pinned again at once, and the other field is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `this` was pinned and `inner` is structurally pinned: see its INVARIANT.
        let inner = unsafe { Pin::new_unchecked(&mut *this.inner) };
        (&this.handle, inner)
    }
}

impl<T> core::fmt::Debug for InScope<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InScope")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for InScope<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (handle, future) = self.project();
        let _entered = handle.enter();
        future.poll(context)
    }
}

#[cfg(feature = "stream")]
impl<S: Stream> Stream for InScope<S> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let (handle, stream) = self.project();
        let _entered = handle.enter();
        stream.poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<T> Drop for InScope<T> {
    #[inline]
    fn drop(&mut self) {
        let _entered = self.handle.enter();
        // SAFETY: dropped here and nowhere else, in place, and not used again.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
    }
}

/// A [`TrackedFuture`] whose call has a budget.
#[must_use = "futures do nothing unless polled"]
pub struct BudgetedFuture<F> {
    check: CallCheck,
    /// INVARIANT: structurally pinned, never moved once pinned, and dropped only in `Drop`.
    tracked: ManuallyDrop<TrackedFuture<F>>,
}

impl<F> core::fmt::Debug for BudgetedFuture<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BudgetedFuture")
            .field("tracked", &self.tracked)
            .finish_non_exhaustive()
    }
}

/// Runs every poll of `future` inside the scope of `site`, and checks the whole call against `budget` when it ends or is dropped.
#[inline]
pub fn track_with_budget<F: Future>(
    site: &'static ScopeSite,
    budget: &'static CallBudget,
    future: F,
) -> BudgetedFuture<F> {
    BudgetedFuture {
        check: CallCheck::new(budget),
        tracked: ManuallyDrop::new(track(site, future)),
    }
}

impl<F: Future> Future for BudgetedFuture<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `tracked` is not moved out of: it is pinned again at once, and the other field is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let site = this.tracked.site;
        // SAFETY: `this` was pinned and `tracked` is structurally pinned: see its INVARIANT.
        let tracked = unsafe { Pin::new_unchecked(&mut *this.tracked) };
        this.check.around(site, || tracked.poll(context))
    }
}

impl<F> Drop for BudgetedFuture<F> {
    fn drop(&mut self) {
        let site = self.tracked.site;
        let tracked = &mut self.tracked;
        self.check.around(site, || {
            // SAFETY: dropped here and nowhere else, in place, and not used again.
            unsafe { ManuallyDrop::drop(tracked) };
        });
    }
}
