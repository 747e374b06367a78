//! The one error type of the read side.
//!
//! Made by `control` (tracker not installed) and by `model::file` (reading and writing snapshots); handed to the user.
//! Read side. Invariants: messages are lower-case and continue "failed to ..."; whatever is known of path, position and
//! version is kept and printed. Leaves out the record side, which has no errors: trouble there becomes a counter.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong when a snapshot was taken, written or read.
///
/// Opaque: ask with the `is_...` methods, print it for people.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    path: Option<PathBuf>,
    /// What failed, unless it is to read or to write a snapshot: "read baseline".
    action: Option<&'static str>,
}

enum Kind {
    /// What failed: "take a snapshot", "measure".
    NotInstalled(&'static str),
    /// A measurement that would have lied: why.
    NotMeasured(String),
    Io {
        action: &'static str,
        source: std::io::Error,
    },
    Json {
        source: serde_json::Error,
        line: usize,
        column: usize,
    },
    Version {
        found: u64,
        supported: u32,
    },
    Content(String),
    Encode(serde_json::Error),
    /// A format that this build was compiled without.
    NotBuilt {
        format: &'static str,
        feature: &'static str,
    },
}

impl Error {
    /// No `TrackingAllocator` answered the probe allocation.
    pub(crate) fn not_installed() -> Self {
        Self::new(Kind::NotInstalled("take a snapshot"))
    }

    /// The same for a measurement.
    pub(crate) fn not_installed_to_measure() -> Self {
        Self::new(Kind::NotInstalled("measure"))
    }

    /// A measurement is refused; the text continues "failed to measure: " and says what to do.
    pub(crate) fn not_measured(reason: String) -> Self {
        Self::new(Kind::NotMeasured(reason))
    }

    /// `action` continues "failed to": "read", "write".
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::new(Kind::Io { action, source }).with_path(path)
    }

    /// Text that is not JSON, or not the JSON of a snapshot.
    pub(crate) fn json(source: serde_json::Error) -> Self {
        let (line, column) = (source.line(), source.column());
        Self::new(Kind::Json { source, line, column })
    }

    /// A file of a version that this build cannot read.
    pub(crate) fn version(found: u64, supported: u32) -> Self {
        Self::new(Kind::Version { found, supported })
    }

    /// Well-formed JSON that contradicts itself; the text says where and how.
    pub(crate) fn content(message: String) -> Self {
        Self::new(Kind::Content(message))
    }

    /// A value that serialisation refused.
    pub(crate) fn encode(source: serde_json::Error) -> Self {
        Self::new(Kind::Encode(source))
    }

    /// A format whose feature is off.
    pub(crate) fn not_built(format: &'static str, feature: &'static str) -> Self {
        Self::new(Kind::NotBuilt { format, feature })
    }

    /// The error of the operating system inside an error of the text, when reading failed half way.
    pub(crate) fn io_source(&self) -> Option<std::io::Error> {
        match &self.0.kind {
            Kind::Json { source, .. } if source.is_io() => {
                let kind = source.io_error_kind()?;
                Some(std::io::Error::new(kind, source.to_string()))
            }
            _ => None,
        }
    }

    /// The same error, naming the file.
    pub(crate) fn with_path(mut self, path: &Path) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    /// The same error of another action than to read or to write a snapshot; continues "failed to".
    pub(crate) fn during(mut self, action: &'static str) -> Self {
        self.0.action = Some(action);
        self
    }

