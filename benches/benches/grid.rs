//! The grid: what tracking costs by mode, number of threads, size of blocks and pattern of use.
//!
//! `cargo bench -p allocscope-benches --bench grid`. Where `overhead` judges promises, this shows where the cost lies. One
//! child per kind; in every round they take their turns in random order; each cell is CPU time per block, and in the
//! tracked kinds what is added to the bare allocator's.

use allocscope_benches::Options;
use allocscope_benches::child::{Child, PATTERNS};
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::verdicts::{self, Row};

const UNDER_SYSTEM: &str = env!("CARGO_BIN_EXE_under_system");
const UNDER_ALLOCSCOPE: &str = env!("CARGO_BIN_EXE_under_allocscope");
const THREADS: [usize; 3] = [1, 4, 16];
const SIZES: [usize; 3] = [16, 256, 64 << 10];

fn main() {
    let options = Options::from_args();
    for line in verdicts::machine() {
        println!("{line}");
    }
    let kinds = [
        (UNDER_SYSTEM, "off"),
        (UNDER_ALLOCSCOPE, "off"),
        (UNDER_ALLOCSCOPE, "scopes"),
        (UNDER_ALLOCSCOPE, "exact"),
    ];
    let mut children = kinds.map(|(executable, mode)| Child::start(executable.as_ref(), mode));
    let mut numbers = Numbers::new(11);
    let mut rows = Vec::new();
    for pattern in PATTERNS {
        for size in SIZES {
            for threads in THREADS {
                let turns = options.pick(48_000, 3200) / threads;
                let mut times = vec![Vec::new(); kinds.len()];
                for _ in 0..options.pick(11, 1) {
                    for kind in numbers.order(kinds.len()) {
                        let answer = children[kind].ask(&format!("grid {pattern} {size} {threads} {turns}"));
                        assert_eq!(answer[1], (turns * threads) as u64, "every turn was made");
                        times[kind].push(answer[0] as f64 / answer[1] as f64);
                    }
                }
                let cell = format!("{pattern}, {size} bytes, {threads} threads");
                rows.push(Row::info(format!("{cell}: bare"), "ns", Summary::of(times[0].clone())));
                for ((_, mode), ours) in kinds.iter().zip(&times).skip(1) {
                    let added = Summary::of_differences(ours, &times[0]);
                    rows.push(Row::info(format!("{cell}: {mode}, added"), "ns", added));
                }
            }
        }
    }
    println!("\n{}", verdicts::table(&rows));
    if options.is_recorded {
        let path = verdicts::record(&rows, "-grid").expect("the results can be written");
        println!("recorded in benches/{path}");
    }
}
