//! A payment service that builds a set of 100,000 users for every request, and the report that names the line.
//!
//! `cargo run --release -p allocscope-examples --bin payment_service` starts the service on a loopback port, loads it
//! over HTTP from the same program, and prints what it did, what it found, the hot-path report, and what changed
//! between two moments under load. `--variant` chooses a fix instead; `--compare` runs them all and prints a table.
//!
//! Everything runs under exact tracking, so the times are those of a tracked program.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode, time::Duration};

use alloc_core::findings::{Findings, Options};
use alloc_core::{SnapshotDiff, TrackingAllocator};
use allocscope_examples::{
    Fallible,
    demo::{self, Run, Settings},
    fraud::{Variant, rebuild},
    observe::{LineCost, in_this_package},
    store::Store,
    text,
};
use clap::{Parser, ValueEnum, builder::PossibleValue};

#[global_allocator]
static ALLOCATOR: TrackingAllocator = TrackingAllocator::new();

/// A payment service under load, with every allocation accounted for.
#[derive(Parser)]
#[command(name = "payment_service", max_term_width = 80)]
struct Flags {
    /// How a payment is checked for fraud
    #[arg(long, default_value = "rebuild")]
    variant: Choice,
    /// Run every variant and print a table [the same as --variant all]
    #[arg(long, conflicts_with = "variant")]
    compare: bool,
    /// Payments sent to each variant [default: 240 to rebuild, 20000 to others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=10_000_000))]
    requests: Option<u32>,
    /// Connections that send them at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Risky users in the store
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    users: u32,
    /// Seconds that the list of risky users may be used
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    expiry: u32,
    /// How often it expires during the load: the clock is moved ahead for that
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    expiries: u32,
    /// Share of honest users whom the Bloom filter may take for risky
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = probability)]
    false_positives: f64,
    /// Sites in each part of the reports
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    top: u32,
}

/// One variant, or all.
#[derive(Clone, Copy, Debug)]
enum Choice {
    One(Variant),
    All,
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        use Choice::{All, One};
        &[
            One(Variant::Rebuild),
            One(Variant::Set),
            One(Variant::Bloom),
            One(Variant::Store),
            All,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Choice::One(variant) => variant.to_possible_value(),
            Choice::All => Some(PossibleValue::new("all").help("Each in turn, and a table")),
        }
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        Ok(_) => Err("must lie between 0 and 1, such as 0.01 for 1 %".to_owned()),
        Err(_) => Err("not a number; write 0.01 for 1 %".to_owned()),
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("payment_service failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(flags: &Flags) -> Fallible<()> {
    let settings = Settings {
        requests: flags.requests.map(|requests| requests as usize),
        connections: flags.connections as usize,
        users: u64::from(flags.users),
        expiry: Duration::from_secs(u64::from(flags.expiry)),
        expiries: flags.expiries as usize,
        false_positives: flags.false_positives,
    };
    let choice = if flags.compare { Choice::All } else { flags.variant };
    let out = &mut std::io::stdout().lock();

    writeln!(out, "Allocscope on a payment service under load\n")?;
    writeln!(
        out,
        "  filling an on-disk store with {} risky users",
        text::count(settings.users)
    )?;
    let store = demo::store(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match choice {
            Choice::One(variant) => report(variant, &store, &settings, flags.top as usize, out).await,
            Choice::All => compare(&store, &settings, out).await,
        }
    })
}

/// Runs one variant under the eyes of the reader.
async fn load(variant: Variant, store: &Store, settings: &Settings, out: &mut impl Write) -> Fallible<Run> {
    let what = match variant {
        Variant::Rebuild => "each request parses the cached list and builds a set of it",
        Variant::Set => "one set for all requests, replaced at its expiry",
        Variant::Bloom => "one Bloom filter for all, replaced at its expiry",
        Variant::Store => "each request asks the store for its user",
    };
    writeln!(out, "\n  variant \"{variant}\": {what}")?;
    let mut written = Ok(());
    let run = demo::run(variant, store, settings, |line| {
        if written.is_ok() {
            written = writeln!(out, "  {line}").and_then(|()| out.flush());
        }
    })
    .await?;
    written?;
    let outcome = &run.outcome;
    writeln!(
        out,
        "{:>9} answered in {}: {}",
        text::count(outcome.answers),
        text::duration(outcome.elapsed),
        correctness(&run)
    )?;
    if let Some(paths) = run.paths {
        let (hits, misses) = (text::count(paths.hits), text::count(paths.misses));
        if variant == Variant::Rebuild {
            writeln!(
                out,
                "  {hits} found the list in the cache, {misses} did not and read the table"
            )?;
        } else {
            writeln!(
                out,
                "  the table was read {misses} times: at the start, and at each expiry"
            )?;
        }
    }
    if outcome.false_negatives > 0 {
        return Err(format!("{} payments of risky users were approved", outcome.false_negatives).into());
    }
    Ok(run)
}

