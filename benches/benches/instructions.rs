//! What tracking costs in instructions, held against the record: the hot paths must not creep up.
//!
//! `cargo bench -p allocscope-benches --bench instructions`. Fails when a row needs over 3 % more than
//! `benches/record/<target>/instructions.csv` says, and names it; `-- --accept` writes a new record. `-- --quick` leaves out the
//! programs. Says why and ends well where there is no valgrind, or where the record was made with another compiler.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use allocscope_benches::Options;
use allocscope_benches::callgrind::{self, parallel};
use allocscope_benches::drive::command;
use allocscope_benches::record::{Record, Verdict};
use allocscope_benches::verdicts;

const UNDER_SYSTEM: &str = env!("CARGO_BIN_EXE_under_system");
const UNDER_ALLOCSCOPE: &str = env!("CARGO_BIN_EXE_under_allocscope");
const ACCEPT: &str = "cargo bench -q -p allocscope-benches --bench instructions -- --accept";

fn main() -> ExitCode {
    let options = Options::from_args();
    let Some(valgrind) = callgrind::version() else {
        println!("no instruction counts: `valgrind --version` does not run here");
        return ExitCode::SUCCESS;
    };
    let plans = plans(options.is_quick);
    let counted = match count(&plans) {
        Ok(rows) => rows,
        Err(error) => {
            println!("instructions: {error}");
            return ExitCode::FAILURE;
        }
    };
    let new = Record {
        made_with: vec![
            format!("target: {}", verdicts::target()),
            format!("toolchain: {}, bench profile", verdicts::compiler()),
            format!("C library: {}", verdicts::c_library()),
            format!("counted by: {valgrind} (callgrind)"),
        ],
        rows: counted,
    };
    for line in &new.made_with {
        println!("{line}");
    }
    for (name, count) in &new.rows {
        println!("{name:<68} {count:>9.1}");
    }
    judge(&new, options)
}

