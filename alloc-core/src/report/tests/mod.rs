//! Reports of hand-made models, compared with reviewed text in `snapshots/`.
//!
//! When a report changes on purpose, look at the text that the failing test prints as a stranger would, then put it in
//! the file.
#![forbid(unsafe_code)]

mod budget;
mod diff;
mod fixture;
mod histograms;
mod hostile;
mod hot;
mod rollup;
mod sampled;
mod tree;

use self::fixture::{frame, payments, payments_later, sampled, symbol};
use super::*;
use crate::model::{Change, Context, Counters, EpochChange, ScopeNodeId, WindowChange};

#[track_caller]
fn assert_text(actual: &str, expected: &str) {
    for line in actual.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line:?}");
        assert_eq!(line, line.trim_end(), "spaces at the end");
    }
    assert!(
        actual == expected,
        "the report reads:\n{actual}>>>end\nand not:\n{expected}"
    );
}
