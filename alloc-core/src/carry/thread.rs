//! Threads whose work is charged to the scope that started them.
//!
//! Read side, public. Thin: `std::thread` with the closure wrapped. Charged to the scope is what the closure does, and what it
//! captured and drops; the blocks that `std` makes for a new thread are granted by the thread that starts it, so they are
//! charged to the scope as well. What a thread does before and after the closure (its thread-locals are dropped after it) is
//! in no scope.
#![forbid(unsafe_code)]

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use super::current;

/// `std::thread::spawn` that carries the current scope.
///
/// # Panics
/// As `std::thread::spawn`, when the system starts no more threads.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, carry, track_memory};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// #[track_memory(name = "load")]
/// fn load() -> std::thread::JoinHandle<Vec<u8>> {
///     carry::thread::spawn(|| vec![0; 1 << 20])
/// }
///
/// let image = load().join().expect("no panic");
/// let snapshot = alloc_core::Snapshot::take()?;
/// let load = snapshot.scopes.iter().find(|node| node.name == "load").expect("it was entered");
/// assert!(load.own.live_bytes >= image.len() as u64);
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn spawn<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::spawn(current().wrap_once(work))
}

/// Scoped threads (`std::thread::scope`) that carry the current scope.
///
/// # Examples
/// ```
/// use alloc_core::carry::thread::ScopeExt as _;
///
/// let _scope = alloc_core::scope!("count words");
/// let text = "a b c";
/// std::thread::scope(|threads| {
///     threads.spawn_carried(|| text.split(' ').collect::<Vec<_>>().len());
/// });
/// ```
pub trait ScopeExt<'scope> {
    /// [`Scope::spawn`] that carries the scope of the thread that calls this.
    ///
    /// # Panics
    /// As [`Scope::spawn`].
    fn spawn_carried<F, T>(&'scope self, work: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope;
}

impl<'scope> ScopeExt<'scope> for Scope<'scope, '_> {
    fn spawn_carried<F, T>(&'scope self, work: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn(current().wrap_once(work))
    }
}

/// Threads made with a [`Builder`] that carry the current scope.
pub trait BuilderExt {
    /// [`Builder::spawn`] that carries the current scope.
    ///
    /// # Errors
    /// As [`Builder::spawn`], when the system starts no more threads.
    fn spawn_carried<F, T>(self, work: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static;

    /// [`Builder::spawn_scoped`] that carries the current scope.
    ///
    /// # Errors
    /// As [`Builder::spawn_scoped`].
    fn spawn_scoped_carried<'scope, 'env, F, T>(
        self,
        threads: &'scope Scope<'scope, 'env>,
        work: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope;
}

impl BuilderExt for Builder {
    fn spawn_carried<F, T>(self, work: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn(current().wrap_once(work))
    }

    fn spawn_scoped_carried<'scope, 'env, F, T>(
        self,
        threads: &'scope Scope<'scope, 'env>,
        work: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.spawn_scoped(threads, current().wrap_once(work))
    }
}
