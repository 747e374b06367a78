//! Work of the read side on a thread of its own: resolving and writing reports takes long, and an async worker has other tasks to run.
//!
//! Called by the user. Read side. Invariants: the outcome is there before anybody is woken; whoever waits is woken also when the work panics.
//! Cost: a thread. Leaves out every runtime: what comes back is a plain future, which any of them can poll.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::inside::inside_tracker;
use crate::model::Error;

/// Runs `work` on a thread of its own. What comes back can be awaited, in any runtime, or [waited for](Background::wait) by a thread.
///
/// For programs that answer requests: [`Snapshot::take`](crate::Snapshot::take) is quick, but [`Snapshot::resolve`](crate::Snapshot::resolve) reads
/// debug information and writing reads and writes files, which takes a second or more. `tokio::task::spawn_blocking` does as well where it is
/// at hand.
///
/// The work goes on when what is returned is dropped; what it writes is complete or absent, even if the program ends first.
///
/// # Errors
/// [`Error::is_io`] when the system gives no thread.
///
/// # Examples
/// ```
/// use alloc_core::report::background;
/// use alloc_core::{Error, Snapshot, TrackingAllocator};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// async fn heap() -> Result<String, Error> {
///     let mut snapshot = Snapshot::take()?;
///     let text = background(move || {
///         snapshot.resolve();
///         snapshot.report().to_string()
///     });
///     Ok(text?.await)
/// }
/// ```
pub fn background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Background<T>, Error> {
    inside_tracker(|| {
        let slot = Arc::new(Slot::new());
        let filled = Arc::clone(&slot);
        let thread = thread::Builder::new().name("allocscope-report".to_owned());
        thread
            .spawn(move || filled.fill(catch_unwind(AssertUnwindSafe(work))))
            .map_err(|error| Error::io("start", Path::new("a thread for a report"), error))?;
        Ok(Background { slot })
    })
}

/// What [`background`] runs: a future, and something to wait for.
#[must_use = "await it or wait for it; the work runs on its own, but nobody sees what came of it"]
pub struct Background<T> {
    slot: Arc<Slot<T>>,
}

/// Where the outcome is put, and who is told.
struct Slot<T> {
    inner: Mutex<Inner<T>>,
    is_filled: Condvar,
}

struct Inner<T> {
    outcome: Option<thread::Result<T>>,
    /// Of the task that polled last.
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn new() -> Self {
        let inner = Inner {
            outcome: None,
            waker: None,
        };
        Self {
            inner: Mutex::new(inner),
            is_filled: Condvar::new(),
        }
    }

    /// Nothing that runs under the lock leaves it half done.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, outcome: thread::Result<T>) {
        let mut inner = self.lock();
        inner.outcome = Some(outcome);
        let waker = inner.waker.take();
        drop(inner);
        self.is_filled.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Background<T> {
    /// Waits for the work, and gives what it returned.
    ///
    /// # Panics
    /// With the panic of the work, if it panicked.
    pub fn wait(self) -> T {
        let mut inner = self.slot.lock();
        loop {
            if let Some(outcome) = inner.outcome.take() {
                drop(inner);
                return outcome.unwrap_or_else(|panic| resume_unwind(panic));
            }
            let waited = self.slot.is_filled.wait(inner);
            inner = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// # Panics
/// With the panic of the work, if it panicked. Never ready again after it was ready once, as futures may be.
impl<T> Future for Background<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut inner = self.slot.lock();
        match inner.outcome.take() {
            Some(outcome) => {
                drop(inner);
                Poll::Ready(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
            }
            None => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Background<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_done = self.slot.lock().outcome.is_some();
        f.debug_struct("Background")
            .field("is_done", &is_done)
            .finish_non_exhaustive()
    }
}