fn correctness(run: &Run) -> String {
    let outcome = &run.outcome;
    match (outcome.false_negatives, outcome.false_positives) {
        (0, 0) => "all of them right".to_owned(),
        (0, refused) => format!("{} honest users refused, no risky one approved", text::count(refused)),
        (approved, _) => format!("WRONG, {} risky users approved", text::count(approved)),
    }
}

/// Runs one variant and prints the finding and the reports.
async fn report(
    variant: Variant,
    store: &Store,
    settings: &Settings,
    top: usize,
    out: &mut impl Write,
) -> Fallible<()> {
    let mut run = load(variant, store, settings, out).await?;
    for snapshot in [&mut run.after, &mut run.moment_a, &mut run.moment_b] {
        snapshot.resolve();
    }

    heading(out, "Finding")?;
    finding(&run, out)?;
    heading(out, "What requests rebuild")?;
    writeln!(out, "{}", Findings::of(&run.after, &Options::default()))?;
    heading(out, "Hot paths, from the start of the program to now")?;
    writeln!(out, "{}", run.after.report().top(top))?;
    heading(out, "From snapshot A to snapshot B, both under load")?;
    writeln!(
        out,
        "{}",
        SnapshotDiff::between(&run.moment_a, &run.moment_b).report().top(top)
    )?;
    heading(out, "Next")?;
    if variant == Variant::Rebuild {
        writeln!(
            out,
            "  --compare            runs the three fixes too, and prints a table"
        )?;
        writeln!(out, "  --variant set        prints these reports for one of them")?;
    } else {
        writeln!(
            out,
            "  --variant rebuild    prints these reports for the service before the fix"
        )?;
        writeln!(out, "  --compare            runs all four, and prints a table")?;
    }
    Ok(())
}

fn heading(out: &mut impl Write, title: &str) -> std::io::Result<()> {
    writeln!(out, "\n{title}\n{}\n", "-".repeat(title.chars().count()))
}

/// Says which line costs most, and what that means.
fn finding(run: &Run, out: &mut impl Write) -> Fallible<()> {
    let per_request = run.per_request;
    let lines = LineCost::lines(&run.after, run.variant.scope(), in_this_package);
    let Some(line) = lines.first().filter(|line| line.bytes > 0) else {
        let text = no_line(run);
        return Ok(writeln!(out, "{}", text::wrap(&text, "  ", 78))?);
    };

    writeln!(out, "  {}:{}", line.file, line.line)?;
    let source = (line.file.ends_with("fraud/rebuild.rs"))
        .then(|| quote(rebuild::SOURCE, line.line))
        .flatten();
    if let Some(source) = source {
        writeln!(out, "      {source}")?;
    }
    let calls = per_request.calls.max(1) as f64;
    let half = text::duration(run.outcome.percentile(0.5));
    let text = if run.variant == Variant::Rebuild {
        let hits = run.paths.map_or(1, |paths| paths.hits.max(1)) as f64;
        format!(
            "This line builds a set to ask it one question, in every request that finds the list cached. Each time \
             it makes {} allocations and is granted {}. That is {} of all bytes granted to the handler and what it \
             calls. The requests in flight held up to {} at once, and half of them took longer than {half}.",
            text::mean(line.allocations as f64 / hits),
            text::bytes(line.bytes as f64 / hits),
            text::percent(line.bytes as f64, per_request.bytes * calls),
            text::bytes(run.peak_bytes() as f64),
        )
    } else if (line.allocations as f64) < calls / 100.0 {
        format!(
            "The check allocates next to nothing, and this is where: {} allocations of {} in {} requests. Half of them \
             took longer than {half}.",
            text::count(line.allocations),
            text::bytes(line.bytes as f64),
            text::count(per_request.calls),
        )
    } else {
        format!(
            "The costliest line of the check: {} allocations and {} per request. The handler and what it calls make \
             {} allocations of {} in all. Half of the requests took longer than {half}.",
            text::mean(line.allocations as f64 / calls),
            text::bytes(line.bytes as f64 / calls),
            text::mean(per_request.allocations),
            text::bytes(per_request.bytes),
        )
    };
    writeln!(out, "\n{}", text::wrap(&text, "  ", 78))?;
    if run.variant == Variant::Rebuild {
        let text = "All of it is freed when the request ends, so live memory returns to where it was (see the last \
                    report: nearly all is churn). The price is paid in time, and in a peak that grows with each \
                    request in flight: behind a slow query or a slow disk they pile up, each holding a whole set.";
        writeln!(out, "\n{}", text::wrap(text, "  ", 78))?;
    }
    Ok(())
}

