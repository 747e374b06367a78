//! Budgets in a checked-in file: `budgets/<test target>.toml` in the package. Feature `budgets`.
//!
//! Called by `test`. Read side. One table per test, in it one per build profile, and per toolchain where figures differ. The file is read for each
//! test and written only when `ALLOCSCOPE_BUDGETS=update` asks for it: under a lock file, from the state on disk, by renaming, so that
//! test programs that update at once lose nothing. Comments and order are kept.
#![forbid(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::assert::{Subject, judge};
use super::limits::{Check, Limit, Metric, parse_size};
use super::passes;
use super::test::Recorded;
use super::usage::Usage;
use crate::inside::inside_tracker;
use crate::model::write_atomically;

const ENVIRONMENT: &str = "ALLOCSCOPE_BUDGETS";
/// What is recorded. Frees and copied bytes follow from these, or depend on the inner allocator.
const METRICS: [Metric; 5] = [
    Metric::Allocations,
    Metric::Reallocations,
    Metric::Bytes,
    Metric::Peak,
    Metric::Retained,
];
const HEAD: &str = "# Allocation budgets of the tests of this target, by build profile. Reviewed like code.\n# ALLOCSCOPE_BUDGETS=update \
                    cargo test   writes what differs; ALLOCSCOPE_BUDGETS=strict also fails where\n# a test needs less than it is \
                    allowed. `tolerance = 2` or `tolerance = \"5 %\"` beside the figures allows for chance.\n\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Check,
    Strict,
    Update,
}

impl Wish {
    fn of_environment() -> Result<Self, String> {
        match std::env::var(ENVIRONMENT).as_deref() {
            Err(_) | Ok("" | "check") => Ok(Self::Check),
            Ok("strict") => Ok(Self::Strict),
            Ok("update") => Ok(Self::Update),
            Ok(other) => Err(format!(
                "found {ENVIRONMENT}={other}; use \"check\", \"strict\" or \"update\""
            )),
        }
    }
}

/// How much a figure may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tolerance {
    absolute: u64,
    percent: f64,
}

impl Tolerance {
    fn of(self, budget: u64) -> u64 {
        let relative = (budget as f64 * self.percent / 100.0).floor() as u64;
        self.absolute.max(relative)
    }

    fn read(item: &Value) -> Option<Self> {
        if let Some(absolute) = item.as_integer() {
            let absolute = u64::try_from(absolute).ok()?;
            return Some(Self { absolute, percent: 0.0 });
        }
        let text = item.as_str()?.trim();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = f64::from_str(percent.trim()).ok()?;
                (percent.is_finite() && percent >= 0.0).then_some(Self { absolute: 0, percent })
            }
            None => Some(Self {
                absolute: parse_size(text)?,
                percent: 0.0,
            }),
        }
    }
}

/// What the file says about one test in one build.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    figures: Vec<(Metric, u64)>,
    tolerance: Tolerance,
}

fn path_of(recorded: Recorded) -> PathBuf {
    let file = format!("{}.toml", recorded.target);
    Path::new(recorded.manifest_dir).join("budgets").join(file)
}

/// `debug`, `release`; both also with the toolchain behind: `release rustc 1.95.0`.
fn profile(recorded: Recorded) -> &'static str {
    if recorded.is_debug { "debug" } else { "release" }
}

fn toolchain_profile(recorded: Recorded) -> String {
    format!("{} {}", profile(recorded), env!("ALLOCSCOPE_RUSTC"))
}

/// The entry for this toolchain, or else for this profile, and the key it stands under.
fn find(document: &DocumentMut, recorded: Recorded) -> Result<Option<(String, Entry)>, String> {
    let Some(test) = document.get(recorded.test) else {
        return Ok(None);
    };
    let Some(test) = test.as_table_like() else {
        return Err(format!("[\"{}\"] is no table", recorded.test));
    };
    for key in [toolchain_profile(recorded), profile(recorded).to_owned()] {
        if let Some(item) = test.get(&key) {
            let entry = read_entry(item).map_err(|error| format!("[\"{}\"] {key}: {error}", recorded.test))?;
            return Ok(Some((key, entry)));
        }
    }
    Ok(None)
}

