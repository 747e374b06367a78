//! What must be compared between processes: whole programs, each under one global allocator.
//!
//! One child of every kind lives at a time; a round asks each of them, in random order, for the same few passes. Children are
//! started anew several times, because where code and data lie differs from start to start and is luck.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use allocscope_benches::Options;
use allocscope_benches::child::{Child, command};
use allocscope_benches::figures::{Numbers, Summary, geometric_mean};
use allocscope_benches::mix::PROGRAMS;
use allocscope_benches::verdicts::{Row, Targets};
use allocscope_benches::workloads::{CORE, REAL};

use super::{UNDER_ALLOCSCOPE, UNDER_DHAT, UNDER_SYSTEM};

/// What one allocation of the mix costs more with stacks, and on a build with frame pointers; from `docs/overhead.md`.
const EXACT: Targets = Targets::at_most(45.0, 25.0);
const EXACT_FRAME_POINTERS: Targets = Targets::at_most(30.0, 20.0);

/// An executable and its mode.
type Kind = (PathBuf, &'static str);

fn start(kinds: &[Kind]) -> Vec<Child> {
    kinds
        .iter()
        .map(|(executable, mode)| Child::start(executable, mode))
        .collect()
}

/// Asks every child for one workload, in random order; nanoseconds of a pass, by child.
fn round(children: &mut [Child], numbers: &mut Numbers, workload: &str, passes: usize) -> Vec<f64> {
    let mut times = vec![0.0; children.len()];
    let mut checksums = vec![0; children.len()];
    for place in numbers.order(children.len()) {
        let answer = children[place].ask(&format!("time {workload} {passes}"));
        times[place] = answer[0] as f64;
        checksums[place] = answer[1];
    }
    assert!(
        checksums.iter().all(|sum| *sum == checksums[0]),
        "{workload} gives the same under every allocator"
    );
    times
}

/// Blocks, bytes and frames of a pass as ours counts them, after a look at whether dhat counts the same.
fn counted(ours: &mut Child, dhat: &mut Child, workload: &str) -> (u64, u64) {
    let (ours, dhat) = (
        ours.ask(&format!("count {workload}")),
        dhat.ask(&format!("count {workload}")),
    );
    assert_eq!(
        ours[..2],
        dhat[..2],
        "{workload}: blocks and bytes as counted by ours and by dhat"
    );
    (ours[0], ours[2])
}

/// Ratios of whole programs to the bare allocator.
pub(super) fn real(options: Options) -> Vec<Row> {
    let kinds: Vec<Kind> = vec![
        (UNDER_SYSTEM.into(), "off"),
        (UNDER_ALLOCSCOPE.into(), "off"),
        (UNDER_ALLOCSCOPE.into(), "scopes"),
        (UNDER_ALLOCSCOPE.into(), "exact"),
    ];
    let mut numbers = Numbers::new(1);
    // By workload, then by kind.
    let mut times = vec![vec![Vec::new(); kinds.len()]; REAL.len()];
    let mut pairs = vec![Vec::new(); kinds.len()];
    for _ in 0..options.pick(4, 1) {
        let mut children = start(&kinds);
        for _ in 0..options.pick(10, 2) {
            for (workload, times) in REAL.iter().zip(&mut times) {
                let round = round(&mut children, &mut numbers, workload, options.pick(3, 1));
                times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
            }
            let round = round(&mut children, &mut numbers, "pair", 3);
            pairs
                .iter_mut()
                .zip(round)
                .for_each(|(times, time)| times.push(time / 20_000.0));
        }
    }
    let (mut exact, mut dhat) = (
        Child::start(UNDER_ALLOCSCOPE.as_ref(), "exact"),
        Child::start(UNDER_DHAT.as_ref(), "off"),
    );
    let mut rows = Vec::new();
    for (workload, times) in REAL.iter().zip(&times) {
        let (blocks, frames) = counted(&mut exact, &mut dhat, workload);
        let depth = frames as f64 / blocks as f64;
        let bare = Summary::of(times[0].iter().map(|time| time / blocks as f64));
        rows.push(Row::info(
            format!("{workload}: bare, {blocks} blocks, mean depth {depth:.0}"),
            "ns/block",
            bare,
        ));
        for ((_, mode), ours) in kinds.iter().zip(times).skip(1) {
            rows.push(Row::info(
                format!("{workload}: {mode}"),
                "x",
                Summary::of_ratios(ours, &times[0]),
            ));
        }
    }
    for ((_, mode), ours) in kinds.iter().zip(&pairs).skip(1) {
        let added = Summary::of_differences(ours, &pairs[0]);
        rows.push(Row::info(
            format!("{mode}: added to a pair, through the global allocator"),
            "ns",
            added,
        ));
    }
    for (kind, (_, mode)) in kinds.iter().enumerate().skip(1) {
        for (set, what) in [(&CORE[..], "json, btree, churn, request"), (&REAL[..], "all eight")] {
            let in_set = |workload: &&str| set.contains(workload);
            let chosen = REAL.iter().zip(&times).filter(|(workload, _)| in_set(workload));
            let ratios: Vec<Summary> = chosen
                .map(|(_, times)| Summary::of_ratios(&times[kind], &times[0]))
                .collect();
            let mean = |pick: fn(&Summary) -> f64| geometric_mean(&ratios.iter().map(pick).collect::<Vec<_>>());
            let mean = Summary {
                median: mean(|ratio| ratio.median),
                low: mean(|ratio| ratio.low),
                high: mean(|ratio| ratio.high),
                count: ratios[0].count,
            };
            let name = format!("{mode}: geometric mean, {what}");
            rows.push(if *mode == "scopes" && set.len() == CORE.len() {
                Row::judged(name, "x", Targets::at_most(1.15, 1.05), mean)
            } else {
                Row::info(name, "x", mean)
            });
        }
    }
    rows
}

/// The children once more, built with frame pointers in a target directory of their own; a reason if that fails.
fn frame_pointer_build() -> Result<PathBuf, String> {
    let here = Path::new(UNDER_SYSTEM)
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("target"));
    let directory = here.join("frame-pointers");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--profile", "bench", "--bins", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&directory)
        .env("RUSTFLAGS", "-C force-frame-pointers=yes")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(directory.join("release")),
        Ok(status) => Err(format!("cargo ended with {status}")),
        Err(error) => Err(format!("cargo did not start: {error}")),
    }
}

