//! What the caller chooses.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::profile::Profile;

/// Lowest static score of a candidate that is listed by default.
pub const DEFAULT_MIN_RANK: u8 = 25;

/// Whether tests are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tests {
    /// Leaves out `#[test]` functions, what is under `#[cfg(test)]`, directories named `tests` or `benches`, and `build.rs`. A file that
    /// is named itself is read all the same.
    #[default]
    Skip,
    /// Looks at them like at everything else.
    Include,
}

/// How to lint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Whether tests are looked at. Default: no.
    pub tests: Tests,
    /// Candidates with a lower static score are counted, but not listed, unless they were measured. Default:
    /// [`DEFAULT_MIN_RANK`]; 0 lists all. More to read, no more to compute.
    pub min_rank: u8,
    /// The directory that file names are given from; ids depend on it. Default: the current directory.
    pub root: Option<PathBuf>,
    /// What the program's allocations were measured to cost. Default: none.
    pub profile: Option<Profile>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tests: Tests::Skip,
            min_rank: DEFAULT_MIN_RANK,
            root: None,
            profile: None,
        }
    }
}
