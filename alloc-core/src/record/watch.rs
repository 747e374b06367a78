//! Threads that are watched: allocations are denied on them, or made to fail.
//!
//! Record side. A watched thread's state is *occupied*, so each of its events takes the cold path (`gate`), which asks here; threads that
//! nobody watches pay nothing. Set up by `budget::deny` and `budget::fail`. A denied allocation is granted and noted, because nothing may
//! unwind out of an allocator: the guard reports it when it is dropped. Cost: two stores and a compare per event, on watched threads; with a
//! scope's name, a comparison of names for each scope around.

use crate::record::atomic::{AtomicU32, Ordering};

use super::block::{self, Header};
use super::counters::Counter;
use super::scope;
use super::sys;
use super::thread::{self, ThreadState};

/// What is done about an event where it is denied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    Note,
    Abort,
}

/// Kept in every thread's state. INVARIANT: zeroed memory is a valid, unused value. Written by the thread itself.
#[derive(Default)]
pub(crate) struct Watch {
    /// 0: nothing is denied; else one more than a `Denial`.
    denial: AtomicU32,
    /// Not 0: denied events are permitted for now.
    permits: AtomicU32,
    /// Not 0: frees are denied, too.
    frees: AtomicU32,
    denied: Counter,
    first_context: AtomicU32,
    first_size: Counter,
    /// Requests until the one that fails; 0: none does.
    fail_in: Counter,
    /// Not 0: all after it fail, too.
    fail_on: AtomicU32,
    failed: Counter,
    /// Id of a scope whose name the counted requests must be made in; 0: any.
    fail_scope: AtomicU32,
}

/// A copy of everything, to be put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watching {
    denial: u32,
    permits: u32,
    frees: u32,
    pub(crate) denied: u64,
    pub(crate) first_context: u32,
    pub(crate) first_size: u64,
    fail_in: u64,
    fail_on: u32,
    pub(crate) failed: u64,
    fail_scope: u32,
}

impl Watching {
    pub(crate) const NOTHING: Self = Self {
        denial: 0,
        permits: 0,
        frees: 0,
        denied: 0,
        first_context: 0,
        first_size: 0,
        fail_in: 0,
        fail_on: 0,
        failed: 0,
        fail_scope: 0,
    };

    /// Denies from now on; nothing denied so far.
    pub(crate) fn denying(self, denial: Denial, with_frees: bool) -> Self {
        Self {
            denial: denial as u32 + 1,
            permits: 0,
            frees: u32::from(with_frees),
            denied: 0,
            first_context: 0,
            first_size: 0,
            ..self
        }
    }

    pub(crate) fn permitting(self) -> Self {
        Self {
            permits: self.permits + 1,
            ..self
        }
    }

    /// Fails the `nth` request from now on, and with `all_after` those behind it.
    pub(crate) fn failing(self, nth: u64, all_after: bool, scope: Option<u32>) -> Self {
        Self {
            fail_in: nth,
            fail_on: u32::from(all_after),
            failed: 0,
            fail_scope: scope.unwrap_or(0),
            ..self
        }
    }

    /// The other's settings and findings about denial.
    pub(crate) fn with_denial_of(self, other: Self) -> Self {
        Self {
            denial: other.denial,
            permits: other.permits,
            frees: other.frees,
            denied: other.denied,
            first_context: other.first_context,
            first_size: other.first_size,
            ..self
        }
    }

    /// The other's settings and findings about failing.
    pub(crate) fn with_failing_of(self, other: Self) -> Self {
        other.with_denial_of(self)
    }

    pub(crate) fn with_permits_of(self, other: Self) -> Self {
        Self {
            permits: other.permits,
            ..self
        }
    }

    fn is_watching(self) -> bool {
        self.denial != 0 || self.fail_in != 0
    }
}

/// Of the calling thread; `None` when it has no state.
pub(crate) fn get() -> Option<Watching> {
    let watch = &thread::current_or_register()?.watch;
    Some(Watching {
        denial: watch.denial.load(Ordering::Relaxed),
        permits: watch.permits.load(Ordering::Relaxed),
        frees: watch.frees.load(Ordering::Relaxed),
        denied: watch.denied.get(),
        first_context: watch.first_context.load(Ordering::Relaxed),
        first_size: watch.first_size.get(),
        fail_in: watch.fail_in.get(),
        fail_on: watch.fail_on.load(Ordering::Relaxed),
        failed: watch.failed.get(),
        fail_scope: watch.fail_scope.load(Ordering::Relaxed),
    })
}

