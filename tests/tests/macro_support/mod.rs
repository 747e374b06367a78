//! A stand-in for the runtime that writes down what the attribute's expansion does.
//!
//! Used by the `macro_*` tests through `#[track_memory(crate = crate::recorder)]`: whatever the expansion calls must then
//! be found here, so a hard-wired path to the real runtime fails to compile or leaves no trace. One log per thread.
//! It leaves out everything about memory.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    unused_imports,
    reason = "each test file uses a part, in one edition or the other; nothing leaves the test"
)]

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Adds a line to this thread's log.
pub fn note(what: impl Into<String>) {
    LOG.with_borrow_mut(|log| log.push(what.into()));
}

/// What was logged since the last call.
pub fn log() -> Vec<String> {
    LOG.take()
}

/// Logs when it is dropped.
pub struct Noisy(pub &'static str);

impl Drop for Noisy {
    fn drop(&mut self) {
        note(format!("drop {}", self.0));
    }
}

/// Pending once, ready the next time.
#[derive(Default)]
pub struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        Poll::Pending
    }
}

/// Polls to the end, with a line in the log for each time the future waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => note("waiting"),
        }
    }
}

/// Polls once, then drops.
pub fn poll_once_and_drop<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
}

/// The part of the runtime that an expansion calls.
pub mod __private {
    use std::future::Future;
    use std::marker::PhantomData;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub struct ScopeSite {
        pub name: &'static str,
        pub file: &'static str,
        pub line: u32,
    }

    impl ScopeSite {
        pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
            Self { name, file, line }
        }

        fn short(&self) -> &'static str {
            self.name.rsplit("::").next().unwrap_or(self.name)
        }
    }

    pub struct ScopeGuard(&'static ScopeSite, PhantomData<*const ()>);

    impl Drop for ScopeGuard {
        fn drop(&mut self) {
            super::note(format!("leave {}", self.0.short()));
        }
    }

    thread_local! {
        static LAST: std::cell::Cell<Option<&'static ScopeSite>> = const { std::cell::Cell::new(None) };
    }

    /// The site entered last on this thread.
    pub fn last_site() -> &'static ScopeSite {
        LAST.get().expect("no scope was entered on this thread")
    }

    pub fn enter(site: &'static ScopeSite) -> ScopeGuard {
        LAST.set(Some(site));
        super::note(format!("enter {}", site.short()));
        ScopeGuard(site, PhantomData)
    }

    pub struct TrackedFuture<F> {
        site: &'static ScopeSite,
        future: F,
    }

    pub fn track<F: Future>(site: &'static ScopeSite, future: F) -> TrackedFuture<F> {
        TrackedFuture { site, future }
    }

    impl<F: Future> Future for TrackedFuture<F> {
        type Output = F::Output;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            let _guard = enter(self.site);
            // SAFETY: `future` is pinned whenever `self` is: nothing moves it out, and the type has no `Drop`.
            unsafe { self.map_unchecked_mut(|tracked| &mut tracked.future) }.poll(context)
        }
    }
}
