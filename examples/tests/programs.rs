//! Do the programs say what a stranger needs, in 80 columns, and do they refuse what they do not understand?
#![forbid(unsafe_code)]

use std::process::{Command, Output};

fn run(program: &str, arguments: &[&str]) -> Output {
    // The reports of a developer's own environment must not end up in what is tested.
    let mut command = Command::new(program);
    for variable in [
        "ALLOCSCOPE_MODE",
        "ALLOCSCOPE_DEPTH",
        "ALLOCSCOPE_REPORT",
        "ALLOCSCOPE_SNAPSHOT",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments).output().unwrap()
}

fn payment_service(arguments: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_payment_service"), arguments)
}

/// The output of a run that must succeed, and be readable in a terminal.
fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
    text
}

#[test]
fn the_first_command_tells_what_it_does_and_then_what_it_found() {
    let text = said(&payment_service(&["--users", "2000", "--requests", "40"]));
    let story = [
        "filling an on-disk store with 2,000 risky users",
        "variant \"rebuild\"",
        "serving http://127.0.0.1:",
        "snapshot A",
        "the list expires",
        "snapshot B",
        "40 answered in ",
        "all of them right",
        "Finding",
        "examples/src/fraud/rebuild.rs:",
        "let risky_set = HashSet::",
        "Hot paths",
        "From snapshot A to snapshot B",
        "--compare",
    ];
    let mut rest = text.as_str();
    for expected in story {
        let at = rest
            .find(expected)
            .unwrap_or_else(|| panic!("{expected:?} is missing, or in the wrong place, in\n{text}"));
        rest = &rest[at + expected.len()..];
    }
}

#[test]
fn comparing_prints_a_row_for_each_variant() {
    let text = said(&payment_service(&["--compare", "--users", "2000", "--requests", "40"]));
    let table = &text[text.find("What one request costs").expect("a table")..];
    let row = |name: &str| -> Vec<String> {
        let line = table
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no row {name}:\n{table}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    let rebuild: f64 = row("rebuild ")[1].replace(',', "").parse().unwrap();
    assert!(rebuild >= 2_000.0, "{table}");
    for fix in ["set ", "bloom ", "store "] {
        let allocations: f64 = row(fix)[1].replace(',', "").parse().unwrap();
        assert!(allocations < rebuild / 20.0, "{table}");
    }
    for exact in ["rebuild ", "set ", "store "] {
        assert_eq!(
            row(exact).last().map(String::as_str),
            Some("0"),
            "wrong answers in {exact}:\n{table}"
        );
    }
}

#[test]
fn each_fix_can_be_run_alone() {
    for variant in ["set", "bloom", "store"] {
        let text = said(&payment_service(&[
            "--variant",
            variant,
            "--users",
            "500",
            "--requests",
            "40",
        ]));
        assert!(text.contains("Finding"), "{text}");
        assert!(
            !text.contains("fraud/rebuild.rs"),
            "{variant} runs code of rebuild:\n{text}"
        );
    }
}

#[test]
fn without_stacks_it_says_why_no_line_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payment_service"));
    let command = command
        .args(["--users", "500", "--requests", "40"])
        .env("ALLOCSCOPE_MODE", "scopes");
    let output = command
        .env_remove("ALLOCSCOPE_REPORT")
        .env_remove("ALLOCSCOPE_SNAPSHOT")
        .output()
        .unwrap();
    let text = said(&output);
    assert!(text.contains("No line can be named"), "{text}");
    assert!(text.contains("this is \"scopes\""), "{text}");
}

#[test]
fn a_mistyped_flag_is_pointed_out() {
    for (arguments, hint) in [
        (["--varant", "set"], "--variant"),
        (["--variant", "sett"], "set"),
        (["--requests", "none"], "--requests"),
        (["--false-positives", "2"], "between 0 and 1"),
    ] {
        let output = payment_service(&arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(
            text.starts_with("error: ") && text.contains(hint),
            "{arguments:?}: {text}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}: nothing may run");
    }
}

#[test]
fn the_help_fits_a_terminal() {
    for program in [
        env!("CARGO_BIN_EXE_payment_service"),
        env!("CARGO_BIN_EXE_where_crates_allocate"),
    ] {
        said(&run(program, &["-h"]));
        said(&run(program, &["--help"]));
    }
}

#[test]
fn well_known_crates_are_shown_with_lines_of_their_own() {
    let text = said(&run(env!("CARGO_BIN_EXE_where_crates_allocate"), &[]));
    let mut sections = text.split("\n\n").collect::<Vec<_>>().into_iter();
    for (heading, crate_line) in [
        ("serde_json, to a Value", "serde_json-1."),
        ("serde_json, to a struct that borrows", "serde_json-1."),
        ("regex, compiling one pattern", "regex-"),
        ("regex, searching all sources", "regex-"),
        ("syn, parsing all sources", "proc-macro2-1."),
    ] {
        // Paragraphs come in order: the heading with its sums, then the lines.
        let sums = sections.find(|section| section.trim_start().starts_with(heading));
        assert!(
            sums.is_some_and(|sums| sums.contains(" allocations, ")),
            "{heading}:\n{text}"
        );
        let lines = sections.next().unwrap_or_default();
        assert!(lines.contains(crate_line), "{heading}:\n{text}");
    }
}
