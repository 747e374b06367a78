//! What tracking costs, beside every other tracker: one run, one story.
//!
//! `cargo bench -p allocscope-benches --bench side_by_side` measures everything and prints it; with `-- --record` it also writes
//! `benches/record/<target>/<date>.csv`, the curves in `docs/overhead/` and the tables of `docs/overhead.md`. `-- --quick` shows that
//! everything runs, and `-- --alone` leaves the other trackers out, which have to be built first.

mod building;
mod in_process;
mod kinds;
mod memory;
mod mix;
mod page;
mod plot;
mod sampled;
mod scaling;
mod service;
mod table;
mod threads;

use std::process::ExitCode;

use alloc_core::TrackingAllocator;
use allocscope_benches::Options;
use allocscope_benches::figures::Summary;
use allocscope_benches::verdicts::{self, Row, Targets};

use building::Built;
use table::Table;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// The children, built by cargo together with this bench.
const UNDER_SYSTEM: &str = env!("CARGO_BIN_EXE_under_system");
const UNDER_ALLOCSCOPE: &str = env!("CARGO_BIN_EXE_under_allocscope");

/// What the numbers were measured on, and the rows and pages so far.
struct Results {
    rows: Vec<Row>,
    /// Name of a place in the page, and what belongs there.
    pages: Vec<(&'static str, String)>,
}

impl Results {
    fn add(&mut self, title: &str, rows: Vec<Row>) {
        println!("\n== {title}\n{}", verdicts::table(&rows));
        self.rows.extend(rows);
    }

    fn show(&mut self, place: &'static str, text: String) {
        println!("\n== {place}\n{text}");
        self.pages.push((place, text));
    }
}

fn main() -> ExitCode {
    let options = Options::from_args();
    if options.is_recorded && options.is_alone {
        eprintln!("--record writes the tables of all trackers: leave --alone out");
        return ExitCode::from(2);
    }
    let machine = verdicts::machine();
    println!("{}", machine.join("\n"));
    let kinds = kinds::all(!options.is_alone);
    let built = if options.is_alone {
        Built::nothing()
    } else {
        Built::all(&kinds)
    };
    let mut results = Results {
        rows: Vec::new(),
        pages: Vec::new(),
    };

    let table = table::measure(options, kinds, &built);
    results.add("programs, under each tracker", program_rows(&table));
    results.add("promised of the programs", promises(&table));
    results.show("ratios", page::ratios(&table));
    results.show("costs", page::costs(&table));
    results.show("cheaper", page::cheaper(&table));
    results.show("remarks", page::remarks(&table));

    eprintln!("measuring: the service");
    let (rows, text) = service::measure(options, &table, &built);
    results.add("the payment service", rows);
    results.show("service", text);

    for curve in scaling::all(options) {
        results.show(curve.curve.file, curve.page());
        results.rows.extend(curve.records());
        if options.is_recorded
            && let Err(error) = plot::write(&page::docs().join("overhead"), &curve.curve)
        {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }

    eprintln!("measuring: single calls, threads, memory");
    results.add("baseline of this machine", in_process::baseline(options));
    results.add("pairs of 64 bytes", in_process::pairs(options));
    results.add("scopes", in_process::scopes(options));
    results.add("realistic mix with full stacks", mix::measure(options, &built));
    results.add("sampling", sampled::measure(options, &table));
    results.add("two threads", threads::threads(options));
    results.add("snapshots", scaling::promised(options));
    results.add("memory", memory::all(options));
    finish(options, &machine, results)
}

fn finish(options: Options, machine: &[String], mut results: Results) -> ExitCode {
    let judged: Vec<Row> = results
        .rows
        .iter()
        .filter(|row| row.targets.is_some())
        .cloned()
        .collect();
    let brief = if options.is_quick {
        " (quick: too brief to mean much)"
    } else {
        ""
    };
    println!("\n== verdicts{brief}\n{}", verdicts::table(&judged));
    if !options.is_recorded {
        return ExitCode::SUCCESS;
    }
    results.pages.push(("promises", verdicts::markdown(&judged)));
    let machine: String = machine.iter().map(|line| format!("- {line}\n")).collect();
    let machine = format!("Means are over {}.\n\n{machine}", page::programs());
    results.pages.push(("machine", machine));
    let written = verdicts::record(&results.rows)
        .map_err(|error| error.to_string())
        .and_then(|path| {
            println!("recorded in benches/{path}");
            results
                .pages
                .iter()
                .try_for_each(|(place, text)| page::replace(place, text))
        });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every figure of the table, for the record.
fn program_rows(table: &Table) -> Vec<Row> {
    let mut rows = Vec::new();
    let all = table.kinds.iter().zip(&table.measured);
    for (kind, measured) in all.filter(|(kind, _)| !kind.is_bare()) {
        let name = kind.name.replace("**", "");
        for (column, _) in table::columns() {
            rows.extend(
                measured
                    .ratio(column)
                    .map(|ratio| Row::info(format!("{name}: {column}"), "x", ratio)),
            );
        }
        let exactly = |value: Option<f64>, what: &str, unit| {
            value.map(|value| Row::info(format!("{name}: {what}"), unit, Summary::exactly(value)))
        };
        rows.extend(exactly(measured.added_to_a_pair(), "added to a pair", "ns"));
        rows.extend(exactly(measured.instructions[0], "added to a pair", "instructions"));
        rows.extend(exactly(
            measured.instructions[1],
            "added to a block of json",
            "instructions",
        ));
        rows.extend(exactly(
            measured.bytes_per_block,
            "added per live block of 32 bytes",
            "bytes",
        ));
        rows.extend(
            measured
                .start_up
                .map(|time| Row::info(format!("{name}: start-up, added"), "ms", time)),
        );
        rows.extend(
            measured
                .mean()
                .map(|mean| Row::info(format!("{name}: mean of the programs"), "x", mean)),
        );
    }
    rows
}

/// What is promised of the programs.
fn promises(table: &Table) -> Vec<Row> {
    let mut rows = Vec::new();
    for (mode, must, aim) in [
        ("off", 1.01, 1.0),
        ("scopes", 1.12, 1.05),
        ("sampled", 1.05, 1.02),
        ("exact", 1.8, 1.4),
    ] {
        let mean = table
            .find(&format!("**allocscope `{mode}`**"))
            .and_then(|kind| table.measured[kind].mean());
        let name = format!("{mode}: mean of the programs");
        rows.extend(mean.map(|mean| Row::judged(name, "x", Targets::at_most(must, aim), mean)));
    }
    let per_block = |name: &str| table.find(name).and_then(|kind| table.added_per_block(kind));
    let exact = per_block("**allocscope `exact`**");
    rows.extend(exact.map(|ns| {
        Row::info(
            "exact: added, mean of the programs' blocks",
            "ns/block",
            Summary::exactly(ns),
        )
    }));
    for (peer, must, aim) in [("heapscope", 3.0, 5.0), ("dhat, all frames", 30.0, 60.0)] {
        if let Some((theirs, ours)) = per_block(peer).zip(exact) {
            let name = format!("{peer}: dearer per block than exact");
            rows.push(Row::judged(
                name,
                "x",
                Targets::at_least(must, aim),
                Summary::exactly(theirs / ours),
            ));
        }
    }
    rows
}
