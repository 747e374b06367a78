//! What several test programs share: a seeded random source, blocks and futures to count, looking up scopes in snapshots, and
//! running oneself again.
//!
//! Used by the files in `tests/` and `oracle/`; no part of the product. It installs no allocator: each program has its own.
//! Random numbers and [`YieldOnce`] need no memory, so that a test may use them while it counts allocations. It leaves out
//! everything a single file needs alone, and the recording runtime of the `macro_*` tests, which another package includes too.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};

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

/// What `work` panics with, if it does.
///
/// # Panics
/// When the panic's message was not formatted: the product's are.
pub fn panic_text(work: impl FnOnce()) -> Option<String> {
    let error = catch_unwind(AssertUnwindSafe(work)).err()?;
    Some(*error.downcast::<String>().expect("our panics have a text"))
}

/// One block of `size` bytes, as long as it is held; none for 0.
#[must_use]
pub fn bytes(size: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(size))
}

/// Pending once; wakes its task at once. Needs no memory.
#[derive(Debug, Default)]
pub struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls once, on the calling thread; nobody is woken. Needs no memory.
pub fn poll<F: Future + ?Sized>(task: Pin<&mut F>) -> Poll<F::Output> {
    task.poll(&mut Context::from_waker(Waker::noop()))
}

/// A snapshot of this program.
///
/// # Panics
/// When the program has not installed the allocator.
#[must_use]
pub fn snapshot() -> Snapshot {
    Snapshot::take().expect("the allocator is installed")
}

/// Figures of a program: requests granted, reallocations, frees, bytes granted, bytes released, live blocks, live bytes.
pub type Figures = [i64; 7];

/// What the counters of the whole program grew by. Needs no memory.
#[must_use]
pub fn growth(before: &Snapshot, after: &Snapshot) -> Figures {
    let figures = |counters: &Counters| {
        [
            counters.total_allocations,
            counters.total_reallocations,
            counters.total_frees,
            counters.total_bytes,
            counters.freed_bytes,
            counters.live_blocks,
            counters.live_bytes,
        ]
    };
    let (before, after) = (figures(&before.totals), figures(&after.totals));
    std::array::from_fn(|index| after[index] as i64 - before[index] as i64)
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

/// The one node of the scope `name` as it is now.
///
/// # Panics
/// When there is none, or more than one.
#[must_use]
pub fn found(name: &str) -> ScopeNode {
    node(&snapshot(), name).clone()
}

/// Allocations, bytes, live bytes and frees of the node's own blocks as they are now.
///
/// # Panics
/// When there is no such node, or more than one.
#[must_use]
pub fn own(name: &str) -> [u64; 4] {
    let own = found(name).own;
    [own.total_allocations, own.total_bytes, own.live_bytes, own.total_frees]
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
