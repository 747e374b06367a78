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
    program::run(&program::Flags { top: 4 }, &mut out).unwrap();
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

    let mut command = program::Flags::command();
    assert_fits_a_terminal(&command.render_help().to_string());
    assert_fits_a_terminal(&command.render_long_help().to_string());
}
