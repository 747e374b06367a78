//! Rayon jobs whose work is charged to the scope that started them. Feature `rayon`.
//!
//! Read side, public. Thin: Rayon's functions with the closures wrapped.
//!
//! A thread of Rayon's that waits for a job (in `join`, `scope`, at the end of a parallel iterator) runs other jobs meanwhile. Carried
//! ones are charged to the scope they come from all the same. Ones that are not carried are charged to the scope of the call
//! that waits, as everything is that this thread does meanwhile: mixing both kinds in one pool mixes up what is not carried.
//! In either case the job is executed by the call that waits, and is part of that call's own figures (`CallStats`).
//!
//! Parallel iterators: wrap the closures with [`ScopeHandle::wrap`](super::ScopeHandle::wrap) and its kin, or enter the handle
//! inside them. Not covered is what the iterators allocate between the closures (`collect` grows its parts on Rayon's threads):
//! that is in the scope of the thread, usually none. A pool whose threads are started for one scope alone can run whole under
//! it: enter the handle in `ThreadPoolBuilder::spawn_handler`, around `thread.run()`.
#![forbid(unsafe_code)]

use ::rayon::Scope;

use super::current;

/// `rayon::join` that carries the current scope to both closures.
///
/// # Panics
/// As `rayon::join`, when one of the closures does.
///
/// # Examples
/// ```
/// use alloc_core::carry;
///
/// #[alloc_core::track_memory]
/// fn sorted(mut values: Vec<u32>) -> Vec<u32> {
///     if values.len() < 1000 {
///         values.sort();
///         return values;
///     }
///     let upper = values.split_off(values.len() / 2);
///     let (lower, upper) = carry::rayon::join(|| sorted(values), || sorted(upper));
///     // ..and merge them.
///     # let mut values = [lower, upper].concat();
///     # values.sort();
///     # values
/// }
/// # assert!(sorted((0..5000).rev().collect()).is_sorted());
/// ```
pub fn join<A, B, RA, RB>(first: A, second: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let handle = current();
    ::rayon::join(handle.clone().wrap_once(first), handle.wrap_once(second))
}

/// `rayon::spawn` that carries the current scope.
pub fn spawn<F>(job: F)
where
    F: FnOnce() + Send + 'static,
{
    ::rayon::spawn(current().wrap_once(job));
}

/// `rayon::scope` that carries the current scope to `work`, which Rayon runs on a thread of its own when the caller is none.
/// Jobs that carry it further are spawned with [`ScopeExt::spawn_carried`].
///
/// # Panics
/// As `rayon::scope`, when `work` or a job does.
///
/// # Examples
/// ```
/// use alloc_core::carry::rayon::{self, ScopeExt as _};
///
/// let _scope = alloc_core::scope!("thumbnails");
/// let mut small = [vec![], vec![]];
/// rayon::scope(|jobs| {
///     for one in &mut small {
///         jobs.spawn_carried(move |_| one.resize(4096, 0_u8));
///     }
/// });
/// ```
pub fn scope<'scope, W, R>(work: W) -> R
where
    W: FnOnce(&Scope<'scope>) -> R + Send,
    R: Send,
{
    let handle = current();
    ::rayon::scope(move |jobs| handle.in_scope(|| work(jobs)))
}

/// Jobs of a Rayon scope that carry the current scope.
pub trait ScopeExt<'scope> {
    /// [`Scope::spawn`] that carries the scope of the thread that calls this.
    fn spawn_carried<F>(&self, job: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope;
}

impl<'scope> ScopeExt<'scope> for Scope<'scope> {
    fn spawn_carried<F>(&self, job: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let handle = current();
        self.spawn(move |jobs| handle.in_scope(|| job(jobs)));
    }
}
