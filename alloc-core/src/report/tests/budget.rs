//! Explanations of failed budgets, compared with reviewed text in `snapshots/`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::budget::{Explained, explain, site_usages};
use super::*;
use crate::budget::passes::{News, Written, compare};
use crate::budget::{Check, Limit, Metric, Subject, Usage};

const SUBJECT: Subject = Subject {
    what: "pay(&orders,\n        &users)",
    file: "tests/pay.rs",
    line: 14,
};

fn usage() -> Usage {
    Usage {
        allocations: 1_236_577,
        bytes: 3 << 30,
        reallocations: 15_000,
        frees: 1_236_004,
        copied_bytes: 999 << 20,
        peak_bytes: 6000,
        retained_bytes: 700,
        is_peak_exact: false,
        is_retained_exact: true,
        origin: None,
    }
}

fn explained<'a>(usage: &'a Usage, checks: &'a [Check], rank: Rank) -> Explained<'a> {
    Explained {
        subject: SUBJECT,
        usage,
        checks,
        rank,
        news: News::NoPass,
        profile: Written::NotAsked,
    }
}

fn assert_text(actual: &str, expected: &str) {
    for line in actual.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line:?}");
        assert_eq!(line, line.trim_end(), "spaces at the end");
    }
    assert!(
        actual == expected.trim_end(),
        "the text reads:\n{actual}\n>>>end\nand not:\n{expected}"
    );
}

#[test]
fn every_limit_and_the_sites_that_spent_most() {
    let checks = [
        Check {
            metric: Metric::Allocations,
            limit: Limit::AtMost(12),
        },
        Check {
            metric: Metric::Bytes,
            limit: Limit::Below(4 << 30),
        },
        Check {
            metric: Metric::Peak,
            limit: Limit::AtMost(2048),
        },
        Check {
            metric: Metric::Retained,
            limit: Limit::Exactly(0),
        },
        Check {
            metric: Metric::Frees,
            limit: Limit::Within(2_000_000, 3_000_000),
        },
    ];
    let usage = usage();
    let text = explain(&explained(&usage, &checks, Rank::Allocations), Some(&payments()));
    assert_text(&text, include_str!("../snapshots/budget_exceeded.txt"));
}

#[test]
fn what_is_new_and_where_the_profile_is() {
    let checks = [Check {
        metric: Metric::Retained,
        limit: Limit::AtMost(512),
    }];
    let now = site_usages(&payments());
    let mut before = now.clone();
    // One site did not exist, one allocated less on another line, one is as it was.
    before.remove(0);
    before[0].line += 7;
    before[0].bytes -= 4096;
    before[0].allocations -= 10;
    let usage = usage();
    let explained = Explained {
        news: News::Since(compare(&before, &now)),
        profile: Written::To(PathBuf::from("profiles/pay.json")),
        ..explained(&usage, &checks, Rank::Live)
    };
    let text = explain(&explained, Some(&payments()));
    assert_text(&text, include_str!("../snapshots/budget_news.txt"));
}

#[test]
fn nothing_new_is_said_and_trouble_too() {
    let usage = usage();
    let text = |news, profile| {
        explain(
            &Explained {
                news,
                profile,
                ..explained(&usage, &[], Rank::Bytes)
            },
            None,
        )
    };
    let now = site_usages(&payments());
    assert!(compare(&now, &now).is_empty());
    assert_eq!(
        text(
            News::Since(compare(&now, &now)),
            Written::Failed("x.json: disk on fire".to_owned())
        ),
        "over its allocation budget: pay(&orders, &users)\n  at tests/pay.rs:14\nNEW SINCE THE LAST RECORDED PASS: nothing\nfull \
         profile: failed to write x.json: disk on fire"
    );
    assert!(text(News::Unreadable("y.json: no".to_owned()), Written::NotAsked).contains("record it again with"));
}
