//! The run: two passes over the files, then what is known of all of them together.
//!
//! # Invariants
//! - It runs on a thread of its own: trees are walked by recursion, and the table of spans that `proc-macro2` keeps a thread is emptied
//!   after each file without touching that of the caller.
//! - A file that cannot be read or parsed is a note. Only what concerns the whole run is an error.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::candidates::{Facts, Found, Walked};
use crate::error::LintError;
use crate::files::{list, module_of};
use crate::index::Index;
use crate::model::{Note, NoteKind, Report, SCHEMA_VERSION, Suppressed};
use crate::options::Options;
use crate::outline::Outline;
use crate::source::{self, Source};
use crate::suppress::Allows;
use crate::{matching, outline, walk};

/// Stack of the thread that a run takes place on. The system gives memory for as much of it as is used.
pub(crate) const STACK_BYTES: usize = 512 * 1024 * 1024;

/// Lints the Rust files under `paths`.
///
/// Files that version control ignores, hidden ones and `target` directories are left out, and so are tests, unless
/// [`Options::tests`] says otherwise.
///
/// # Overhead
/// Each file is parsed twice and its tree dropped, so memory follows the largest file. A thread with a large stack, of which only the
/// used part takes memory.
///
/// # Errors
/// When a path does not exist or a directory cannot be listed. What is wrong with a file alone is a note in the report.
///
/// # Examples
/// ```no_run
/// let report = alloc_lint::lint_paths(&["src".into()], &alloc_lint::Options::default())?;
/// print!("{}", report.to_text());
/// # Ok::<(), alloc_lint::LintError>(())
/// ```
pub fn lint_paths(paths: &[PathBuf], options: &Options) -> Result<Report, LintError> {
    let files = list(paths, options)?;
    let mut notes = Vec::new();
    let mut texts = BTreeMap::new();
    for (name, path) in files {
        match std::fs::read(&path) {
            Ok(bytes) => {
                texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
            }
            Err(error) => notes.push(Note {
                file: name,
                line: 0,
                kind: NoteKind::Unreadable,
                message: format!("could not be read: {error}; left out"),
            }),
        }
    }
    run(texts, notes, options)
}

/// Lints one text, as if it were the file `name`.
///
/// # Errors
/// When the system gives no thread to work on. A text that is no Rust is a note in the report.
///
/// # Examples
/// ```
/// let text = "fn f(lines: &[&str]) -> usize {
///     let mut longest = 0;
///     for line in lines {
///         let words: Vec<&str> = line.split(' ').collect();
///         longest = longest.max(words.len());
///     }
///     longest
/// }";
/// let report = alloc_lint::lint_source("src/words.rs", text, &alloc_lint::Options::default())?;
/// assert_eq!(report.candidates[0].type_text, "Vec<&str>");
/// # Ok::<(), alloc_lint::LintError>(())
/// ```
pub fn lint_source(name: &str, text: &str, options: &Options) -> Result<Report, LintError> {
    run(
        BTreeMap::from([(name.to_owned(), text.to_owned())]),
        Vec::new(),
        options,
    )
}

fn run(texts: BTreeMap<String, String>, notes: Vec<Note>, options: &Options) -> Result<Report, LintError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("alloc-lint".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || lint(&texts, notes, options))
            .map_err(|error| LintError::io("a thread to lint on".as_ref(), error))?
            .join()
            .map_err(|_| {
                LintError::format("lint: the lint itself failed; please report which files it was given".to_owned())
            })
    })
}

/// A file between the passes.
struct File<'a> {
    name: &'a str,
    text: &'a str,
    is_parsed: bool,
}

