//! Writing a speedscope file takes less memory than the file has bytes: its stacks are written as they are, once for each figure.
//!
//! The peak is what the operating system says (`VmHWM`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use alloc_core::Snapshot;
use allocscope_tests_exports::Files;
use serde_json::{Value, json};

const CONTEXTS: usize = 20_000;
const DEPTH: usize = 40;
const FRAMES: usize = 4000;

/// A field of `/proc/self/status`, in bytes.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A snapshot with deep stacks, written piece by piece: what is freed before the measurement would hide what it takes.
fn write_deep(files: &Files, path: &Path) {
    let mut small: Value = serde_json::from_str(&files.text("second.json")).unwrap();
    let scope = small["scopes"][0]["id"].clone();
    let frame = |at| {
        let symbol = json!({ "function": format!("shop::work_{at}"), "file": "/home/me/shop/src/work.rs", "line": at });
        json!({ "module": 0, "offset": at, "symbols": [symbol] })
    };
    small["frames"] = (1..=FRAMES).map(frame).collect();
    small["loops"] = json!([]);
    let mut counters = small["totals"].clone();
    for (_, counter) in counters.as_object_mut().unwrap() {
        *counter = json!(4096);
    }
    for list in ["contexts", "stacks"] {
        small[list] = json!(format!("<{list}>"));
    }
    let text = small.to_string();
    // In the order of their names, as the fields of a `Value` are.
    let (head, rest) = text.split_once("\"<contexts>\"").unwrap();
    let (between, tail) = rest.split_once("\"<stacks>\"").unwrap();
    let mut out = BufWriter::new(File::create(path).unwrap());
    write!(out, "{head}[").unwrap();
    for at in 0..CONTEXTS {
        let comma = if at > 0 { "," } else { "" };
        let context = json!({ "scope": scope, "stack": at, "counters": counters });
        write!(out, "{comma}{context}").unwrap();
    }
    write!(out, "]{between}[").unwrap();
    for at in 0..CONTEXTS {
        let comma = if at > 0 { "," } else { "" };
        let frames: Vec<usize> = (0..DEPTH).map(|frame| (at * 7 + frame * 13) % FRAMES).collect();
        write!(out, "{comma}{}", json!({ "frames": frames })).unwrap();
    }
    write!(out, "]{tail}").unwrap();
    out.into_inner().unwrap();
}

#[test]
fn a_speedscope_file_takes_less_memory_than_it_has_bytes() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    write_deep(&files, &files.path("deep.json"));
    let snapshot = Snapshot::load(files.path("deep.json")).unwrap();
    assert_eq!(snapshot.contexts.len(), CONTEXTS);
    let before = status("VmRSS");
    let path = files.path("deep.speedscope.json");
    snapshot.export().save(&path).unwrap();
    let peak = status("VmHWM").saturating_sub(before);
    let size = path.metadata().unwrap().len();
    println!("file {size} bytes, peak of writing {peak}");
    // Five figures of stacks of forty indices.
    assert!(size > 15_000_000, "{size}");
    assert!(peak < size, "peak {peak}, file {size}");
}
