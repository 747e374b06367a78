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

#[test]
fn blocks_are_named_only_where_there_are_some() {
    let before = payments();
    let mut after = payments();
    after.epoch = 2;
    let text = &mut after.contexts[4].counters;
    text.total_allocations += 1;
    text.total_bytes += 12_000;
    text.live_blocks += 1;
    text.live_bytes += 12_000;
    let diff = SnapshotDiff::between(&before, &after).report().to_string();
    assert!(diff.contains("retains most: 11.7 KiB in 1 block\n"), "{diff}");
    after.process.run_id = "r2".to_owned();
    let diff = SnapshotDiff::between(&before, &after).report().to_string();
    assert!(diff.contains("grows most: 11.7 KiB in 1 block\n"), "{diff}");
    assert!(diff.contains("asks for more: 11.7 KiB in 1 allocation\n"), "{diff}");
    for fewer in [0, 1] {
        // A block that grew is no block more; and more bytes may stand in fewer blocks.
        let text = &mut after.contexts[4].counters;
        text.total_allocations = before.contexts[4].counters.total_allocations;
        text.live_blocks = before.contexts[4].counters.live_blocks - fewer;
        let diff = SnapshotDiff::between(&before, &after).report().to_string();
        assert!(diff.contains("grows most: 11.7 KiB\n"), "{diff}");
        assert!(diff.contains("asks for more: 11.7 KiB\n"), "{diff}");
    }
}

#[test]
fn columns_of_the_whole_site_say_so() {
    let diff = SnapshotDiff::between(&payments(), &payments_later())
        .report()
        .to_string();
    for table in ["RETAINED by site", "CHURN by site", "OLDER BLOCKS by site"] {
        let from = diff.find(table).expect("the table");
        let head = diff[from..].lines().nth(1).expect("its head");
        assert!(head.ends_with("site growth site granted  site events"), "{head}");
    }
}
