//! Why a run failed as a whole. What is wrong with one file is a note in the report instead.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was linted, or no profile was read.
#[derive(Debug)]
pub struct LintError {
    repr: Repr,
}

#[derive(Debug)]
enum Repr {
    Io { path: PathBuf, source: io::Error },
    Walk(ignore::Error),
    Format(String),
}

impl LintError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self {
            repr: Repr::Io { path, source },
        }
    }

    pub(crate) fn walk(source: ignore::Error) -> Self {
        Self {
            repr: Repr::Walk(source),
        }
    }

    pub(crate) fn format(message: String) -> Self {
        Self {
            repr: Repr::Format(message),
        }
    }

    /// A file or directory could not be read.
    pub fn is_io(&self) -> bool {
        matches!(self.repr, Repr::Io { .. } | Repr::Walk(_))
    }

    /// What was read is not what it should be.
    pub fn is_format(&self) -> bool {
        matches!(self.repr, Repr::Format(_))
    }
}

impl fmt::Display for LintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Io { path, source } => write!(f, "read {}: {source}", path.display()),
            Repr::Walk(source) => write!(f, "list files: {source}"),
            Repr::Format(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for LintError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.repr {
            Repr::Io { source, .. } => Some(source),
            Repr::Walk(source) => Some(source),
            Repr::Format(_) => None,
        }
    }
}
