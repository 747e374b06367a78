//! `go tool pprof` reads the profiles: all sample types, labels, lines, inlined functions; and those without symbols.

use std::collections::BTreeMap;
use std::process::Command;

use alloc_core::Snapshot;
use allocscope_tests_exports::{Files, printed, run, tool};

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
    // No location has a line, and none of the program's modules passes for named.
    assert!(!raw.contains("exporter.rs:") && !raw.contains("[FN]"), "{raw}");

    // The tool finds the binary by the path in the profile, and reads its debug information itself.
    let named = pprof(&go, &files, &["-raw"], "addresses.pb.gz");
    let expected = pprof(&go, &files, &["-raw", "-symbolize=none"], "heap.pb.gz");
    let (expected, found) = (places(&expected), places(&named));
    assert!(expected.len() > 20, "{expected:?}");
    for (address, place) in expected {
        // A later Go writes the column behind the line.
        let is_there = |found: &&&str| found.starts_with(place.trim_end_matches(":0"));
        assert!(
            found.get(address).filter(is_there).is_some(),
            "{address} is {place}, found {:?}",
            found.get(address)
        );
    }
    for function in ["check", "main", "write_log", "reserve_rehash"] {
        let names = |line: &str| line.split(' ').any(|word| word == function);
        assert!(named.lines().any(names), "no {function} in\n{named}");
    }
}

#[test]
fn pprof_names_the_addresses_of_a_stripped_binary_with_the_one_that_was_not_stripped() {
    let Some(go) = tool(&["go"], "golang-go") else { return };
    let exporter = env!("CARGO_BIN_EXE_exporter");
    let files = files();
    if !files.rewrite_stripped(exporter) {
        return;
    }
    let bare = pprof(&go, &files, &["-raw"], "addresses.pb.gz");
    assert!(!bare.contains("exporter.rs:"), "{bare}");
    let top = ["-top", "-cum", "-sample_index=alloc_space"];
    let named = pprof(&go, &files, &[&top[..], &[exporter]].concat(), "addresses.pb.gz");
    let row = named.lines().find(|line| line.ends_with(" check")).expect(&named);
    // 600 calls, each with the list of rules and two boxes: what the function granted with all that it calls.
    let granted: f64 = row
        .split_whitespace()
        .nth(3)
        .unwrap()
        .trim_end_matches("kB")
        .parse()
        .unwrap();
    assert!(
        (granted * 1024.0 - 600.0 * (200.0 * 8.0 + 8.0)).abs() < 1024.0,
        "{named}"
    );
}

#[test]
fn pprof_takes_the_program_for_the_program_whatever_module_comes_first() {
    let Some(go) = tool(&["go"], "golang-go") else { return };
    let files = files();
    // A library whose code allocated before the program's own.
    let mut value: serde_json::Value = serde_json::from_str(&files.text("second.json")).unwrap();
    let plugin = serde_json::json!({ "path": "/lib/libplugin.so", "build_id": "cd02", "load_address": 4096 });
    value["modules"].as_array_mut().unwrap().insert(0, plugin);
    for frame in value["frames"].as_array_mut().unwrap() {
        if let Some(module) = frame["module"].as_u64() {
            frame["module"] = (module + 1).into();
        }
    }
    let plugin_first = Snapshot::from_json(&value.to_string()).unwrap();
    plugin_first.export().save(files.path("plugin-first.pb.gz")).unwrap();
    let top = |name| pprof(&go, &files, &["-top", "-sample_index=alloc_space"], name);
    assert!(top("plugin-first.pb.gz").starts_with("File: exporter\n"));
    assert_eq!(top("plugin-first.pb.gz"), top("heap.pb.gz"));
}

/// The place that each address has in a profile: file and line of the innermost function.
fn places(raw: &str) -> BTreeMap<&str, &str> {
    let locations = raw.split("Locations\n").nth(1).expect("locations");
    let locations = locations.split("Mappings\n").next().expect("mappings follow");
    // `1: 0x55b2 M=1 check /home/me/exporter.rs:33 s=0`, and further lines for what it is inlined into.
    let place = |line| {
        let line: &str = line;
        let address = line.split_whitespace().nth(1).filter(|word| word.starts_with("0x"))?;
        let is_place = |word: &&str| {
            word.rsplit_once(".rs:")
                .is_some_and(|(_, line)| line.starts_with(|c: char| c.is_ascii_digit()))
        };
        Some((address, line.split_whitespace().find(is_place)?))
    };
    locations.lines().filter_map(place).collect()
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

#[test]
fn at_exit_what_was_granted_is_shown_first_unless_something_else_is_asked_for() {
    let Some(go) = tool(&["go"], "golang-go") else { return };
    let files = files();
    for (rank, shown) in [
        (None, "alloc_space"),
        (Some("allocations"), "alloc_objects"),
        (Some("live"), "inuse_space"),
        (Some("peak"), "peak_space"),
    ] {
        let mut exporter = Command::new(env!("CARGO_BIN_EXE_exporter"));
        exporter.env("ALLOCSCOPE_REPORT", files.path("exit.pb.gz"));
        if let Some(rank) = rank {
            exporter.env("ALLOCSCOPE_RANK", rank);
        }
        run(&mut exporter);
        let top = pprof(&go, &files, &["-top"], "exit.pb.gz");
        assert!(top.contains(&format!("Type: {shown}\n")), "{rank:?}: {top}");
    }
}
