//! What tracking costs: every figure that the project promises, measured and judged.
//!
//! `cargo bench -p allocscope-benches --bench overhead`, with `-- --quick` to see only that everything runs, and with
//! `-- --record` to keep the results. `docs/overhead.md` says how each figure is measured.

mod in_process;
mod memory;
mod programs;

use alloc_core::TrackingAllocator;
use allocscope_benches::Options;
use allocscope_benches::verdicts::{self, Row};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// The children, built by cargo together with this bench.
const UNDER_SYSTEM: &str = env!("CARGO_BIN_EXE_under_system");
const UNDER_ALLOCSCOPE: &str = env!("CARGO_BIN_EXE_under_allocscope");
const UNDER_DHAT: &str = env!("CARGO_BIN_EXE_under_dhat");

/// A part of the measurements: its title, and what measures it.
type Section = (&'static str, fn(Options) -> Vec<Row>);

fn main() {
    let options = Options::from_args();
    for line in verdicts::machine() {
        println!("{line}");
    }
    let sections: [Section; 7] = [
        ("baseline of this machine", in_process::baseline),
        ("pairs of 64 bytes", in_process::pairs),
        ("scopes", in_process::scopes),
        ("programs", programs::real),
        ("realistic mix with full stacks", programs::mix),
        ("two threads", programs::threads),
        ("memory", memory::all),
    ];
    let mut rows = Vec::new();
    for (title, measure) in sections {
        eprintln!("measuring: {title}");
        let found = measure(options);
        println!("\n== {title}\n{}", verdicts::table(&found));
        rows.extend(found);
    }
    if options.is_recorded {
        let path = verdicts::record(&rows, "").expect("the results can be written");
        println!("recorded in benches/{path}");
    }
    rows.retain(|row| row.targets.is_some());
    println!(
        "\n== verdicts{}\n{}",
        if options.is_quick {
            " (quick: too brief to mean much)"
        } else {
            ""
        },
        verdicts::table(&rows)
    );
}