/// What full stacks cost in realistic programs, without flags and with frame pointers, and what dhat costs there.
pub(super) fn mix(options: Options) -> Vec<Row> {
    let is_frame_pointer_build = env!("BENCH_FRAME_POINTERS") == "true";
    let mut kinds: Vec<Kind> = vec![
        (UNDER_SYSTEM.into(), "off"),
        (UNDER_ALLOCSCOPE.into(), "exact"),
        (UNDER_ALLOCSCOPE.into(), "scopes"),
    ];
    // A quick run is for showing that things run: a second build would take longer than all the rest.
    if !is_frame_pointer_build && !options.is_quick {
        match frame_pointer_build() {
            Ok(directory) => {
                kinds.push((directory.join("under_system"), "off"));
                kinds.push((directory.join("under_allocscope"), "exact"));
            }
            Err(reason) => eprintln!("no frame-pointer build: {reason}"),
        }
    }
    let (mut exact, mut dhat) = (
        Child::start(UNDER_ALLOCSCOPE.as_ref(), "exact"),
        Child::start(UNDER_DHAT.as_ref(), "off"),
    );
    let counts: Vec<(u64, u64)> = PROGRAMS
        .iter()
        .map(|program| counted(&mut exact, &mut dhat, program))
        .collect();
    let blocks: u64 = counts.iter().map(|(blocks, _)| blocks).sum();
    let frames: u64 = counts.iter().map(|(_, frames)| frames).sum();
    drop((exact, dhat));

    let mut numbers = Numbers::new(3);
    // By program, then by kind: nanoseconds per block.
    let mut times = vec![vec![Vec::new(); kinds.len()]; PROGRAMS.len()];
    for _ in 0..options.pick(4, 1) {
        let mut children = start(&kinds);
        for _ in 0..options.pick(12, 2) {
            for ((program, times), (blocks, _)) in PROGRAMS.iter().zip(&mut times).zip(&counts) {
                let round = round(&mut children, &mut numbers, program, options.pick(2, 1));
                times
                    .iter_mut()
                    .zip(round)
                    .for_each(|(times, time)| times.push(time / *blocks as f64));
            }
        }
    }
    // The whole mix in one round, per block.
    let whole = |kind: usize| -> Vec<f64> {
        let weigh = |round: usize| {
            let parts = times
                .iter()
                .zip(&counts)
                .map(|(times, (blocks, _))| times[kind][round] * *blocks as f64);
            parts.sum::<f64>() / blocks as f64
        };
        (0..times[0][kind].len()).map(weigh).collect()
    };
    let bare = whole(0);
    let mut rows = vec![
        Row::info(
            "mix: mean depth",
            "frames",
            Summary::exactly(frames as f64 / blocks as f64),
        ),
        Row::info(
            format!("mix: bare, {blocks} blocks"),
            "ns/block",
            Summary::of(bare.clone()),
        ),
    ];
    for ((program, times), (blocks, frames)) in PROGRAMS.iter().zip(&times).zip(&counts) {
        let added = Summary::of_differences(&times[1], &times[0]);
        let depth = *frames as f64 / *blocks as f64;
        rows.push(Row::info(
            format!("{program}: exact, added; {blocks} blocks, depth {depth:.0}"),
            "ns/block",
            added,
        ));
    }
    rows.push(Row::info(
        "mix: scopes, added",
        "ns/block",
        Summary::of_differences(&whole(2), &bare),
    ));
    let added = Summary::of_differences(&whole(1), &bare);
    if is_frame_pointer_build {
        rows.push(Row::judged(
            "mix: exact with frame pointers, added",
            "ns/block",
            EXACT_FRAME_POINTERS,
            added,
        ));
    } else {
        rows.push(Row::judged("mix: exact, no flags, added", "ns/block", EXACT, added));
    }
    if kinds.len() > 3 {
        let added = Summary::of_differences(&whole(4), &whole(3));
        rows.push(Row::judged(
            "mix: exact with frame pointers, added",
            "ns/block",
            EXACT_FRAME_POINTERS,
            added,
        ));
    }
    rows.extend(beside_dhat(options, blocks));
    rows
}