fn lint(texts: &BTreeMap<String, String>, mut notes: Vec<Note>, options: &Options) -> Report {
    let mut index = Index::default();
    let mut files: Vec<File<'_>> = Vec::new();
    let mut test_modules = Vec::new();
    for (name, text) in texts {
        let number = files.len();
        let parsed = source::parse(name, text);
        files.push(File {
            name,
            text,
            is_parsed: parsed.is_ok(),
        });
        match parsed {
            Ok(source) => {
                let outline = each_function(&source, name, options, &mut |function| {
                    index.add_function(number, function, &source.names);
                });
                index.add_structs(&source.tree, &source.names);
                let directory = crate_of(name);
                test_modules.extend(outline.test_files.iter().map(|module| format!("{directory}|{module}")));
            }
            Err(note) => notes.push(note),
        }
        forget_spans();
    }
    let mut walked = Vec::new();
    let mut allows = Vec::new();
    let mut next_function = 0;
    for (number, file) in files.iter().enumerate() {
        let parsed = file
            .is_parsed
            .then(|| source::parse(file.name, file.text).ok())
            .flatten();
        let Some(source) = parsed else {
            allows.push(None);
            continue;
        };
        let is_test = is_below(file.name, &test_modules);
        let outline = each_function(&source, file.name, options, &mut |function| {
            let id = next_function;
            next_function += 1;
            if !is_test {
                let body = walk::function(function, &source.names, &index, number);
                walked.push(Walked { id, body });
            }
        });
        allows.push((!is_test).then(|| Allows::read(file.name, &source.scan, &outline, &mut notes)));
        forget_spans();
    }
    let facts = Facts::gather(&index, &walked);
    let mut found = Vec::new();
    for function in &walked {
        let file = &files[index.functions[function.id].file];
        found.extend(facts.candidates(function, file.name));
    }
    add_source_lines(&mut found, &files);
    if let Some(profile) = &options.profile {
        let names: Vec<&str> = files.iter().map(|file| file.name).collect();
        notes.extend(matching::measure(&mut found, profile, &names));
    }
    report(found, allows, notes, (&files, walked.len()), options)
}

