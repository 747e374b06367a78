//! `ALLOCSCOPE_REPORT`: the ending of the path says the format.

use std::process::Command;

use allocscope_tests_exports::{Files, run};

#[test]
fn the_ending_of_the_path_says_the_format() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    for (name, start) in [
        ("exit.svg", &b"<?xml"[..]),
        ("exit.html", b"<!doctype html>"),
        ("exit.pb.gz", b"\x1f\x8b"),
        ("exit.json", b"{\""),
        ("exit.dhat.json", b"{\""),
        ("exit.folded", b""),
        ("exit.txt", b"Allocscope: exporter"),
    ] {
        let path = files.path(name);
        let output = run(Command::new(env!("CARGO_BIN_EXE_exporter")).env("ALLOCSCOPE_REPORT", &path));
        let written = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(written.starts_with(start) && !written.is_empty(), "{name}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        // A slow machine may be told of progress.
        assert!(stderr.lines().all(|line| line.contains('%')), "{name}: {stderr}");
    }
    let folded = files.text("exit.folded");
    assert!(folded.contains("exporter::check (exporter.rs:"), "{folded}");
}
