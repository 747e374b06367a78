//! What tracking costs in instructions, which do not depend on how busy the machine is.
//!
//! `cargo bench -p allocscope-benches --bench instructions`. Runs the children under callgrind, each task twice with
//! different counts: the difference of the two runs, divided by the difference of the counts, is free of start-up and
//! warm-up. Says why and ends well where valgrind is missing.

use std::path::Path;
use std::process::Command;

use allocscope_benches::Options;
use allocscope_benches::child::command;
use allocscope_benches::figures::Summary;
use allocscope_benches::verdicts::{self, Row};
use allocscope_benches::workloads::CORE;

const UNDER_SYSTEM: &str = env!("CARGO_BIN_EXE_under_system");
const UNDER_ALLOCSCOPE: &str = env!("CARGO_BIN_EXE_under_allocscope");
const MODES: [&str; 4] = ["off", "sampled", "scopes", "exact"];

fn main() {
    let options = Options::from_args();
    let version = Command::new("valgrind").arg("--version").output();
    let Some(version) = version.ok().filter(|output| output.status.success()) else {
        println!("no instruction counts: `valgrind --version` does not run here");
        return;
    };
    println!(
        "counted by {} (callgrind)",
        String::from_utf8_lossy(&version.stdout).trim()
    );
    for line in verdicts::machine() {
        println!("{line}");
    }
    let mut rows = Vec::new();
    loops(&mut rows);
    iterations(&mut rows);
    not_installed(&mut rows);
    if !options.is_quick {
        programs(&mut rows);
    }
    println!("\n{}", verdicts::table(&rows));
    if options.is_recorded {
        let path = verdicts::record(&rows, "-instructions").expect("the results can be written");
        println!("recorded in benches/{path}");
    }
}

fn loops(rows: &mut Vec<Row>) {
    // So many that the windows of `observe` are in it as often as they come.
    let pairs = |executable, mode| per_turn(executable, mode, "pair", 20_000, 420_000);
    let bare = pairs(UNDER_SYSTEM, "off");
    rows.push(Row::info(
        "bare System: alloc + free pair of 64 bytes",
        "instructions",
        Summary::exactly(bare),
    ));
    for mode in MODES {
        let added = pairs(UNDER_ALLOCSCOPE, mode) - bare;
        rows.push(Row::info(
            format!("{mode}: added to a pair"),
            "instructions",
            Summary::exactly(added),
        ));
    }
    for (task, without, name) in [
        ("tagged", "untagged", "scope enter + leave"),
        ("tagged_nested", "tagged", "nested scope enter + leave, more"),
        ("tagged_pair", "untagged_pair", "scope enter + leave around a pair"),
        ("carried", "untagged", "carried scope enter + leave"),
        ("tagged_poll", "untagged_poll", "one extra poll"),
    ] {
        for mode in MODES {
            let [with, without] = [task, without].map(|task| per_turn(UNDER_ALLOCSCOPE, mode, task, 1000, 11_000));
            let added = Summary::exactly(with - without);
            rows.push(Row::info(format!("{mode}: {name}"), "instructions", added));
        }
    }
}

/// What it costs to find out what iterations rebuild: in all when one in so many is observed, and for one that is.
fn iterations(rows: &mut Vec<Row>) {
    for mode in ["scopes", "exact"] {
        let around = |observe, few, many| {
            let [with, without] = ["iteration_pair", "untagged_pair"].map(|task| {
                let [few_total, many_total] =
                    [few, many].map(|count| instructions(UNDER_ALLOCSCOPE.as_ref(), mode, observe, task, count));
                (many_total as f64 - few_total as f64) / (many - few) as f64
            });
            Summary::exactly(with - without)
        };
        for (observe, few, many, name) in [
            (
                "none",
                1000,
                11_000,
                "iteration enter + leave around a pair, none observed",
            ),
            // Beyond the first ones, which are observed more often.
            (
                "auto",
                20_000,
                220_000,
                "iteration enter + leave around a pair, as a rule",
            ),
            ("all", 1000, 11_000, "iteration enter + leave around a pair, observed"),
        ] {
            rows.push(Row::info(
                format!("{mode}: {name}"),
                "instructions",
                around(observe, few, many),
            ));
        }
    }
}

/// What a mark costs in a program that has another allocator, where entering a scope is one relaxed load. (The others are the test of it,
/// the guard of nothing, and the prologue of a function that might make a call.)
fn not_installed(rows: &mut Vec<Row>) {
    for (what, name, most) in [("", "scope enter + leave", 16.0), ("_poll", "one extra poll", 15.0)] {
        let [tagged, untagged] = ["tagged", "untagged"].map(|kind| {
            let task = format!("{kind}{what}");
            per_turn(UNDER_SYSTEM, "exact", &task, 1000, 11_000)
        });
        let added = tagged - untagged;
        assert!(
            added <= most,
            "{name} costs {added} instructions without the allocator, {most} at most"
        );
        let name = format!("not installed: {name}");
        rows.push(Row::info(name, "instructions", Summary::exactly(added)));
    }
}

fn programs(rows: &mut Vec<Row>) {
    for workload in CORE
        .iter()
        .chain(&["mix_json", "mix_regex", "mix_words", "mix_expr", "mix_syn"])
    {
        let bare = per_turn(UNDER_SYSTEM, "off", workload, 2, 4);
        for mode in MODES {
            let ratio = per_turn(UNDER_ALLOCSCOPE, mode, workload, 2, 4) / bare;
            rows.push(Row::info(format!("{workload}: {mode}"), "x", Summary::exactly(ratio)));
        }
    }
}

/// Instructions of one turn of a task in the steady state.
fn per_turn(executable: &str, mode: &str, task: &str, few: u64, many: u64) -> f64 {
    let [few_total, many_total] = [few, many].map(|count| instructions(executable.as_ref(), mode, "auto", task, count));
    (many_total as f64 - few_total as f64) / (many - few) as f64
}

fn instructions(executable: &Path, mode: &str, observe: &str, task: &str, count: u64) -> u64 {
    let mut child = command(executable, mode);
    child.env("ALLOCSCOPE_OBSERVE", observe);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    for (name, value) in child.get_envs() {
        match value {
            Some(value) => valgrind.env(name, value),
            None => valgrind.env_remove(name),
        };
    }
    let output = valgrind
        .arg(executable)
        .args(["loop", task, &count.to_string()])
        .output();
    let output = output.expect("valgrind was there a moment ago");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{task} in {mode} fails under callgrind:\n{messages}"
    );
    let line = messages.lines().find_map(|line| line.split_once("Collected : "));
    let total = line.and_then(|(_, total)| total.trim().parse().ok());
    total.unwrap_or_else(|| panic!("callgrind does not say how many instructions it counted:\n{messages}"))
}
