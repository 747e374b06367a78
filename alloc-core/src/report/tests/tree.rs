//! Call trees.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn call_trees_are_as_wide_as_they_may_be_and_hold_both_ends() {
    let snapshot = payments();
    for direction in [Direction::Callees, Direction::Callers] {
        let tree = snapshot.report().tree(direction).least_share(0.0);
        let text = tree.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let first = text.lines().nth(1).unwrap();
        let is_line = |line: &str| line.contains("Vec<u64>");
        match direction {
            Direction::Callees => assert!(!is_line(first) && text.lines().any(is_line), "{text}"),
            Direction::Callers => assert!(is_line(first), "{text}"),
        }
        let longest = |columns: usize| {
            let report = snapshot.report().width(columns);
            let text = report.tree(direction).library(Library::Whole).to_string();
            text.lines().map(|line| line.chars().count()).max().unwrap()
        };
        assert!(longest(80) <= 80 && longest(80) <= longest(200) && longest(200) <= 200);
    }
}

#[test]
fn call_trees_show_the_source_that_is_there_and_nothing_of_what_is_not() {
    let mut snapshot = payments();
    let without = snapshot.report().tree(Direction::Callers).source().to_string();
    assert_eq!(without, snapshot.report().tree(Direction::Callers).to_string());
    // Not below `src`, which is the tracker.
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs");
    for symbol in snapshot.frames.iter_mut().flat_map(|frame| &mut frame.symbols) {
        if symbol.file.contains("payments") {
            (symbol.file, symbol.line) = (here.to_owned(), 1);
        }
    }
    let with = snapshot.report().tree(Direction::Callers).source().to_string();
    assert!(with.contains("| //! "), "{with}");
}
