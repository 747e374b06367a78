//! A payment service as a hand-made model, and the same four seconds later.
#![forbid(unsafe_code)]

use crate::model::fixture::stacks;
use crate::model::{
    CallStats, Context, Counters, EpochChange, Frame, Module, ProcessInfo, SampleSum, Samples, Sampling, ScopeId,
    ScopeKind, ScopeNode, ScopeNodeId, Snapshot, Symbol, TrackerStats,
};

const LIBRARY: &str = "/rustc/59807616e/library";

pub(super) fn symbol(function: &str, file: &str, line: u32) -> Symbol {
    let file = file.replace("LIB", LIBRARY).replace("APP", "/home/me/payments");
    Symbol {
        function: function.to_owned(),
        file,
        line,
    }
}

pub(super) fn frame(offset: u64, symbols: Vec<Symbol>) -> Frame {
    Frame {
        module: Some(0),
        offset,
        symbols,
    }
}

#[derive(Clone, Copy, Default)]
struct Figures {
    allocations: u64,
    reallocations: u64,
    frees: u64,
    bytes: u64,
    copied: u64,
    live: u64,
    peak: u64,
}

fn counters(f: Figures) -> Counters {
    Counters {
        total_allocations: f.allocations,
        total_reallocations: f.reallocations,
        total_frees: f.frees,
        total_bytes: f.bytes,
        freed_bytes: f.bytes - f.live,
        copied_bytes: f.copied,
        live_blocks: f.allocations - f.frees,
        live_bytes: f.live,
        bytes_at_peak: f.peak,
    }
}

fn context(scope: u32, stack: Option<u32>, figures: Figures) -> Context {
    Context {
        scope: ScopeNodeId(scope),
        stack,
        counters: counters(figures),
        older: Vec::new(),
        samples: None,
        older_samples: Vec::new(),
        growth: None,
        lifetimes: None,
    }
}

fn scope(id: u32, parent: Option<u32>, name: &str, line: u32) -> ScopeNode {
    ScopeNode {
        id: ScopeNodeId(id),
        parent: parent.map(ScopeNodeId),
        scope: ScopeId(id - 1),
        name: name.to_owned(),
        file: if line == 0 {
            String::new()
        } else {
            "src/main.rs".to_owned()
        },
        line,
        kind: ScopeKind::Function,
        own: Counters::default(),
        inclusive: Counters::default(),
        peak_bytes: 0,
        self_peak_bytes: 0,
        own_samples: None,
        inclusive_samples: None,
        calls: CallStats::default(),
    }
}

