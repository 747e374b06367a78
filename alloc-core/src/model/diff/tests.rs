//! Diffs against a naive model of programs, and by hand.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::*;
use crate::model::{EpochChange, fixture};

/// Small and good enough: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

/// One grant of bytes to a block: by its allocation or by a reallocation. The history is the naive model.
struct Grant {
    context: usize,
    block: usize,
    bytes: u64,
    /// Time of the grant, and of its end by a free or by the next reallocation.
    from: u64,
    until: Option<u64>,
    /// It ended in a free.
    freed: bool,
    is_reallocation: bool,
}

const CONTEXTS: usize = 6;

/// A program with `CONTEXTS` contexts, recorded twice: as the tracker does it, and as a list of grants.
#[derive(Default)]
struct Program {
    time: u64,
    epoch: u32,
    grants: Vec<Grant>,
    /// Grant that holds each living block, with the epoch and time of the block's first grant.
    living: Vec<(usize, u32)>,
    born: Vec<u64>,
    counters: [Counters; CONTEXTS],
    older: [BTreeMap<u32, EpochChange>; CONTEXTS],
}

impl Program {
    fn older(&mut self, context: usize, born: u32) -> Option<&mut EpochChange> {
        let none = EpochChange {
            epoch: born,
            blocks: 0,
            bytes: 0,
            frees: 0,
            granted_bytes: 0,
        };
        (self.epoch > born).then(|| self.older[context].entry(born).or_insert(none))
    }

    fn grant(&mut self, context: usize, block: usize, born: u32, bytes: u64, is_reallocation: bool) {
        let counters = &mut self.counters[context];
        if is_reallocation {
            counters.total_reallocations += 1;
        } else {
            counters.total_allocations += 1;
        }
        counters.total_bytes += bytes;
        counters.live_blocks += 1;
        counters.live_bytes += bytes;
        if let Some(older) = self.older(context, born) {
            older.blocks += 1;
            older.bytes += bytes as i64;
            older.granted_bytes += bytes;
        }
        self.living.push((self.grants.len(), born));
        let from = self.time;
        self.grants.push(Grant {
            context,
            block,
            bytes,
            from,
            until: None,
            freed: false,
            is_reallocation,
        });
    }

    /// Ends a random block's grant; returns block and epoch of birth.
    fn end(&mut self, at: usize, freed: bool) -> (usize, u32) {
        let (grant, born) = self.living.swap_remove(at);
        let time = self.time;
        let grant = &mut self.grants[grant];
        (grant.until, grant.freed) = (Some(time), freed);
        let (context, bytes, block) = (grant.context, grant.bytes, grant.block);
        let counters = &mut self.counters[context];
        counters.total_frees += u64::from(freed);
        counters.freed_bytes += bytes;
        counters.live_blocks -= 1;
        counters.live_bytes -= bytes;
        if let Some(older) = self.older(context, born) {
            older.blocks -= 1;
            older.bytes -= bytes as i64;
            older.frees += u64::from(freed);
        }
        (block, born)
    }

    fn step(&mut self, random: &mut Random) {
        self.time += 1;
        let context = random.below(CONTEXTS as u64) as usize;
        let bytes = 1 + random.below(1000);
        match random.below(10) {
            0..5 => {
                let (block, born) = (self.born.len(), self.epoch);
                self.born.push(self.time);
                self.grant(context, block, born, bytes, false);
            }
            choice if !self.living.is_empty() => {
                let at = random.below(self.living.len() as u64) as usize;
                let (block, born) = self.end(at, choice < 8);
                if choice >= 8 {
                    self.grant(context, block, born, bytes, true);
                }
            }
            _ => {}
        }
    }

