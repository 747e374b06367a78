//! The incident: a set of all risky users, built anew for every payment.
//!
//! A faithful translation of a service that was killed for its memory again and again. The list of risky users is
//! cached as JSON for some minutes. A request that finds it parses it and builds a `HashSet` to ask one question; a
//! request that does not reads the table, builds the set, stores the JSON, and answers.
//!
//! Rust frees the set when the request ends, so here nothing leaks for good: what remains is the price, in
//! allocations and time for each request, and a peak of one whole set for each request in flight.
#![forbid(unsafe_code)]

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use alloc_core::track_memory;
use serde_json::from_str;

use super::{Paths, Source};
use crate::{Fallible, clock::millis};

/// Name of the scope in reports.
pub const SCOPE: &str = "fraud (rebuild)";

/// This file, so that a program can quote the line that a report names.
pub const SOURCE: &str = include_str!("rebuild.rs");

/// Asks by rebuilding.
#[derive(Debug)]
pub struct RebuildCheck {
    source: Source,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl RebuildCheck {
    /// Keeps nothing but the way to the store.
    pub fn new(source: Source) -> RebuildCheck {
        RebuildCheck {
            source,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether the user is risky.
    #[track_memory(name = "fraud (rebuild)")]
    pub async fn check_fraud(&self, user_id: &str) -> Fallible<bool> {
        let Source {
            store, clock, expiry, ..
        } = &self.source;

        let cached = store.with_cached("risky_users", clock.now_ms(), |list| {
            let risky_set = HashSet::<String>::from_iter(from_str::<Vec<_>>(list)?);
            Fallible::Ok(risky_set.contains(user_id))
        })?;
        if let Some(is_risky) = cached {
            self.hits.fetch_add(1, Relaxed);
            return is_risky;
        }

        self.misses.fetch_add(1, Relaxed);
        let rows = store.active_risky_users()?;
        let risky_set: HashSet<String> = rows.into_iter().map(|row| row.user_id).collect();
        let list = serde_json::to_string(&risky_set)?;
        store
            .set_cached("risky_users", clock.now_ms() + millis(*expiry), list)
            .await?;
        Ok(risky_set.contains(user_id))
    }

    /// Requests that found the list cached, and requests that did not.
    pub fn paths(&self) -> Paths {
        Paths {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
        }
    }
}

/// The line that builds the set on the hit path, counted from 1.
pub fn rebuild_line() -> Option<u32> {
    let index = SOURCE
        .lines()
        .position(|line| line.trim_start().starts_with("let risky_set = HashSet::"))?;
    u32::try_from(index + 1).ok()
}
