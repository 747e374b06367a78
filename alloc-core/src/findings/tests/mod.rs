//! Hand-made snapshots, and what is found in them.
#![forbid(unsafe_code)]

mod baselines;
mod contents;
mod hostile;
mod nesting;
mod outermost;
mod outside;
mod parts;
mod texts;
mod verdicts;

use super::*;
use crate::ids::ScopeNodeId;
use crate::model::{Context, Counters, FreedBefore, LoopSite, LoopStats, Symbol, add_counters, fixture};

pub(super) const N: u64 = 1000;

/// A frame: function, file and line. `LIB`, `REG` and `APP` stand for the directories of the library, of the registry and of the program.
pub(super) type At = (&'static str, &'static str, u32);

pub(super) const RAW_VEC: At = ("finish_grow<alloc::alloc::Global>", "LIB/alloc/src/raw_vec/mod.rs", 500);
pub(super) const PUSH: At = ("push<u64, alloc::alloc::Global>", "LIB/alloc/src/vec/mod.rs", 2500);
pub(super) const STRING: At = ("with_capacity", "LIB/alloc/src/string.rs", 500);
pub(super) const FORMAT: At = ("format", "LIB/alloc/src/fmt.rs", 640);
pub(super) const TABLE: At = (
    "reserve_rehash<(u64, ()), alloc::alloc::Global>",
    "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs",
    9,
);
pub(super) const FROM_ITER: At = (
    "from_iter<u64, std::hash::random::RandomState, alloc::vec::into_iter::IntoIter<u64>>",
    "LIB/std/src/collections/hash/set.rs",
    1151,
);

/// A snapshot that is being written.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
}

impl World {
    pub(super) fn new() -> Self {
        let mut snapshot = fixture::empty();
        snapshot.process.executable = "shop".to_owned();
        snapshot
            .modules
            .push(fixture::module("/bin/shop", "abcd", 0x5500_0000_0000));
        Self { snapshot }
    }

    pub(super) fn scope(&mut self, parent: u32, name: &str, kind: ScopeKind, line: u32) -> u32 {
        let id = self.snapshot.scopes.len() as u32 + 1;
        let mut scope = fixture::scope(id, Some(parent), name);
        scope.kind = kind;
        scope.file = "src/main.rs".to_owned();
        scope.line = line;
        self.snapshot.scopes.push(scope);
        id
    }

    /// A request scope, observed in `observed` of ten times as many requests.
    pub(super) fn requests(&mut self, observed: u64) -> u32 {
        let scope = self.scope(1, "shop::serve::handle", ScopeKind::Request, 30);
        self.observe(scope, observed);
        scope
    }

    pub(super) fn observe(&mut self, scope: u32, observed: u64) {
        self.snapshot.loops.push(LoopStats {
            scope: ScopeNodeId(scope),
            iterations: 10 * observed,
            observed,
            recent: 0,
            suspended: 0,
            moved: 0,
            missed_events: 0,
            sites: Vec::new(),
        });
    }

    /// A call stack, innermost frame first, and what it allocated.
    pub(super) fn context(&mut self, scope: u32, frames: &[At], counters: Counters) -> u32 {
        let snapshot = &mut self.snapshot;
        let first = snapshot.frames.len() as u32;
        for &(function, file, line) in frames {
            let file = file
                .replace("LIB", "/rustc/59807616e/library")
                .replace("REG", "/home/me/.cargo/registry/src/index.crates.io-1")
                .replace("APP", "/home/me/shop");
            let mut frame = fixture::frame(0, u64::from(first) * 0x100 + u64::from(line), function, line);
            frame.symbols = vec![Symbol {
                function: function.to_owned(),
                file,
                line,
            }];
            snapshot.frames.push(frame);
        }
        let frames: Vec<u32> = (first..snapshot.frames.len() as u32).collect();
        let stack = snapshot.stacks.push(&frames, false, false);
        add_counters(&mut snapshot.totals, &counters);
        snapshot.contexts.push(Context {
            scope: ScopeNodeId(scope),
            stack: Some(stack as u32),
            counters,
            ..fixture::context(scope, None, 0)
        });
        snapshot.contexts.len() as u32 - 1
    }

    pub(super) fn site(&mut self, scope: u32, site: LoopSite) {
        let stats = self.snapshot.loops.iter_mut().find(|stats| stats.scope.0 == scope);
        stats.unwrap().sites.push(site);
    }

    /// One block of `size` bytes per iteration, made and freed in it. Gives the context.
    pub(super) fn rebuilt(&mut self, scope: u32, frames: &[At], size: u64) -> u32 {
        self.rebuilt_with(scope, frames, size, |_| {})
    }

    pub(super) fn rebuilt_with(
        &mut self,
        scope: u32,
        frames: &[At],
        size: u64,
        change: impl FnOnce(&mut LoopSite),
    ) -> u32 {
        let stats = self.snapshot.loops.iter().find(|stats| stats.scope.0 == scope).unwrap();
        let (iterations, observed) = (stats.iterations, stats.observed);
        let context = self.context(scope, frames, churned(iterations, size));
        let mut site = steady(context, observed, size);
        change(&mut site);
        self.site(scope, site);
        context
    }

    pub(super) fn findings(&self) -> Findings {
        Findings::of(&self.snapshot, &Options::default().relative_to("/home/me/shop"))
    }

    /// The one finding.
    pub(super) fn finding(&self) -> Finding {
        let findings = self.findings().findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.into_iter().next().unwrap()
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.findings().findings.iter().map(|finding| finding.verdict).collect()
    }
}

/// `blocks` blocks of `size` bytes, all freed.
pub(super) fn churned(blocks: u64, size: u64) -> Counters {
    Counters {
        total_allocations: blocks,
        total_frees: blocks,
        total_bytes: blocks * size,
        freed_bytes: blocks * size,
        ..Counters::default()
    }
}

/// A block in each of `observed` iterations, all of one size.
pub(super) fn steady(context: u32, observed: u64, size: u64) -> LoopSite {
    LoopSite {
        context,
        present: observed,
        allocations: observed,
        bytes: observed * size,
        blocks: observed,
        confined: observed,
        most_live: 1,
        one_live: observed,
        final_bytes: vec![size; observed.min(64) as usize],
        ..LoopSite::default()
    }
}

pub(super) fn before(context: u32, blocks: u64) -> FreedBefore {
    FreedBefore { context, blocks }
}
