//! `go tool pprof` reads the profiles: all sample types, labels, lines, inlined functions; and those without symbols.

use std::process::Command;

use alloc_core::Snapshot;
use allocscope_tests_exports::{Files, printed, tool};

fn files() -> Files {
    Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"))
}

/// `go tool pprof` with these arguments on a file, in a directory of its own.
fn pprof(go: &std::path::Path, files: &Files, arguments: &[&str], name: &str) -> String {
    printed(
        Command::new(go)
            .args(["tool", "pprof"])
            .args(arguments)
            .arg(files.path(name))
            .env("PPROF_TMPDIR", files.directory())
            .env("HOME", files.directory())
            .env("GOCACHE", files.path("go-cache")),
    )
}

/// The figures of `-raw` in the order of the sample types, summed over the samples.
fn sums(raw: &str) -> Vec<u64> {
    let samples = raw.split("Samples:\n").nth(1).expect("samples");
    let samples = samples.split("Locations\n").next().expect("locations follow");
    let mut sums = Vec::new();
    for line in samples.lines() {
        // `1  2  3: 4 5 6`; labels are on lines of their own.
        let Some((figures, stack)) = line.split_once(": ") else {
            continue;
        };
        if !stack.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        for (at, figure) in figures.split_whitespace().enumerate() {
            let Ok(figure) = figure.parse::<u64>() else { continue };
            if at >= sums.len() {
                sums.push(0);
            }
            sums[at] += figure;
        }
    }
    sums
}

#[test]
fn pprof_reads_types_figures_labels_and_lines() {
    let Some(go) = tool(&["go"], "golang-go") else { return };
    let files = files();
    let raw = pprof(&go, &files, &["-raw"], "heap.pb.gz");
    for expected in [
        "alloc_objects/count",
        "alloc_space/bytes",
        "inuse_objects/count",
        "inuse_space/bytes[dflt]",
        "peak_space/bytes",
        "PeriodType: space bytes",
        "Period: 1",
        "exporter::check",
        "src/bin/exporter.rs",
        "scope:[exporter::check]",
        "scope_path:[exporter::handle > exporter::check]",
        "sessions; <b>open</b>",
        "vec::with_capacity",
        "[FN][FL][LN][IN]",
    ] {
        assert!(raw.contains(expected), "no {expected} in\n{raw}");
    }
    let totals = Snapshot::load(files.path("second.json")).unwrap().totals;
    assert_eq!(
        sums(&raw),
        [
            totals.total_allocations,
            totals.total_bytes,
            totals.live_blocks,
            totals.live_bytes,
            totals.bytes_at_peak
        ]
    );

    let top = pprof(
        &go,
        &files,
        &["-top", "-cum", "-sample_index=alloc_space"],
        "heap.pb.gz",
    );
    assert!(
        top.contains("Type: alloc_space") && top.contains("exporter::handle"),
        "{top}"
    );
    let focused = pprof(
        &go,
        &files,
        &["-top", "-sample_index=alloc_objects", "-tagfocus=scope=exporter::check"],
        "heap.pb.gz",
    );
    // 600 calls, each with the list of rules and two boxes.
    assert!(focused.contains("accounting for 1800, "), "{focused}");
}

#[test]
fn pprof_reads_a_profile_of_addresses_and_names_them_with_the_binary() {
    let Some(go) = tool(&["go"], "golang-go") else { return };
    let files = files();
    let raw = pprof(&go, &files, &["-raw", "-symbolize=none"], "addresses.pb.gz");
    let totals = Snapshot::load(files.path("second.json")).unwrap().totals;
    assert_eq!(
        sums(&raw)[..4],
        [
            totals.total_allocations,
            totals.total_bytes,
            totals.live_blocks,
            totals.live_bytes
        ]
    );
    assert!(!raw.contains("exporter::check M"), "{raw}");
    let mappings = raw.split("Mappings\n").nth(1).expect("mappings");
    assert!(mappings.contains("exporter"), "{mappings}");
}

#[test]
fn a_profile_without_names_has_none() {
    let Some(go) = tool(&["go"], "golang-go") else { return };
    let files = files();
    let raw = pprof(&go, &files, &["-raw", "-symbolize=none"], "hidden-heap.pb.gz");
    assert!(
        !raw.contains("exporter") && !raw.contains("session") && !raw.contains("/home"),
        "{raw}"
    );
    assert!(raw.contains("own::f") && raw.contains("scope:[scope "), "{raw}");
    let named = pprof(&go, &files, &["-raw", "-symbolize=none"], "heap.pb.gz");
    assert_eq!(sums(&raw), sums(&named));
}
