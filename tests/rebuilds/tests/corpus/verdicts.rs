//! What was found, held against what the sources say is to be found.

use std::fmt;

use alloc_core::findings::{CodeLine, Finding, Findings, Verdict};

use crate::marks::Mark;

/// Something that was found otherwise than it should be.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// Marked, and not found. With what is said about the line where there is not enough data.
    Missing(Mark, Option<String>),
    /// Found, with another verdict, another collection, or advice that cannot work.
    Other(Mark, String),
    /// Found, and not marked.
    Unexpected(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = |mark: &Mark| {
            let Mark {
                file,
                line,
                verdict,
                collection,
                ..
            } = mark;
            format!("{file}:{line}: {verdict} {}", collection.unwrap_or_default())
        };
        match self {
            Self::Missing(mark, None) => write!(f, "not found: {}", wanted(mark)),
            Self::Missing(mark, Some(why)) => write!(f, "not found: {} ({why})", wanted(mark)),
            Self::Other(mark, found) => write!(f, "otherwise: {}\n  is: {found}", wanted(mark)),
            Self::Unexpected(found) => write!(f, "unmarked:  {found}"),
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::ReuseInstance => "reuse",
        Verdict::ReserveCapacity => "reserve",
        Verdict::Pool => "pool",
        Verdict::CacheValue => "cache",
        Verdict::Retained => "retained",
        _ => "something new",
    }
}

fn is_at(line: &CodeLine, mark: &Mark) -> bool {
    line.line == mark.line && line.file.ends_with(mark.file)
}

fn describe(finding: &Finding) -> String {
    let line = &finding.line;
    let collection = line.collection.as_deref().unwrap_or("(unknown)");
    let evidence = finding.evidence.join("\n    ");
    format!(
        "{} {} in {} {collection}, per {}\n    {evidence}\n    {}",
        line.place,
        word(finding.verdict),
        line.function,
        finding.iteration.path.join(" > "),
        finding.suggestion.explanation
    )
}

/// The collection that is named; without its parameters where a function that was not inlined lost them with its mangled name.
fn fits(wanted: Option<&str>, found: Option<&str>) -> bool {
    let without_parameters = wanted.and_then(|wanted| wanted.split('<').next());
    wanted.is_none() || found == wanted || (found.is_some() && found == without_parameters)
}

/// Everything that is not as it should be.
pub(crate) fn compare(expected: &[Mark], found: &Findings) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for mark in expected {
        let mut here = found.findings.iter().filter(|finding| is_at(&finding.line, mark));
        let Some(finding) = here.next() else {
            let waiting = found.not_enough.iter().find(|waiting| is_at(&waiting.line, mark));
            let why = waiting.map(|waiting| format!("not enough: {} observed", waiting.iteration.observed));
            wrong.push(Wrong::Missing(mark.clone(), why));
            continue;
        };
        let advice = format!("{}\n{}", finding.suggestion.explanation, finding.suggestion.code);
        let is_as_marked = word(finding.verdict) == mark.verdict
            && fits(mark.collection, finding.line.collection.as_deref())
            && !(mark.without_thread_local && advice.contains("thread_local"))
            && (mark.verdict == "retained" || !finding.suggestion.explanation.is_empty());
        if !is_as_marked || here.next().is_some() {
            wrong.push(Wrong::Other(mark.clone(), describe(finding)));
        }
    }
    let is_expected = |finding: &&Finding| expected.iter().any(|mark| is_at(&finding.line, mark));
    let unexpected = found.findings.iter().filter(|finding| !is_expected(finding));
    wrong.extend(unexpected.map(|finding| Wrong::Unexpected(describe(finding))));
    wrong
}

/// Fails unless `compare` notices a line too many, one too few, and one that is found otherwise.
pub(crate) fn notices_mistakes(expected: &[Mark], found: &Findings) {
    let [first, rest @ ..] = expected else { return };
    let changed = |change: fn(&mut Mark)| {
        let mut marks = vec![first.clone()];
        change(&mut marks[0]);
        marks.extend_from_slice(rest);
        compare(&marks, found)
    };
    assert!(matches!(compare(rest, found)[..], [Wrong::Unexpected(_)]));
    assert!(matches!(
        changed(|mark| mark.collection = Some("Rc"))[..],
        [Wrong::Other(..)]
    ));
    assert!(matches!(
        changed(|mark| mark.verdict = "retained")[..],
        [Wrong::Other(..)]
    ));
    assert!(matches!(
        changed(|mark| mark.line += 1)[..],
        [Wrong::Missing(..), Wrong::Unexpected(_)]
    ));
}
