//! Snapshots that no sane program makes: empty, absurd, hostile, large.
#![forbid(unsafe_code)]

use super::*;
use crate::model::fixture::stacks;

#[test]
fn an_empty_snapshot_reports_without_fuss() {
    let mut snapshot = payments();
    snapshot.contexts.clear();
    snapshot.scopes.truncate(1);
    snapshot.stacks = Default::default();
    snapshot.frames.clear();
    let text = snapshot.report().to_string();
    assert!(text.contains("nothing was allocated"), "{text}");
    let diff = SnapshotDiff::between(&snapshot, &snapshot);
    assert!(diff.totals.is_zero() && diff.sites.is_empty());
    assert_text(&diff.report().to_string(), include_str!("../snapshots/diff_empty.txt"));
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
    snapshot.stacks = stacks((0..count).map(|at| [frames + at % (count / 10), frames + at / 10, 0, 4, 5]));
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
fn json_of_nested_scopes_grows_with_their_number() {
    let mut snapshot = payments();
    let node = snapshot.scopes[1].clone();
    let context = snapshot.contexts[1].clone();
    let mut nested = |scopes: u32| {
        snapshot.scopes.truncate(1);
        snapshot.contexts.clear();
        for at in 2..2 + scopes {
            let mut node = node.clone();
            (node.id, node.parent) = (ScopeNodeId(at), Some(ScopeNodeId(at - 1)));
            node.name = format!("scope {}", at - 2);
            let mut context = context.clone();
            context.scope = node.id;
            snapshot.scopes.push(node);
            snapshot.contexts.push(context);
        }
        snapshot.scopes[1].parent = Some(snapshot.scopes[0].id);
        snapshot.report().to_json()
    };
    let (json, bytes) = (nested(4000), nested(2000).to_string().len());
    assert!(
        json.to_string().len() < bytes * 11 / 5,
        "{} {bytes}",
        json.to_string().len()
    );

    let path = |at: usize| -> Vec<&str> {
        let path = json["scopes"][at]["path"].as_array().unwrap().iter();
        path.map(|name| name.as_str().unwrap()).collect()
    };
    assert_eq!(path(0), [""; 0]);
    assert_eq!(path(2), ["scope 0", "scope 1"]);
    let names = |range: std::ops::Range<usize>| range.map(|at| format!("scope {at}")).collect::<Vec<_>>();
    assert_eq!(path(32), names(0..32));
    let mark = |left_out: usize| vec![format!("({left_out} more)")];
    assert_eq!(path(33), [names(0..16), mark(1), names(17..33)].concat());
    assert_eq!(path(4000), [names(0..16), mark(3968), names(3984..4000)].concat());
    let of_site = json["sites"][0]["scopes"].as_array().unwrap();
    assert_eq!(of_site.len(), 4000);
    assert!(
        of_site
            .iter()
            .all(|scope| scope["path"].as_array().unwrap().len() <= 33)
    );
}