/// Sets what is watched for on the calling thread.
pub(crate) fn set(to: Watching) {
    let Some(thread) = thread::current_or_register() else {
        return;
    };
    let watch = &thread.watch;
    watch.denial.store(to.denial, Ordering::Relaxed);
    watch.permits.store(to.permits, Ordering::Relaxed);
    watch.frees.store(to.frees, Ordering::Relaxed);
    watch.denied.set(to.denied);
    watch.first_context.store(to.first_context, Ordering::Relaxed);
    watch.first_size.set(to.first_size);
    watch.fail_in.set(to.fail_in);
    watch.fail_on.store(to.fail_on, Ordering::Relaxed);
    watch.failed.set(to.failed);
    watch.fail_scope.store(to.fail_scope, Ordering::Relaxed);
    thread.set_watched(to.is_watching());
}

impl Watch {
    /// The thread has ended: nothing is watched for when another one takes its state.
    pub(super) fn forget(&self) {
        for zero in [
            &self.denial,
            &self.permits,
            &self.frees,
            &self.first_context,
            &self.fail_on,
            &self.fail_scope,
        ] {
            zero.store(0, Ordering::Relaxed);
        }
        for zero in [&self.denied, &self.first_size, &self.fail_in, &self.failed] {
            zero.set(0);
        }
    }

    /// True when the request that is made now is to fail.
    pub(crate) fn fails_now(&self, thread: &ThreadState) -> bool {
        let left = self.fail_in.get();
        if left == 0 || !self.counts_in(thread) {
            return false;
        }
        if left > 1 {
            self.fail_in.set(left - 1);
            return false;
        }
        if self.fail_on.load(Ordering::Relaxed) == 0 {
            self.fail_in.set(0);
        }
        self.failed.add(1);
        true
    }

    fn counts_in(&self, thread: &ThreadState) -> bool {
        let wanted = self.fail_scope.load(Ordering::Relaxed);
        if wanted == 0 {
            return true;
        }
        // Several sites may have the name: functions of one name, a name given twice, sites first entered later.
        let name = scope::site_info(wanted).map(scope::SiteInfo::name);
        let mut node = thread.scope().node.load(Ordering::Relaxed);
        while let Some(info) = scope::node_info(node) {
            let scope = info.scope();
            if scope == wanted || (scope != 0 && scope::site_info(scope).map(scope::SiteInfo::name) == name) {
                return true;
            }
            node = info.parent();
        }
        false
    }

    /// A request was granted, or with `is_free` a block freed.
    pub(crate) fn note(&self, header: Header, size: usize, is_free: bool) {
        let denial = self.denial.load(Ordering::Relaxed);
        if denial == 0
            || self.permits.load(Ordering::Relaxed) != 0
            || is_free && self.frees.load(Ordering::Relaxed) == 0
        {
            return;
        }
        if self.denied.get() == 0 {
            self.first_context.store(header.context().0, Ordering::Relaxed);
            self.first_size.set(size as u64);
        }
        self.denied.add(1);
        if denial == Denial::Abort as u32 + 1 {
            (crate::ON_DENIED)(header.context().0, size);
            sys::abort();
        }
    }
}

/// The header of a block that was granted just now.
pub(super) fn header_of(granted: *mut u8, size: usize, align: usize) -> Header {
    if align > block::SMALL_ALIGN {
        // SAFETY: every block of this alignment carries a header behind it; it was granted just now and nobody else has it.
        return unsafe { block::read_behind(granted, size) };
    }
    if !block::address_says_tracked(granted) {
        return Header::UNTRACKED;
    }
    // SAFETY: the address bit says that `write_front` made the block, which was granted just now.
    unsafe { block::read_front(granted) }.1
}

/// Scope id of one site with this name, which stands for all; `None` when no such scope was entered yet.
pub(crate) fn scope_named(name: &str) -> Option<u32> {
    (1..scope::site_count()).find(|&id| scope::site_info(id).is_some_and(|info| info.name() == name))
}
