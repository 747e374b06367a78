//! Same contents: proof that what is built again and again is equal each time.
//!
//! Read side, public. [`observe_contents!`](crate::observe_contents) stands where a collection is complete; `findings` takes what it saw as
//! evidence that the value can be kept. Files: `hash` has the trait and the hash, `types` the trait for std's types, `seen` what is kept of one
//! path, `site` the place and its sampling. Never kept, never written: contents, and their hashes.
#![forbid(unsafe_code)]

mod hash;
mod seen;
mod site;
mod types;

pub use crate::model::{ContentStats, contents_built_at};
pub use hash::{Content, ContentHash, Hashed, MAX_STEPS};
pub use site::ContentSite;
pub(crate) use site::observed;

/// Observes contents: are they equal each time this line runs? Gives nothing.
///
/// `observe_contents!(&set)` or `observe_contents!("risky users", &set)`, with a reference to any [`Content`], right where the collection is
/// complete. The answer is in [`Snapshot::contents`](crate::Snapshot::contents), and makes a finding that says "cache the value" one with
/// proof. The expression is evaluated only in calls that are observed, so it should do nothing else.
///
/// # Accuracy
/// The first 32 calls are observed, then pairs of calls in a row with gaps that grow to about 1,024 calls. Contents count as equal when their
/// 64-bit hashes are, under a random key of the process: two different contents are taken for equal with a probability of 2⁻⁶³, so that a
/// million comparisons err once in ten trillion runs. Contents of more than [`MAX_STEPS`] elements are counted, not hashed.
///
/// # Overhead
/// A shared addition per call. A call that is observed hashes the contents, if another of the same length was seen before. Nothing is
/// allocated, and nothing is charged to the program. Nothing at all in mode `off`, without a
/// [`TrackingAllocator`](crate::TrackingAllocator), and in builds without the feature `tracking`. About 1 KiB of static memory.
///
/// # Examples
/// ```
/// use std::collections::HashSet;
/// use alloc_core::{TrackingAllocator, observe_contents, track_memory};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// #[track_memory(request)]
/// fn check_fraud(user: u64, list: &[u64]) -> bool {
///     let risky: HashSet<u64> = list.iter().copied().collect();
///     observe_contents!("risky users", &risky);
///     risky.contains(&user)
/// }
///
/// for user in 0..100 {
///     check_fraud(user, &[3, 5, 8]);
/// }
/// let snapshot = alloc_core::Snapshot::take()?;
/// assert!(snapshot.contents[0].is_equal_each_time(30));
/// # Ok::<(), alloc_core::Error>(())
/// ```
#[cfg(feature = "tracking")]
#[macro_export]
macro_rules! observe_contents {
    ($name:literal, $value:expr $(,)?) => {{
        static __ALLOCSCOPE_CONTENTS: $crate::__private::ContentSite =
            $crate::__private::ContentSite::new($name, ::core::file!(), ::core::line!());
        if __ALLOCSCOPE_CONTENTS.is_due() {
            __ALLOCSCOPE_CONTENTS.observe($value);
        }
    }};
    ($value:expr $(,)?) => {
        $crate::observe_contents!("", $value)
    };
}

/// Observes nothing: this build has no feature `tracking`.
#[cfg(not(feature = "tracking"))]
#[macro_export]
macro_rules! observe_contents {
    ($name:literal, $value:expr $(,)?) => {{
        const _: &str = $name;
        // Mistakes are errors still.
        if false {
            $crate::__private::have_contents($value);
        }
    }};
    ($value:expr $(,)?) => {
        $crate::observe_contents!("", $value)
    };
}

/// For builds without the feature `tracking`: what could be observed.
#[doc(hidden)]
pub fn have_contents<T: Content + ?Sized>(_: &T) {}
