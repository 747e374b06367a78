//! What observed contents make of a finding.
#![forbid(unsafe_code)]

use super::verdicts::looks_like_rust;
use super::*;
use crate::model::ContentStats;

const SET: At = (
    "from_iter<u64, std::hash::random::RandomState, alloc::vec::into_iter::IntoIter<u64>>",
    "LIB/std/src/collections/hash/set.rs",
    1151,
);

/// A set that is built in line 58, and what was seen of one in line 59.
fn finding(change: impl FnOnce(&mut ContentStats)) -> Finding {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt(requests, &[TABLE, SET, ("check_fraud", "APP/src/fraud.rs", 58)], 4096);
    let mut stats = ContentStats {
        file: "src/fraud.rs".to_owned(),
        line: 59,
        type_name: "std::collections::hash::set::HashSet<u64>".to_owned(),
        scope: Some(ScopeNodeId(requests)),
        observed: 100,
        compared: 99,
        equal_to_last: 99,
        distinct_at_least: 1,
        distinct_at_most: 1,
        ..ContentStats::default()
    };
    change(&mut stats);
    world.snapshot.contents.push(stats);
    world.finding()
}

#[test]
fn what_is_equal_each_time_is_to_be_kept() {
    let finding = finding(|_| {});
    assert_eq!(finding.verdict, Verdict::CacheValue);
    assert!(finding.to_string().contains("in all 99 comparisons"), "{finding}");
    assert!(finding.suggestion.explanation.contains("Build it once"), "{finding}");
    let code = &finding.suggestion.code;
    assert!(looks_like_rust(code), "{code}");
}

#[test]
fn what_is_replaced_now_and_then_is_to_be_kept_too() {
    let refreshed = finding(|stats| stats.equal_to_last = 97);
    assert_eq!(refreshed.verdict, Verdict::CacheValue);
    assert!(refreshed.to_string().contains("in 97 of 99 comparisons"), "{refreshed}");
}

#[test]
fn what_differs_or_was_seen_elsewhere_or_too_seldom_proves_nothing() {
    let changes: [fn(&mut ContentStats); 7] = [
        |stats| stats.equal_to_last = 60,
        |stats| (stats.compared, stats.equal_to_last) = (29, 29),
        |stats| stats.too_large = 1,
        |stats| stats.line = 57,
        |stats| stats.file = "src/other.rs".to_owned(),
        |stats| stats.scope = None,
        |stats| stats.type_name = "alloc::string::String".to_owned(),
    ];
    for change in changes {
        assert_eq!(finding(change).verdict, Verdict::ReuseInstance);
    }
}
