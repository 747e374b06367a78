//! Ids that survive edits, and baselines that hold them.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::*;

fn two_lines(first: u32, second: u32) -> World {
    let mut world = World::new();
    let requests = world.requests(N);
    for line in [first, second] {
        let frame = world.context(
            requests,
            &[RAW_VEC, PUSH, ("rows", "APP/src/rows.rs", line)],
            churned(10 * N, 800),
        );
        world.site(requests, steady(frame, N, 800));
    }
    world
}

fn ids(world: &World) -> Vec<String> {
    world
        .findings()
        .findings
        .into_iter()
        .map(|finding| finding.id)
        .collect()
}

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("allocscope-baseline-{}-{name}.json", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn ids_outlive_moved_lines_changed_verdicts_and_changed_types() {
    let id = |line: u32, change: &dyn Fn(&mut LoopSite), push: At| {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt_with(
            requests,
            &[RAW_VEC, push, ("rows", "APP/src/rows.rs", line)],
            800,
            change,
        );
        let finding = world.finding();
        (finding.id, finding.verdict)
    };
    let here = id(12, &|_| {}, PUSH);
    let moved = id(99, &|_| {}, PUSH);
    let judged_otherwise = id(12, &|site| site.crossed_await = N, PUSH);
    let of_another_type = id(12, &|_| {}, ("push<u8, alloc::alloc::Global>", PUSH.1, PUSH.2));
    assert_eq!(here.0.len(), 12);
    assert_eq!(
        (&moved.0, &judged_otherwise.0, &of_another_type.0),
        (&here.0, &here.0, &here.0)
    );
    assert_ne!(judged_otherwise.1, here.1);
    let other = id(12, &|_| {}, STRING);
    assert_ne!(other.0, here.0);
}

#[test]
fn equals_are_told_apart_by_their_order() {
    let (a, b) = (ids(&two_lines(10, 20)), ids(&two_lines(11, 95)));
    assert_eq!(a, b);
    assert_ne!(a[0], a[1]);
}

#[test]
fn only_new_findings_fail_and_stale_entries_are_told() {
    let findings = two_lines(10, 20).findings();
    let error = findings.check(&Baseline::default()).unwrap_err();
    assert_eq!(error.number(), 2);

    let mut baseline = Baseline::default();
    baseline.accept(&findings.findings[0], "measured, not worth it");
    let error = findings.check(&baseline).unwrap_err();
    assert_eq!(error.number(), 1);
    assert!(
        error.to_string().contains("src/rows.rs:20") && error.to_string().contains("1 more"),
        "{error}"
    );

    baseline.accept(&findings.findings[1], "until the rewrite");
    assert!(findings.check(&baseline).is_ok());

    let mut world = World::new();
    world.requests(N);
    let fixed = world.findings();
    assert!(fixed.check(&baseline).is_ok());
    let compared = fixed.new_since(&baseline);
    assert_eq!(
        (compared.new.len(), compared.accepted.len(), compared.stale.len()),
        (0, 0, 2)
    );
    assert!(
        compared.stale[0].what.starts_with("Vec<u64> in rows, each request"),
        "{:?}",
        compared.stale[0]
    );
}

#[test]
fn a_baseline_reads_back_what_it_wrote() {
    let findings = two_lines(10, 20).findings();
    let file = File::new("round", "");
    let mut baseline = Baseline::default();
    baseline.accept(&findings.findings[0], "why");
    baseline.accept(&findings.findings[0], "a better reason");
    baseline.save(&file.0).unwrap();
    let back = Baseline::load(&file.0).unwrap();
    assert_eq!(back, baseline);
    assert_eq!(back.accepted.len(), 1);

    baseline.accepted[0].reason = "  ".to_owned();
    let error = baseline.save(&file.0).unwrap_err().to_string();
    assert!(
        error.starts_with("failed to write baseline") && error.contains("has no reason"),
        "{error}"
    );
    assert_eq!(Baseline::load(&file.0).unwrap(), back);
}

#[test]
fn bad_baselines_are_refused_with_a_sentence() {
    for (name, text, says) in [
        ("empty", "", "EOF"),
        (
            "field",
            r#"{"baseline_version":1,"accepted":[{"id":"a","reasons":"x"}]}"#,
            "unknown field `reasons`",
        ),
        (
            "none",
            r#"{"baseline_version":1,"accepted":[{"id":"a"}]}"#,
            "missing field `reason`",
        ),
        (
            "blank",
            r#"{"baseline_version":1,"accepted":[{"id":"a","reason":" "}]}"#,
            "say why it is accepted",
        ),
        (
            "version",
            r#"{"baseline_version":9,"accepted":[]}"#,
            "this build reads 1",
        ),
        (
            "twice",
            r#"{"baseline_version":1,"accepted":[{"id":"a","reason":"x"},{"id":"a","reason":"y"}]}"#,
            "which an earlier entry has",
        ),
    ] {
        let file = File::new(name, text);
        let error = Baseline::load(&file.0).unwrap_err();
        assert!(error.is_format(), "{name}: {error}");
        let text = error.to_string();
        assert!(
            text.starts_with("failed to read baseline") && text.contains(says) && text.contains("allocscope-baseline"),
            "{name}: {text}"
        );
    }
    let error = Baseline::load("/nonexistent/baseline.json").unwrap_err();
    assert!(error.is_io());
}
