//! What the sources of the cases say about themselves: a comment behind each line that is to be found.
//!
//! `// REBUILT: reuse Vec<u64>` is a verdict and a collection; `// REBUILT: cache` leaves the collection open; `; no thread_local` behind it
//! means that the advice must not name thread-locals. `// RETAINED`: the note that a line's blocks are kept.

/// One source file of cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// As in the debug information, from the package's folder on.
    pub(crate) file: &'static str,
    pub(crate) text: &'static str,
}

/// A line that is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    /// `reuse`, `reserve`, `pool`, `cache`, or `retained`.
    pub(crate) verdict: &'static str,
    pub(crate) collection: Option<&'static str>,
    pub(crate) without_thread_local: bool,
}

const VERDICTS: [&str; 4] = ["reuse", "reserve", "pool", "cache"];

impl Source {
    /// All marks, from top to bottom.
    pub(crate) fn marks(self) -> Vec<Mark> {
        let numbered = (1..).zip(self.text.lines());
        numbered.filter_map(|(line, text)| self.mark(line, text)).collect()
    }

    fn mark(self, line: u32, text: &'static str) -> Option<Mark> {
        let comment = text.split_once("; // ").or_else(|| text.split_once(" // "))?.1;
        let mark = |verdict, collection, without_thread_local| Mark {
            file: self.file,
            line,
            verdict,
            collection,
            without_thread_local,
        };
        if comment == "RETAINED" {
            return Some(mark("retained", None, false));
        }
        let (what, without) = match comment.strip_prefix("REBUILT: ")?.split_once("; ") {
            None => (comment.trim_start_matches("REBUILT: "), false),
            Some((what, "no thread_local")) => (what, true),
            Some((_, other)) => panic!("{}:{line}: the mark says `{other}`", self.file),
        };
        let (verdict, collection) = match what.split_once(' ') {
            Some((verdict, collection)) => (verdict, Some(collection)),
            None => (what, None),
        };
        assert!(
            VERDICTS.contains(&verdict),
            "{}:{line}: the mark says `{verdict}`",
            self.file
        );
        Some(mark(verdict, collection, without))
    }

    /// The lines of a module of cases, its first and last one included.
    pub(crate) fn lines_of(self, module: &str) -> std::ops::RangeInclusive<u32> {
        let opens = format!("pub(crate) mod {module} {{");
        let mut lines = (1..).zip(self.text.lines());
        let first = lines.by_ref().find(|(_, text)| *text == opens);
        let last = lines.find(|(_, text)| *text == "}");
        match (first, last) {
            (Some((first, _)), Some((last, _))) => first..=last,
            _ => panic!("{} has no module {module}", self.file),
        }
    }
}
