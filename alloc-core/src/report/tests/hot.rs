//! Hot paths: texts, rankings, names of sites.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn hot_paths_by_bytes() {
    let snapshot = payments();
    assert_text(
        &snapshot.report().to_string(),
        include_str!("../snapshots/hot_bytes.txt"),
    );
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
    assert_text(&report.to_string(), include_str!("../snapshots/hot_allocations.txt"));
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
            text.matches("no frame of the program has a name").count()
        ),
        (0, 1),
        "{text}"
    );
    let note = text.find("note:").expect("the note");
    assert!(
        note < text.find("Hottest").expect("the headline"),
        "first of all:\n{text}"
    );
    for cause in ["Snapshot::resolve()", "strip", "Snapshot::resolve_with"] {
        assert!(text.contains(cause), "{cause}:\n{text}");
    }
    let diff = SnapshotDiff::between(&bare, &bare).report().to_string();
    let note = diff.find("note: no frame").expect("the note");
    assert!(note < diff.find("WHOLE PROGRAM").expect("the totals"), "{diff}");
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
fn with_tracking_off_no_figure_is_shown() {
    let mut off = payments();
    off.mode = "off".to_owned();
    off.was_off = true;
    off.totals = Counters::default();
    off.peak_bytes = 0;
    off.contexts.clear();
    off.scopes.truncate(1);
    off.scopes[0] = crate::model::ScopeNode {
        own: Counters::default(),
        inclusive: Counters::default(),
        peak_bytes: 0,
        ..off.scopes[0].clone()
    };
    let text = off.report().to_string();
    assert!(text.contains("Nothing was recorded: tracking is off."), "{text}");
    assert!(
        !text.contains(" B") && !text.contains("nothing was allocated"),
        "{text}"
    );
    let json = off.report().to_json();
    assert!(json["live_bytes"].is_null() && json["peak_bytes"].is_null(), "{json:#}");
    assert!(
        json["notes"][0].as_str().unwrap().contains("tracking is off"),
        "{json:#}"
    );
}

#[test]
fn what_has_no_call_stack_is_called_that_everywhere() {
    let mut full = payments();
    let lost = full.contexts.last_mut().unwrap();
    lost.counters.total_allocations = 900_000_000;
    lost.counters.total_bytes = 200 << 30;
    full.tracker.other_allocations = 900_000_000;
    let text = full.report().to_string();
    assert!(
        text.contains("Hottest: not known, 98.2 % of all bytes granted has no call stack recorded\n"),
        "{text}"
    );
    assert!(text.contains("1. (no call stack recorded)"), "{text}");
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("900,000,000 allocations with no call stack recorded"),
        "{text}"
    );
    assert!(
        said.contains("ALLOCSCOPE_MEMORY_MIB") && !said.contains("\"other\""),
        "{text}"
    );
    assert!(
        full.report()
            .rank(Rank::Live)
            .to_string()
            .contains("Hottest: payments/src/fraud.rs:58")
    );
}

#[test]
fn one_is_singular() {
    let mut one = payments();
    one.totals.live_blocks = 1;
    one.contexts.truncate(1);
    one.contexts[0].counters.total_allocations = 1;
    one.contexts[0].counters.live_blocks = 1;
    let text = one.report().to_string();
    assert!(
        text.contains("in 1 allocation\n") && text.contains("in 1 block\n"),
        "{text}"
    );
    let text = one.report().rank(Rank::Live).to_string();
    assert!(text.contains("in 1 live block\n"), "{text}");
}

#[test]
fn a_budget_missed_by_one_byte_shows_every_byte() {
    let mut over = payments();
    over.budgets = vec![crate::model::BudgetStats {
        name: "pay".to_owned(),
        file: "src/main.rs".to_owned(),
        line: 75,
        calls_over: 1,
        bytes: Some(4000),
        worst_bytes: 4001,
        peak_bytes: Some(4000),
        worst_peak_bytes: 8000,
        ..Default::default()
    }];
    let text = over.report().to_string();
    assert!(
        text.contains("bytes        limit     4,000 B   worst     4,001 B\n"),
        "{text}"
    );
    assert!(
        text.contains("peak         limit     3.9 KiB   worst     7.8 KiB\n"),
        "{text}"
    );
}
