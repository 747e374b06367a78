//! Ids, ranks, text and JSON; notes instead of failures.

use std::fs;
use std::path::PathBuf;

use alloc_lint::{NoteKind, Options, Report, Tests, lint_paths, lint_source};

const SOURCE: &str = "\
fn first(lines: &[&str]) {
    for line in lines {
        let parts: Vec<&str> = line.split(',').collect();
        show(&parts);
        let more: Vec<&str> = line.split(';').collect();
        show(&more);
        let text = format!(\"{line}!\");
        show(&text);
    }
}

impl Shop {
    #[track_memory(request)]
    fn second(&self, name: &str) -> bool {
        let names: HashSet<&str> = name.split(',').collect();
        names.contains(\"a\")
    }
}
";

fn lint(name: &str, text: &str) -> Report {
    lint_source(name, text, &Options::default()).expect("a thread is to be had")
}

fn ids(report: &Report) -> Vec<(String, String)> {
    let mut ids: Vec<(String, String)> = report
        .candidates
        .iter()
        .map(|candidate| (candidate.source.clone(), candidate.id.clone()))
        .collect();
    ids.sort();
    ids
}

#[test]
fn ids_stay_when_lines_are_added_above_and_between() {
    let before = ids(&lint("src/shop.rs", SOURCE));
    assert_eq!(before.len(), 4);
    let moved = format!(
        "//! A head.\n\nuse std::fmt;\n\nfn zero() {{}}\n\n{}",
        SOURCE.replace("show(&parts);", "\n\nshow(&parts);\n")
    );
    assert_eq!(ids(&lint("src/shop.rs", &moved)), before);
}

#[test]
fn ids_differ_by_file_and_by_function() {
    let here = ids(&lint("src/shop.rs", SOURCE));
    let there = ids(&lint("src/other.rs", SOURCE));
    let renamed = ids(&lint("src/shop.rs", &SOURCE.replace("fn first", "fn third")));
    assert!(here.iter().zip(&there).all(|(a, b)| a.1 != b.1));
    assert_eq!(here.iter().zip(&renamed).filter(|(a, b)| a.1 == b.1).count(), 1);
}

#[test]
fn the_text_fits_in_a_hundred_columns_and_shows_the_source() {
    let long = SOURCE
        .replace("parts", &"p".repeat(150))
        .replace("Shop", &"Shop".repeat(40));
    for text in [SOURCE, &long] {
        let text = lint("src/shop.rs", text).to_text();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        assert!(
            text.contains("| let names: HashSet<&str> = name.split(',').collect();"),
            "{text}"
        );
        assert!(text.ends_with("4 candidates in 2 functions and 1 file\n"), "{text}");
    }
}

#[test]
fn the_text_reads_like_this() {
    let text = lint("src/shop.rs", SOURCE).to_text();
    let expected = "\
src/shop.rs
  15:52  HashSet<&str> by .collect() in shop::Shop::second  rank 65  ";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("why: `HashSet<&str>` is made and dropped in every call of the request `shop::Shop::second`\n"),
        "{text}"
    );
}

#[test]
fn the_json_has_the_documented_fields() {
    let report = lint("src/shop.rs", SOURCE);
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
    assert_eq!(json["schema_version"], 1);
    let candidate = &json["candidates"][0];
    for field in [
        "id",
        "file",
        "line",
        "column",
        "function",
        "loop",
        "loop_depth",
        "request",
        "kind",
        "type",
        "made_by",
        "why",
        "suggestion",
        "rank",
        "source",
        "measured",
    ] {
        assert!(candidate.get(field).is_some(), "{field} in {candidate}");
    }
    assert_eq!(candidate["kind"], "HashSet");
    assert_eq!(candidate["type"], "HashSet<&str>");
    assert_eq!(candidate["request"]["function"], "shop::Shop::second");
    assert_eq!(json["candidates"][1]["loop"]["kind"], "for");
    let docs = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/linting.md"))
        .expect("the page is there");
    for field in json
        .as_object()
        .into_iter()
        .chain(candidate.as_object())
        .flat_map(|object| object.keys())
    {
        assert!(
            docs.contains(&format!("`{field}`")),
            "docs/linting.md says what `{field}` is"
        );
    }
}

