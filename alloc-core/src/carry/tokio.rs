//! Tokio tasks whose work is charged to the scope that started them. Feature `tokio`.
//!
//! Read side, public. Thin: Tokio's functions with the future or closure wrapped. The block that a task itself lives in is
//! granted by whoever spawns it, so it is charged to the same scope, and freed by whoever drops the task last.
#![forbid(unsafe_code)]

use core::future::Future;

use ::tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::{CarryFuture, current};

/// `tokio::spawn` that carries the current scope: same as `tokio::spawn(future.in_current_scope())`.
///
/// # Panics
/// As `tokio::spawn`, outside a runtime.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, carry, track_memory};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// #[track_memory(name = "request")]
/// async fn request() -> tokio::task::JoinHandle<Vec<u8>> {
///     carry::tokio::spawn(async { vec![0; 1 << 16] })
/// }
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let body = runtime.block_on(async { request().await.await })?;
/// let snapshot = alloc_core::Snapshot::take()?;
/// let request = snapshot.scopes.iter().find(|node| node.name == "request").expect("it was entered");
/// assert!(request.own.live_bytes >= body.len() as u64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    ::tokio::spawn(future.in_current_scope())
}

/// `tokio::task::spawn_blocking` that carries the current scope.
///
/// # Panics
/// As `tokio::task::spawn_blocking`, outside a runtime.
#[track_caller]
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    ::tokio::task::spawn_blocking(current().wrap_once(work))
}

/// `tokio::task::spawn_local` that carries the current scope.
///
/// # Panics
/// As `tokio::task::spawn_local`, outside a `LocalSet`.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    ::tokio::task::spawn_local(future.in_current_scope())
}

/// Tasks of a [`JoinSet`] that carry the current scope.
pub trait JoinSetExt<T> {
    /// [`JoinSet::spawn`] that carries the current scope.
    ///
    /// # Panics
    /// As [`JoinSet::spawn`], outside a runtime.
    #[track_caller]
    fn spawn_carried<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send;

    /// [`JoinSet::spawn_blocking`] that carries the current scope.
    ///
    /// # Panics
    /// As [`JoinSet::spawn_blocking`], outside a runtime.
    #[track_caller]
    fn spawn_blocking_carried<F>(&mut self, work: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send;
}

impl<T: 'static> JoinSetExt<T> for JoinSet<T> {
    fn spawn_carried<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.spawn(future.in_current_scope())
    }

    fn spawn_blocking_carried<F>(&mut self, work: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.spawn_blocking(current().wrap_once(work))
    }
}