fn each_function(
    source: &Source,
    name: &str,
    options: &Options,
    each: &mut dyn FnMut(&outline::Function<'_>),
) -> Outline {
    outline::read(&source.tree, &source.names, &module_of(name), options.tests, each)
}

/// Everything up to the last `src`.
fn crate_of(name: &str) -> &str {
    name.rfind("src/").map_or("", |at| &name[..at])
}

/// The file is of a module that is compiled for tests alone, or below one.
fn is_below(name: &str, test_modules: &[String]) -> bool {
    let module = format!("{}|{}", crate_of(name), module_of(name));
    test_modules.iter().any(|test| {
        module == *test
            || module
                .strip_prefix(test.as_str())
                .is_some_and(|rest| rest.starts_with("::"))
    })
}

fn add_source_lines(found: &mut [Found], files: &[File<'_>]) {
    let mut lines: Option<(usize, Vec<&str>)> = None;
    for found in found {
        let of_file = match &mut lines {
            Some((file, lines)) if *file == found.file => lines,
            other => &mut other.insert((found.file, files[found.file].text.lines().collect())).1,
        };
        let line = of_file.get(found.candidate.line.saturating_sub(1));
        found.candidate.source = line.map(|line| line.trim().to_owned()).unwrap_or_default();
    }
}

fn report(
    found: Vec<Found>,
    mut allows: Vec<Option<Allows>>,
    mut notes: Vec<Note>,
    read: (&[File<'_>], usize),
    options: &Options,
) -> Report {
    let mut candidates = Vec::new();
    let mut suppressed = Vec::new();
    let mut below_min_rank = 0;
    for found in found {
        let candidate = found.candidate;
        let reason = allows[found.file]
            .as_mut()
            .and_then(|allows| allows.reason(candidate.line, found.statement.0));
        match reason {
            Some(reason) => suppressed.push(Suppressed {
                id: candidate.id,
                file: candidate.file,
                line: candidate.line,
                kind: candidate.kind,
                reason,
            }),
            None if candidate.rank < options.min_rank && candidate.measured.is_none() => below_min_rank += 1,
            None => candidates.push(candidate),
        }
    }
    for (file, allows) in read.0.iter().zip(allows) {
        if let Some(allows) = allows {
            allows.unused(file.name, &mut notes);
        }
    }
    let bytes = |candidate: &crate::Candidate| candidate.measured.as_ref().map(|measured| measured.bytes);
    candidates.sort_by(|a, b| {
        let by_cost = bytes(b).cmp(&bytes(a)).then(b.rank.cmp(&a.rank));
        by_cost.then_with(|| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)))
    });
    notes.sort_by(|a, b| (&a.file, a.line, a.kind).cmp(&(&b.file, b.line, b.kind)));
    Report {
        schema_version: SCHEMA_VERSION,
        files: read.0.iter().filter(|file| file.is_parsed).count(),
        functions: read.1,
        candidates,
        suppressed,
        below_min_rank,
        notes,
    }
}

/// Lets go of the texts that `proc-macro2` keeps for spans: no span is used after its file.
fn forget_spans() {
    proc_macro2::extra::invalidate_current_thread_spans();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MAX_TOKENS;

    /// What takes most of the stack for a token, and what goes down the tree in other ways.
    #[test]
    fn the_longest_expressions_that_are_read_need_a_third_of_the_stack() {
        let repeated = |start: &str, unit: &str, tokens: usize, end: &str| {
            format!("{start}{}{end}", unit.repeat((MAX_TOKENS - 20) / tokens))
        };
        let nested = |start: &str, open: &str, inner: &str, close: &str, end: &str| {
            let times = MAX_TOKENS / 4;
            format!("{start}{}{inner}{}{end}", open.repeat(times), close.repeat(times))
        };
        let in_brackets = |open: &str, close: &str| {
            let (open, close) = (open.repeat(240), close.repeat(240));
            repeated(&format!("fn f() {{ {open}"), "return ", 2, &format!("x{close} }}"))
        };
        for text in [
            repeated("fn f() { ", "if ", 1, "x {} }"),
            repeated("fn f() { ", "match ", 1, "x {} }"),
            nested("fn f() { ", "if ", "x ", "{}", " }"),
            nested("fn f() { ", "match ", "x ", "{}", " }"),
            repeated("fn f() { ", "return ", 1, "x; }"),
            repeated("fn f() { loop { ", "break ", 1, "x; } }"),
            repeated("fn f() { g!(", "return ", 1, "x); }"),
            repeated("fn f() { ", "x = ", 2, "x; }"),
            repeated("fn f() { x", " + x", 2, "; }"),
            repeated("fn f() { x", "()", 2, "; }"),
            repeated("fn f() { x", "?", 1, "; }"),
            repeated("fn f() { ", "|a| ", 3, "x; }"),
            repeated("fn f() { if a {} ", "else if a {} ", 5, "}"),
            repeated("type A = ", "fn() -> ", 5, "u8;"),
            repeated("type A = ", "dyn Fn() -> ", 6, "u8;"),
            repeated("fn f() -> ", "impl Fn() -> ", 6, "u8 { x }"),
            nested("type A = ", "V<", "u8", ">", ";"),
            nested("fn f() { x::<", "V<", "u8", ">", ">(); }"),
            repeated("type A = ", "V<", 2, "u8;"),
            repeated("type A = ", "*const ", 2, "u8;"),
            repeated("use ", "a::", 3, "b;"),
            repeated("fn f() { let ", "a @ ", 2, "b = c; }"),
            in_brackets("f(", ")"),
            in_brackets("{", "}"),
            in_brackets("g!(", ")"),
        ] {
            let texts = BTreeMap::from([("src/a.rs".to_owned(), text)]);
            let report = std::thread::Builder::new()
                .stack_size(STACK_BYTES / 3)
                .spawn(move || lint(&texts, Vec::new(), &Options::default()))
                .expect("a thread is to be had")
                .join()
                .expect("the lint ends");
            let left_out = report.notes.iter().any(|note| note.message.contains("more than"));
            assert!(!left_out, "{:?}", report.notes);
        }
    }
}
