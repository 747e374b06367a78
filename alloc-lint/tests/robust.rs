//! Nothing that can be in a file makes the lint panic.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use alloc_lint::{NoteKind, Options, Report, Tests, lint_paths, lint_source};
use proptest::prelude::*;

fn lint(text: &str) -> Report {
    let mut options = Options::default();
    options.tests = Tests::Include;
    options.min_rank = 0;
    lint_source("src/a.rs", text, &options).expect("the lint ends")
}

/// Pieces that go together now and then.
const PIECES: &[&str] = &[
    "fn f()",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "let x =",
    "let mut y: Vec<u8> =",
    "Vec::new()",
    ";",
    "for x in y",
    "while let Some(x) = y",
    "loop",
    ".collect::<Vec<_>>()",
    ".map(|x| x)",
    ".clone()",
    ".push(x)",
    "x",
    "y",
    "&",
    "&mut",
    "*",
    "!",
    "-",
    "?",
    ".await",
    "async move",
    "|a, b|",
    "move ||",
    "return",
    "break 'a",
    "'a:",
    "match x",
    "=>",
    ",",
    "if",
    "else",
    "if let Err(e) = x",
    "format!(\"{x}\")",
    "vec![0; 9]",
    "select!",
    "#[track_memory(request)]",
    "#[test]",
    "mod m",
    "impl S",
    "use a as b;",
    "type A = Vec<u8>;",
    "struct S",
    "tracked!(request, |x| x)",
    "\"text\"",
    "r#\"raw\"#",
    "'c'",
    "// allocscope: allow(rebuild): x\n",
    "// allocscope: x\n",
    "/*",
    "*/",
    "::<",
    ">",
    "=",
    "+",
    "..",
    "0",
    "self",
    "Err",
    "é",
    "\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_in_any_order_are_read_to_the_end(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let soup = pieces.join(" ");
        lint(&soup);
        // Inside of a function more of it is Rust.
        lint(&format!("#[track_memory(request)] fn f(y: &[u8]) {{ for x in y {{ {soup} }} }}"));
    }

    #[test]
    fn any_text_is_read_to_the_end(text in ".{0,200}") {
        lint(&text);
        lint(&format!("fn f() {{ loop {{ g!({text}); }} }}"));
    }
}

#[test]
fn expressions_of_any_length_and_brackets_of_any_depth_are_read_to_the_end() {
    let long = 2_000;
    for text in [
        format!("fn f() {{ {} }}", "(".repeat(long)),
        format!("fn f() {{ {}x{} }}", "(".repeat(long), ")".repeat(long)),
        format!("fn f() {{ {}x; }}", "!".repeat(long)),
        format!("fn f() {{ {}x; }}", "- ".repeat(long)),
        format!("fn f() {{ {}x; }}", "return ".repeat(long)),
        format!("fn f() {{ {}x; }}", "|a| ".repeat(long)),
        format!("fn f() {{ x{}; }}", " + x".repeat(long)),
        format!("fn f() {{ x{}; }}", ".clone()".repeat(long)),
        format!("fn f() {{ x{}; }}", "?".repeat(long)),
        format!("fn f() {{ {}x; }}", "x = ".repeat(long)),
        format!("fn f() {{ if a {{}} {} }}", "else if a {} ".repeat(long)),
        format!("type A = {}u8;", "&".repeat(long)),
        format!("type A = {}u8{};", "Vec<".repeat(long), ">".repeat(long)),
        format!("fn f() {{ g!({}) }}", "x.clone(), ".repeat(long)),
    ] {
        lint(&text);
    }
}

