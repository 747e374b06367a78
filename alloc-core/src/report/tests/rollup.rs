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
