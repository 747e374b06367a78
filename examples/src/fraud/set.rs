//! The first fix: the set is built once, and replaced when the list expires.
//!
//! Exact answers, no allocation for a request, and one set kept in memory (two while it is replaced). An answer may be
//! as old as the expiry, as it may be in the incident's version.
#![forbid(unsafe_code)]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use alloc_core::track_memory;

use super::{Paths, Source, refreshed::Refreshed};
use crate::{Fallible, store::Store};

/// Name of the scope of the check in reports.
pub const SCOPE: &str = "fraud (set)";
/// Name of the scope that builds the set.
pub const REFRESH_SCOPE: &str = "refresh (set)";

/// Asks a set that all requests share.
#[derive(Debug)]
pub struct SetCheck {
    risky_set: Refreshed<HashSet<String>>,
    hits: AtomicU64,
}

impl SetCheck {
    /// Builds the set and starts refreshing it.
    pub async fn start(source: Source) -> Fallible<SetCheck> {
        let Source {
            store, clock, expiry, ..
        } = source;
        let risky_set = Refreshed::start(clock, expiry, Arc::new(move || build_set(&store))).await?;
        Ok(SetCheck {
            risky_set,
            hits: AtomicU64::new(0),
        })
    }

    /// Whether the user is risky.
    #[track_memory(name = "fraud (set)")]
    pub fn check_fraud(&self, user_id: &str) -> bool {
        self.hits.fetch_add(1, Relaxed);
        self.risky_set.load().contains(user_id)
    }

    /// Requests, and times the set was built.
    pub fn paths(&self) -> Paths {
        Paths {
            hits: self.hits.load(Relaxed),
            misses: self.risky_set.builds(),
        }
    }
}

#[track_memory(name = "refresh (set)")]
fn build_set(store: &Store) -> Fallible<HashSet<String>> {
    Ok(store.active_risky_users()?.into_iter().map(|row| row.user_id).collect())
}