    fn new(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            path: None,
            action: None,
        }))
    }

    /// True when no `TrackingAllocator` is this program's global allocator.
    pub fn is_not_installed(&self) -> bool {
        matches!(self.0.kind, Kind::NotInstalled(_))
    }

    /// True when a measurement would have given wrong figures and was refused: tracking was off, events were lost, or carried
    /// work was still running.
    pub fn is_not_measured(&self) -> bool {
        matches!(self.0.kind, Kind::NotMeasured(_))
    }

    /// True when the operating system refused to read or write.
    pub fn is_io(&self) -> bool {
        matches!(self.0.kind, Kind::Io { .. })
    }

    /// True when what was read is not a snapshot that this build understands: truncated, corrupt, contradictory, or
    /// of another version.
    pub fn is_format(&self) -> bool {
        matches!(self.0.kind, Kind::Json { .. } | Kind::Version { .. } | Kind::Content(_))
    }

    /// True when the file is intact but of a version that this build cannot read. Such an error
    /// [`is_format`](Self::is_format) too.
    pub fn is_unsupported_version(&self) -> bool {
        matches!(self.0.kind, Kind::Version { .. })
    }

    /// True when the format asked for is behind a feature of this crate that is off; the message names it.
    pub fn is_not_built(&self) -> bool {
        matches!(self.0.kind, Kind::NotBuilt { .. })
    }

    /// The file that was read or written, when there was one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Line and column, both from 1, where reading stopped, when the text itself was at fault.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self.0.kind {
            Kind::Json { line, column, .. } if line > 0 => Some((line, column)),
            _ => None,
        }
    }

    /// Schema version of the file, when that is what was wrong.
    pub fn found_version(&self) -> Option<u64> {
        match self.0.kind {
            Kind::Version { found, .. } => Some(found),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>| match &self.0.path {
            Some(path) => write!(f, " {}", path.display()),
            None => Ok(()),
        };
        match &self.0.kind {
            Kind::NotInstalled(action) => write!(
                f,
                "failed to {action}: no TrackingAllocator is the global allocator of this program (a probe \
                 allocation was not seen); add to the binary:\n    #[global_allocator]\n    static ALLOC: \
                 alloc_core::TrackingAllocator = alloc_core::TrackingAllocator::new();",
            ),
            Kind::NotMeasured(reason) => write!(f, "failed to measure: {reason}"),
            Kind::Io { action, source } => {
                write!(f, "failed to {action}")?;
                named(f)?;
                write!(f, ": {source}")
            }
            Kind::Json { source, line, column } => {
                write!(f, "failed to {}", self.0.action.unwrap_or("read snapshot"))?;
                named(f)?;
                let text = source.to_string();
                let reason = text
                    .strip_suffix(&format!(" at line {line} column {column}"))
                    .unwrap_or(&text);
                if source.is_eof() {
                    write!(f, ": the text ends early, at line {line} column {column}: {reason}")
                } else if *line > 0 {
                    write!(f, ": line {line} column {column}: {reason}")
                } else {
                    write!(f, ": {reason}")
                }
            }
            Kind::Version { found, supported } => {
                write!(f, "failed to {}", self.0.action.unwrap_or("read snapshot"))?;
                named(f)?;
                let advice = if *found > u64::from(*supported) {
                    "; it was written by a newer alloc-core"
                } else {
                    ""
                };
                write!(
                    f,
                    ": schema version {found}, and this build reads version {supported}{advice}"
                )
            }
            Kind::Content(message) => {
                write!(f, "failed to {}", self.0.action.unwrap_or("read snapshot"))?;
                named(f)?;
                write!(f, ": {message}")
            }
            Kind::Encode(source) => {
                write!(
                    f,
                    "failed to {} as JSON: {source}",
                    self.0.action.unwrap_or("write snapshot")
                )
            }
            Kind::NotBuilt { format, feature } => {
                f.write_str("failed to write")?;
                named(f)?;
                write!(
                    f,
                    ": this program was built without {format}; add feature \"{feature}\" to alloc-core in Cargo.toml"
                )
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            Kind::NotInstalled(_) => "NotInstalled",
            Kind::NotMeasured(_) => "NotMeasured",
            Kind::Io { .. } => "Io",
            Kind::Json { .. } => "Json",
            Kind::Version { .. } => "Version",
            Kind::Content(_) => "Content",
            Kind::Encode(_) => "Encode",
            Kind::NotBuilt { .. } => "NotBuilt",
        };
        f.debug_struct("Error")
            .field("kind", &kind)
            .field("message", &self.to_string())
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            Kind::Io { source, .. } => Some(source),
            Kind::Json { source, .. } | Kind::Encode(source) => Some(source),
            Kind::NotInstalled(_)
            | Kind::NotMeasured(_)
            | Kind::Version { .. }
            | Kind::Content(_)
            | Kind::NotBuilt { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_installed_shows_the_line_to_add() {
        let error = Error::not_installed();
        assert!(error.is_not_installed() && !error.is_io() && !error.is_format());
        let text = error.to_string();
        assert!(
            text.starts_with("failed to take a snapshot: no TrackingAllocator is the global allocator"),
            "{text}"
        );
        assert!(text.contains("probe allocation"), "{text}");
        assert!(text.ends_with(
            "    #[global_allocator]\n    static ALLOC: alloc_core::TrackingAllocator = \
             alloc_core::TrackingAllocator::new();"
        ));
    }

    #[test]
    fn a_newer_version_names_file_and_versions() {
        let error = Error::version(7, 1).with_path(Path::new("a.json"));
        assert!(error.is_format() && error.is_unsupported_version());
        assert_eq!(error.found_version(), Some(7));
        assert_eq!(error.path(), Some(Path::new("a.json")));
        assert_eq!(
            error.to_string(),
            "failed to read snapshot a.json: schema version 7, and this build reads version 1; it was written by a \
             newer alloc-core"
        );
    }

    #[test]
    fn a_format_that_was_not_built_names_its_feature() {
        let error = Error::not_built("flame graphs", "flamegraph").with_path(Path::new("a.svg"));
        assert!(error.is_not_built() && !error.is_io() && !error.is_format());
        assert_eq!(
            error.to_string(),
            "failed to write a.svg: this program was built without flame graphs; add feature \"flamegraph\" to alloc-core in \
             Cargo.toml"
        );
    }

    #[test]
    fn io_keeps_path_and_source() {
        let error = Error::io("write", Path::new("x/y.json"), std::io::Error::other("disk on fire"));
        assert!(error.is_io());
        assert_eq!(error.to_string(), "failed to write x/y.json: disk on fire");
        assert!(std::error::Error::source(&error).is_some());
    }
}
