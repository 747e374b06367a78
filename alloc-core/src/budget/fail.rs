//! Allocations that fail on purpose: so that tests reach the paths for when memory runs out.
//!
//! Called by users, in tests. Read side. As `deny`, on the same mechanism. A request that fails is null to the caller and counts nothing. Cost:
//! nothing on threads without a guard.
#![forbid(unsafe_code)]

use std::marker::PhantomData;

use super::deny::{guards_exhausted, watching};
use super::guards::{self, Guards};
use crate::inside::inside_tracker;
use crate::model::Error;
use crate::record::watch::{self, Watching};

/// While it lives, an allocation of the calling thread fails. Made by [`fail_allocation`] and [`fail_allocations_from`].
#[must_use = "the failure is taken back when the guard is dropped: bind it to a name (`_` alone drops it at once)"]
#[derive(Debug)]
pub struct FailGuard {
    number: u64,
    nth: u64,
    all_after: bool,
    _not_send: PhantomData<*const ()>,
}

/// Makes the `nth` request of the calling thread fail, counted from 1: allocations and reallocations, of any size. Later ones are granted.
///
/// Code that cannot cope calls `handle_alloc_error`, which aborts the process: use it where the code under test calls `try_reserve` and
/// its like.
///
/// # Errors
/// When nothing would fail: no `TrackingAllocator` is installed, or tracking is off.
///
/// # Panics
/// When `nth` is 0.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, budget::fail_allocation};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let mut list: Vec<u64> = Vec::new();
/// let out_of_memory = fail_allocation(1)?;
/// assert!(list.try_reserve(10).is_err());
/// assert!(list.try_reserve(10).is_ok());
/// assert_eq!(out_of_memory.failed(), 1);
/// # Ok::<(), alloc_core::Error>(())
/// ```
#[track_caller]
pub fn fail_allocation(nth: u64) -> Result<FailGuard, Error> {
    begin(nth, false)
}

/// Makes the `nth` request of the calling thread fail, counted from 1, and all after it.
///
/// # Errors
/// As [`fail_allocation`].
///
/// # Panics
/// When `nth` is 0.
#[track_caller]
pub fn fail_allocations_from(nth: u64) -> Result<FailGuard, Error> {
    begin(nth, true)
}

thread_local! {
    static GUARDS: Guards = const { Guards::new() };
}

#[track_caller]
fn begin(nth: u64, all_after: bool) -> Result<FailGuard, Error> {
    assert!(nth != 0, "found request 0 to fail; the first is 1");
    let before = watching("make allocations fail")?;
    let Some(number) = guards::push(&GUARDS, before) else {
        return Err(guards_exhausted("make allocations fail"));
    };
    let guard = FailGuard {
        number,
        nth,
        all_after,
        _not_send: PhantomData,
    };
    watch::set(before.failing(nth, all_after, None));
    Ok(guard)
}

impl FailGuard {
    /// Counts, from now on, only requests made inside a scope called `name` (and in scopes inside it): inside any, if several
    /// places in the source have the name, together. One of them must have been entered before.
    ///
    /// # Errors
    /// When no scope of this name was entered yet.
    pub fn in_scope(self, name: &str) -> Result<Self, Error> {
        let found = watch::scope_named(name);
        let Some(scope) = found else {
            return Err(inside_tracker(|| {
                Error::not_measured(format!(
                    "cannot make allocations fail in the scope \"{name}\": it was not entered yet; enter it once before, and write its name as in \
                     reports"
                ))
            }));
        };
        watch::set(
            watch::get()
                .unwrap_or_default()
                .failing(self.nth, self.all_after, Some(scope)),
        );
        Ok(self)
    }

    /// Requests that were made to fail so far.
    pub fn failed(&self) -> u64 {
        guards::found(&GUARDS, self.number).map_or(0, |found| found.failed)
    }
}

impl Drop for FailGuard {
    fn drop(&mut self) {
        let _ = guards::take(&GUARDS, self.number, Watching::with_failing_of);
    }
}
