//! Mode `sampled`: what a sample costs, and what the mode adds beside another allocator's own profiling.

use std::path::Path;

use allocscope_benches::Options;
use allocscope_benches::drive::{self, Child};
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::verdicts::{Row, Targets};

use super::table::Table;
use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

/// Blocks of 16 to 1024 bytes under a stack of 16 frames: all but 0.6 % of them are samples at an interval of 16 bytes.
const WORKLOAD: &str = "churn";
const BLOCKS: f64 = 20_000.0;

/// What one sampled allocation and its free cost more than the bare allocator's.
pub(super) fn measure(options: Options, table: &Table) -> Vec<Row> {
    let mut all_sampled = drive::command(Path::new(UNDER_ALLOCSCOPE), "sampled");
    all_sampled.envs([("ALLOCSCOPE_SAMPLE_INTERVAL", "16"), ("ALLOCSCOPE_SAMPLE_RATE", "0")]);
    let all_sampled = Child::start_command(all_sampled, "the program in which every block is sampled".to_owned());
    let mut children = [
        Child::start(UNDER_SYSTEM.as_ref(), "off"),
        all_sampled.unwrap_or_else(|error| panic!("{error}")),
    ];
    let mut times = [Vec::new(), Vec::new()];
    let mut numbers = Numbers::new(8);
    for _ in 0..options.pick(60, 3) {
        for place in numbers.order(2) {
            let answer = children[place].ask(&format!("time {WORKLOAD} 1"));
            times[place].push(answer[0] as f64 / BLOCKS);
        }
    }
    let added = Summary::of_differences(&times[1], &times[0]);
    let mut rows = vec![Row::judged(
        "sampled: added to a block that is sampled, stack and free included",
        "ns",
        Targets::at_most(500.0, 200.0),
        added,
    )];
    rows.extend(beside_jemalloc(table).into_iter().flatten());
    rows
}

/// What sampling adds to the programs, each over the same allocator without.
fn beside_jemalloc(table: &Table) -> Option<[Row; 3]> {
    let mean = |name: &str| Some(table.measured[table.find(name)?].mean()?.median);
    let theirs = 100.0 * (mean("jemalloc, profiling at 512 KiB")? / mean("jemalloc, no profiling")? - 1.0);
    let ours = 100.0 * (mean("**allocscope `sampled`**")? - 1.0);
    let percent = |name, value| Row::info(name, "%", Summary::exactly(value));
    Some([
        percent("sampled: added to the programs", ours),
        percent("jemalloc's profiling: added to the programs", theirs),
        Row::judged(
            "sampled: added, less twice what jemalloc's profiling adds",
            "points",
            Targets::at_most(0.0, -theirs.abs()),
            Summary::exactly(ours - 2.0 * theirs),
        ),
    ])
}
