//! `// allocscope: allow(rebuild): reason`: what it covers, and what is wrong with one is reported.

use alloc_lint::{NoteKind, Options, Report, Tests, lint_source};

fn lint(text: &str) -> Report {
    lint_source("src/a.rs", text, &Options::default()).expect("a thread is to be had")
}

fn lines(report: &Report) -> Vec<usize> {
    let mut lines: Vec<usize> = report.candidates.iter().map(|candidate| candidate.line).collect();
    lines.sort_unstable();
    lines
}

fn notes(report: &Report) -> Vec<(usize, NoteKind)> {
    report.notes.iter().map(|note| (note.line, note.kind)).collect()
}

const BODY: &str = "let parts: Vec<&str> = line.split(',').collect();";

fn in_loop(inside: &str) -> String {
    format!(
        "fn f(lines: &[&str]) -> usize {{\nlet mut n = 0;\nfor line in lines {{\n{inside}\nn += parts.len();\n}}\nn\n}}\n"
    )
}

#[test]
fn a_comment_on_the_line_allows_it() {
    let report = lint(&in_loop(&format!("{BODY} // allocscope: allow(rebuild): few lines")));
    assert_eq!((lines(&report), notes(&report)), (vec![], vec![]));
    assert_eq!(report.suppressed.len(), 1);
    assert_eq!(report.suppressed[0].reason, "few lines");
}

#[test]
fn a_comment_above_the_statement_allows_all_of_it() {
    let statement =
        "// allocscope: allow(rebuild): few lines\n// of text\n\nlet parts: Vec<&str> = line\n.split(',')\n.collect();";
    let report = lint(&in_loop(statement));
    assert_eq!((lines(&report), notes(&report)), (vec![], vec![]));
    assert_eq!(report.suppressed.len(), 1);
}

#[test]
fn a_comment_above_another_statement_allows_nothing_and_is_reported() {
    let report = lint(&in_loop(&format!(
        "// allocscope: allow(rebuild): few lines\nlet x = 1;\n{BODY}"
    )));
    assert_eq!(lines(&report), [6]);
    assert_eq!(notes(&report), [(4, NoteKind::SuppressionUnused)]);
}

#[test]
fn a_comment_above_a_loop_allows_what_its_head_makes_and_not_its_body() {
    let text = "fn f(all: &[Lines]) { for lines in all {
        // allocscope: allow(rebuild): short
        for line in lines.parts().collect::<Vec<_>>() {
            let parts: Vec<&str> = line.split(',').collect();
            show(&parts);
        }
    } }";
    let report = lint(text);
    assert_eq!(lines(&report), [4]);
    assert_eq!(report.suppressed.len(), 1);
    assert_eq!(notes(&report), []);
}

#[test]
fn a_comment_above_a_function_allows_all_of_it_attributes_and_documentation_or_not() {
    for head in [
        "// allocscope: allow(rebuild): start-up\nfn",
        "// allocscope: allow(rebuild): start-up\n#[inline]\npub fn",
        "// allocscope: allow(rebuild): start-up\n/// Documented.\n#[inline]\n#[must_use]\nfn",
        "/// Documented.\n// allocscope: allow(rebuild): start-up\n#[inline]\nfn",
        "#[inline]\n// allocscope: allow(rebuild): start-up\nfn",
    ] {
        let text = in_loop(BODY).replacen("fn", head, 1);
        let report = lint(&text);
        assert_eq!((lines(&report), notes(&report)), (vec![], vec![]), "{text}");
    }
}

#[test]
fn a_comment_above_a_module_or_an_impl_allows_all_of_it_and_no_more() {
    for head in ["mod m", "impl Shop", "pub(crate) mod m", "impl<T> Show for Shop<T>"] {
        let text = format!(
            "// allocscope: allow(rebuild): start-up\n{head} {{\n{}\n}}\n{}",
            in_loop(BODY),
            in_loop(BODY)
        );
        let report = lint(&text);
        assert_eq!((lines(&report), notes(&report)), (vec![16], vec![]), "{text}");
    }
}

#[test]
fn a_comment_without_a_reason_allows_nothing_and_is_reported() {
    for comment in [
        "// allocscope: allow(rebuild)",
        "// allocscope: allow(rebuild):",
        "// allocscope: allow(rebuild):   ",
    ] {
        let report = lint(&in_loop(&format!("{BODY} {comment}")));
        assert_eq!(lines(&report), [4]);
        assert_eq!(notes(&report), [(4, NoteKind::SuppressionWithoutReason)]);
    }
}

#[test]
fn a_comment_that_is_not_understood_is_reported() {
    let report = lint(&in_loop(&format!("{BODY} // allocscope: alow(rebuild): few lines")));
    assert_eq!(lines(&report), [4]);
    assert_eq!(notes(&report), [(4, NoteKind::SuppressionNotUnderstood)]);
}

#[test]
fn a_comment_in_a_string_or_in_another_comment_is_none() {
    let inside = format!(
        "let a = \"// allocscope: allow(rebuild): no\";\nlet b = r##\"\n// allocscope: allow(rebuild): \"# no\n\"##;\n/* /* */\n// allocscope: \
         allow(rebuild): no\n*/ {BODY}"
    );
    let report = lint(&in_loop(&inside));
    assert_eq!(lines(&report), [10]);
    assert_eq!(notes(&report), []);
}

#[test]
fn a_comment_covers_candidates_of_low_rank_too() {
    let text = "fn f(parts: &[Part]) { for part in parts {\n// allocscope: allow(rebuild): cheap\nlook_at(&part.thing.clone());\n} }";
    let report = lint(text);
    assert_eq!((report.suppressed.len(), report.below_min_rank), (1, 0));
    assert_eq!(notes(&report), []);
}

#[test]
fn comments_in_tests_that_are_not_looked_at_are_left_alone() {
    let text = format!(
        "#[cfg(test)]\nmod tests {{\n// allocscope: allow(rebuild): test\n{}\n}}",
        in_loop(BODY)
    );
    let report = lint(&text);
    assert_eq!((lines(&report), notes(&report)), (vec![], vec![]));
    let mut options = Options::default();
    options.tests = Tests::Include;
    let report = lint_source("src/a.rs", &text, &options).expect("a thread is to be had");
    assert_eq!(report.suppressed.len(), 1);
    assert_eq!(notes(&report), []);
}