fn read_entry(item: &Item) -> Result<Entry, String> {
    let Some(table) = item.as_table_like() else {
        return Err("found no table; write { allocations = 1, bytes = 100 }".to_owned());
    };
    let mut entry = Entry::default();
    for (key, item) in table.iter() {
        let value = item.as_value();
        if key == "tolerance" {
            entry.tolerance = value
                .and_then(Tolerance::read)
                .ok_or("found a tolerance that is none; write 2, \"64 B\" or \"5 %\"")?;
            continue;
        }
        let Some(metric) = METRICS.into_iter().find(|metric| metric.name() == key) else {
            let known: Vec<&str> = METRICS.iter().map(|metric| metric.name()).collect();
            return Err(format!(
                "found `{key}`; accepted are {} and tolerance",
                known.join(", ")
            ));
        };
        let figure = value.and_then(|value| match value.as_str() {
            Some(text) => parse_size(text),
            None => u64::try_from(value.as_integer()?).ok(),
        });
        let figure = figure.ok_or_else(|| format!("found no number for {key}; write 12 or \"4 KiB\""))?;
        entry.figures.push((metric, figure));
    }
    Ok(entry)
}

fn read(path: &Path) -> Result<DocumentMut, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("failed to read {}: {error}", path.display())),
    };
    text.parse()
        .map_err(|error| format!("failed to read {}: {error}", path.display()))
}

/// Reads every entry of a file of budgets, and says how many there are; for fuzzing, through the crate's hidden module.
#[doc(hidden)]
pub fn read_budgets(text: &str) -> Result<usize, String> {
    let document: DocumentMut = text.parse().map_err(|error| format!("failed to read: {error}"))?;
    let tests = document.iter().filter_map(|(_, test)| test.as_table_like());
    let entries = tests.flat_map(|test| test.iter().map(|(_, item)| read_entry(item)).collect::<Vec<_>>());
    entries.map(|entry| entry.map(|_| 1)).sum()
}

fn line_to_add(recorded: Recorded, usage: &Usage) -> String {
    format!(
        "[\"{}\"]\n{} = {}",
        recorded.test,
        profile(recorded),
        figures_of(usage, &METRICS)
    )
}

fn figures_of(usage: &Usage, metrics: &[Metric]) -> InlineTable {
    let mut table = InlineTable::new();
    for &metric in metrics {
        // TOML's integers are signed.
        table.insert(
            metric.name(),
            Value::from(i64::try_from(metric.of(usage)).unwrap_or(i64::MAX)),
        );
    }
    table.fmt();
    table
}

/// Judges a test by its entry; writes the entry when the environment asks for it.
pub(super) fn judge_recorded(subject: Subject, recorded: Recorded, usage: &Usage) -> Result<(), String> {
    inside_tracker(|| {
        let path = path_of(recorded);
        let wish = Wish::of_environment()?;
        if wish == Wish::Update {
            update(&path, recorded, usage)?;
            passes::keep(subject, &usage.sites());
            return Ok(());
        }
        let document = read(&path)?;
        let found = find(&document, recorded).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
        let Some((_, entry)) = found else {
            return Err(format!(
                "{} has no budget for {} builds; run with {ENVIRONMENT}=update, or add to {}:\n{}",
                recorded.test,
                profile(recorded),
                path.display(),
                line_to_add(recorded, usage)
            ));
        };
        let checks: Vec<Check> = entry
            .figures
            .iter()
            .map(|&(metric, budget)| Check {
                metric,
                limit: Limit::AtMost(budget.saturating_add(entry.tolerance.of(budget))),
            })
            .collect();
        judge(subject, usage, &checks).map_err(|text| {
            format!(
                "{text}\nbudget: {}; if it must be more, {ENVIRONMENT}=update writes it, for review",
                path.display()
            )
        })?;
        let slack = slack(&entry, usage);
        if slack.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{} needs less than its budget: {}; tighten it with {ENVIRONMENT}=update: {}",
            recorded.test,
            slack.join(", "),
            path.display()
        );
        if wish == Wish::Strict {
            return Err(text);
        }
        eprintln!("allocscope: {text}");
        Ok(())
    })
}

