//! The report for people: at most 100 columns, by file, with the line of the source.
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::model::{Candidate, MatchedBy, Measured, NoteKind, Report};

/// Columns of a line.
const WIDTH: usize = 100;
/// What stands before the sentences of a candidate.
const INDENT: &str = "      ";

impl Report {
    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut files: Vec<&str> = Vec::new();
        for candidate in &self.candidates {
            if !files.contains(&candidate.file.as_str()) {
                files.push(&candidate.file);
            }
        }
        for file in files {
            line(&mut text, "", file);
            for candidate in self.candidates.iter().filter(|candidate| candidate.file == file) {
                one(&mut text, candidate);
            }
            text.push('\n');
        }
        self.notes_to(&mut text);
        self.sum_to(&mut text);
        text
    }

    fn notes_to(&self, text: &mut String) {
        for note in &self.notes {
            let place = match (note.file.is_empty(), note.line) {
                (true, _) => "note: ".to_owned(),
                (false, 0) => format!("note: {} ", note.file),
                (false, line) => format!("note: {}:{line} ", note.file),
            };
            line(text, "", &format!("{place}{}", note.message));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
    }

    fn sum_to(&self, text: &mut String) {
        let unread = self
            .notes
            .iter()
            .filter(|note| matches!(note.kind, NoteKind::Unparsed | NoteKind::Unreadable))
            .count();
        let mut sum = format!(
            "{} in {} and {}",
            count(self.candidates.len(), "candidate"),
            count(self.functions, "function"),
            count(self.files, "file")
        );
        for (number, what) in [
            (self.suppressed.len(), "allowed by comments"),
            (self.below_min_rank, "of low rank not shown"),
            (unread, "files left out"),
        ] {
            if number > 0 {
                let _ = write!(sum, "; {number} {what}");
            }
        }
        line(text, "", &sum);
    }
}

fn one(text: &mut String, candidate: &Candidate) {
    let made = match candidate.type_text.as_str() {
        "_" => candidate.made_by.clone(),
        ty if candidate.made_by.starts_with(ty) => candidate.made_by.clone(),
        ty => format!("{ty} by {}", candidate.made_by),
    };
    let head = format!(
        "{}:{}  {made} in {}  rank {}  {}",
        candidate.line, candidate.column, candidate.function, candidate.rank, candidate.id
    );
    line(text, "  ", &head);
    let shown = cut(&candidate.source, WIDTH - INDENT.len() - 2);
    let _ = writeln!(text, "{INDENT}| {shown}");
    if let Some(measured) = &candidate.measured {
        line(text, INDENT, &format!("measured: {}", cost(measured)));
    }
    line(text, INDENT, &format!("why: {}", candidate.why));
    line(text, INDENT, &format!("fix: {}", candidate.suggestion));
}

fn cost(measured: &Measured) -> String {
    let mut cost = format!(
        "{} in {}",
        bytes(measured.bytes),
        count_u64(measured.allocations, "allocation")
    );
    if let Some(iterations) = measured.iterations.filter(|iterations| *iterations > 0) {
        let _ = write!(
            cost,
            ", {} iterations ({} each)",
            iterations,
            bytes(measured.bytes / iterations)
        );
    }
    if let Some(verdict) = &measured.verdict {
        let _ = write!(cost, ", verdict: {verdict}");
    }
    cost += match (measured.matched_by, measured.is_shared) {
        (MatchedBy::Line, false) => "",
        (MatchedBy::Line, true) => "; together with the other candidates of this line",
        (MatchedBy::Function, false) => "; of the whole function",
        (MatchedBy::Function, true) => "; of the whole function, together with its other candidates",
    };
    cost
}

/// Breaks `content` between words at [`WIDTH`] columns; what goes over is indented by two more.
fn line(text: &mut String, indent: &str, content: &str) {
    let mut column = indent.len();
    text.push_str(indent);
    for (number, word) in content.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > WIDTH {
            text.truncate(text.trim_end_matches(' ').len());
            let _ = write!(text, "\n{indent}  ");
            column = indent.len() + 2;
        } else if number > 0 {
            text.push(' ');
            column += 1;
        }
        // A word of more than a line is broken wherever the line ends.
        for letter in word.chars() {
            if column == WIDTH {
                let _ = write!(text, "\n{indent}  ");
                column = indent.len() + 2;
            }
            text.push(letter);
            column += 1;
        }
    }
    text.push('\n');
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 3).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}

fn count(number: usize, what: &str) -> String {
    count_u64(number as u64, what)
}

fn count_u64(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `1.5 MiB`
fn bytes(number: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| number >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", number as f64 / *size as f64),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_the_width_and_words_longer_than_that_are_cut() {
        let mut text = String::new();
        line(
            &mut text,
            "    ",
            &format!("{} {}", "word ".repeat(60), "x".repeat(300)),
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.matches('x').count(), 300);
    }

    #[test]
    fn bytes_are_shown_in_units_of_1024() {
        assert_eq!(
            [bytes(512), bytes(1536), bytes(3 << 20)],
            ["512 B", "1.5 KiB", "3.0 MiB"]
        );
    }
}