/// What to say when no line of the check allocated anything, or none is known to have.
fn no_line(run: &Run) -> String {
    if run.after.mode == "off" {
        return "Tracking is off: there is nothing to report.".to_owned();
    }
    let granted = format!(
        "{} in {} allocations per request",
        text::bytes(run.per_request.bytes),
        text::mean(run.per_request.allocations)
    );
    if run.check().bytes == 0 {
        return format!(
            "The check allocates nothing. The handler around it: {granted}. Half of the requests took longer than {}.",
            text::duration(run.outcome.percentile(0.5))
        );
    }
    let why = if run.after.mode == "exact" {
        "the call stacks do not reach the code of this package. ALLOCSCOPE_DEPTH makes them deeper".to_owned()
    } else {
        format!(
            "call stacks are recorded in the mode \"exact\", and this is \"{}\"",
            run.after.mode
        )
    };
    format!("The handler allocates {granted}. No line can be named: {why}.")
}

/// One line of a source file, without its indentation.
fn quote(source: &'static str, line: u32) -> Option<&'static str> {
    source.lines().nth((line as usize).checked_sub(1)?).map(str::trim)
}

/// Runs every variant and prints a table.
async fn compare(store: &Store, settings: &Settings, out: &mut impl Write) -> Fallible<()> {
    let mut runs = Vec::new();
    for variant in Variant::ALL {
        runs.push(load(variant, store, settings, out).await?);
    }
    heading(out, "What one request costs")?;
    writeln!(
        out,
        "variant   allocations     bytes  peak live  requests      p50      p99  wrong"
    )?;
    writeln!(out, "             /request  /request                   /s")?;
    for run in &runs {
        let outcome = &run.outcome;
        writeln!(
            out,
            "{:<9}{:>12}{:>10}{:>11}{:>10}{:>9}{:>9}{:>7}",
            run.variant,
            text::mean(run.per_request.allocations),
            text::bytes(run.per_request.bytes),
            text::bytes(run.peak_bytes() as f64),
            text::mean(outcome.per_second()),
            text::duration(outcome.percentile(0.5)),
            text::duration(outcome.percentile(0.99)),
            text::count(outcome.false_negatives + outcome.false_positives),
        )?;
    }
    let notes = format!(
        "Allocations and bytes are those of the handler and what it calls. Peak live is what all requests in flight \
         held at once, plus the set or filter kept between them (two while it is replaced). Times are those of a \
         program under \"{}\" tracking.",
        runs.first().map_or("exact", |run| run.after.mode.as_str())
    );
    writeln!(out, "\n{}", text::wrap(&notes, "  ", 78))?;
    for run in runs.iter().filter(|run| run.variant == Variant::Bloom) {
        let outcome = &run.outcome;
        let text = format!(
            "bloom: refused {} of {} honest users, {}; stated beforehand: {}. It never approves a risky one.",
            text::count(outcome.false_positives),
            text::count(outcome.honest),
            text::percent(outcome.false_positives as f64, outcome.honest as f64),
            text::percent(settings.false_positives, 1.0),
        );
        writeln!(out, "{}", text::wrap(&text, "  ", 78))?;
    }
    Ok(())
}
