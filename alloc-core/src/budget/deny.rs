//! Sections of code in which nothing may be allocated: for real-time threads.
//!
//! Called by users. Read side. The thread is watched by the record side (`record::watch`) while a guard lives. Cost: nothing on threads
//! without a guard; on those with one, every allocation and free takes the slow way.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::marker::PhantomData;

use super::guards::{self, Guards};
use crate::control;
use crate::inside::inside_tracker;
use crate::model::Error;
use crate::record::settings::{self, Mode};
use crate::record::watch::{self, Denial, Watching};
use crate::report::stack_lines;

/// What happens when something is allocated where it is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDenied {
    /// The allocation is granted; the guard panics when it is dropped, with the call stack of the first one. Not at the allocation itself, because
    /// nothing may unwind out of an allocator.
    Panic,
    /// The process ends at the allocation, with its call stack on stderr.
    Abort,
    /// Counted: see [`DenyGuard::denied`].
    Count,
}

/// While it lives, the calling thread is expected to allocate nothing. Made by [`deny_allocations`].
#[must_use = "allocations are denied until the guard is dropped: bind it to a name (`_` alone drops it at once)"]
#[derive(Debug)]
pub struct DenyGuard {
    number: u64,
    on_denied: OnDenied,
    with_frees: bool,
    _not_send: PhantomData<*const ()>,
}

/// Denies allocations and reallocations on the calling thread until the guard is dropped.
///
/// # Overhead
/// Inside, some hundred instructions more per allocation and free; none elsewhere.
///
/// # Errors
/// When nothing would be seen: no `TrackingAllocator` is installed, or tracking is off.
///
/// # Examples
/// ```
/// use alloc_core::TrackingAllocator;
/// use alloc_core::budget::{OnDenied, deny_allocations, permit};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let mut samples = vec![0.0_f32; 64];
/// {
///     let real_time = deny_allocations(OnDenied::Panic)?;
///     samples.fill(0.5);
///     permit(|| println!("a line now and then is fine"));
///     assert_eq!(real_time.denied(), 0);
/// }
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn deny_allocations(on_denied: OnDenied) -> Result<DenyGuard, Error> {
    let before = watching("deny allocations")?;
    let Some(number) = guards::push(&GUARDS, before) else {
        return Err(guards_exhausted("deny allocations"));
    };
    let guard = DenyGuard {
        number,
        on_denied,
        with_frees: false,
        _not_send: PhantomData,
    };
    guard.set();
    Ok(guard)
}

thread_local! {
    static GUARDS: Guards = const { Guards::new() };
}

/// Why there is no guard.
#[cold]
pub(super) fn guards_exhausted(action: &str) -> Error {
    let most = guards::MOST;
    inside_tracker(|| {
        Error::not_measured(format!(
            "cannot {action}: {most} guards of this kind live on the thread already; drop those that are not needed"
        ))
    })
}

/// What is watched for now, if the tracker sees allocations at all.
pub(super) fn watching(action: &str) -> Result<Watching, Error> {
    inside_tracker(|| {
        if !control::is_installed() {
            return Err(Error::not_installed_to_measure());
        }
        let refused = |reason: &str| Error::not_measured(format!("cannot {action}: {reason}"));
        if settings::mode() == Mode::Off {
            return Err(refused("tracking is off; call alloc_core::set_mode(Mode::Scopes)"));
        }
        watch::get().ok_or_else(|| {
            refused("this thread has no state, because it is ending or the tracker is at its memory ceiling")
        })
    })
}

impl DenyGuard {
    fn set(&self) {
        let denial = match self.on_denied {
            OnDenied::Abort => Denial::Abort,
            OnDenied::Panic | OnDenied::Count => Denial::Note,
        };
        watch::set(watch::get().unwrap_or_default().denying(denial, self.with_frees));
    }

    /// Denies frees, too: they may take as long as allocations. In mode `sampled` the free of a block that was not sampled goes unseen.
    pub fn and_frees(mut self) -> Self {
        self.with_frees = true;
        self.set();
        self
    }

    /// Denied events so far, inside this guard and in no guard inside it.
    pub fn denied(&self) -> u64 {
        guards::found(&GUARDS, self.number).map_or(0, |found| found.denied)
    }
}

impl Drop for DenyGuard {
    fn drop(&mut self) {
        let Some(found) = guards::take(&GUARDS, self.number, Watching::with_denial_of) else {
            return;
        };
        if self.on_denied == OnDenied::Panic && found.denied != 0 && !std::thread::panicking() {
            let text = inside_tracker(|| denied_text(found.denied, found.first_context, found.first_size));
            panic!("{text}");
        }
    }
}

/// How many events were denied, and the call stack of the first. The caller is inside the tracker.
pub(crate) fn denied_text(count: u64, context: u32, size: u64) -> String {
    let events = if count == 1 { "event" } else { "events" };
    let mut text = format!("{count} {events} where allocations are denied; the first, of {size} bytes:");
    match control::snapshot_of_context(context, size) {
        Some(snapshot) => {
            for line in stack_lines(&snapshot) {
                // A `String` takes whatever is written to it.
                let _ = write!(text, "\n  {line}");
            }
        }
        None => text.push_str("\n  (no call stack recorded)"),
    }
    text
}

/// Runs `work` with allocations permitted again, inside [`deny_allocations`].
pub fn permit<R>(work: impl FnOnce() -> R) -> R {
    /// Also when the work panics.
    struct Permit(Option<Watching>);
    impl Drop for Permit {
        fn drop(&mut self) {
            if let (Some(before), Some(now)) = (self.0, watch::get()) {
                watch::set(now.with_permits_of(before));
            }
        }
    }
    let _permit = Permit(watch::get().inspect(|before| watch::set(before.permitting())));
    work()
}
