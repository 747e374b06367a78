//! Calls that are entered and left by hand: a turn of a loop that awaits, and a function that runs before it returns its future.
//!
//! Written by `#[track_memory]`: a [`Turn`] is one call, a [`TurnGuard`] says that its scope is entered now. The guard belongs to its
//! thread and is given back before each `.await`, or the program's future is not `Send`; the turn itself may be held. What is awaited
//! is polled inside the scope by [`InTurn`]. A turn that is dropped ends its call, entered or not: thus `break`, `return`, `?`, a panic and
//! the drop of a half-run future end a turn without a word from the macro.
//!
//! The guard holds nothing and has no `Drop`: a variable of a type that has one counts as held across an `.await` once it was
//! assigned a second time, even if it was moved away.
//!
//! Cost: one scope enter and leave per turn, and two for each `.await` that is ready at once, as for a poll.

use core::future::{Future, IntoFuture};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::future::TrackedFuture;
use crate::record::poll::{self, CallState, OpenPoll};
use crate::record::scope::ScopeSite;

/// One call of a scope that is entered as often as it goes on. Dropping it ends the call.
pub struct Turn {
    site: &'static ScopeSite,
    call: CallState,
    /// Some while the scope is entered.
    part: Option<OpenPoll>,
}

impl core::fmt::Debug for Turn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Turn").field("site", &self.site).finish_non_exhaustive()
    }
}

impl Turn {
    /// A call that has not begun.
    #[inline]
    #[must_use]
    pub fn new(site: &'static ScopeSite) -> Self {
        Self {
            site,
            call: CallState::NEW,
            part: None,
        }
    }

    /// Enters the scope: to begin the call, or to go on with it.
    #[inline]
    pub fn enter(&mut self) -> TurnGuard {
        self.part = Some(poll::enter_poll(self.site, &mut self.call).keep());
        TurnGuard(PhantomData)
    }

    /// Leaves the scope and ends the call.
    #[inline]
    fn end(&mut self) {
        if let Some(part) = self.part.take() {
            part.resume(&mut self.call).is_last();
        }
    }

    /// Leaves the scope without ending the call.
    #[inline]
    pub fn leave(&mut self, _: TurnGuard) {
        if let Some(part) = self.part.take() {
            drop(part.resume(&mut self.call));
        }
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        if self.part.is_none() {
            if !self.call.is_open() {
                return;
            }
            let _ = self.enter();
        }
        self.end();
    }
}

/// The scope of a [`Turn`] is entered on this thread. Not `Send`.
#[derive(Debug)]
pub struct TurnGuard(PhantomData<*const ()>);

/// Leaves the scope of `turn`, and polls `future` inside it. The guard stands in the middle because it is given up after `future` was
/// made, and before it is polled.
#[inline]
pub fn in_turn<F: IntoFuture>(future: F, guard: TurnGuard, turn: &mut Turn) -> InTurn<'_, F::IntoFuture> {
    let future = ManuallyDrop::new(future.into_future());
    turn.leave(guard);
    InTurn {
        turn,
        is_done: false,
        future,
    }
}

/// `value`, when guards have been given up before it and taken again after: arguments are evaluated in their order.
#[inline(always)]
pub fn between<T>((): (), value: T, (): ()) -> T {
    value
}

/// Runs every poll of `future` inside the call that `turn` began.
#[inline]
pub fn carry<F: Future>(future: F, guard: TurnGuard, mut turn: Turn) -> TrackedFuture<F> {
    turn.leave(guard);
    let call = core::mem::replace(&mut turn.call, CallState::NEW);
    TrackedFuture::resume(turn.site, call, future)
}

/// A future whose polls, and whose drop, run inside a [`Turn`].
#[must_use = "futures do nothing unless polled"]
pub struct InTurn<'turn, F> {
    turn: &'turn mut Turn,
    is_done: bool,
    /// INVARIANT: structurally pinned, never moved once pinned; dropped once: by the poll that finds it ready, which sets
    /// `is_done`, or in `Drop`.
    future: ManuallyDrop<F>,
}

impl<F> core::fmt::Debug for InTurn<'_, F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InTurn")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for InTurn<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is not moved out of: it is pinned again at once, and the other fields are not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        assert!(!this.is_done, "polled after it was ready");
        // SAFETY: `this` was pinned and `future` is structurally pinned: see its INVARIANT; it is not dropped, as `is_done` is not set.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        let guard = this.turn.enter();
        let result = future.poll(context);
        if result.is_ready() {
            this.is_done = true;
            // SAFETY: in place, and never again: `is_done` is set.
            unsafe { ManuallyDrop::drop(&mut this.future) };
        }
        this.turn.leave(guard);
        result
    }
}

impl<F> Drop for InTurn<'_, F> {
    #[inline]
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // Only an open call is entered again. It goes on: what else the turn holds is dropped after this.
        // After a panic in `poll` the scope is entered still.
        let guard = if self.turn.part.is_some() {
            Some(TurnGuard(PhantomData))
        } else {
            self.turn.call.is_open().then(|| self.turn.enter())
        };
        // SAFETY: in place, and the last thing that happens to it: `is_done` is not set, and `self` ends here.
        unsafe { ManuallyDrop::drop(&mut self.future) };
        if let Some(guard) = guard {
            self.turn.leave(guard);
        }
    }
}

/// What the body of a function that returns `!` is taken to give, where it stands inside something.
///
/// That there is no value of it is private: Rust 1.88 calls the code behind a call that gives a plainly empty type unreachable, and says so to
/// the user.
#[derive(Debug)]
pub struct Never(core::convert::Infallible);

impl Never {
    /// Is not called.
    pub fn never(self) -> ! {
        match self.0 {}
    }
}