    /// Contexts 0 to 3 are on stacks 0 to 3 in the root; 4 and 5 are on stacks 0 and 1 in the scope `inner`.
    fn take(&mut self) -> (u64, Snapshot) {
        let mut snapshot = fixture::empty();
        snapshot.epoch = self.epoch;
        snapshot.uptime_ms = self.time;
        snapshot.modules.push(fixture::module("/bin/app", "b", 0x1000));
        snapshot.frames = (0..4).map(|at| fixture::frame(0, u64::from(at), "f", at)).collect();
        snapshot.stacks = fixture::stacks((0..4).map(|at| [at]));
        snapshot.scopes.push(fixture::scope(3, Some(1), "inner"));
        for context in 0..CONTEXTS {
            let (scope, stack) = place(context);
            let mut entry = fixture::context(if scope == 0 { 1 } else { 3 }, Some(stack as u32), 0);
            entry.counters = self.counters[context];
            entry.older = self.older[context].values().copied().collect();
            snapshot.contexts.push(entry);
        }
        self.epoch += 1;
        (self.time, snapshot)
    }

    /// The change in a window `(from, until]`, found by looking at every grant.
    fn brute_force(&self, from: u64, until: u64, counts: impl Fn(usize) -> bool) -> Change {
        let inside = |time: u64| from < time && time <= until;
        let mut change = Change {
            window: Some(WindowChange::default()),
            ..Change::default()
        };
        let window = change.window.as_mut().unwrap();
        for grant in self.grants.iter().filter(|grant| counts(grant.context)) {
            let bytes = grant.bytes as i64;
            let alive = |time: u64| grant.from <= time && grant.until.is_none_or(|end| end > time);
            let ended = grant.until.is_some_and(inside);
            if inside(grant.from) {
                change.bytes += bytes;
                if grant.is_reallocation {
                    change.reallocations += 1;
                } else {
                    change.allocations += 1;
                }
            }
            if ended {
                change.freed_bytes += bytes;
                change.frees += i64::from(grant.freed);
            }
            let net = i64::from(alive(until)) - i64::from(alive(from));
            change.net_blocks += net;
            change.net_bytes += net * bytes;
            if inside(self.born[grant.block]) {
                if alive(until) {
                    window.retained_blocks += 1;
                    window.retained_bytes += bytes;
                }
                if ended {
                    window.churn_blocks += i64::from(grant.freed);
                    window.churn_bytes += bytes;
                }
            } else {
                window.older_blocks += net;
                window.older_bytes += net * bytes;
            }
        }
        change
    }
}

/// Scope index and stack of a context.
fn place(context: usize) -> (usize, usize) {
    if context < 4 { (0, context) } else { (1, context - 4) }
}

#[test]
fn random_programs_agree_with_looking_at_every_grant() {
    for seed in 1..=40_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut program = Program {
            epoch: 1,
            ..Program::default()
        };
        let mut taken = Vec::new();
        for _ in 0..400 {
            program.step(&mut random);
            if random.below(60) == 0 {
                taken.push(program.take());
            }
        }
        taken.push(program.take());
        for (at, (from, before)) in taken.iter().enumerate() {
            for (until, after) in &taken[at..] {
                let diff = SnapshotDiff::between(before, after);
                assert!(diff.basis.exact && diff.basis.notes.is_empty());
                assert_eq!(diff.totals, program.brute_force(*from, *until, |_| true), "seed {seed}");
                for stack in 0..4_usize {
                    let frame = diff
                        .frames
                        .iter()
                        .position(|frame| frame.offset == stack as u64)
                        .unwrap() as u32;
                    let expected = program.brute_force(*from, *until, |context| place(context).1 == stack);
                    let site = diff.sites.iter().find(|site| site.stack.as_deref() == Some(&[frame]));
                    match site {
                        Some(site) => assert_eq!(site.change, expected, "seed {seed} stack {stack}"),
                        None => assert!(expected.is_zero(), "seed {seed} stack {stack}: {expected:?}"),
                    }
                }
                let inner = program.brute_force(*from, *until, |context| place(context).0 == 1);
                assert_eq!(
                    (diff.scopes[1].own, diff.scopes[1].inclusive),
                    (inner, inner),
                    "seed {seed}"
                );
                let root = program.brute_force(*from, *until, |context| place(context).0 == 0);
                assert_eq!(
                    (diff.scopes[0].own, diff.scopes[0].inclusive),
                    (root, diff.totals),
                    "seed {seed}"
                );
            }
        }
    }
}

