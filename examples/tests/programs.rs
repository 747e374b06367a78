//! Does `payment_service` say what a stranger needs, in 80 columns, and refuse what it does not understand?
#![forbid(unsafe_code)]

use std::process::{Command, Output};

fn payment_service(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payment_service"));
    command.args(arguments);
    // What a developer has set must not end up in what is tested.
    for variable in [
        "ALLOCSCOPE_MODE",
        "ALLOCSCOPE_DEPTH",
        "ALLOCSCOPE_REPORT",
        "ALLOCSCOPE_SNAPSHOT",
    ] {
        command.env_remove(variable);
    }
    command
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
fn it_says_why_no_line_is_named() {
    for (variable, value, expected) in [
        (
            "ALLOCSCOPE_MODE",
            "scopes",
            "No line can be named: call stacks are recorded in the mode \"exact\"",
        ),
        ("ALLOCSCOPE_MODE", "off", "Tracking is off"),
        (
            "ALLOCSCOPE_DEPTH",
            "1",
            "No line can be named: the call stacks do not reach",
        ),
    ] {
        let output = command(&["--users", "500", "--requests", "40"])
            .env(variable, value)
            .output()
            .unwrap();
        // Wherever the lines were broken.
        let text = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(expected), "{variable}={value}: {text}");
    }
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
    said(&payment_service(&["-h"]));
    said(&payment_service(&["--help"]));
}
