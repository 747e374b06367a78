//! The text, as a stranger reads it, and the JSON. Reviewed text is in `snapshots/`.
//!
//! When the text changes on purpose, look at what the failing test prints as a stranger would, then put it in the file.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::*;
use crate::model::GrowthClass;

/// A service with a bit of everything.
fn shop() -> World {
    let mut world = World::new();
    let serve = world.scope(1, "serve", ScopeKind::Function, 12);
    let requests = world.scope(serve, "shop::pay::handle", ScopeKind::Request, 30);
    world.observe(requests, N);
    let set = [TABLE, FROM_ITER, ("check_fraud", "APP/src/fraud.rs", 58)];
    let set = world.rebuilt_with(requests, &set, 147_472, |site| {
        (site.growths, site.grown, site.copied_bytes) = (12 * N, N, N * 140_000);
        site.temporaries.none = 3;
    });
    world.snapshot.contexts[set as usize].growth = Some(model_growth(1_400_000_000, &[(147_472, 10_000)]));
    let rows = [RAW_VEC, PUSH, ("receipt", "APP/src/receipt.rs", 12)];
    let receipt = world.rebuilt_with(requests, &rows, 8000, |site| {
        site.confined = 0;
        (site.growths, site.grown, site.copied_bytes) = (6 * N, N, 8000 * N);
    });
    world.snapshot.contexts[receipt as usize].counters.copied_bytes = 80_000_000;
    world.snapshot.contexts[receipt as usize].growth = Some(model_growth(0, &[(4000, 1000), (8000, 9000)]));
    let body = [RAW_VEC, PUSH, ("read_body", "APP/src/body.rs", 77)];
    world.rebuilt_with(requests, &body, 16_384, |site| site.crossed_await = N);
    let log = [STRING, FORMAT, ("log", "APP/src/log.rs", 5)];
    world.rebuilt_with(requests, &log, 4096, |site| {
        (site.temporaries.none, site.temporaries.one) = (900, 100);
    });
    let kept = [RAW_VEC, PUSH, ("remember", "APP/src/log.rs", 9)];
    let alive = Counters {
        total_allocations: 10 * N,
        total_bytes: 10 * N * 4096,
        live_blocks: 10 * N,
        live_bytes: 10 * N * 4096,
        ..Counters::default()
    };
    let kept = world.context(requests, &kept, alive);
    world.site(
        requests,
        LoopSite {
            confined: 0,
            ..steady(kept, N, 4096)
        },
    );
    let turns = world.scope(requests, "shop::pay::settle", ScopeKind::Loop, 90);
    world.observe(turns, 12);
    world.rebuilt(turns, &[RAW_VEC, PUSH, ("settle", "APP/src/pay.rs", 92)], 2048);
    world
}

#[test]
fn what_grows_inside_a_dependency_gets_no_capacity_that_nobody_can_write() {
    let advice = |frames: &[At]| {
        let mut world = World::new();
        let requests = world.requests(N);
        let context = world.rebuilt(requests, frames, 8000);
        world.snapshot.contexts[context as usize].growth = Some(model_growth(10_000_000, &[(8000, 10_000)]));
        let rows = world.findings().growth;
        assert_eq!(rows.len(), 1);
        rows[0].with_capacity.clone()
    };
    let line = ("parse", "APP/src/parse.rs", 7);
    let called = ("parse_file", "REG/syn-2.0.0/src/lib.rs", 900);
    let compiled = ("new", "REG/regex-1.11.1/src/regex/string.rs", 180);
    let items = ("next", "REG/syn-2.0.0/src/lib.rs", 5);
    let extend = ("extend<u64, I>", "LIB/alloc/src/vec/mod.rs", 3000);
    assert_eq!(advice(&[RAW_VEC, PUSH, line]), "Vec::with_capacity(1000)");
    for inside in [called, compiled] {
        let advice = advice(&[RAW_VEC, PUSH, inside, line]);
        assert!(
            advice.contains("inside a dependency") && !advice.contains("with_capacity"),
            "{advice}"
        );
    }
    // The own line's, whatever hands it the items.
    assert!(advice(&[RAW_VEC, PUSH, items, extend, line]).contains("with_capacity"));
}

fn model_growth(rehashed_bytes: u64, ended: &[(u64, u64)]) -> Box<crate::model::Growth> {
    let ended = ended.iter().map(|&(bytes, blocks)| GrowthClass { bytes, blocks });
    Box::new(crate::model::Growth {
        rehashed_bytes,
        ended: ended.collect(),
    })
}

fn assert_text(found: &str, reviewed: &str) {
    assert!(found == reviewed, "the text has changed:\n{found}");
    assert!(found.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn a_bit_of_everything() {
    assert_text(&shop().findings().to_string(), include_str!("../snapshots/shop.txt"));
}

#[test]
fn nothing_found() {
    let mut world = World::new();
    world.requests(N);
    assert_text(&world.findings().to_string(), include_str!("../snapshots/nothing.txt"));
}

#[test]
fn hostile_names_neither_break_lines_nor_panic() {
    let mut world = World::new();
    let scope = world.scope(1, &"x\u{1b}[31m\n".repeat(60), ScopeKind::Request, 3);
    world.observe(scope, N);
    world.rebuilt(scope, &[RAW_VEC, PUSH, ("f\n\u{7}", "APP/src/\u{1b}a.rs", 1)], 4096);
    let text = world.findings().to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn the_documentation_names_every_field() {
    let document = include_str!("../../../../docs/rebuilds.md");
    let mut json = shop().findings().to_json();
    json["process"].take();
    let mut names = BTreeSet::new();
    crate::model::fixture::field_names(&json, &mut names);
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/rebuilds.md does not name the field {name}"
        );
    }
}

#[test]
fn json_says_all_and_reads_back() {
    let findings = shop().findings();
    let json = findings.to_json();
    assert_eq!(json["findings_version"], 1);
    let first = &json["findings"][0];
    assert_eq!(first["verdict"], "reuse_instance");
    assert_eq!(first["line"]["collection"], "HashSet<u64>");
    assert_eq!(first["at_once"]["kind"], "one");
    assert_eq!(first["iteration"]["kind"], "request");
    let back: Findings = serde_json::from_value(json).unwrap();
    assert_eq!(back, findings);
}
