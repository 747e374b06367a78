//! The realistic mix: five programs at a mean depth of 19 to 20, with full stacks, without flags and with frame pointers.

use std::path::Path;

use allocscope_benches::Options;
use allocscope_benches::drive::Child;
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::mix::PROGRAMS;
use allocscope_benches::verdicts::{Row, Targets};

use super::building::Built;
use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

/// What one allocation of the mix costs more with stacks, and on a build with frame pointers; from `docs/overhead.md`.
const EXACT: Targets = Targets::at_most(45.0, 25.0);
const EXACT_FRAME_POINTERS: Targets = Targets::at_most(30.0, 20.0);

/// Passes of a turn. With two of them the mix took a quarter more: others ran before, and caches and predictors are theirs.
const PASSES: usize = 10;

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

/// What full stacks cost in realistic programs, without flags and with frame pointers, and what dhat costs there.
pub(super) fn measure(options: Options, built: &Built) -> Vec<Row> {
    let plain = Path::new(UNDER_SYSTEM).parent().unwrap_or(Path::new("."));
    let mut kinds = vec![(plain, "off"), (plain, "exact"), (plain, "scopes")];
    if let Ok(framed) = built.directory(true) {
        kinds.extend([(framed, "off"), (framed, "exact")]);
    }
    let start = |place: usize, (directory, mode): &(&Path, &str)| {
        let is_bare = matches!(place, 0 | 3);
        let name = if is_bare { UNDER_SYSTEM } else { UNDER_ALLOCSCOPE };
        Child::start(&directory.join(Path::new(name).file_name().unwrap_or_default()), mode)
    };
    let mut exact = Child::start(UNDER_ALLOCSCOPE.as_ref(), "exact");
    let counts: Vec<(u64, u64)> = PROGRAMS
        .iter()
        .map(|program| {
            let answer = exact.ask(&format!("count {program}"));
            (answer[0], answer[2])
        })
        .collect();
    let blocks: u64 = counts.iter().map(|(blocks, _)| blocks).sum();
    let frames: u64 = counts.iter().map(|(_, frames)| frames).sum();
    drop(exact);

    let mut numbers = Numbers::new(3);
    // By program, then by kind: nanoseconds per block.
    let mut times = vec![vec![Vec::new(); kinds.len()]; PROGRAMS.len()];
    for _ in 0..options.pick(4, 1) {
        let mut children: Vec<Child> = kinds
            .iter()
            .enumerate()
            .map(|(place, kind)| start(place, kind))
            .collect();
        for _ in 0..options.pick(12, 2) {
            for ((program, times), (blocks, _)) in PROGRAMS.iter().zip(&mut times).zip(&counts) {
                let round = round(&mut children, &mut numbers, program, options.pick(PASSES, 1));
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
    rows.push(Row::judged("mix: exact, no flags, added", "ns/block", EXACT, added));
    if kinds.len() > 3 {
        let added = Summary::of_differences(&whole(4), &whole(3));
        rows.push(Row::judged(
            "mix: exact with frame pointers, added",
            "ns/block",
            EXACT_FRAME_POINTERS,
            added,
        ));
    }
    rows
}
