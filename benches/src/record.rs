//! The record of instruction counts, and the comparison with it that keeps the cost from creeping back.
//!
//! `benches/record/<target>/instructions.csv`: what the counts depend on, then a line for each row. Counts made by another
//! compiler, C library or valgrind are not compared: they differ for reasons that are not ours.

use std::fmt::Write as _;

/// A row may be so much dearer than its record.
pub const ALLOWED: f64 = 0.03;
/// Differences below this are none: some rows are means over events at random.
const NEGLIGIBLE: f64 = 0.5;

/// Counts, and what they were made with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Compiler, C library, counter: a line each.
    pub made_with: Vec<String>,
    /// What was counted, and the instructions.
    pub rows: Vec<(String, f64)>,
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Made with something else: the first line that differs, old and new.
    NotComparable(String, String),
    /// Compared: a line for each row that is dearer than allowed, then for each that is cheaper by as much or is not in both.
    Compared {
        /// Reasons to fail.
        dearer: Vec<String>,
        /// Reasons to accept a new record, and none to fail.
        changed: Vec<String>,
    },
}

impl Record {
    /// As the file has it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.made_with {
            writeln!(text, "# {line}").expect("a string can be written to");
        }
        text.push_str("what,instructions\n");
        for (name, count) in &self.rows {
            writeln!(text, "\"{name}\",{count:.2}").expect("a string can be written to");
        }
        text
    }

    /// From a file's text.
    ///
    /// # Errors
    /// Names the first line that is none.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| *line != "what,instructions") {
            if let Some(line) = line.strip_prefix("# ") {
                record.made_with.push(line.to_owned());
                continue;
            }
            let row = line.strip_prefix('"').and_then(|rest| rest.split_once("\","));
            let row = row.and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
            record
                .rows
                .push(row.ok_or_else(|| format!("`{line}` is no row of a record"))?);
        }
        Ok(record)
    }

    /// Compares new counts with this record.
    #[must_use]
    pub fn compare(&self, new: &Self) -> Verdict {
        let lines = self.made_with.iter().zip(&new.made_with);
        if let Some((old, new)) = lines.into_iter().find(|(old, new)| old != new) {
            return Verdict::NotComparable(old.clone(), new.clone());
        }
        let (mut dearer, mut changed) = (Vec::new(), Vec::new());
        for (name, count) in &new.rows {
            let Some((_, old)) = self.rows.iter().find(|(known, _)| known == name) else {
                changed.push(format!("{name}: {count:.1} instructions, not in the record"));
                continue;
            };
            let share = (count - old) / old.abs().max(1.0);
            let line = format!("{name}: {old:.1} -> {count:.1} instructions ({:+.1} %)", share * 100.0);
            if (count - old).abs() < NEGLIGIBLE || share.abs() <= ALLOWED {
                continue;
            }
            if count > old { &mut dearer } else { &mut changed }.push(line);
        }
        for (name, _) in &self.rows {
            if !new.rows.iter().any(|(known, _)| known == name) {
                changed.push(format!("{name}: in the record, and not counted any more"));
            }
        }
        Verdict::Compared { dearer, changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rows: &[(&str, f64)]) -> Record {
        Record {
            made_with: vec!["rustc 1".to_owned(), "glibc 2".to_owned()],
            rows: rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_row_that_grew_by_more_than_three_percent_is_named_with_both_counts() {
        let old = record(&[("pair", 100.0), ("scope", 200.0)]);
        let Verdict::Compared { dearer, changed } = old.compare(&record(&[("pair", 103.1), ("scope", 205.9)])) else {
            panic!("the same compiler made both");
        };
        assert_eq!(dearer, ["pair: 100.0 -> 103.1 instructions (+3.1 %)"]);
        assert!(changed.is_empty(), "{changed:?}");
    }

    #[test]
    fn one_instruction_more_in_a_short_path_is_seen() {
        let old = record(&[("not installed", 14.0)]);
        let Verdict::Compared { dearer, .. } = old.compare(&record(&[("not installed", 15.0)])) else {
            panic!("the same compiler made both");
        };
        assert_eq!(dearer.len(), 1);
    }

    #[test]
    fn what_became_cheaper_or_is_new_or_gone_does_not_fail() {
        let old = record(&[("pair", 100.0), ("gone", 1.0)]);
        let Verdict::Compared { dearer, changed } = old.compare(&record(&[("pair", 90.0), ("new", 5.0)])) else {
            panic!("the same compiler made both");
        };
        assert!(dearer.is_empty(), "{dearer:?}");
        assert_eq!(changed.len(), 3);
    }

    #[test]
    fn counts_of_another_compiler_are_not_compared() {
        let mut new = record(&[("pair", 300.0)]);
        new.made_with[0] = "rustc 2".to_owned();
        let verdict = record(&[("pair", 100.0)]).compare(&new);
        assert_eq!(
            verdict,
            Verdict::NotComparable("rustc 1".to_owned(), "rustc 2".to_owned())
        );
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record(&[("exact: a pair, of 64 bytes", 359.25), ("off", -1.5)]);
        assert_eq!(Record::from_text(&written.to_text()), Ok(written));
        assert!(Record::from_text("what,instructions\n\"pair\",many\n").is_err());
    }
}
