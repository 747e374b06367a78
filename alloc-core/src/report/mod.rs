//! Reports for people, and the same data as JSON.
//!
//! Called by the user through `Snapshot::report` and `SnapshotDiff::report`, and by `control` at exit. Read side.
//! Invariants: text is at most as wide as it is told to be, without colour, and the same data always gives the same text; the line
//! that matters most comes first. Cost: linear in contexts and frames, a sort of the sites. Leaves out exports for other
//! tools, and resolving addresses: call `Snapshot::resolve` first.
#![forbid(unsafe_code)]

mod background;
mod budget;
mod diff;
mod histograms;
mod hot;
mod rank;
mod rollup;
mod sampled;
mod scopes;
mod sites;
pub(crate) mod stacks;
mod tree;
mod units;

use std::fmt;

use serde_json::Value;

pub use background::{Background, background};
pub(crate) use budget::{Explained, explain, site_usages, stack_lines};
pub use histograms::Histograms;
#[cfg(feature = "html")]
pub(crate) use histograms::{lifetime_classes, size_classes};
pub use rollup::{Group, RollUp};
pub(crate) use sites::{Conduits, Enclosing, Folder};
pub use stacks::Library;
pub use tree::{CallTree, Direction};
#[cfg(feature = "flamegraph")]
pub(crate) use units::duration;
pub(crate) use units::{bytes, count, fit, fraction, wrapped_to};

use crate::inside::inside_tracker;
use crate::model::{Snapshot, SnapshotDiff};
use crate::symbolize::Own;

/// Version of the JSON that reports give. Documented in `docs/snapshot-format.md`.
pub const REPORT_VERSION: u32 = 1;

/// Sites shown unless told otherwise.
const DEFAULT_TOP: usize = 10;

/// What a report ranks its sites by, and what an export measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rank {
    /// Requests granted.
    Allocations,
    /// Bytes granted.
    #[default]
    Bytes,
    /// Live bytes now.
    Live,
    /// Bytes held at the moment of the process peak.
    Peak,
    /// Bytes that reallocations copied.
    Copied,
    /// Bytes granted to blocks that were freed before eight more allocations. Estimated: the share of such blocks among those that were
    /// followed, times the bytes granted; a stack of which no block was followed has none.
    Temporary,
}

impl Rank {
    /// The one of this name, which is as it is displayed.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [
            Self::Allocations,
            Self::Bytes,
            Self::Live,
            Self::Peak,
            Self::Copied,
            Self::Temporary,
        ]
        .into_iter()
        .find(|rank| rank.to_string() == name)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allocations => "allocations",
            Self::Bytes => "bytes",
            Self::Live => "live",
            Self::Peak => "peak",
            Self::Copied => "copied",
            Self::Temporary => "temporary",
        })
    }
}

/// Which sites to show, and how.
#[derive(Clone, Debug)]
struct Options {
    top: usize,
    own: Own,
    /// Directory that paths are shown relative to.
    base: Option<String>,
    /// Columns of the text.
    width: usize,
}

impl Options {
    fn new() -> Self {
        let base = std::env::current_dir()
            .ok()
            .and_then(|path| path.into_os_string().into_string().ok());
        Self {
            top: DEFAULT_TOP,
            own: Own::default(),
            base,
            width: units::WIDTH,
        }
    }

    fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }
}

/// A hot-path report: print it, or take its JSON.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    snapshot: &'a Snapshot,
    rank: Rank,
    options: Options,
}

/// A report of what changed between two snapshots: print it, or take its JSON.
#[derive(Clone, Debug)]
pub struct DiffReport<'a> {
    diff: &'a SnapshotDiff,
    options: Options,
}

impl Snapshot {
    /// A hot-path report of this snapshot. Call [`resolve`](Self::resolve) first, or it names addresses.
    ///
    /// A site is the first frame in your own code, with the collection that is built there; call stacks that share both
    /// are one row.
    pub fn report(&self) -> Report<'_> {
        Report {
            snapshot: self,
            rank: Rank::default(),
            options: Options::new(),
        }
    }
}

