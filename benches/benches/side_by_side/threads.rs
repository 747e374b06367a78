//! Whether threads pay for each other: the overhead over the bare allocator on two threads of a process, relative to that in two processes of
//! one thread each, at the same time.
//!
//! Two processes share nothing of ours, and the processor as two threads do: where two processors are one core, everything is slower on both,
//! and what executes more instructions is slowed down more. That is in the rows that inform.

use allocscope_benches::Options;
use allocscope_benches::drive::Child;
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::verdicts::{Row, Targets};

use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

/// How a workload runs.
#[derive(Clone, Copy)]
enum Setting {
    Alone = 0,
    TwoProcesses = 1,
    TwoThreads = 2,
}

use Setting::{Alone, TwoProcesses, TwoThreads};

/// Two processes of one kind.
struct Pair([Child; 2]);

impl Pair {
    fn start(executable: &str, mode: &str) -> Self {
        Self([(); 2].map(|()| Child::start(executable.as_ref(), mode)))
    }

    /// CPU and wall time per thread.
    fn run(&mut self, setting: Setting, rest: &str) -> [f64; 2] {
        let [first, second] = &mut self.0;
        let answers = match setting {
            Alone => vec![first.ask(&format!("threads 1 {rest}"))],
            TwoThreads => vec![first.ask(&format!("threads 2 {rest}"))],
            TwoProcesses => {
                let line = format!("threads 1 {rest}");
                first.send(&line);
                second.send(&line);
                [first, second]
                    .map(|child| child.listen(&line).unwrap_or_else(|error| panic!("{error}")))
                    .into()
            }
        };
        let mean = |clock: usize| answers.iter().map(|answer| answer[clock] as f64).sum::<f64>() / answers.len() as f64;
        [mean(0), mean(1)]
    }
}

/// The overhead on two threads, relative to that in two processes.
pub(super) fn threads(options: Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (workload, mode, passes) in [
        ("pair", "scopes", 20),
        ("churn", "scopes", 8),
        ("mix_expr", "exact", 10),
        ("json", "exact", 3),
    ] {
        let kinds = [(UNDER_SYSTEM, "off"), (UNDER_ALLOCSCOPE, mode)];
        let mut numbers = Numbers::new(7);
        // By clock, kind and setting.
        let mut times: [[[Vec<f64>; 3]; 2]; 2] = Default::default();
        for _ in 0..options.pick(6, 1) {
            let mut pairs = kinds.map(|(executable, mode)| Pair::start(executable, mode));
            for _ in 0..options.pick(10, 2) {
                for turn in numbers.order(6) {
                    let (kind, setting) = (turn % 2, [Alone, TwoProcesses, TwoThreads][turn / 2]);
                    let rest = format!("{workload} {passes}");
                    for (times, time) in times.iter_mut().zip(pairs[kind].run(setting, &rest)) {
                        times[kind][setting as usize].push(time);
                    }
                }
            }
        }
        let [cpu, _] = &times;
        // Medians are divided: differences of neighbouring rounds are too unsteady.
        let slower = |setting: Setting| Summary::of_ratios(&cpu[1][setting as usize], &cpu[0][setting as usize]);
        let (apart, together) = (slower(TwoProcesses), slower(TwoThreads));
        let relative = |ratio: f64| (ratio - 1.0) / (apart.median - 1.0);
        let relative = Summary {
            median: relative(together.median),
            low: relative(together.low),
            high: relative(together.high),
            count: together.count,
        };
        let name = format!("{workload} in {mode}: overhead on 2 threads / in 2 processes");
        rows.push(Row::judged(name, "x", Targets::at_most(1.2, 1.0), relative));
        for (clock, times) in ["CPU", "wall"].iter().zip(&times) {
            for (name, times) in ["bare", mode].iter().zip(times) {
                for (setting, with) in [(TwoThreads, "2 threads"), (TwoProcesses, "2 processes")] {
                    let slowdown = Summary::of_ratios(&times[setting as usize], &times[Alone as usize]);
                    let name = format!("{workload}: {name} with {with} / alone, {clock} time");
                    rows.push(Row::info(name, "x", slowdown));
                }
            }
        }
    }
    rows
}
