//! What the lint says: plain data, and its JSON.
//!
//! Made by `lint`, printed by `text`. The JSON is documented in `docs/linting.md`; adding a field does not change its version,
//! changing or removing one does.
#![forbid(unsafe_code)]

use std::fmt;

use serde::Serialize;

use crate::kinds::Kind;

/// Version of the JSON that this build writes.
pub const SCHEMA_VERSION: u32 = 1;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Files read.
    pub files: usize,
    /// Functions looked at: those with a body that were not left out as tests or `#[cold]`.
    pub functions: usize,
    /// The candidates: measured ones first, by bytes; then by rank; then by place.
    pub candidates: Vec<Candidate>,
    /// Candidates that a comment allows.
    pub suppressed: Vec<Suppressed>,
    /// Candidates not listed because their rank is below [`Options::min_rank`](crate::Options::min_rank).
    pub below_min_rank: usize,
    /// What went wrong or is odd, by place.
    pub notes: Vec<Note>,
}

impl Report {
    /// The report as JSON, indented.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists only: there is nothing in it that could not be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// A place that makes a collection anew in every turn or request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// 16 hexadecimal digits; stays when lines are added or removed elsewhere. See `docs/linting.md`.
    pub id: String,
    /// Relative to [`Options::root`](crate::Options::root), with `/`.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// `module::Type::name`.
    pub function: String,
    /// The innermost loop that makes it in every turn.
    #[serde(rename = "loop")]
    pub loop_place: Option<LoopPlace>,
    /// How many loops of the function are around it.
    pub loop_depth: usize,
    /// The request whose every call makes it.
    pub request: Option<RequestPlace>,
    /// What is made.
    pub kind: Kind,
    /// As far as the source says it: `HashSet<u64>`.
    #[serde(rename = "type")]
    pub type_text: String,
    /// `HashSet::from_iter`, `.collect()`, `format!`.
    pub made_by: String,
    /// Why this is a candidate, a sentence.
    pub why: String,
    /// What to do, in Rust where it can be.
    pub suggestion: String,
    /// Static score, 0 to 100. See `docs/linting.md` for the sum.
    pub rank: u8,
    /// The line of the source, trimmed.
    pub source: String,
    /// What the profile says about this place; `None` without a profile, or when it says nothing.
    pub measured: Option<Measured>,
}

/// A loop, or a closure that is called for each element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoopPlace {
    /// Which.
    pub kind: LoopKind,
    /// Where it begins.
    pub line: usize,
    /// For [`LoopKind::Each`]: the method, such as `map`.
    pub method: Option<String>,
}

impl fmt::Display for LoopPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &self.method) {
            (LoopKind::Each, Some(method)) => write!(f, "the closure of `{method}` (line {})", self.line),
            (kind, _) => write!(f, "the `{}` of line {}", kind.name(), self.line),
        }
    }
}

/// Kind of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoopKind {
    /// `for`
    For,
    /// `while`
    While,
    /// `loop`
    Loop,
    /// A closure that an iterator, a stream or a slice calls for each element.
    Each,
}

impl LoopKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            LoopKind::For => "for",
            LoopKind::While => "while",
            LoopKind::Loop => "loop",
            LoopKind::Each => "each",
        }
    }
}

/// A function, closure or block of which each call is a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequestPlace {
    /// The one with the mark.
    pub function: String,
    /// True when it is not the candidate's own function, but calls it.
    pub is_caller: bool,
}

/// What a profile says about a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// Allocations and reallocations.
    pub allocations: u64,
    /// Requested bytes.
    pub bytes: u64,
    /// Calls of the request, or turns of the loop, that these belong to, where known.
    pub iterations: Option<u64>,
    /// What a detector that watched the program called it.
    pub verdict: Option<String>,
    /// What of the candidate the profile's site matched.
    pub matched_by: MatchedBy,
    /// The figures are those of several candidates together, on one line or in one function.
    pub is_shared: bool,
}

/// How close a measured site is to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MatchedBy {
    /// Same file, and a line of the statement or one where the collection grows.
    Line,
    /// Same function; the profile does not know lines there.
    Function,
}

/// A candidate that a comment allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Suppressed {
    /// The candidate's.
    pub id: String,
    /// The candidate's.
    pub file: String,
    /// The candidate's.
    pub line: usize,
    /// The candidate's.
    pub kind: Kind,
    /// From the comment.
    pub reason: String,
}

/// Something to know about the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Note {
    /// Which file; empty when it is about none.
    pub file: String,
    /// Where, from 1; 0 when it is about the whole.
    pub line: usize,
    /// What kind of note.
    pub kind: NoteKind,
    /// A sentence.
    pub message: String,
}

/// Kind of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoteKind {
    /// The file is no Rust that this build understands; it was left out.
    Unparsed,
    /// The file could not be read; it was left out.
    Unreadable,
    /// A comment allows something without saying why; it was not heeded.
    SuppressionWithoutReason,
    /// A comment is addressed to the lint, and not understood.
    SuppressionNotUnderstood,
    /// A comment allows something that is not there.
    SuppressionUnused,
    /// The profile seems to be of another program, or of none of these lines.
    ProfileUnmatched,
}
