//! Text on a terminal is as wide as the terminal; in a pipe it is always the same; in neither it has colours.
//!
//! `script`, which every Debian has, is the terminal.

use std::process::Command;

use allocscope_tests_exports::{printed, run, tool};

#[test]
fn a_report_is_as_wide_as_its_terminal_and_has_no_colours() {
    let exporter = env!("CARGO_BIN_EXE_exporter");
    let piped = run(Command::new(exporter).env("ALLOCSCOPE_REPORT", "-"));
    let piped = String::from_utf8(piped.stderr).unwrap();
    check(&piped, 80, 80);

    let Some(script) = tool(&["script"], "bsdutils") else {
        return;
    };
    // Names are as long as 60 columns; the figures take 80 in all.
    for (columns, table) in [(132, 118), (100, 100), (40, 80)] {
        let on_terminal = printed(
            Command::new(&script)
                .args(["--quiet", "--return", "--command"])
                .arg(format!("stty cols {columns} && exec {exporter}"))
                .arg("/dev/null")
                .env("ALLOCSCOPE_REPORT", "-"),
        );
        check(&on_terminal.replace("\r\n", "\n"), columns.max(80), table);
    }
}

/// Tables of scopes are `table` columns wide, no line is wider than `columns`, and nothing steers a terminal.
fn check(report: &str, columns: usize, table: usize) {
    // What takes long says so on a terminal.
    let lines = report.lines().filter(|line| !line.starts_with("allocscope: "));
    let mut tables = 0;
    for line in lines {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.chars().count() <= columns, "{line:?}");
        if line.starts_with("SCOPES, ") {
            assert_eq!(line.chars().count(), table, "{line:?}");
            tables += 1;
        }
    }
    assert_eq!(tables, 2, "{report}");
}
