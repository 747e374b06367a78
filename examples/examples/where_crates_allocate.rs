//! Where well-known crates allocate, on real data: this workspace.
//!
//! `cargo run --release -p allocscope-examples --example where_crates_allocate` parses the workspace's own
//! `cargo metadata` with serde_json, searches its sources with regex, and parses them with syn. Each piece of work is a
//! block scope; afterwards one snapshot is grouped by the line *inside the crate* that allocated, and the hot-path
//! report shows the same by the line of this program that called it. Each document and each file is an iteration, and
//! the end says what they build again and again. What is true of that, and what is missing:
//! `docs/findings-on-real-crates.md`.
//!
//! An example and not a binary, so that the first program of this package builds without syn and regex.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    hint::black_box,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use alloc_core::{
    Snapshot, TrackingAllocator,
    findings::{CodeLine, Findings, Options},
    iteration, iterations, scope,
};
use allocscope_examples::{
    Fallible,
    observe::{LineCost, ScopeFigures, in_crate},
    text,
};
use clap::Parser;
use regex::Regex;
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: TrackingAllocator = TrackingAllocator::new();

/// Where serde_json, regex and syn allocate, on this workspace's own data.
#[derive(Parser)]
#[command(name = "where_crates_allocate", max_term_width = 80)]
pub(crate) struct Flags {
    /// Lines shown for each piece of work
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) top: u32,
    /// Print the findings with evidence and advice
    #[arg(long)]
    pub(crate) evidence: bool,
}

/// The part of `cargo metadata` that a typed reader wants: names borrowed from the text, nothing else kept.
#[derive(Deserialize)]
struct Metadata<'text> {
    #[serde(borrow)]
    packages: Vec<Package<'text>>,
}

#[derive(Deserialize)]
struct Package<'text> {
    #[serde(borrow)]
    name: &'text str,
    #[serde(borrow)]
    version: &'text str,
}

/// One piece of work: the scope it ran in, and how to read its figures.
struct Work {
    scope: &'static str,
    /// The work, in a few words.
    what: &'static str,
    /// Crates whose lines are shown.
    crates: &'static [&'static str],
    /// What one unit of the work is, and how many there were.
    unit: (&'static str, u64),
    /// What the figures mean.
    meaning: &'static str,
}

