//! Reports for people, and the same data as JSON.
#![forbid(unsafe_code)]

use std::fmt;

use crate::model::{Snapshot, SnapshotDiff};

/// What a hot-path report ranks its sites by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rank {
    /// Requests granted.
    Allocations,
    /// Bytes granted.
    #[default]
    Bytes,
    /// Live bytes now.
    Live,
    /// Bytes held at the moment of the process peak.
    Peak,
}

/// A hot-path report: print it, or take its JSON.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    snapshot: &'a Snapshot,
    top: usize,
    rank: Rank,
    user_crates: Vec<String>,
}

/// A report of what changed between two snapshots: print it, or take its JSON.
#[derive(Clone, Debug)]
pub struct DiffReport<'a> {
    diff: &'a SnapshotDiff,
    top: usize,
    user_crates: Vec<String>,
}

impl Snapshot {
    /// A hot-path report of this snapshot. Call [`resolve`](Self::resolve) first, or it names addresses.
    pub fn report(&self) -> Report<'_> {
        Report {
            snapshot: self,
            top: 10,
            rank: Rank::default(),
            user_crates: Vec::new(),
        }
    }
}

impl SnapshotDiff {
    /// A report of this diff.
    pub fn report(&self) -> DiffReport<'_> {
        DiffReport {
            diff: self,
            top: 10,
            user_crates: Vec::new(),
        }
    }
}

impl Report<'_> {
    /// How many sites and scopes to show; 10 by default.
    #[must_use]
    pub fn top(mut self, sites: usize) -> Self {
        self.top = sites;
        self
    }

    /// What to rank the sites by; bytes by default.
    #[must_use]
    pub fn rank(mut self, rank: Rank) -> Self {
        self.rank = rank;
        self
    }

    /// Names the crates that are the user's own.
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.user_crates = names.into_iter().map(Into::into).collect();
        self
    }

    /// The same data as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl DiffReport<'_> {
    /// How many sites and scopes to show; 10 by default.
    #[must_use]
    pub fn top(mut self, sites: usize) -> Self {
        self.top = sites;
        self
    }

    /// Names the crates that are the user's own.
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.user_crates = names.into_iter().map(Into::into).collect();
        self
    }

    /// The same data as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {} {:?} {}",
            self.snapshot.process.executable,
            self.top,
            self.rank,
            self.user_crates.len()
        )
    }
}

impl fmt::Display for DiffReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {} {}",
            self.diff.before.process.executable,
            self.top,
            self.user_crates.len()
        )
    }
}