/// Two snapshots of one context each, of different runs.
fn two_runs(build_before: &str, build_after: &str) -> (Snapshot, Snapshot) {
    let make = |run: &str, build: &str, load: u64, live: u64| {
        let mut snapshot = fixture::empty();
        snapshot.process.run_id = run.to_owned();
        snapshot.modules.push(fixture::module("/bin/app", build, load));
        snapshot.frames = vec![fixture::frame(0, 0x10, "f", 3), fixture::frame(0, 0x20, "main", 9)];
        snapshot.stacks = fixture::stacks([[0, 1]]);
        snapshot.scopes.push(fixture::scope(3, Some(1), "inner"));
        snapshot.contexts = vec![fixture::context(3, Some(0), live)];
        snapshot
    };
    (
        make("r1", build_before, 0x1000, 100),
        make("r2", build_after, 0x9000, 160),
    )
}

#[test]
fn two_runs_of_one_build_match_by_offset_despite_other_addresses_and_lines() {
    let (mut before, mut after) = two_runs("b", "b");
    // The tables may be in any order, and one side need not be resolved.
    before.frames.reverse();
    before.stacks = fixture::stacks([[1, 0]]);
    after.frames.iter_mut().for_each(|frame| frame.symbols.clear());
    after.scopes[1].id = crate::ScopeNodeId(44);
    after.contexts[0].scope = crate::ScopeNodeId(44);
    let diff = SnapshotDiff::between(&before, &after);
    assert_eq!((diff.basis.matching, diff.basis.exact), (Matching::SameBuild, false));
    assert_eq!(diff.sites.len(), 1);
    assert_eq!(
        (diff.sites[0].change.net_bytes, diff.sites[0].change.window),
        (60, None)
    );
    assert_eq!(
        diff.frames[0].symbols[0].function, "f",
        "symbols of the other side serve"
    );
    assert_eq!(diff.scopes[1].own.net_bytes, 60);
    assert!(
        diff.basis.notes[0].contains("matched by address"),
        "{:?}",
        diff.basis.notes
    );
}

#[test]
fn different_builds_match_by_symbol_and_line_and_say_so() {
    let (before, mut after) = two_runs("b", "c");
    for frame in &mut after.frames {
        frame.offset += 0x700;
    }
    let diff = SnapshotDiff::between(&before, &after);
    assert_eq!(diff.basis.matching, Matching::DifferentBuild);
    assert_eq!((diff.sites.len(), diff.sites[0].change.net_bytes), (1, 60));
    assert!(
        diff.basis
            .notes
            .iter()
            .any(|note| note.contains("sites in app are matched by function, file and"))
    );

    // A line that moved is another site; nothing is lost.
    after.frames[0].symbols[0].line = 4;
    let diff = SnapshotDiff::between(&before, &after);
    let mut net: Vec<i64> = diff.sites.iter().map(|site| site.change.net_bytes).collect();
    net.sort_unstable();
    assert_eq!((net, diff.totals.net_bytes), (vec![-100, 160], 60));

    // Without symbols there is nothing to match by, and equal offsets mean nothing.
    let (mut before, after) = two_runs("b", "");
    before.frames[0].symbols.clear();
    let diff = SnapshotDiff::between(&before, &after);
    assert_eq!(diff.sites.len(), 2);
    assert!(
        diff.basis
            .notes
            .iter()
            .any(|note| note.starts_with("1 frames have no symbols"))
    );
}

