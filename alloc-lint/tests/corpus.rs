//! Every marked line of the corpus is found, with what it makes, and nothing else is.
//!
//! A mark is a comment at the end of a line: `//~ rebuilt Vec`, with a comma between several.

use std::collections::BTreeMap;
use std::path::Path;

use alloc_lint::{Options, Report, lint_source};

fn lint(name: &str) -> (String, Report) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let text = std::fs::read_to_string(path).expect("the corpus is there");
    let report = lint_source(name, &text, &Options::default()).expect("a thread is to be had");
    assert_eq!(report.notes, [], "{name} is understood");
    (text, report)
}

fn marks(text: &str) -> BTreeMap<usize, Vec<String>> {
    let mut marks = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if let Some((_, kinds)) = line.split_once("//~ rebuilt ") {
            let mut kinds: Vec<String> = kinds.split(',').map(|kind| kind.trim().to_owned()).collect();
            kinds.sort();
            marks.insert(number + 1, kinds);
        }
    }
    marks
}

fn found(report: &Report) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for candidate in &report.candidates {
        found
            .entry(candidate.line)
            .or_default()
            .push(candidate.kind.to_string());
    }
    found.values_mut().for_each(|kinds| kinds.sort());
    found
}

/// How many marks the file has.
fn check(name: &str) -> usize {
    let (text, report) = lint(name);
    let (expected, found) = (marks(&text), found(&report));
    let wrong: Vec<String> = expected
        .keys()
        .chain(found.keys())
        .filter(|line| expected.get(line) != found.get(line))
        .map(|line| {
            format!(
                "line {line}: expected {:?}, found {:?}",
                expected.get(line),
                found.get(line)
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    expected.len()
}

#[test]
fn the_incident_is_found_in_each_bad_form_and_each_fix_is_silent() {
    assert!(check("incident.rs") >= 8);
}

#[test]
fn collections_filled_in_loops_are_found_and_reused_ones_are_not() {
    assert!(check("loops.rs") >= 15);
}

#[test]
fn text_made_to_be_looked_at_is_found() {
    assert!(check("text.rs") >= 11);
}

#[test]
fn chains_and_closures_that_run_for_each_element_are_loops() {
    assert!(check("chains.rs") >= 13);
}

#[test]
fn what_requests_make_is_found() {
    assert!(check("requests.rs") >= 13);
}

#[test]
fn values_that_leave_are_silent() {
    assert_eq!(check("leaving.rs"), 0);
}

#[test]
fn what_is_made_seldom_is_silent() {
    assert_eq!(check("rare.rs"), 0);
}

#[test]
fn every_candidate_has_a_reason_and_a_fix_and_a_place_in_its_source() {
    for name in ["incident.rs", "loops.rs", "text.rs", "chains.rs", "requests.rs"] {
        let (text, report) = lint(name);
        for candidate in &report.candidates {
            let line = text.lines().nth(candidate.line - 1).expect("the line exists");
            assert_eq!(candidate.source, line.trim());
            assert!(candidate.column <= line.chars().count(), "{candidate:?}");
            assert!(
                candidate.loop_place.is_some() || candidate.request.is_some(),
                "{candidate:?}"
            );
            assert!(
                candidate.why.len() > 20 && candidate.suggestion.len() > 20,
                "{candidate:?}"
            );
        }
        let mut ids: Vec<&str> = report
            .candidates
            .iter()
            .map(|candidate| candidate.id.as_str())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), report.candidates.len(), "ids of {name} are unique");
    }
}