/// How much dearer dhat is than ours: what each adds to the bare allocator, in the same rounds.
fn beside_dhat(options: Options, blocks: u64) -> Vec<Row> {
    let deep = {
        let mut deep = command(UNDER_DHAT.as_ref(), "off");
        deep.env("BENCH_DHAT_DEPTH", "all");
        Child::start_command(deep, "dhat with all frames".to_owned())
    };
    let mut children = start(&[
        (UNDER_SYSTEM.into(), "off"),
        (UNDER_ALLOCSCOPE.into(), "exact"),
        (UNDER_DHAT.into(), "off"),
    ]);
    children.push(deep);
    let mut numbers = Numbers::new(5);
    let mut times = vec![Vec::new(); children.len()];
    for _ in 0..options.pick(7, 1) {
        let mut sums = vec![0.0; children.len()];
        for program in PROGRAMS {
            let round = round(&mut children, &mut numbers, program, 1);
            sums.iter_mut()
                .zip(round)
                .for_each(|(sum, time)| *sum += time / blocks as f64);
        }
        times.iter_mut().zip(sums).for_each(|(times, sum)| times.push(sum));
    }
    let added = |kind: usize| -> Vec<f64> {
        times[kind]
            .iter()
            .zip(&times[0])
            .map(|(ours, bare)| ours - bare)
            .collect()
    };
    let ours = added(1);
    vec![
        Row::info(
            "mix: dhat with its default of 10 frames, added",
            "ns/block",
            Summary::of(added(2)),
        ),
        Row::info("mix: dhat with all frames, added", "ns/block", Summary::of(added(3))),
        Row::info(
            "mix: exact in the same rounds, added",
            "ns/block",
            Summary::of(ours.clone()),
        ),
        Row::info(
            "dhat with all frames is dearer than exact",
            "x",
            Summary::of_ratios(&added(3), &ours),
        ),
        Row::judged(
            "dhat with 10 frames is dearer than exact",
            "x",
            Targets::at_least(30.0, 60.0),
            Summary::of_ratios(&added(2), &ours),
        ),
    ]
}

/// What tracking adds with two threads at once, relative to what it adds with one.
pub(super) fn threads(options: Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (workload, mode, passes) in [
        ("pair", "scopes", 10),
        ("churn", "scopes", 4),
        ("mix_expr", "exact", 2),
        ("json", "exact", 1),
    ] {
        let kinds: Vec<Kind> = vec![(UNDER_SYSTEM.into(), "off"), (UNDER_ALLOCSCOPE.into(), mode)];
        let mut numbers = Numbers::new(7);
        // By kind and threads: CPU and wall time per thread.
        let mut times = vec![vec![Vec::new(); 4]; 2];
        for _ in 0..options.pick(3, 1) {
            let mut children = start(&kinds);
            for _ in 0..options.pick(20, 2) {
                for turn in numbers.order(4) {
                    let (kind, threads) = (turn % 2, 1 + turn / 2);
                    let answer = children[kind].ask(&format!("threads {threads} {workload} {passes}"));
                    for (times, time) in times.iter_mut().zip(answer) {
                        times[turn].push(time as f64);
                    }
                }
            }
        }
        let [cpu, wall] = &times[..] else {
            unreachable!("there are two clocks");
        };
        // Differences of neighbouring rounds are too unsteady to be divided: their medians are.
        let added = |pick: usize| Summary::of_differences(&cpu[pick + 1], &cpu[pick]);
        let (one, two) = (added(0), added(2));
        let relative = Summary {
            median: two.median / one.median,
            low: two.low / one.median,
            high: two.high / one.median,
            count: two.count,
        };
        let name = format!("{workload} in {mode}: added with 2 threads / with 1");
        rows.push(Row::judged(name, "x", Targets::at_most(1.2, 1.0), relative));
        for (clock, times) in [("CPU", cpu), ("wall", wall)] {
            for (name, pick) in [("bare", 0), (mode, 1)] {
                let slowdown = Summary::of_ratios(&times[pick + 2], &times[pick]);
                let name = format!("{workload}: {name} with 2 threads / with 1, {clock} time");
                rows.push(Row::info(name, "x", slowdown));
            }
        }
    }
    rows
}
