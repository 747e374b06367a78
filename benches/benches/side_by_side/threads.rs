//! Whether threads pay for each other: the overhead over the bare allocator with two of them at once, relative to that with one.
//!
//! Overheads are ratios to the bare allocator on as many threads: where two processors share a core, everything is slower on both, and that is
//! not tracking's doing. How much slower is in the rows that inform.

use allocscope_benches::Options;
use allocscope_benches::drive::Child;
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::verdicts::{Row, Targets};

use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

/// The overhead with two threads at once, relative to that with one.
pub(super) fn threads(options: Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (workload, mode, passes) in [
        ("pair", "scopes", 10),
        ("churn", "scopes", 4),
        ("mix_expr", "exact", 2),
        ("json", "exact", 1),
    ] {
        let kinds = [(UNDER_SYSTEM, "off"), (UNDER_ALLOCSCOPE, mode)];
        let mut numbers = Numbers::new(7);
        // By kind and threads: CPU and wall time per thread.
        let mut times = vec![vec![Vec::new(); 4]; 2];
        for _ in 0..options.pick(3, 1) {
            let mut children = kinds.map(|(executable, mode)| Child::start(executable.as_ref(), mode));
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
        // Medians are divided: differences of neighbouring rounds are too unsteady.
        let slower = |pick: usize| Summary::of_ratios(&cpu[pick + 1], &cpu[pick]);
        let (one, two) = (slower(0), slower(2));
        let relative = |ratio: f64| (ratio - 1.0) / (one.median - 1.0);
        let relative = Summary {
            median: relative(two.median),
            low: relative(two.low),
            high: relative(two.high),
            count: two.count,
        };
        let name = format!("{workload} in {mode}: overhead with 2 threads / with 1");
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
