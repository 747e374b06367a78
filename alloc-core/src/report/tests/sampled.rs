//! Estimates in reports: none of too few samples, and none above what is known.
#![forbid(unsafe_code)]

use super::*;

/// The lines that tell of the whole program.
fn totals_of(text: &str) -> &str {
    let from = text.find("WHOLE PROGRAM").expect("the totals");
    text[from..].split("\n\n").next().unwrap_or_default()
}

#[test]
fn too_few_samples_give_no_number_in_any_line() {
    // Four samples say 2 MiB, of which only 1.5 MiB were ever granted.
    let snapshot = sampled(1_600_000, 4, 4);
    let text = snapshot.report().to_string();
    assert!(
        text.contains(
            "Hottest: payments/src/fraud.rs:41, estimated: too few samples (4)\n  parse_users builds Vec<u64>\n"
        ),
        "{text}"
    );
    let totals = totals_of(&text);
    assert!(totals.contains("live now      too few samples (4)"), "{text}");
    assert!(totals.contains("bytes freed   too few samples (0)"), "{text}");
    assert!(
        totals.contains("frees               few (0)") && totals.contains("peak            few samples"),
        "{text}"
    );
    assert!(!text.contains("2.0 MiB") && !text.contains("131,072"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        text.contains("in scope payments::pay\n"),
        "no more than all of it:\n{text}"
    );
    for rank in [Rank::Live, Rank::Allocations] {
        let text = snapshot.report().rank(rank).to_string();
        assert!(
            text.contains("Hottest: payments/src/fraud.rs:41, estimated: too few samples (4)"),
            "{text}"
        );
    }
    let json = snapshot.report().to_json();
    assert!(json["live_bytes"].is_null() && json["peak_bytes"].is_null(), "{json:#}");
    assert!(json["freed_bytes"].is_null(), "{json:#}");
}

#[test]
fn nothing_alive_among_few_samples_is_not_nothing_alive() {
    let text = sampled(400_000, 0, 0).report().to_string();
    let totals = totals_of(&text);
    assert!(totals.contains("live now      too few samples (0)"), "{text}");
    assert!(totals.contains("bytes freed   too few samples (0)"), "{text}");
    assert!(!text.contains("0 B in 0 blocks"), "{text}");
    // Of much that was freed the samples do tell.
    let text = sampled(100 << 20, 200, 0).report().to_string();
    let totals = totals_of(&text);
    assert!(totals.contains("bytes freed   100.0 MiB"), "{text}");
    assert!(totals.contains("live now      too few samples (0)"), "{text}");
}

#[test]
fn no_estimate_is_shown_above_what_was_granted() {
    // Thirty samples say 15 MiB, of 10 that were granted.
    let snapshot = sampled(10 << 20, 30, 30);
    for rank in [Rank::Bytes, Rank::Live, Rank::Allocations] {
        let text = snapshot.report().rank(rank).to_string();
        assert!(text.contains("live now      10.0 MiB in 655,360 blocks"), "{text}");
        assert!(text.contains("peak               10.0 MiB"), "{text}");
        assert!(!text.contains("15.0 MiB") && !text.contains("983,040"), "{text}");
    }
    let json = snapshot.report().to_json();
    assert_eq!(json["totals"]["live_bytes"], 10 << 20);
    assert_eq!(json["totals"]["live_blocks"], 655_360);
    assert_eq!(
        (&json["live_bytes"], &json["peak_bytes"]),
        (&(10 << 20).into(), &(10 << 20).into())
    );
    assert_eq!(json["sites"][0]["counters"]["total_bytes"], 10 << 20);
    assert_eq!(
        json["sites"][0]["estimates"]["granted"]["estimated_bytes"]["value"],
        f64::from(10 << 20)
    );
    assert_eq!(
        json["estimates"]["live"]["estimated_bytes"]["high"],
        f64::from(10 << 20)
    );
}

#[test]
fn figures_of_enough_samples_are_shown() {
    let text = sampled(100 << 20, 200, 40).report().to_string();
    assert!(
        text.contains("Hottest: payments/src/fraud.rs:41, 100.0 % of all bytes granted"),
        "{text}"
    );
    assert!(text.contains("live now      20.0 MiB in 1,310,720 blocks"), "{text}");
    assert!(text.contains("bytes freed   80.0 MiB"), "{text}");
}

#[test]
fn a_diff_of_too_few_samples_has_no_number_in_its_first_line() {
    let mut after = sampled(1_600_000, 4, 4);
    after.epoch = 2;
    let diff = SnapshotDiff::between(&sampled(0, 0, 0), &after).report().to_string();
    assert!(
        diff.contains("payments/src/fraud.rs:41 retains most, estimated: too few samples (4)\n"),
        "{diff}"
    );
}