impl SnapshotDiff {
    /// A report of this diff: what is retained first, then churn, by site and by scope.
    pub fn report(&self) -> DiffReport<'_> {
        DiffReport {
            diff: self,
            options: Options::new(),
        }
    }
}

#[cfg(feature = "export")]
impl<'a> Report<'a> {
    pub(crate) fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }
}

impl Report<'_> {
    /// What to rank the sites by; bytes granted by default.
    #[must_use]
    pub fn rank(mut self, rank: Rank) -> Self {
        self.rank = rank;
        self
    }

    /// How many sites to show, and how many scopes; 10 by default.
    #[must_use]
    pub fn top(mut self, sites: usize) -> Self {
        self.options.top = sites;
        self
    }

    /// Names the crates that are your own. By default everything is that comes neither from a registry, nor from a git
    /// checkout, nor from the toolchain.
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.own = own(names);
        self
    }

    /// Shows paths relative to this directory instead of the current one.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<String>) -> Self {
        self.options.base = Some(directory.into());
        self
    }

    /// Columns that the text may use, that of [call trees](Self::tree) and [roll-ups](Self::by), too: at least 80, which is the default.
    /// Names that are longer are cut in the middle. [`width_of`](Self::width_of) asks a terminal.
    #[must_use]
    pub fn width(mut self, columns: usize) -> Self {
        self.options.width = columns.max(units::WIDTH);
        self
    }

    #[cfg(feature = "export")]
    pub(crate) fn set_own(&mut self, own: Own) {
        self.options.own = own;
    }

    /// The same data as JSON, with whole paths, plain numbers and the heaviest call stack of each site.
    pub fn to_json(&self) -> Value {
        inside_tracker(|| hot::json(self))
    }
}

impl DiffReport<'_> {
    /// How many sites to show in each ranking, and how many scopes; 10 by default.
    #[must_use]
    pub fn top(mut self, sites: usize) -> Self {
        self.options.top = sites;
        self
    }

    /// Names the crates that are your own, as [`Report::user_crates`].
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.own = own(names);
        self
    }

    /// Shows paths relative to this directory instead of the current one.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<String>) -> Self {
        self.options.base = Some(directory.into());
        self
    }

    /// Columns that the text may use, as [`Report::width`].
    #[must_use]
    pub fn width(mut self, columns: usize) -> Self {
        self.options.width = columns.max(units::WIDTH);
        self
    }

    #[cfg(feature = "html")]
    pub(crate) fn set_own(&mut self, own: Own) {
        self.options.own = own;
    }

    /// The same data as JSON, with whole paths and plain numbers.
    pub fn to_json(&self) -> Value {
        inside_tracker(|| diff::json(self))
    }
}

pub(crate) fn own<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Own {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    Own::new(&names)
}

/// Builds the text inside the tracker, and hands it to the user's formatter outside: what that allocates is the program's.
fn write_text(f: &mut fmt::Formatter<'_>, build: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
    let text = inside_tracker(|| {
        let mut text = String::new();
        build(&mut text).map(|()| text)
    })?;
    f.write_str(&text)
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, |text| hot::text(self, text))
    }
}

impl fmt::Display for DiffReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, |text| diff::text(self, text))
    }
}

/// Said once, when the binary has symbols but no lines.
const NO_LINES: &str = "note: this binary has no line tables, so sites are named by function only, and inlined \
                        functions are missing. To see lines, add to Cargo.toml: [profile.release] debug = \
                        \"line-tables-only\"";

/// Said once and first, when nothing is resolved.
const NO_SYMBOLS: &str = "note: no frame of the program has a name. Either Snapshot::resolve() was not called in a process of this \
                          build, or the build has no symbols (strip): names then come from a build that has them \
                          (Snapshot::resolve_with).";

#[cfg(test)]
mod tests;
