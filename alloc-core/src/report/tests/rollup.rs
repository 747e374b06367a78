//! Roll-ups.
#![forbid(unsafe_code)]

use super::*;

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
fn scopes_of_one_name_are_told_apart_by_their_places() {
    use crate::model::fixture as made_up;
    let mut snapshot = made_up::empty();
    for (id, line, bytes) in [(3, 10, 1000), (4, 20, 9000)] {
        let mut scope = made_up::scope(id, Some(1), "load");
        (scope.file, scope.line) = ("src/shop.rs".to_owned(), line);
        scope.calls.retained_bytes = bytes;
        snapshot.scopes.push(scope);
        snapshot.contexts.push(made_up::context(id, None, bytes));
    }
    let json = snapshot.report().by(Group::Scope).to_json();
    let rows = json["rows"].as_array().unwrap().iter();
    let rows: Vec<_> = rows
        .map(|row| (row["name"].as_str().unwrap(), row["retained_bytes"].as_u64()))
        .collect();
    assert_eq!(
        rows,
        [
            ("load (src/shop.rs:20)", Some(9000)),
            ("load (src/shop.rs:10)", Some(1000))
        ]
    );
}
