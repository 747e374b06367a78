//! `// allocscope: allow(rebuild): reason`, and what it covers.
//!
//! Called by `lint` with a file's comments, after its candidates are known. A comment covers what is on its line; one that stands alone
//! covers the statement that begins behind it, or the function, `impl`, trait or module. A comment that covers nothing
//! is reported, so that they do not outlive what they are about.
#![forbid(unsafe_code)]

use crate::comments::Scan;
use crate::model::{Note, NoteKind};
use crate::outline::{Head, Outline};

/// What comments to the lint begin with.
const ADDRESS: &str = "allocscope:";
const FORM: &str = "write `// allocscope: allow(rebuild): reason`";

/// A comment that allows something.
#[derive(Debug)]
struct Allow {
    line: usize,
    covers: Covers,
    reason: String,
    is_used: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Covers {
    /// Candidates on this line, and in statements that begin on it.
    Line(usize),
    Lines(usize, usize),
    Nothing,
}

/// The comments of a file.
pub(crate) struct Allows {
    allows: Vec<Allow>,
}

impl Allows {
    /// Reads the comments of a file; those that make no sense become notes.
    pub(crate) fn read(file: &str, scan: &Scan, outline: &Outline, notes: &mut Vec<Note>) -> Self {
        let mut allows = Vec::new();
        for comment in &scan.comments {
            let Some(text) = comment.text.strip_prefix(ADDRESS) else {
                continue;
            };
            let is_skipped = outline
                .skipped
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&comment.line));
            if is_skipped {
                continue;
            }
            match parse(text) {
                Ok(reason) => allows.push(Allow {
                    line: comment.line,
                    covers: covers(comment.line, comment.is_trailing, scan, &outline.heads),
                    reason,
                    is_used: false,
                }),
                Err((kind, message)) => notes.push(Note {
                    file: file.to_owned(),
                    line: comment.line,
                    kind,
                    message,
                }),
            }
        }
        Self { allows }
    }

    /// The reason why a candidate on `line`, in a statement that begins at `statement`, is allowed.
    pub(crate) fn reason(&mut self, line: usize, statement: usize) -> Option<String> {
        let mut reason = None;
        for allow in &mut self.allows {
            let is_covered = match allow.covers {
                Covers::Line(covered) => covered == line || covered == statement,
                Covers::Lines(first, last) => (first..=last).contains(&line),
                Covers::Nothing => false,
            };
            if is_covered {
                allow.is_used = true;
                reason.get_or_insert_with(|| allow.reason.clone());
            }
        }
        reason
    }

    /// Notes about those that allowed nothing.
    pub(crate) fn unused(self, file: &str, notes: &mut Vec<Note>) {
        let unused = self.allows.into_iter().filter(|allow| !allow.is_used);
        notes.extend(unused.map(|allow| Note {
            file: file.to_owned(),
            line: allow.line,
            kind: NoteKind::SuppressionUnused,
            message:
                "allows a rebuild where none is found; remove the comment, or move it to the line above".to_owned(),
        }));
    }
}

/// The reason of ` allow(rebuild): reason`.
fn parse(text: &str) -> Result<String, (NoteKind, String)> {
    let text = text.trim();
    let not_understood = || {
        (
            NoteKind::SuppressionNotUnderstood,
            format!("found `{text}` after `{ADDRESS}`; {FORM}"),
        )
    };
    let rest = text.strip_prefix("allow").ok_or_else(not_understood)?.trim_start();
    let (what, rest) = rest
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .ok_or_else(not_understood)?;
    if what.trim() != "rebuild" {
        return Err(not_understood());
    }
    let reason = rest.trim().strip_prefix(':').map(str::trim).unwrap_or_default();
    if reason.is_empty() {
        let message = format!("allows a rebuild without saying why, so it allows nothing; {FORM}");
        return Err((NoteKind::SuppressionWithoutReason, message));
    }
    Ok(reason.to_owned())
}

fn covers(line: usize, is_trailing: bool, scan: &Scan, heads: &[Head]) -> Covers {
    if is_trailing {
        return Covers::Line(line);
    }
    let next = scan.code_lines.partition_point(|code| *code <= line);
    let Some(next) = scan.code_lines.get(next).copied() else {
        return Covers::Nothing;
    };
    // Documentation is no line of code, but the first line of an item that has it.
    let head = heads.iter().find(|head| {
        let stands_above = head.first > line && head.first <= next;
        let stands_inside = head.first <= line && next <= head.name;
        (stands_above && next <= head.name) || stands_inside
    });
    match head {
        Some(head) => Covers::Lines(head.first, head.last),
        None => Covers::Line(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_needs_the_form_and_a_reason() {
        assert_eq!(parse(" allow(rebuild): once a day"), Ok("once a day".to_owned()));
        let kind = |text| parse(text).unwrap_err().0;
        assert_eq!(kind(" allow(rebuild)"), NoteKind::SuppressionWithoutReason);
        assert_eq!(kind(" allow(rebuild):  "), NoteKind::SuppressionWithoutReason);
        assert_eq!(kind(" allow(leak): x"), NoteKind::SuppressionNotUnderstood);
        assert_eq!(kind(" alow(rebuild): x"), NoteKind::SuppressionNotUnderstood);
    }
}
