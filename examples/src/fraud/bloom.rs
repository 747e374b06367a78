//! The second fix: a Bloom filter, built once and replaced when the list expires.
//!
//! About a byte and a quarter for each risky user at 1 % false positives, whatever the ids look like. A risky user is
//! always recognised; an honest one is refused with the stated probability. A service that must not do that asks the
//! store when, and only when, the filter says "risky".
#![forbid(unsafe_code)]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use alloc_core::track_memory;
use fastbloom::BloomFilter;

use super::{Paths, Source, refreshed::Refreshed};
use crate::{Fallible, store::Store};

/// Name of the scope of the check in reports.
pub const SCOPE: &str = "fraud (bloom)";
/// Name of the scope that builds the filter.
pub const REFRESH_SCOPE: &str = "refresh (bloom)";

/// Asks a filter that all requests share.
#[derive(Debug)]
pub struct BloomCheck {
    filter: Refreshed<BloomFilter>,
    hits: AtomicU64,
}

impl BloomCheck {
    /// Builds the filter and starts refreshing it.
    pub async fn start(source: Source) -> Fallible<BloomCheck> {
        let Source {
            store,
            clock,
            expiry,
            false_positives,
        } = source;
        let build = Arc::new(move || build_filter(&store, false_positives));
        Ok(BloomCheck {
            filter: Refreshed::start(clock, expiry, build).await?,
            hits: AtomicU64::new(0),
        })
    }

    /// Whether the user is risky, or, with the stated probability, looks it.
    #[track_memory(name = "fraud (bloom)")]
    pub fn check_fraud(&self, user_id: &str) -> bool {
        self.hits.fetch_add(1, Relaxed);
        self.filter.load().contains(user_id)
    }

    /// Requests, and times the filter was built.
    pub fn paths(&self) -> Paths {
        Paths {
            hits: self.hits.load(Relaxed),
            misses: self.filter.builds(),
        }
    }
}

#[track_memory(name = "refresh (bloom)")]
fn build_filter(store: &Store, false_positives: f64) -> Fallible<BloomFilter> {
    let rows = store.active_risky_users()?;
    // One more than the rows: a filter for no users at all is not defined.
    let mut filter = BloomFilter::with_false_pos(false_positives).expected_items(rows.len() + 1);
    for row in &rows {
        filter.insert(row.user_id.as_str());
    }
    Ok(filter)
}