#[test]
fn a_request_outranks_a_loop_and_a_low_rank_is_counted_and_not_listed() {
    let report = lint("src/shop.rs", SOURCE);
    let ranks: Vec<u8> = report.candidates.iter().map(|candidate| candidate.rank).collect();
    assert_eq!(ranks, [65, 55, 55, 45]);
    let mut options = Options::default();
    options.min_rank = 50;
    let report = lint_source("src/shop.rs", SOURCE, &options).expect("a thread is to be had");
    assert_eq!((report.candidates.len(), report.below_min_rank), (3, 1));
}

/// A directory of files for one test.
fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    for (file, text) in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("the directory is made");
        fs::write(path, text).expect("the file is written");
    }
    root
}

#[test]
fn a_file_that_is_no_rust_is_a_note_and_the_others_are_read() {
    let root = tree(
        "broken",
        &[
            ("src/a.rs", "fn f() {\n    let = 3;\n}\n"),
            ("src/shop.rs", SOURCE),
            ("src/b.rs", "\u{0}\u{1}"),
        ],
    );
    let mut options = Options::default();
    options.root = Some(root.clone());
    let report = lint_paths(&[root], &options).expect("the directory is read");
    assert_eq!(report.candidates.len(), 4);
    assert_eq!(report.files, 1);
    let notes: Vec<(&str, usize, NoteKind)> = report
        .notes
        .iter()
        .map(|note| (note.file.as_str(), note.line, note.kind))
        .collect();
    assert_eq!(
        notes,
        [("src/a.rs", 2, NoteKind::Unparsed), ("src/b.rs", 1, NoteKind::Unparsed)]
    );
}

#[test]
fn tests_are_left_out_unless_asked_for_wherever_they_are() {
    let files = [
        ("src/lib.rs", "#[cfg(test)]\nmod checks;\nmod shop;\n"),
        ("src/checks.rs", SOURCE),
        ("src/checks/more.rs", SOURCE),
        ("src/shop.rs", SOURCE),
        ("tests/all.rs", SOURCE),
        ("benches/all.rs", SOURCE),
        ("target/debug/out.rs", SOURCE),
        ("build.rs", SOURCE),
    ];
    let root = tree("with_tests", &files);
    let mut options = Options::default();
    options.root = Some(root.clone());
    let report = lint_paths(std::slice::from_ref(&root), &options).expect("the directory is read");
    assert!(
        report
            .candidates
            .iter()
            .all(|candidate| candidate.file == "src/shop.rs")
    );
    assert_eq!(report.candidates.len(), 4);
    options.tests = Tests::Include;
    let report = lint_paths(&[root], &options).expect("the directory is read");
    assert_eq!(report.candidates.len(), 4 * 6);
}

#[test]
fn a_function_is_followed_into_another_file() {
    let caller = "#[track_memory(request)]\nfn handle(text: &str) -> bool { super::ask::is_known(text) }\n";
    let callee = "pub fn is_known(text: &str) -> bool {\n    let all: Vec<&str> = text.split(',').collect();\n    all.contains(&\"x\")\n}\n";
    let root = tree("followed", &[("src/handle.rs", caller), ("src/ask.rs", callee)]);
    let mut options = Options::default();
    options.root = Some(root.clone());
    let report = lint_paths(&[root], &options).expect("the directory is read");
    assert_eq!(report.candidates.len(), 1);
    let request = report.candidates[0].request.as_ref().expect("a request calls it");
    assert_eq!((request.function.as_str(), request.is_caller), ("handle::handle", true));
}

#[test]
fn a_path_that_is_not_there_is_an_error_that_names_it() {
    let error = lint_paths(&["nowhere/at/all.rs".into()], &Options::default()).expect_err("it is not there");
    assert!(
        error.is_io() && error.to_string().contains("nowhere/at/all.rs"),
        "{error}"
    );
}