fn main() -> ExitCode {
    match run(&Flags::parse(), &mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("where_crates_allocate failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

pub(crate) fn run(flags: &Flags, out: &mut impl Write) -> Fallible<()> {
    writeln!(
        out,
        "Allocscope on serde_json, regex and syn, at work on this workspace\n"
    )?;
    let root = workspace_root()?;
    let metadata = cargo_metadata(&root)?;
    let sources = sources(&root)?;
    let source_bytes: usize = sources.iter().map(String::len).sum();
    let source_lines: usize = sources.iter().map(|source| source.lines().count()).sum();
    writeln!(
        out,
        "  cargo metadata    {} of JSON",
        text::bytes(metadata.len() as f64)
    )?;
    writeln!(
        out,
        "  Rust sources      {} files, {} lines, {}",
        text::count(sources.len() as u64),
        text::count(source_lines as u64),
        text::bytes(source_bytes as f64)
    )?;

    let works = [
        untyped_json(&metadata)?,
        typed_json(&metadata)?,
        regex_compile()?,
        regex_search(&sources)?,
        syn_parse(&sources)?,
    ];

    let mut snapshot = Snapshot::take()?;
    snapshot.resolve();
    for work in &works {
        print_work(work, &snapshot, flags.top as usize, out)?;
    }
    let title = "The whole program, by the lines of this example";
    writeln!(
        out,
        "\n{title}\n{}\n\n{}",
        "-".repeat(title.len()),
        snapshot.report().top(flags.top as usize)
    )?;
    let findings = Findings::of(&snapshot, &Options::default().relative_to(root.to_string_lossy()));
    print_findings(&findings, flags.top as usize, out)?;
    if flags.evidence {
        writeln!(out, "\n{findings}")?;
    }
    Ok(())
}

/// Three lines for each; `--evidence` prints all that is known.
fn print_findings(findings: &Findings, top: usize, out: &mut impl Write) -> Fallible<()> {
    let title = "What the iterations build again and again";
    writeln!(out, "\n{title}\n{}\n", "-".repeat(title.len()))?;
    for seen in &findings.loops {
        let name = seen.path.last().map_or("", String::as_str);
        writeln!(
            out,
            "  {name:<24} {:>6} iterations, {} observed",
            text::count(seen.seen),
            text::count(seen.observed)
        )?;
    }
    for found in &findings.findings {
        let cost = &found.cost;
        writeln!(
            out,
            "\n  {}: {}\n    {} in {} allocations, each of {}\n    {} of its allocations, {} of its bytes; severity {}",
            found.verdict,
            named(&found.line),
            text::bytes(cost.bytes),
            text::mean(cost.allocations),
            found.iteration.name,
            text::percent(cost.share_of_loop_allocations, 1.0),
            text::percent(cost.share_of_loop, 1.0),
            found.severity
        )?;
    }
    if findings.findings.is_empty() {
        writeln!(out, "\n  nothing")?;
    }
    if !findings.not_enough.is_empty() {
        writeln!(out, "\n  done too seldom to be judged:")?;
    }
    for waiting in findings.not_enough.iter().take(top) {
        writeln!(
            out,
            "    {}\n      {}, {} of {} iterations needed",
            named(&waiting.line),
            waiting.iteration.name,
            waiting.iteration.observed,
            waiting.needed
        )?;
    }
    Ok(())
}

/// What a line builds, and where it is.
fn named(line: &CodeLine) -> String {
    let what = line.collection.as_deref().or(line.made_by.as_deref());
    let place = text::tail(&line.place, 32);
    // The innermost name tells collections apart.
    format!("{} at {place}", text::tail(what.unwrap_or("blocks"), 22))
}

fn print_work(work: &Work, snapshot: &Snapshot, top: usize, out: &mut impl Write) -> Fallible<()> {
    let heading = format!("{}  ({})", work.scope, work.what);
    writeln!(out, "\n{heading}\n{}", "-".repeat(heading.len()))?;
    let figures = ScopeFigures::of(snapshot, work.scope);
    let (unit, units) = work.unit;
    writeln!(
        out,
        "  {} allocations, {} in all, at most {} at once\n  {} allocations per {unit}\n",
        text::count(figures.allocations),
        text::bytes(figures.bytes as f64),
        text::bytes(figures.peak_bytes as f64),
        text::mean(figures.allocations as f64 / units.max(1) as f64),
    )?;
    let lines = LineCost::lines(snapshot, work.scope, |file| {
        work.crates.iter().find_map(|name| in_crate(file, name))
    });
    for line in lines.iter().take(top).filter(|line| line.bytes > 0) {
        // The crate with its version, then the path below its `src`.
        let mut place = line.file.replacen("/src/", " ", 1);
        if line.line > 0 {
            place = format!("{place}:{}", line.line);
        }
        writeln!(
            out,
            "  {:>7} {:>9} in {:>7}  {}",
            text::percent(line.bytes as f64, figures.bytes as f64),
            text::bytes(line.bytes as f64),
            text::count(line.allocations),
            text::tail(&place, 48),
        )?;
    }
    Ok(writeln!(out, "\n{}", text::wrap(work.meaning, "  ", 78))?)
}

fn untyped_json(metadata: &str) -> Fallible<Work> {
    const SCOPE: &str = "serde_json: Value";
    const WHAT: &str = "cargo metadata into a Value, which owns its texts";
    let _document = iteration!("serde_json: Value");
    let value: serde_json::Value = serde_json::from_str(metadata)?;
    let values = count_values(&value);
    black_box(&value);
    Ok(Work {
        scope: SCOPE,
        what: WHAT,
        crates: &["serde_json"],
        unit: ("JSON value", values),
        meaning: "A Value owns everything it says: a String for each key and each text, a tree node for each few \
                  entries of an object, a growing Vec for each array. Numbers, null and true cost nothing.",
    })
}

fn count_values(value: &serde_json::Value) -> u64 {
    1 + match value {
        serde_json::Value::Array(items) => items.iter().map(count_values).sum(),
        serde_json::Value::Object(entries) => entries.values().map(count_values).sum(),
        _ => 0,
    }
}

fn typed_json(metadata: &str) -> Fallible<Work> {
    const SCOPE: &str = "serde_json: borrow";
    const WHAT: &str = "the same into a struct that borrows its texts";
    let _document = iteration!("serde_json: borrow");
    let metadata: Metadata<'_> = serde_json::from_str(metadata)?;
    let longest = metadata
        .packages
        .iter()
        .map(|package| package.name.len() + package.version.len())
        .max();
    black_box(longest);
    Ok(Work {
        scope: SCOPE,
        what: WHAT,
        crates: &["serde_json", "serde_core"],
        unit: ("package", metadata.packages.len() as u64),
        meaning: "The same text, read into names that point into it. What is left is the Vec of packages, which \
                  doubles as it grows, and a scratch buffer for texts with escapes in them.",
    })
}

/// Finds the functions of a source file, and their names.
const FUNCTIONS: &str = r"(?m)^\s*(?:pub(?:\([a-z ]+\))?\s+)?(?:async\s+)?fn\s+(?P<name>\w+)";

fn regex_compile() -> Fallible<Work> {
    const SCOPE: &str = "regex: compile";
    const WHAT: &str = "one pattern that finds functions";
    let _scope = scope!("regex: compile");
    black_box(Regex::new(FUNCTIONS)?);
    Ok(Work {
        scope: SCOPE,
        what: WHAT,
        crates: &["regex-automata", "regex-syntax"],
        unit: ("pattern", 1),
        meaning: "Compiling is where regex pays: syntax tree, Unicode classes (\\w and \\s are large tables), and the \
                  automata. A pattern compiled inside a loop is the classic mistake; compile once and keep it.",
    })
}

fn regex_search(sources: &[String]) -> Fallible<Work> {
    const SCOPE: &str = "regex: search";
    const WHAT: &str = "every source file, with captures";
    let regex = Regex::new(FUNCTIONS)?;
    let _scope = scope!("regex: search");
    let mut found = 0;
    let mut longest = 0;
    for source in iterations!("regex: search a file", sources) {
        for captures in regex.captures_iter(source) {
            found += 1;
            longest = longest.max(captures.name("name").map_or(0, |name| name.len()));
        }
    }
    black_box(longest);
    Ok(Work {
        scope: SCOPE,
        what: WHAT,
        crates: &["regex-automata", "regex"],
        unit: ("function found", found),
        meaning: "The first search fills a cache (states of a lazy automaton) that later ones reuse. After that, each \
                  match with captures allocates its slots; `find_iter`, which has none, would not.",
    })
}

fn syn_parse(sources: &[String]) -> Fallible<Work> {
    const SCOPE: &str = "syn: parse";
    const WHAT: &str = "every source file, into a syntax tree";
    let _scope = scope!("syn: parse");
    let mut items = 0;
    for source in iterations!("syn: parse a file", sources) {
        let file = syn::parse_file(source)?;
        items += file.items.len() as u64;
        black_box(&file);
    }
    Ok(Work {
        scope: SCOPE,
        what: WHAT,
        crates: &["syn", "proc-macro2"],
        unit: ("item", items),
        meaning: "Two costs: tokens (proc-macro2 owns a String for each identifier and literal, a Vec for each group), \
                  then the tree (a Box for each expression inside another, a Vec for each list). One file is freed \
                  before the next is read, so the most held at once is one file's, not the sum.",
    })
}

/// The workspace this program was built from: where cargo says its package is, or the current directory.
fn workspace_root() -> Fallible<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let start = package.map_or_else(std::env::current_dir, Ok)?;
    let root = start
        .ancestors()
        .find(|folder| folder.join("alloc-core/Cargo.toml").is_file());
    Ok(root
        .ok_or("run it inside the workspace: no alloc-core here or above")?
        .to_owned())
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The output of `cargo metadata` for this machine's platform: the packages of others need not be downloaded.
fn cargo_metadata(root: &Path) -> Fallible<String> {
    let version = output(Command::new(cargo()).arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("cargo -vV names no host")?;
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", host];
    output(Command::new(cargo()).current_dir(root).args(arguments))
}

fn output(command: &mut Command) -> Fallible<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .map_err(|error| format!("failed to run {}: {error}", program.display()))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} ended with {}: {}", program.display(), output.status, reason.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The text of every `.rs` file of the workspace's packages, sorted by path. Files that are meant not to parse (`ui`
/// tests of the macros) are left out, and so is what builds leave behind.
fn sources(root: &Path) -> Fallible<Vec<String>> {
    let mut found = BTreeMap::new();
    let mut paths = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "ui"].contains(&&*name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    for path in iterations!("read a file", paths) {
        let text = fs::read_to_string(&path)?;
        found.insert(path, text);
    }
    Ok(found.into_values().collect())
}
