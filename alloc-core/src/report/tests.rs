//! Reports of hand-made models, compared with reviewed text in `snapshots/`.
//!
//! When a report changes on purpose, look at the text that the failing test prints as a stranger would, then put it in
//! the file.
#![forbid(unsafe_code)]

use super::*;
use crate::model::{
    CallStats, Change, Context, Counters, EpochChange, Frame, Module, ProcessInfo, ScopeId, ScopeKind, ScopeNode,
    ScopeNodeId, Stack, Symbol, TrackerStats, WindowChange,
};

const LIBRARY: &str = "/rustc/59807616e/library";

fn symbol(function: &str, file: &str, line: u32) -> Symbol {
    let file = file.replace("LIB", LIBRARY).replace("APP", "/home/me/payments");
    Symbol {
        function: function.to_owned(),
        file,
        line,
    }
}

fn frame(offset: u64, symbols: Vec<Symbol>) -> Frame {
    Frame {
        module: Some(0),
        offset,
        symbols,
    }
}

fn stack(frames: &[u32]) -> Stack {
    Stack {
        frames: frames.to_vec(),
        truncated: false,
        foreign: false,
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
        stacks: vec![
            stack(&[1, 4, 5, 0]),
            stack(&[2, 4, 5, 0]),
            stack(&[3, 4, 5, 0]),
            stack(&[7, 3, 0]),
            stack(&[6, 5, 0]),
        ],
        frames,
        modules: vec![Module {
            path: "/home/me/payments/target/release/payments".to_owned(),
            build_id: "b1".to_owned(),
            load_address: 0x5500_0000_0000,
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
fn payments_later() -> Snapshot {
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

#[track_caller]
fn assert_text(actual: &str, expected: &str) {
    for line in actual.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line:?}");
        assert_eq!(line, line.trim_end(), "spaces at the end");
    }
    assert!(
        actual == expected,
        "the report reads:\n{actual}>>>end\nand not:\n{expected}"
    );
}

#[test]
fn hot_paths_by_bytes() {
    let snapshot = payments();
    assert_text(&snapshot.report().to_string(), include_str!("snapshots/hot_bytes.txt"));
}

#[test]
fn hot_paths_by_allocations_with_losses_and_a_limit() {
    let mut snapshot = payments();
    snapshot.tracker.other_allocations = 3;
    snapshot.tracker.truncated_stacks = 12_345;
    snapshot.tracker.own_live_bytes = 5000;
    snapshot.tracker.own_live_blocks = 5;
    snapshot.was_off = true;
    snapshot.scopes[1].calls.upper_bound_calls = 7;
    let report = snapshot
        .report()
        .rank(Rank::Allocations)
        .top(2)
        .relative_to("/home/me/payments");
    assert_text(&report.to_string(), include_str!("snapshots/hot_allocations.txt"));
}

#[test]
fn diff_of_one_run() {
    let diff = SnapshotDiff::between(&payments(), &payments_later());
    assert_eq!(
        diff.totals.window,
        Some(WindowChange {
            retained_blocks: 20_001,
            retained_bytes: (3 << 20) + 1600 * 1024,
            churn_blocks: 599,
            churn_bytes: 299 * 1600 * 1024 + 300 * 2048 * 1024,
            older_blocks: -1,
            older_bytes: 60_000 - 1600 * 1024,
        })
    );
    assert_text(&diff.report().to_string(), include_str!("snapshots/diff_run.txt"));
}

#[test]
fn diff_of_two_builds() {
    let mut after = payments_later();
    after.process.run_id = "r2".to_owned();
    after.process.pid = 4343;
    after.modules[0].build_id = "b2".to_owned();
    let diff = SnapshotDiff::between(&payments(), &after);
    assert_text(&diff.report().to_string(), include_str!("snapshots/diff_builds.txt"));
}

#[test]
fn other_rankings_put_their_own_line_first() {
    let snapshot = payments();
    let first = |rank: Rank| {
        let json = snapshot.report().rank(rank).to_json();
        json["sites"][0]["place"].as_str().unwrap().to_owned()
    };
    assert_eq!(first(Rank::Bytes), "payments/src/fraud.rs:41");
    assert_eq!(first(Rank::Allocations), "payments/src/main.rs:91");
    assert_eq!(first(Rank::Live), "payments/src/fraud.rs:58");
    assert_eq!(first(Rank::Peak), "payments/src/fraud.rs:58");
}

#[test]
fn contexts_of_one_line_and_collection_are_one_site() {
    let json = payments().report().to_json();
    let site = &json["sites"][1];
    assert_eq!(site["file"], "/home/me/payments/src/fraud.rs");
    assert_eq!(
        (&site["line"], &site["function"]),
        (&58.into(), &"fraud::check_fraud".into())
    );
    assert_eq!(site["collection"], "HashSet<u64>");
    assert_eq!(site["contexts"], 2);
    assert_eq!(site["counters"]["total_allocations"], 1000);
    assert_eq!(
        site["scopes"][0]["path"],
        serde_json::json!(["payments::pay", "payments::fraud::check_fraud"])
    );
    assert_eq!(site["stack"][0]["file"], "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs");
    assert_eq!(json["report_version"], REPORT_VERSION);
}

#[test]
fn a_nameless_async_body_is_named() {
    let json = payments().report().rank(Rank::Allocations).to_json();
    assert_eq!(json["sites"][0]["function"], "payments::pay");
    // A named function is never taken for the scope it runs in, and gets its module from its own scope.
    let function = |line: u32| {
        let sites = json["sites"].as_array().unwrap();
        sites.iter().find(|site| site["line"] == line).unwrap()["function"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (function(41), function(58)),
        ("parse_users".to_owned(), "fraud::check_fraud".to_owned())
    );
    // Nobody's type tells any more: the scope does.
    let mut snapshot = payments();
    snapshot.frames[5].symbols[0].function = "poll".to_owned();
    snapshot.scopes[1].name = "checkout".to_owned();
    let json = snapshot.report().rank(Rank::Allocations).to_json();
    assert_eq!(json["sites"][0]["function"], "checkout");
}

#[test]
fn missing_lines_and_symbols_are_said_once() {
    let mut bare = payments();
    for frame in &mut bare.frames {
        for symbol in &mut frame.symbols {
            symbol.file.clear();
            symbol.line = 0;
            symbol.function = format!("payments::fraud::{}", symbol.function.split('<').next().unwrap());
        }
    }
    let text = bare.report().to_string();
    assert_eq!(text.matches("no line tables").count(), 1, "{text}");
    assert!(
        text.contains("debug =\n") || text.contains("debug = \"line-tables-only\""),
        "{text}"
    );
    for frame in &mut bare.frames {
        frame.symbols.clear();
    }
    let text = bare.report().to_string();
    assert_eq!(
        (
            text.matches("no line tables").count(),
            text.matches("not resolved").count()
        ),
        (0, 1),
        "{text}"
    );
    assert!(text.contains("payments+0x100"), "{text}");
    assert!(!payments().report().to_string().contains("note:"));
}

#[test]
fn user_crates_move_the_site() {
    let snapshot = payments();
    let json = snapshot.report().user_crates(["serde"]).to_json();
    assert_eq!(json["sites"][0]["place"], "serde-1.0.0/src/de/impls.rs:1000");
    assert_eq!(json["sites"][0]["collection"], "Vec<u64>");
}

#[test]
fn an_empty_snapshot_reports_without_fuss() {
    let mut snapshot = payments();
    snapshot.contexts.clear();
    snapshot.scopes.truncate(1);
    snapshot.stacks.clear();
    snapshot.frames.clear();
    let text = snapshot.report().to_string();
    assert!(text.contains("nothing was allocated"), "{text}");
    let diff = SnapshotDiff::between(&snapshot, &snapshot);
    assert!(diff.totals.is_zero() && diff.sites.is_empty());
    assert_text(&diff.report().to_string(), include_str!("snapshots/diff_empty.txt"));
    snapshot.report().to_json();
    diff.report().to_json();
}

#[test]
fn absurd_figures_in_a_file_cause_no_panic() {
    let text = payments().to_json().unwrap();
    for number in ["18446744073709551615", "9223372036854775808", "0"] {
        // Every counter of 64 bits becomes the number; what is an index or an id stays.
        let mut value: Value = serde_json::from_str(&text).unwrap();
        spoil(&mut value, &serde_json::from_str(number).unwrap());
        let spoilt = Snapshot::from_json(&value.to_string()).unwrap();
        for (before, after) in [(&spoilt, &payments_later()), (&payments(), &spoilt), (&spoilt, &spoilt)] {
            let mut after = after.clone();
            after.contexts[0].older = vec![
                EpochChange {
                    epoch: 1,
                    blocks: i64::MIN,
                    bytes: i64::MAX,
                    frees: u64::MAX,
                    granted_bytes: 1
                };
                3
            ];
            let diff = SnapshotDiff::between(before, &after);
            assert!(diff.report().to_string().lines().all(|line| line.chars().count() <= 80));
            diff.report().to_json();
        }
        for rank in [Rank::Allocations, Rank::Bytes, Rank::Live, Rank::Peak] {
            assert!(
                spoilt
                    .report()
                    .rank(rank)
                    .to_string()
                    .lines()
                    .all(|line| line.chars().count() <= 80)
            );
            spoilt.report().rank(rank).to_json();
        }
    }
}

fn spoil(value: &mut Value, number: &Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let counts = [
                    "total_",
                    "_bytes",
                    "_blocks",
                    "bytes_",
                    "calls",
                    "completed",
                    "entered",
                    "uptime",
                ];
                if value.is_number() && counts.iter().any(|part| name.contains(part)) {
                    *value = number.clone();
                } else {
                    spoil(value, number);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| spoil(value, number)),
        _ => {}
    }
}

#[test]
fn hostile_names_cannot_break_the_page() {
    let mut snapshot = payments();
    for frame in &mut snapshot.frames {
        for symbol in &mut frame.symbols {
            symbol.function = format!("\u{1b}[31m{}\n{}", symbol.function, "x".repeat(300));
            symbol.file = format!("{}{}", "\n".repeat(90), symbol.file);
        }
    }
    for scope in &mut snapshot.scopes {
        scope.name = "\r\n\t".repeat(99);
    }
    let diff = SnapshotDiff::between(&payments(), &snapshot);
    for text in [snapshot.report().to_string(), diff.report().to_string()] {
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 80 && !line.contains(char::is_control)),
            "{text}"
        );
    }
}

#[test]
fn changes_add_up_over_sites_and_scopes() {
    let diff = SnapshotDiff::between(&payments(), &payments_later());
    let mut by_site = Change::default();
    diff.sites.iter().for_each(|site| by_site.add(&site.change));
    let mut by_scope = Change::default();
    diff.scopes.iter().for_each(|scope| by_scope.add(&scope.own));
    assert_eq!(by_site, diff.totals);
    assert_eq!(by_scope, diff.totals);
    assert_eq!(diff.scopes[0].inclusive, diff.totals);
}

#[test]
fn a_hundred_thousand_contexts_take_no_quadratic_time() {
    let mut snapshot = payments();
    let count = 100_000_u32;
    let (frames, template) = (snapshot.frames.len() as u32, snapshot.contexts[1].clone());
    for at in 0..count / 10 {
        let user = symbol("f", "APP/src/big.rs", at);
        snapshot.frames.push(frame(
            u64::from(at) + 0x10_0000,
            vec![symbol("push<u8>", "LIB/alloc/src/vec/mod.rs", 1), user],
        ));
    }
    snapshot.stacks = (0..count)
        .map(|at| stack(&[frames + at % (count / 10), frames + at / 10, 0, 4, 5]))
        .collect();
    snapshot.contexts = (0..count)
        .map(|at| Context {
            stack: Some(at),
            scope: ScopeNodeId(1 + at % 3 * 2),
            ..template.clone()
        })
        .collect();
    snapshot.scopes.truncate(4);
    let start = std::time::Instant::now();
    let text = snapshot.report().to_string();
    snapshot.report().to_json();
    let diff = SnapshotDiff::between(&snapshot, &snapshot);
    let diff_text = diff.report().to_string();
    // Seconds, unoptimised and on a busy machine; quadratic work would take many minutes.
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
    assert!(
        text.contains("of 10,000, together") && diff_text.contains("none"),
        "{text}{diff_text}"
    );
}

#[test]
fn roll_ups_sum_to_the_same_whole_whatever_they_group_by() {
    let snapshot = payments();
    let report = snapshot.report().top(1000);
    for group in [
        Group::Crate,
        Group::File,
        Group::Line,
        Group::Function,
        Group::Scope,
        Group::Collection,
    ] {
        let json = report.by(group).to_json();
        let rows = json["rows"].as_array().unwrap();
        let sum = |field: &str| {
            rows.iter()
                .map(|row| row["counters"][field].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!(sum("total_bytes"), snapshot.totals.total_bytes, "{group:?}");
        assert_eq!(sum("live_bytes"), snapshot.totals.live_bytes, "{group:?}");
        let text = report.by(group).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for row in rows {
            assert!(
                text.contains(&fit(row["name"].as_str().unwrap(), 80)),
                "{group:?}: {row}"
            );
        }
    }
}

#[test]
fn call_trees_are_as_wide_as_they_may_be_and_hold_both_ends() {
    let snapshot = payments();
    for direction in [Direction::Callees, Direction::Callers] {
        let tree = snapshot.report().tree(direction).least_share(0.0);
        let text = tree.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let first = text.lines().nth(1).unwrap();
        let is_line = |line: &str| line.contains("Vec<u64>");
        match direction {
            Direction::Callees => assert!(!is_line(first) && text.lines().any(is_line), "{text}"),
            Direction::Callers => assert!(is_line(first), "{text}"),
        }
        let longest = |columns: usize| {
            let report = snapshot.report().width(columns);
            let text = report.tree(direction).library(Library::Whole).to_string();
            text.lines().map(|line| line.chars().count()).max().unwrap()
        };
        assert!(longest(80) <= 80 && longest(80) <= longest(200) && longest(200) <= 200);
    }
}

#[test]
fn call_trees_show_the_source_that_is_there_and_nothing_of_what_is_not() {
    let mut snapshot = payments();
    let without = snapshot.report().tree(Direction::Callers).source().to_string();
    assert_eq!(without, snapshot.report().tree(Direction::Callers).to_string());
    // Not below `src`, which is the tracker.
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs");
    for symbol in snapshot.frames.iter_mut().flat_map(|frame| &mut frame.symbols) {
        if symbol.file.contains("payments") {
            (symbol.file, symbol.line) = (here.to_owned(), 1);
        }
    }
    let with = snapshot.report().tree(Direction::Callers).source().to_string();
    assert!(with.contains("| //! "), "{with}");
}

#[test]
fn histograms_hold_every_allocation_and_every_followed_block() {
    let mut snapshot = payments();
    snapshot.contexts[0].lifetimes = Some(crate::model::Lifetimes {
        blocks: 10,
        temporaries: crate::model::Temporaries {
            none: 4,
            one: 1,
            four: 0,
            eight: 2,
        },
    });
    let json = snapshot.report().histograms().to_json();
    let sum = |list: &str, field: &str| {
        let rows = json[list].as_array().unwrap().iter();
        rows.map(|row| row[field].as_u64().unwrap()).sum::<u64>()
    };
    let totals = snapshot.totals;
    assert_eq!(
        sum("sizes", "allocations"),
        totals.total_allocations + totals.total_reallocations
    );
    assert_eq!(sum("sizes", "bytes"), totals.total_bytes);
    assert_eq!(sum("lifetimes", "blocks"), 10);
    let text = snapshot.report().histograms().to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        text.contains("no other allocation             4      40.0 %  ################"),
        "{text}"
    );
    let temporary = snapshot.report().rank(Rank::Temporary).by(Group::Line).to_json();
    let bytes = snapshot.contexts[0].counters.total_bytes as f64 * 0.7;
    let sum: u64 = temporary["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["temporary_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, bytes.round() as u64);
    assert!(
        snapshot
            .report()
            .rank(Rank::Temporary)
            .to_string()
            .contains("short-lived")
    );
}