/// A payment service that builds a set of 100,000 risky users for each request.
pub(super) fn payments() -> Snapshot {
    let main = frame(0x900, vec![symbol("main", "APP/src/main.rs", 12)]);
    let gate = symbol("on_alloc", "/home/me/allocscope/alloc-core/src/record/gate.rs", 40);
    let frames = vec![
        main,
        frame(
            0x100,
            vec![
                gate.clone(),
                symbol(
                    "reserve_rehash<(u64, ()), alloc::alloc::Global>",
                    "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs",
                    9,
                ),
                symbol(
                    "extend<u64, std::hash::random::RandomState>",
                    "LIB/std/src/collections/hash/set.rs",
                    1201,
                ),
                symbol(
                    "from_iter<u64, std::hash::random::RandomState, alloc::vec::into_iter::IntoIter<u64>>",
                    "LIB/std/src/collections/hash/set.rs",
                    1151,
                ),
                symbol(
                    "collect<alloc::vec::into_iter::IntoIter<u64>, std::collections::hash::set::HashSet<u64>>",
                    "LIB/core/src/iter/traits/iterator.rs",
                    2064,
                ),
                symbol("check_fraud", "APP/src/fraud.rs", 58),
            ],
        ),
        // The same line through another return address: the growth of the same set.
        frame(
            0x140,
            vec![
                gate.clone(),
                symbol(
                    "insert<u64, std::hash::random::RandomState>",
                    "LIB/std/src/collections/hash/set.rs",
                    900,
                ),
                symbol("check_fraud", "APP/src/fraud.rs", 58),
            ],
        ),
        frame(
            0x200,
            vec![
                gate.clone(),
                symbol("finish_grow<alloc::alloc::Global>", "LIB/alloc/src/raw_vec/mod.rs", 558),
                symbol("push<u64, alloc::alloc::Global>", "LIB/alloc/src/vec/mod.rs", 992),
                symbol(
                    "visit_seq<u64>",
                    "/home/me/.cargo/registry/src/i-1/serde-1.0.0/src/de/impls.rs",
                    1000,
                ),
                symbol("parse_users", "APP/src/fraud.rs", 41),
            ],
        ),
        frame(0x300, vec![symbol("{async_fn#0}", "APP/src/main.rs", 80)]),
        frame(
            0x320,
            vec![symbol(
                "poll<payments::pay::{async_fn_env#0}>",
                "/home/me/.cargo/registry/src/i-1/hyper-1.0.0/src/a.rs",
                7,
            )],
        ),
        frame(
            0x400,
            vec![
                gate,
                symbol("format", "LIB/alloc/src/fmt.rs", 659),
                symbol("{async_fn#0}", "APP/src/main.rs", 91),
            ],
        ),
        frame(0x500, vec![]),
    ];
    let mut scopes = vec![
        scope(1, None, "whole program", 0),
        scope(3, Some(1), "payments::pay", 75),
        ScopeNode {
            file: "src/fraud.rs".to_owned(),
            ..scope(4, Some(3), "payments::fraud::check_fraud", 30)
        },
        scope(5, Some(1), "startup", 20),
    ];
    let kib = 1024;
    let set = Figures {
        allocations: 900,
        frees: 899,
        bytes: 900 * 1600 * kib,
        live: 1600 * kib,
        peak: 4800 * kib,
        ..Figures::default()
    };
    let grown = Figures {
        allocations: 100,
        frees: 100,
        bytes: 100 * 1600 * kib,
        ..Figures::default()
    };
    let vec = Figures {
        allocations: 1000,
        reallocations: 15_000,
        frees: 1000,
        bytes: 1000 * 2048 * kib,
        copied: 1000 * 1023 * kib,
        live: 0,
        peak: 1024 * kib,
    };
    let text = Figures {
        allocations: 1_234_567,
        frees: 1_234_000,
        bytes: 98_765_432,
        live: 45_360,
        peak: 45_000,
        ..Figures::default()
    };
    let start = Figures {
        allocations: 7,
        frees: 2,
        bytes: 70_000,
        live: 60_000,
        peak: 60_000,
        ..Figures::default()
    };
    let lost = Figures {
        allocations: 3,
        frees: 3,
        bytes: 300,
        ..Figures::default()
    };
    let contexts = vec![
        context(5, Some(3), start),
        context(4, Some(0), set),
        context(4, Some(1), grown),
        context(4, Some(2), vec),
        context(3, Some(4), text),
        context(1, None, lost),
    ];
    let mut sums = vec![Counters::default(); 4];
    for context in &contexts {
        let own = match context.scope.0 {
            1 => 0,
            id => id as usize - 2,
        };
        crate::model::add_counters(&mut scopes[own].own, &context.counters);
        let chain: &[usize] = match own {
            2 => &[0, 1, 2],
            1 => &[0, 1],
            3 => &[0, 3],
            _ => &[0],
        };
        for &at in chain {
            crate::model::add_counters(&mut sums[at], &context.counters);
        }
    }
    for (scope, sum) in scopes.iter_mut().zip(&sums) {
        scope.inclusive = *sum;
        scope.peak_bytes = sum.bytes_at_peak + 100 * kib;
    }
    let call = |entered: u64, sum: &Counters, peak: u64, retained: u64| CallStats {
        entered,
        completed: entered - 1,
        allocations: sum.total_allocations,
        bytes: sum.total_bytes,
        max_peak_bytes: peak,
        sum_peak_bytes: peak * (entered - 1),
        retained_bytes: retained,
        ..CallStats::default()
    };
    scopes[1].calls = call(1001, &sums[1], 3700 * kib, 16_000);
    scopes[2].calls = call(1001, &sums[2], 3648 * kib, 0);
    scopes[3].calls = call(2, &sums[3], 66_000, 60_000);
    Snapshot {
        schema_version: crate::model::SCHEMA_VERSION,
        process: ProcessInfo {
            pid: 4242,
            run_id: "r1".to_owned(),
            executable: "payments".to_owned(),
        },
        taken_at_unix_ms: 1_700_000_000_000,
        uptime_ms: 12_345,
        epoch: 1,
        epochs_exact: true,
        mode: "exact".to_owned(),
        was_off: false,
        sampling: None,
        totals: sums[0],
        peak_bytes: 6 * 1024 * kib,
        scopes,
        contexts,
        stacks: stacks([&[1, 4, 5, 0][..], &[2, 4, 5, 0], &[3, 4, 5, 0], &[7, 3, 0], &[6, 5, 0]]),
        frames,
        modules: vec![Module {
            path: "/home/me/payments/target/release/payments".to_owned(),
            build_id: "b1".to_owned(),
            load_address: 0x5500_0000_0000,
            code: None,
        }],
        budgets: Vec::new(),
        loops: Vec::new(),
        contents: Vec::new(),
        tracker: TrackerStats {
            tracker_bytes: 1_300_000,
            tracker_bytes_limit: 256 << 20,
            threads: 9,
            contexts: 7,
            ..TrackerStats::default()
        },
    }
}

