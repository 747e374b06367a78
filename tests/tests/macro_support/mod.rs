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

/// What the attribute on a block writes above its functions.
pub use alloc_core::track_memory;

/// The part of the runtime that an expansion calls.
pub mod __private {
    use std::future::{Future, IntoFuture};
    use std::marker::PhantomData;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub use alloc_core::__private::Never;

    pub struct ScopeSite {
        pub name: &'static str,
        pub file: &'static str,
        pub line: u32,
        pub kind: &'static str,
    }

    impl ScopeSite {
        pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
            let kind = "function";
            Self { name, file, line, kind }
        }

        pub const fn request(name: &'static str, file: &'static str, line: u32) -> Self {
            let kind = "request";
            Self { name, file, line, kind }
        }

        pub const fn turn(name: &'static str, file: &'static str, line: u32) -> Self {
            let kind = "loop";
            Self { name, file, line, kind }
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

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum OnExceed {
        Warn,
        Panic,
        Count,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CallBudget {
        pub allocations: Option<u64>,
        pub bytes: Option<u64>,
        pub peak: Option<u64>,
        pub retained: Option<u64>,
        pub bounded: Option<u64>,
        pub on_exceed: OnExceed,
    }

    impl CallBudget {
        pub const fn new(is_debug: bool) -> Self {
            Self {
                allocations: None,
                bytes: None,
                peak: None,
                retained: None,
                bounded: None,
                on_exceed: if is_debug { OnExceed::Panic } else { OnExceed::Count },
            }
        }
    }

    macro_rules! limits {
        ($($name:ident)*) => {
            impl CallBudget {
                $(
                    pub const fn $name(mut self, limit: u64) -> Self {
                        self.$name = Some(limit);
                        self
                    }
                )*

                pub const fn on_exceed(mut self, on_exceed: OnExceed) -> Self {
                    self.on_exceed = on_exceed;
                    self
                }
            }
        };
    }
    limits!(allocations bytes peak retained bounded);

    thread_local! {
        static BUDGET: std::cell::Cell<Option<CallBudget>> = const { std::cell::Cell::new(None) };
    }

    /// The budget of the call that began last on this thread.
    pub fn last_budget() -> CallBudget {
        BUDGET.get().expect("no call had a budget")
    }

    fn begin(budget: &'static CallBudget) {
        super::note("budget");
        BUDGET.set(Some(*budget));
    }

    pub fn enter_with_budget(site: &'static ScopeSite, budget: &'static CallBudget) -> ScopeGuard {
        begin(budget);
        enter(site)
    }

    pub fn track_with_budget<F: Future>(
        site: &'static ScopeSite,
        budget: &'static CallBudget,
        future: F,
    ) -> TrackedFuture<F> {
        begin(budget);
        track(site, future)
    }

    /// A call that is entered by hand.
    pub struct Turn {
        site: &'static ScopeSite,
        is_begun: bool,
        is_entered: bool,
    }

    /// Belongs to its thread, and has no `Drop`.
    pub struct TurnGuard(PhantomData<*const ()>);

    impl Turn {
        pub fn new(site: &'static ScopeSite) -> Self {
            Self {
                site,
                is_begun: false,
                is_entered: false,
            }
        }

        pub fn enter(&mut self) -> TurnGuard {
            std::mem::forget(enter(self.site));
            (self.is_begun, self.is_entered) = (true, true);
            TurnGuard(PhantomData)
        }

        pub fn leave(&mut self, _: TurnGuard) {
            assert!(self.is_entered, "left twice");
            self.is_entered = false;
            super::note(format!("leave {}", self.site.short()));
        }
    }

    impl Drop for Turn {
        fn drop(&mut self) {
            if self.is_begun {
                let how = if self.is_entered { "end" } else { "cut off" };
                super::note(format!("{how} {}", self.site.short()));
            }
        }
    }

    pub fn between<T>((): (), value: T, (): ()) -> T {
        value
    }

    pub fn in_turn<F: IntoFuture>(future: F, guard: TurnGuard, turn: &mut Turn) -> InTurn<'_, F::IntoFuture> {
        let future = future.into_future();
        turn.leave(guard);
        InTurn { turn, future }
    }

    pub struct InTurn<'turn, F> {
        turn: &'turn mut Turn,
        future: F,
    }

    impl<F: Future> Future for InTurn<'_, F> {
        type Output = F::Output;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            // SAFETY: only `future` is pinned, and nothing moves it out.
            let this = unsafe { self.get_unchecked_mut() };
            let guard = this.turn.enter();
            // SAFETY: `self` was pinned.
            let result = unsafe { Pin::new_unchecked(&mut this.future) }.poll(context);
            this.turn.leave(guard);
            result
        }
    }

    pub fn carry<F: Future>(future: F, guard: TurnGuard, mut turn: Turn) -> TrackedFuture<F> {
        turn.leave(guard);
        turn.is_begun = false;
        track(turn.site, future)
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