fn path() -> PathBuf {
    let name = format!("record/{}/instructions.csv", verdicts::target());
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn judge(new: &Record, options: Options) -> ExitCode {
    let path = path();
    let old = std::fs::read_to_string(&path).ok();
    if options.is_accepted {
        assert!(
            !options.is_quick,
            "a quick run has not all rows: accept without --quick"
        );
        let directory = path.parent().expect("it is in a directory");
        std::fs::create_dir_all(directory).expect("the record's directory can be made");
        std::fs::write(&path, new.to_text()).expect("the record can be written");
        println!("accepted: {}", path.display());
        return ExitCode::SUCCESS;
    }
    let Some(old) = old else {
        println!("no record for this target yet; to make it: {ACCEPT}");
        return ExitCode::SUCCESS;
    };
    let mut old = match Record::from_text(&old) {
        Ok(old) => old,
        Err(error) => {
            println!("instructions: the record is damaged: {error}. To make a new one: {ACCEPT}");
            return ExitCode::FAILURE;
        }
    };
    if options.is_quick {
        // What a quick run leaves out is not gone.
        old.rows.retain(|(name, _)| !name.starts_with(PROGRAM));
    }
    match old.compare(new) {
        Verdict::NotComparable(old, new) => {
            println!("not compared: the record was made with `{old}`, this run with `{new}`. To record it: {ACCEPT}");
            ExitCode::SUCCESS
        }
        Verdict::Compared { dearer, changed } => {
            for line in &changed {
                println!("changed: {line}");
            }
            for line in &dearer {
                println!("DEARER: {line}");
            }
            if dearer.is_empty() {
                println!("no row needs over 3 % more instructions than the record says");
                if !changed.is_empty() {
                    println!("to record what changed: {ACCEPT}");
                }
                ExitCode::SUCCESS
            } else {
                println!(
                    "instructions: a hot path became dearer. Make it cheap again, or accept it, with the reason in the commit: {ACCEPT}"
                );
                ExitCode::FAILURE
            }
        }
    }
}

/// Begins the names of rows that a quick run leaves out.
const PROGRAM: &str = "program ";

/// A task of one child.
#[derive(Clone, Debug)]
struct Job {
    executable: &'static str,
    mode: &'static str,
    observe: &'static str,
    task: &'static str,
    few: u64,
    many: u64,
}

/// A row: what the first job takes more than the second.
struct Plan {
    name: String,
    job: Job,
    without: Option<Job>,
}

fn plans(is_quick: bool) -> Vec<Plan> {
    let modes = verdicts::MODES;
    let job = |executable, mode, task, few, many| Job {
        executable,
        mode,
        observe: "auto",
        task,
        few,
        many,
    };
    let mut plans = Vec::new();
    let mut add = |name: String, job: Job, without: Option<Job>| plans.push(Plan { name, job, without });
    // So many that the windows of `observe` are in it as often as they come.
    let pairs = |executable, mode| job(executable, mode, "pair", 20_000, 420_000);
    let bare = pairs(UNDER_SYSTEM, "off");
    add(
        "bare System: alloc + free pair of 64 bytes".to_owned(),
        bare.clone(),
        None,
    );
    for &mode in &modes {
        add(
            format!("{mode}: added to a pair"),
            pairs(UNDER_ALLOCSCOPE, mode),
            Some(bare.clone()),
        );
    }
    for (task, without, name) in [
        ("tagged", "untagged", "scope enter + leave"),
        ("tagged_nested", "tagged", "nested scope enter + leave, more"),
        ("tagged_pair", "untagged_pair", "scope enter + leave around a pair"),
        ("carried", "untagged", "carried scope enter + leave"),
        ("tagged_poll", "untagged_poll", "one extra poll"),
    ] {
        for &mode in &modes {
            let [with, without] = [task, without].map(|task| job(UNDER_ALLOCSCOPE, mode, task, 1000, 11_000));
            add(format!("{mode}: {name}"), with, Some(without));
        }
    }
    // What it costs to find out what iterations rebuild: in all when one in so many is observed, and for one that is.
    for mode in ["scopes", "exact"] {
        for (observe, few, many, name) in [
            ("none", 1000, 11_000, "none observed"),
            // Beyond the first ones, which are observed more often.
            ("auto", 20_000, 220_000, "as a rule"),
            ("all", 1000, 11_000, "observed"),
        ] {
            let [with, without] = ["iteration_pair", "untagged_pair"].map(|task| Job {
                observe,
                ..job(UNDER_ALLOCSCOPE, mode, task, few, many)
            });
            add(format!("{mode}: iteration around a pair, {name}"), with, Some(without));
        }
    }
    // A mark in a program that has another allocator: one relaxed load, the test of it, and the prologue of a function that might make a call.
    for (what, name) in [("", "scope enter + leave"), ("_poll", "one extra poll")] {
        let [with, without]: [&'static str; 2] = match what {
            "" => ["tagged", "untagged"],
            _ => ["tagged_poll", "untagged_poll"],
        };
        let [with, without] = [with, without].map(|task| job(UNDER_SYSTEM, "exact", task, 1000, 11_000));
        add(format!("not installed: {name}"), with, Some(without));
    }
    if !is_quick {
        for program in ["json", "regex", "syn", "request", "mix_words", "mix_expr"] {
            let bare = job(UNDER_SYSTEM, "off", program, 2, 4);
            add(format!("{PROGRAM}{program}, bare"), bare.clone(), None);
            for &mode in &modes {
                let ours = job(UNDER_ALLOCSCOPE, mode, program, 2, 4);
                add(format!("{PROGRAM}{program}, {mode}: added"), ours, Some(bare.clone()));
            }
        }
    }
    plans
}

/// Counts every job once, whatever number of rows needs it.
fn count(plans: &[Plan]) -> Result<Vec<(String, f64)>, String> {
    let key = |job: &Job| format!("{job:?}");
    let mut jobs: Vec<&Job> = plans
        .iter()
        .flat_map(|plan| std::iter::once(&plan.job).chain(&plan.without))
        .collect();
    jobs.sort_by_key(|job| key(job));
    jobs.dedup_by_key(|job| key(job));
    let counts = parallel(&jobs, |job| {
        let mut child: Command = command(job.executable.as_ref(), job.mode);
        // A program of a few passes has few samples, and each is dear: the same ones every time.
        child.env("ALLOCSCOPE_SAMPLE_SEED", "1");
        child.env("ALLOCSCOPE_OBSERVE", job.observe);
        callgrind::per_turn(&child, job.task, job.few, job.many)
            .map_err(|error| format!("in mode {}: {error}", job.mode))
    });
    let counts: Vec<f64> = counts.into_iter().collect::<Result<_, _>>()?;
    let of = |job: &Job| {
        let place = jobs.iter().position(|known| key(known) == key(job));
        counts[place.expect("every job was counted")]
    };
    let row = |plan: &Plan| (plan.name.clone(), of(&plan.job) - plan.without.as_ref().map_or(0.0, of));
    Ok(plans.iter().map(row).collect())
}
