//! Differences of two snapshots.
#![forbid(unsafe_code)]

use super::*;

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
    assert_text(&diff.report().to_string(), include_str!("../snapshots/diff_run.txt"));
}

#[test]
fn diff_of_two_builds() {
    let mut after = payments_later();
    after.process.run_id = "r2".to_owned();
    after.process.pid = 4343;
    after.modules[0].build_id = "b2".to_owned();
    let diff = SnapshotDiff::between(&payments(), &after);
    assert_text(&diff.report().to_string(), include_str!("../snapshots/diff_builds.txt"));
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
