//! What several test programs share: a seeded random source, a look-up of scopes in snapshots, and running oneself again.
//!
//! Used by the files in `tests/`; no part of the product. Random numbers need no memory, so that a test may draw them while it
//! counts allocations. It leaves out everything a single file needs alone.
#![forbid(unsafe_code)]

use std::process::Command;

use alloc_core::Snapshot;
use alloc_core::model::{Counters, ScopeNode};

/// Deterministic random numbers (splitmix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A source that `seed` determines.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A size from 1 to `most`, small ones as likely as large ones on a logarithmic scale.
    pub fn size(&mut self, most: usize) -> usize {
        let bits = self.below(most.ilog2() as usize + 1);
        ((1 << bits) + self.below(1 << bits)).min(most)
    }
}

/// A number from the environment, or `otherwise`.
#[must_use]
pub fn number_from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} takes a number"))
    })
}

/// Runs the current program again with `variables` set; fails with its output when it fails.
///
/// # Panics
/// When the program cannot be started or does not end well.
pub fn run_again(variables: &[(&str, &str)]) {
    let this = std::env::current_exe().expect("the running program has a path");
    let mut command = Command::new(this);
    command.envs(variables.iter().copied());
    let output = command.output().expect("it can be started again");
    assert!(
        output.status.success(),
        "{variables:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Every node of the scope `name`, on whatever path.
pub fn nodes<'a>(snapshot: &'a Snapshot, name: &'a str) -> impl Iterator<Item = &'a ScopeNode> {
    snapshot.scopes.iter().filter(move |node| node.name == name)
}

/// The one node of the scope `name`.
///
/// # Panics
/// When there is none, or more than one.
#[must_use]
pub fn node<'a>(snapshot: &'a Snapshot, name: &'a str) -> &'a ScopeNode {
    let mut found = nodes(snapshot, name);
    let first = found.next().unwrap_or_else(|| panic!("no scope is named {name}"));
    assert!(found.next().is_none(), "{name} was expected on one path only");
    first
}

/// Fails unless the parts of `snapshot` add up: contexts to scopes, scopes to totals, live to granted minus released; and
/// unless nothing was lost.
///
/// # Panics
/// When they do not.
pub fn check_sums(snapshot: &Snapshot) {
    let mut sum = Counters::default();
    for context in &snapshot.contexts {
        let one = &context.counters;
        assert!(
            one.total_frees <= one.total_allocations + one.total_reallocations,
            "more frees than blocks: {context:?}"
        );
        assert!(
            one.freed_bytes <= one.total_bytes,
            "more bytes freed than granted: {context:?}"
        );
        assert_eq!(one.live_bytes, one.total_bytes - one.freed_bytes, "{context:?}");
        sum.total_allocations += one.total_allocations;
        sum.total_reallocations += one.total_reallocations;
        sum.total_frees += one.total_frees;
        sum.total_bytes += one.total_bytes;
        sum.freed_bytes += one.freed_bytes;
        sum.copied_bytes += one.copied_bytes;
        sum.live_blocks += one.live_blocks;
        sum.live_bytes += one.live_bytes;
        sum.bytes_at_peak += one.bytes_at_peak;
    }
    assert_eq!(sum, snapshot.totals, "contexts add up to the totals");
    assert_eq!(
        snapshot.scopes[0].inclusive, snapshot.totals,
        "the root holds everything"
    );
    for node in &snapshot.scopes {
        let mut inclusive = node.own.total_bytes;
        for child in snapshot.scopes.iter().filter(|child| child.parent == Some(node.id)) {
            inclusive += child.inclusive.total_bytes;
        }
        assert_eq!(
            inclusive, node.inclusive.total_bytes,
            "self and children of {}",
            node.name
        );
    }
    let tracker = &snapshot.tracker;
    let lost = (tracker.corrupt_headers, tracker.dropped_events);
    assert_eq!(lost, (0, 0), "corrupt headers and dropped events");
}
