//! Does the second program show lines of the crates it is about, on this workspace's real data?
//!
//! It is run inside this process: an example has no path that a test could start it by.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "its `main` is for when it is a program")]
#[path = "../examples/where_crates_allocate.rs"]
mod program;

use clap::CommandFactory;

fn assert_fits_a_terminal(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
}

#[test]
fn well_known_crates_are_shown_with_lines_of_their_own() {
    let mut out = Vec::new();
    program::run(
        &program::Flags {
            top: 4,
            evidence: false,
        },
        &mut out,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_fits_a_terminal(&text);
    let mut paragraphs = text.split("\n\n");
    for (heading, crate_line) in [
        ("serde_json: Value", "serde_json-1."),
        ("serde_json: borrow", "serde_json-1."),
        ("regex: compile", "regex-"),
        ("regex: search", "regex-"),
        ("syn: parse", "proc-macro2-1."),
    ] {
        // In this order: the heading and its sums, then the lines.
        let sums = paragraphs.find(|paragraph| paragraph.trim_start().starts_with(heading));
        assert!(
            sums.is_some_and(|sums| sums.contains(" allocations, ")),
            "{heading}:\n{text}"
        );
        let lines = paragraphs.next().unwrap_or_default();
        assert!(lines.contains(crate_line), "{heading}:\n{text}");
    }

    the_findings_are_those_that_are_discussed(&text);

    let mut command = program::Flags::command();
    assert_fits_a_terminal(&command.render_help().to_string());
    assert_fits_a_terminal(&command.render_long_help().to_string());
}

/// `docs/findings-on-real-crates.md` says which findings there are, and why there are no others.
fn the_findings_are_those_that_are_discussed(text: &str) {
    let (_, findings) = text
        .split_once("What the iterations build again and again")
        .expect("the findings come last");
    let (found, seldom) = findings
        .split_once("done too seldom to be judged:")
        .expect("a document that is read once is not judged");
    for name in ["read a file", "regex: search a file", "syn: parse a file"] {
        let counted = found.lines().find(|line| line.trim_start().starts_with(name));
        let counted = counted.unwrap_or_else(|| panic!("{name} is no loop in\n{findings}"));
        assert!(counted.contains(" iterations, "), "{counted}");
    }
    // The texts are kept on purpose. What syn makes for itself is not for its caller to keep; of what regex makes for each search a caller can
    // keep some, and builds without inlining tell so.
    let rebuilt = found.matches("reuse the instance: ").count();
    assert!(rebuilt <= usize::from(cfg!(debug_assertions)), "{findings}");
    assert!(
        rebuilt == 0 || found.contains("each of regex: search a file"),
        "{findings}"
    );
    assert_eq!(found.matches("; severity ").count(), 1 + rebuilt, "{findings}");
    assert!(found.contains("retained per iteration: String at "), "{findings}");
    assert!(found.contains("1.0 allocations, each of read a file"), "{findings}");
    for (collection, document) in [
        ("Map<String, Value> at ", "serde_json: Value, 1 of 30"),
        ("Vec", "serde_json: borrow, 1 of 30"),
    ] {
        let mut lines = seldom.lines();
        let line = lines.find(|line| line.contains(collection)).unwrap_or_default();
        assert!(line.contains("where_crates_allocate.rs:"), "{findings}");
        assert!(lines.next().is_some_and(|line| line.contains(document)), "{findings}");
    }
    assert_eq!(seldom.matches(" iterations needed").count(), 2, "{findings}");
}