/// Four seconds later: 300 more requests, a cache that keeps texts, and a vector from start-up that grew.
pub(super) fn payments_later() -> Snapshot {
    let mut snapshot = payments();
    snapshot.epoch = 2;
    snapshot.uptime_ms += 4_000;
    let mib = 1 << 20;
    let churn = |c: &mut Counters, blocks: u64, bytes: u64| {
        c.total_allocations += blocks;
        c.total_frees += blocks;
        c.total_bytes += bytes;
        c.freed_bytes += bytes;
    };
    churn(&mut snapshot.contexts[1].counters, 300, 300 * 1600 * 1024);
    // The set that was alive at `before` was freed, and another made.
    snapshot.contexts[1].older = vec![EpochChange {
        epoch: 1,
        blocks: -1,
        bytes: -1600 * 1024,
        frees: 1,
        granted_bytes: 0,
    }];
    churn(&mut snapshot.contexts[3].counters, 300, 300 * 2048 * 1024);
    let text = &mut snapshot.contexts[4].counters;
    text.total_allocations += 20_000;
    text.total_bytes += 3 * mib;
    text.live_blocks += 20_000;
    text.live_bytes += 3 * mib;
    let start = &mut snapshot.contexts[0];
    start.counters.total_reallocations += 1;
    start.counters.total_bytes += 120_000;
    start.counters.freed_bytes += 60_000;
    start.counters.live_bytes += 60_000;
    start.older = vec![EpochChange {
        epoch: 1,
        blocks: 0,
        bytes: 60_000,
        frees: 0,
        granted_bytes: 120_000,
    }];
    for at in [1, 2] {
        snapshot.scopes[at].calls.entered += 300;
        snapshot.scopes[at].calls.completed += 300;
    }
    snapshot.peak_bytes += 3 * mib;
    snapshot
}

/// A run in mode `sampled` that was granted `bytes` in blocks of 16, all at one line and in one scope. So many samples were taken of what
/// was granted, and so many of these are alive; each stands for 512 KiB.
pub(super) fn sampled(bytes: u64, granted: u64, live: u64) -> Snapshot {
    const INTERVAL: u64 = 512 << 10;
    const SIZE: u64 = 16;
    let sum = |samples: u64| {
        let (n, interval, blocks) = (samples as f64, INTERVAL as f64, (INTERVAL / SIZE) as f64);
        SampleSum {
            samples,
            blocks: n * blocks,
            bytes: n * interval,
            blocks_variance: n * blocks * blocks,
            bytes_variance: n * interval * interval,
            interval_bytes: INTERVAL,
        }
    };
    let samples = Samples {
        granted: sum(granted),
        live: sum(live),
        temporary: sum(0),
    };
    let figures = |allocations: u64, total_bytes: u64| Counters {
        total_allocations: allocations,
        total_frees: allocations.saturating_sub(live * INTERVAL / SIZE),
        total_bytes,
        freed_bytes: total_bytes.saturating_sub(live * INTERVAL),
        live_blocks: live * INTERVAL / SIZE,
        live_bytes: live * INTERVAL,
        ..Counters::default()
    };
    let totals = figures(bytes / SIZE, bytes);
    let mut snapshot = payments();
    snapshot.mode = "sampled".to_owned();
    snapshot.totals = totals;
    snapshot.peak_bytes = live * INTERVAL;
    snapshot.sampling = Some(Sampling {
        interval_bytes: INTERVAL,
        current_interval_bytes: INTERVAL,
        largest_interval_bytes: INTERVAL,
        allocations: bytes / SIZE,
        bytes,
        samples,
        ..Sampling::default()
    });
    snapshot.scopes.truncate(2);
    for (scope, own) in snapshot.scopes.iter_mut().zip([Counters::default(), totals]) {
        scope.own = own;
        scope.own_samples = (own.total_bytes > 0 && granted > 0).then_some(samples);
        scope.inclusive = totals;
        scope.inclusive_samples = (granted > 0).then_some(samples);
        scope.peak_bytes = snapshot.peak_bytes;
    }
    snapshot.contexts.truncate(1);
    let context = &mut snapshot.contexts[0];
    context.scope = ScopeNodeId(3);
    context.stack = Some(2);
    context.counters = figures(granted * INTERVAL / SIZE, granted * INTERVAL);
    context.samples = Some(Box::new(samples));
    if granted == 0 {
        snapshot.contexts.clear();
    }
    snapshot
}