#[test]
fn a_file_of_one_expression_without_end_is_left_out_and_said_to_be() {
    let long = 1_000_000;
    for text in [
        format!("fn f() {{ x{}; }}", "+x".repeat(long)),
        format!("fn f() {{ x{}; }}", "()".repeat(long)),
        format!("fn f() {{ {}x; }}", "x=".repeat(long)),
        format!("fn f() {{ {}x; }}", "return ".repeat(long)),
        format!("fn f() {{ g!({}x) }}", "x=".repeat(long)),
        format!("fn f() {{ if a {{}} {} }}", "else if a {} ".repeat(long / 10)),
        format!("type A = {}u8{};", "V<u8, ".repeat(long / 10), ">".repeat(long / 10)),
    ] {
        let report = lint(&text);
        assert_eq!((report.files, report.notes.len()), (0, 1));
        let message = &report.notes[0].message;
        assert!(message.contains("an expression of more than"), "{message}");
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_file_of_this_workspace_is_read() {
    let mut options = Options::default();
    options.tests = Tests::Include;
    options.root = Some(workspace());
    let report = lint_paths(&[workspace()], &options).expect("the workspace is read");
    assert!(report.files > 100, "{} files", report.files);
    // Those of `ui/fail` are wrong on purpose.
    let unread: Vec<_> = report
        .notes
        .iter()
        .filter(|note| note.kind == NoteKind::Unparsed && !note.file.contains("ui/fail/"))
        .collect();
    assert!(unread.is_empty(), "{unread:?}");
}

/// Prints how fast, and how many. `LINT_SAMPLE=40` prints as many candidates, chosen by their ids.
#[test]
#[ignore = "takes minutes: `cargo test --release -p alloc-lint --test robust -- --ignored --nocapture`"]
fn every_file_of_the_registry_is_read() {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let sources = home.join("registry/src");
    let mut crates: Vec<PathBuf> = std::fs::read_dir(&sources)
        .expect("the registry's sources are there")
        .flat_map(|index| std::fs::read_dir(index.expect("it is listed").path()).expect("it is a directory"))
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    crates.sort();
    let started = Instant::now();
    let (mut files, mut functions, mut low, mut notes, mut bytes) = (0, 0, 0, 0, 0);
    let mut candidates = Vec::new();
    for directory in &crates {
        let mut options = Options::default();
        options.root = Some(sources.clone());
        let report = lint_paths(std::slice::from_ref(directory), &options).expect("the crate is read");
        files += report.files;
        functions += report.functions;
        low += report.below_min_rank;
        notes += report.notes.len();
        for note in &report.notes {
            println!("{}:{} {}", note.file, note.line, note.message);
        }
        bytes += report.to_text().len();
        candidates.extend(report.candidates);
    }
    let seconds = started.elapsed().as_secs_f64();
    let speed = files as f64 / seconds;
    println!(
        "{} crates, {files} files, {functions} functions in {seconds:.1} s: {speed:.0} files/s; {bytes} bytes of reports",
        crates.len()
    );
    println!("{} candidates, {low} of low rank, {notes} notes", candidates.len());
    let sample: usize = std::env::var("LINT_SAMPLE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    // By id, which is as good as at random; each place once, whatever the version of its crate; four of a crate at most.
    candidates.sort_by(|a, b| a.id.cmp(&b.id));
    let unversioned = |file: &str| file.replace(|letter: char| letter.is_ascii_digit() || letter == '.', "");
    let mut seen = HashSet::new();
    candidates.retain(|candidate| {
        seen.insert((
            unversioned(&candidate.file),
            candidate.function.clone(),
            candidate.source.clone(),
        ))
    });
    println!("{} candidates at different places", candidates.len());
    let mut of_crate: HashMap<String, usize> = HashMap::new();
    candidates.retain(|candidate| {
        let name = unversioned(candidate.file.split('/').nth(1).unwrap_or_default());
        let count = of_crate.entry(name).or_default();
        *count += 1;
        *count <= 4
    });
    println!("{} of them for the sample", candidates.len());
    for candidate in candidates.iter().take(sample) {
        println!(
            "{}:{} rank {} {}",
            candidate.file, candidate.line, candidate.rank, candidate.type_text
        );
        println!(
            "    {}\n    {}\n    {}",
            candidate.source, candidate.why, candidate.suggestion
        );
    }
    assert!(files > 100);
}
