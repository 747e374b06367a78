//! The handle of a scope, and the guard of work that runs in it.
//!
//! Read side, public. `ScopeHandle::capture` is the one place where a handle is made and `ScopeHandle::enter` the one where it
//! is entered; everything else in `carry` and `future` goes through them. Whatever else is to be carried with a scope becomes
//! a field of the handle and a field of the guard. Cost: see `record::carried`.
#![forbid(unsafe_code)]

use core::fmt;

use crate::budget::carried::{Token, Work};
use crate::ids::ScopeNodeId;
use crate::record::carried::{self, PartGuard};

/// A scope that work can be done in from anywhere: on another thread, in another task, later.
///
/// Made by [`current`]. A handle does not keep the call open that it was made in, and never goes bad.
#[derive(Clone)]
pub struct ScopeHandle {
    /// `None`: nothing was recorded where the handle was made.
    node: Option<ScopeNodeId>,
    /// The measurement that the work counts for.
    measurement: Token,
}

/// The scope that the calling thread is in.
///
/// Outside every scope this is the whole program, and work entered through it is charged to no scope, whatever the thread that
/// runs it is in. Where nothing is recorded (mode `off`, or a global allocator that is no `TrackingAllocator`) the handle is
/// empty: entering it does nothing, also after the mode was changed.
///
/// # Overhead
/// A few loads.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, current, scope};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let handle = {
///     let _scope = scope!("import");
///     current()
/// };
/// let worker = std::thread::spawn(move || {
///     // This thread is in no scope; `import` gets what follows.
///     handle.in_scope(|| vec![0_u8; 4096])
/// });
/// let bytes = worker.join().expect("no panic");
///
/// let snapshot = alloc_core::Snapshot::take()?;
/// let import = snapshot.scopes.iter().find(|node| node.name == "import").expect("it was entered");
/// assert_eq!(import.own.live_bytes, bytes.len() as u64);
/// # Ok::<(), alloc_core::Error>(())
/// ```
#[inline]
#[must_use = "a handle does nothing until work is done in its scope"]
pub fn current() -> ScopeHandle {
    ScopeHandle::capture()
}

impl ScopeHandle {
    #[inline]
    fn capture() -> Self {
        Self {
            node: carried::current_node(),
            measurement: Token::here(),
        }
    }

    /// Runs the calling thread in this scope until the guard is dropped.
    ///
    /// The guard belongs to the thread, as [`ScopeGuard`](crate::ScopeGuard) does, and must not be held across an `.await`: use
    /// [`CarryFuture`](super::CarryFuture) for futures. Guards are meant to be dropped in reverse order.
    ///
    /// # Overhead
    /// About 100 instructions for entering and leaving; a dozen in mode `off`.
    #[inline]
    pub fn enter(&self) -> EnteredScope {
        // The scope first: what is measured of the work lies in it.
        let scope = carried::enter_node(self.node);
        EnteredScope {
            _work: self.measurement.enter(),
            _scope: scope,
        }
    }

    /// Runs `work` in this scope, on the calling thread.
    ///
    /// # Overhead
    /// As [`enter`](Self::enter).
    ///
    /// # Panics
    /// When `work` does; the scope is left in any case.
    #[inline]
    pub fn in_scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        work()
    }

    /// `job` as a closure that runs in this scope, for any pool that takes a closure to run once.
    ///
    /// What the closure captured is dropped in the scope, too.
    ///
    /// # Examples
    /// ```
    /// let (jobs, from) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
    /// let pool = std::thread::spawn(move || from.into_iter().for_each(|job| job()));
    /// let _scope = alloc_core::scope!("import");
    /// jobs.send(Box::new(alloc_core::current().wrap_once(|| drop(vec![0_u8; 4096]))))?;
    /// # drop(jobs);
    /// # pool.join().expect("no panic");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wrap_once<R, F: FnOnce() -> R>(self, job: F) -> impl FnOnce() -> R + use<R, F> {
        move || self.in_scope(job)
    }

    /// `work` as a closure that runs in this scope for every item it is given: for `map`, `for_each` and their like on an
    /// iterator that other threads drive.
    ///
    /// The item may be a reference, but not one that lives only during the call, as `filter` passes it: there,
    /// write `.filter(move |item| handle.in_scope(|| ..))`.
    ///
    /// # Overhead
    /// One [`enter`](Self::enter) for each item.
    ///
    /// # Examples
    /// ```
    /// let _scope = alloc_core::scope!("import");
    /// let handle = alloc_core::current();
    /// let lines: Vec<String> = (0..3).map(handle.wrap(|n| format!("line {n}"))).collect();
    /// # assert_eq!(lines, ["line 0", "line 1", "line 2"]);
    /// ```
    pub fn wrap<A, R, F: Fn(A) -> R>(self, work: F) -> impl Fn(A) -> R + use<A, R, F> {
        move |item| self.in_scope(|| work(item))
    }

    /// As [`wrap`](Self::wrap), for a closure that changes what it captured.
    pub fn wrap_mut<A, R, F: FnMut(A) -> R>(self, mut work: F) -> impl FnMut(A) -> R + use<A, R, F> {
        move |item| self.in_scope(|| work(item))
    }

    /// As [`wrap`](Self::wrap), for a closure of two arguments: for `reduce`, `fold` and their like.
    pub fn wrap_pair<A, B, R, F: Fn(A, B) -> R>(self, work: F) -> impl Fn(A, B) -> R + use<A, B, R, F> {
        move |first, second| self.in_scope(|| work(first, second))
    }

    /// The node that work is charged to, as it is in the scopes of a snapshot; `None` for an empty handle.
    #[must_use]
    pub fn node(&self) -> Option<ScopeNodeId> {
        self.node
    }
}

impl fmt::Debug for ScopeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ScopeHandle");
        out.field("node", &self.node.map(|node| node.0));
        if let Some((name, file, line)) = self.node.and_then(carried::describe) {
            out.field("scope", &name).field("at", &format_args!("{file}:{line}"));
        }
        out.finish()
    }
}

/// Work in the scope of a [`ScopeHandle`], until this is dropped. Not `Send`: it belongs to the thread.
#[must_use = "the scope is left when the guard is dropped: bind it to a name (`_` alone drops it at once)"]
#[derive(Debug)]
pub struct EnteredScope {
    // Dropped in this order.
    _work: Work,
    _scope: PartGuard,
}