#[test]
fn the_wrong_order_is_said_and_nothing_is_called_retained() {
    let mut program = Program {
        epoch: 1,
        ..Program::default()
    };
    let mut random = Random(5);
    let (_, before) = program.take();
    (0..50).for_each(|_| program.step(&mut random));
    let (_, after) = program.take();
    let diff = SnapshotDiff::between(&after, &before);
    assert!(
        !diff.basis.exact && diff.basis.notes[0].contains("wrong order"),
        "{:?}",
        diff.basis
    );
    assert_eq!(diff.totals.window, None);
    assert_eq!(
        diff.totals.net_bytes,
        -SnapshotDiff::between(&before, &after).totals.net_bytes
    );
}

#[test]
fn spent_epochs_make_the_diff_inexact() {
    let (before, mut after) = (fixture::empty(), fixture::empty());
    after.epochs_exact = false;
    let diff = SnapshotDiff::between(&before, &after);
    assert!(
        !diff.basis.exact && diff.basis.notes[0].contains("epochs ran out"),
        "{:?}",
        diff.basis
    );
}

#[test]
fn contexts_without_a_stack_are_one_site() {
    let (before, mut after) = (fixture::empty(), fixture::empty());
    after.epoch = 2;
    after.contexts = vec![fixture::context(1, None, 10), fixture::context(1, None, 5)];
    let diff = SnapshotDiff::between(&before, &after);
    assert_eq!((diff.sites.len(), diff.sites[0].stack.clone()), (1, None));
    assert_eq!(diff.totals.window.unwrap().retained_bytes, 15);
}

#[test]
fn what_was_not_recorded_makes_the_diff_inexact() {
    let (before, mut after) = (fixture::empty(), fixture::empty());
    after.epoch = 2;
    assert!(SnapshotDiff::between(&before, &after).basis.exact);
    after.was_off = true;
    assert!(!SnapshotDiff::between(&before, &after).basis.exact);
    (after.was_off, after.tracker.dropped_events) = (false, 1);
    let diff = SnapshotDiff::between(&before, &after);
    assert!(!diff.basis.exact && diff.basis.notes.len() == 1, "{:?}", diff.basis);
}

#[test]
fn without_call_stacks_no_build_is_claimed() {
    let (mut before, mut after) = two_runs("b", "c");
    for side in [&mut before, &mut after] {
        side.frames.clear();
        side.stacks = fixture::stacks::<[u32; 0]>([]);
        side.contexts.iter_mut().for_each(|context| context.stack = None);
        side.modules.clear();
    }
    let diff = SnapshotDiff::between(&before, &after);
    assert_eq!(diff.basis.matching, Matching::DifferentBuild);
    assert!(
        diff.basis.notes.len() == 1 && diff.basis.notes[0].contains("without call stacks"),
        "{:?}",
        diff.basis.notes
    );
    assert_eq!(diff.scopes[1].own.net_bytes, 60, "scopes are matched all the same");
}

#[test]
fn scopes_of_one_name_stay_apart_across_runs() {
    for (builds, moved) in [(("b", "b"), 0), (("b", "c"), 7)] {
        let (mut before, mut after) = two_runs(builds.0, builds.1);
        for (side, down, order) in [(&mut before, 0, [0, 1]), (&mut after, moved, [1, 0])] {
            side.scopes.truncate(1);
            side.contexts.clear();
            for which in order {
                let id = 10 + which;
                let mut scope = fixture::scope(id, Some(1), "load");
                (scope.file, scope.line) = ("src/shop.rs".to_owned(), 100 + 50 * which + down);
                scope.peak_bytes = u64::from(1000 + 8000 * which);
                side.scopes.push(scope);
            }
        }
        let diff = SnapshotDiff::between(&before, &after);
        let found: Vec<_> = diff.scopes[1..]
            .iter()
            .map(|scope| (scope.line - moved, scope.peak_bytes_before, scope.peak_bytes_after))
            .collect();
        assert_eq!(found, [(150, 9000, 9000), (100, 1000, 1000)], "{builds:?}");
    }
}
