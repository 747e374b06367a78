//! Work that leaves the thread or the task stays in the scope it was started in.
//!
//! A scope is entered on one thread. What that thread hands to others, as a closure or as a future, runs in whatever scope they
//! are in, unless the scope is carried along: [`current`] gives a [`ScopeHandle`] of the scope the caller is in, which can be sent
//! anywhere, kept and cloned. The rest of this module is made of it:
//!
//! | work | how it is carried |
//! |---|---|
//! | a closure, run anywhere | [`ScopeHandle::in_scope`], [`ScopeHandle::wrap_once`] |
//! | a closure that is run for every item | [`ScopeHandle::wrap`], [`wrap_mut`](ScopeHandle::wrap_mut), [`wrap_pair`](ScopeHandle::wrap_pair) |
//! | a future | [`CarryFuture::in_current_scope`], [`CarryFuture::in_scope`] |
//! | a stream (feature `stream`) | `CarryStream`, with the same two methods |
//! | a thread | [`thread::spawn`], [`thread::ScopeExt`], [`thread::BuilderExt`] |
//! | a Tokio task (feature `tokio`) | `carry::tokio::spawn`, `spawn_blocking`, `spawn_local`, `JoinSetExt` |
//! | a Rayon job (feature `rayon`) | `carry::rayon::join`, `scope`, `spawn`, `ScopeExt` |
//!
//! # What is counted
//! What carried work allocates is charged to the scope node the handle was made in: its totals, live bytes and peak, and those
//! of the nodes around it. Scopes entered inside the work are children of that node. Carried work is no call: `entered`
//! and `completed` do not grow, and it is no part of the figures of the call that started it, which may long be over. If the thread
//! that runs it is inside a call, it is part of that one's figures, because that call executes it.
//!
//! Read side. Built on `record::carried`; every way to carry captures a handle in one place and enters it in one place
//! (`handle`), so all of them count alike.
#![forbid(unsafe_code)]

mod handle;
#[cfg(feature = "rayon")]
pub mod rayon;
pub mod thread;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "stream")]
use futures_core::Stream;

pub use handle::{EnteredScope, ScopeHandle, current};

pub use crate::future::InScope;

/// Gives futures a scope to be polled in, wherever they are polled.
///
/// # Examples
/// ```
/// use alloc_core::{CarryFuture, TrackingAllocator, scope};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let reply = {
///     let _scope = scope!("request");
///     async { vec![0_u8; 100] }.in_current_scope()
/// };
/// // Whoever polls `reply`, its hundred bytes belong to `request`.
/// # let mut reply = std::pin::pin!(reply);
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # let std::task::Poll::Ready(bytes) = reply.as_mut().poll(&mut context) else { unreachable!() };
/// # let snapshot = alloc_core::Snapshot::take()?;
/// # let request = snapshot.scopes.iter().find(|node| node.name == "request").expect("it was entered");
/// # assert_eq!(request.own.live_bytes, bytes.len() as u64);
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub trait CarryFuture: Future + Sized {
    /// Every poll, and the drop, run in the scope of `handle`.
    ///
    /// # Overhead
    /// One [`ScopeHandle::enter`] for each poll. The future grows by the size of a handle and is not boxed; whether it is `Send`
    /// or `Unpin` stays.
    fn in_scope(self, handle: ScopeHandle) -> InScope<Self> {
        InScope::new(self, handle)
    }

    /// Every poll, and the drop, run in the scope that the calling thread is in now.
    ///
    /// # Overhead
    /// As [`in_scope`](Self::in_scope).
    fn in_current_scope(self) -> InScope<Self> {
        InScope::new(self, current())
    }
}

impl<F: Future> CarryFuture for F {}

/// Gives streams a scope to be polled in, as [`CarryFuture`] does for futures. Feature `stream`.
///
/// To make a stream a scope of its own, use [`track_stream!`](crate::track_stream).
#[cfg(feature = "stream")]
pub trait CarryStream: Stream + Sized {
    /// Every poll, and the drop, run in the scope of `handle`.
    ///
    /// # Overhead
    /// As [`CarryFuture::in_scope`].
    fn in_scope(self, handle: ScopeHandle) -> InScope<Self> {
        InScope::new(self, handle)
    }

    /// Every poll, and the drop, run in the scope that the calling thread is in now.
    ///
    /// # Overhead
    /// As [`CarryFuture::in_scope`].
    fn in_current_scope(self) -> InScope<Self> {
        InScope::new(self, current())
    }
}

#[cfg(feature = "stream")]
impl<S: Stream> CarryStream for S {}