/// Figures that are smaller than the budget by more than the tolerance.
fn slack(entry: &Entry, usage: &Usage) -> Vec<String> {
    let mut slack = Vec::new();
    for &(metric, budget) in &entry.figures {
        let actual = metric.of(usage);
        if actual.saturating_add(entry.tolerance.of(budget)) < budget {
            slack.push(format!("{metric} {actual} of {budget}"));
        }
    }
    slack
}

/// True when the entry says what was found, within its tolerance. What it says nothing about, it is not to say anything about.
fn is_up_to_date(entry: &Entry, usage: &Usage) -> bool {
    let holds = |&(metric, budget): &(Metric, u64)| metric.of(usage).abs_diff(budget) <= entry.tolerance.of(budget);
    !entry.figures.is_empty() && entry.figures.iter().all(holds)
}

/// Writes the figures of one test, and leaves everything else in the file as it is on disk now.
fn update(path: &Path, recorded: Recorded, usage: &Usage) -> Result<(), String> {
    // Between the threads of this process; a file lock is the process's.
    static HERE: Mutex<()> = Mutex::new(());
    let _here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = |action: &str, error: std::io::Error| format!("failed to {action} {}: {error}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| failed("write", error))?;
    }
    // A file of its own: the budgets file is replaced.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(lock_path(recorded))
        .map_err(|error| failed("lock", error))?;
    let mut lock = fd_lock::RwLock::new(lock);
    let _there = lock.write().map_err(|error| failed("lock", error))?;
    let mut document = read(path)?;
    let found = find(&document, recorded).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    let (key, metrics) = match found {
        Some((_, entry)) if is_up_to_date(&entry, usage) => return Ok(()),
        Some((key, entry)) => (key, entry.figures.iter().map(|(metric, _)| *metric).collect()),
        None => (profile(recorded).to_owned(), Vec::new()),
    };
    let metrics = if metrics.is_empty() { METRICS.to_vec() } else { metrics };
    let test = document
        .entry(recorded.test)
        .or_insert_with(|| Item::Table(Table::new()));
    let Some(test) = test.as_table_like_mut() else {
        return Err(format!(
            "failed to write {}: [\"{}\"] is no table",
            path.display(),
            recorded.test
        ));
    };
    let mut figures = figures_of(usage, &metrics);
    let tolerance = test
        .get(&key)
        .and_then(|old| old.as_table_like()?.get("tolerance")?.as_value().cloned());
    if let Some(tolerance) = tolerance {
        figures.insert("tolerance", tolerance);
        figures.fmt();
    }
    let figures = Item::Value(Value::InlineTable(figures));
    match test.get_mut(&key) {
        // In place, so that comments above it stay.
        Some(entry) => *entry = figures,
        None => {
            test.insert(&key, figures);
        }
    }
    let mut text = document.to_string();
    if !text.starts_with('#') {
        text.insert_str(0, HEAD);
    }
    write_atomically(path, |out| out.write_all(text.as_bytes())).map_err(|error| failed("write", error))
}

/// Beside the build's files, so that nothing lies about in the package.
fn lock_path(recorded: Recorded) -> PathBuf {
    let hash = recorded.manifest_dir.bytes().chain([0]).chain(recorded.target.bytes());
    let hash = hash.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    std::env::temp_dir().join(format!("allocscope-budgets-{hash:016x}.lock"))
}
