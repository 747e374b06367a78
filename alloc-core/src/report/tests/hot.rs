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
