//! Reports as files that other tools open: pprof, DHAT, Chrome DevTools, speedscope, collapsed stacks, flame graphs, HTML.
//!
//! Called by the user through `Snapshot::export` and `SnapshotDiff::export`, and by `control` at exit. Read side: computed from a snapshot
//! alone, here or elsewhere. Invariants: a file is complete or absent; the same snapshot gives the same bytes; nothing is in a file that is
//! not in the snapshot, so a snapshot without names ([`Snapshot::without_names`]) gives files without names. Cost: linear in contexts and
//! frames, and about the memory of the finished file at most. Leaves out resolving: call [`Snapshot::resolve`] first. Formats, their features and what
//! each feature costs: `docs/reports.md`.
#![forbid(unsafe_code)]

#[cfg(feature = "export")]
mod collapsed;
#[cfg(feature = "export")]
mod dhat;
#[cfg(feature = "flamegraph")]
mod flamegraph;
#[cfg(feature = "export")]
mod heap_profile;
#[cfg(feature = "html")]
mod html;
#[cfg(feature = "pprof")]
mod pprof;
mod privacy;
#[cfg(feature = "export")]
mod speedscope;
#[cfg(all(test, feature = "export"))]
mod tests;

use std::fmt;
#[cfg(feature = "export")]
use std::io::{self, Write};
use std::path::Path;

#[cfg(feature = "html")]
pub use html::HtmlReport;

#[cfg(feature = "export")]
use crate::inside::inside_tracker;
#[cfg(feature = "export")]
use crate::model::SnapshotDiff;
use crate::model::{Error, Snapshot, write_atomically};
pub use crate::report::Library;
use crate::report::{Rank, Report};
#[cfg(feature = "export")]
use crate::symbolize::Own;

/// A format that reports are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// What [`Report`] prints. Any other ending than those below.
    Text,
    /// [`Report::to_json`](crate::report::Report::to_json). `.json`
    Json,
    /// Gzipped protobuf for `go tool pprof`, Pyroscope, Polar Signals and others. `.pb.gz`, `.pprof`. Feature `pprof`.
    Pprof,
    /// Valgrind's DHAT, version 2, for its viewer `dh_view.html`. `.dhat.json`, and names that begin with `dhat.out`. Feature `export`.
    Dhat,
    /// Heap profile of Chrome DevTools (Memory panel, "Load"). `.heapprofile`. Feature `export`.
    HeapProfile,
    /// For <https://www.speedscope.app>. `.speedscope.json`. Feature `export`.
    Speedscope,
    /// One line for each stack, `outer;inner 123`: for FlameGraph, inferno and others. `.folded`, `.collapsed`. Feature `export`.
    Collapsed,
    /// A flame graph. `.svg`. Feature `flamegraph`.
    FlameGraph,
    /// One page with everything, for a browser. `.html`, `.htm`. Feature `html`.
    Html,
}

impl Format {
    /// The format that a file's name asks for.
    #[must_use]
    pub fn of_path(path: &Path) -> Self {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        /// Longer endings come before the shorter ones they end in.
        const ENDINGS: [(&str, Format); 12] = [
            (".dhat.json", Format::Dhat),
            (".speedscope.json", Format::Speedscope),
            (".json", Format::Json),
            (".pb.gz", Format::Pprof),
            (".pprof", Format::Pprof),
            (".heapprofile", Format::HeapProfile),
            (".folded", Format::Collapsed),
            (".collapsed", Format::Collapsed),
            (".svg", Format::FlameGraph),
            (".html", Format::Html),
            (".htm", Format::Html),
            (".txt", Format::Text),
        ];
        if name.starts_with("dhat.out") {
            return Self::Dhat;
        }
        let ending = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending));
        ending.map_or(Self::Text, |&(_, format)| format)
    }

    /// The feature it is behind, and whether this build has it.
    fn feature(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Text | Self::Json => None,
            Self::Dhat | Self::HeapProfile | Self::Speedscope | Self::Collapsed => {
                Some(("export", cfg!(feature = "export")))
            }
            Self::Pprof => Some(("pprof", cfg!(feature = "pprof"))),
            Self::FlameGraph => Some(("flamegraph", cfg!(feature = "flamegraph"))),
            Self::Html => Some(("html", cfg!(feature = "html"))),
        }
    }

    /// True when this build can write it.
    #[must_use]
    pub fn is_built(self) -> bool {
        self.feature().is_none_or(|(_, is_on)| is_on)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "JSON",
            Self::Pprof => "pprof profiles",
            Self::Dhat => "DHAT files",
            Self::HeapProfile => "Chrome heap profiles",
            Self::Speedscope => "speedscope files",
            Self::Collapsed => "collapsed stacks",
            Self::FlameGraph => "flame graphs",
            Self::Html => "HTML reports",
        }
    }

    /// An error unless this build can write it.
    fn check(self) -> Result<(), Error> {
        match self.feature() {
            Some((feature, false)) => Err(Error::not_built(self.name(), feature)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes the report that a path asks for; other formats than those of a report have all sites, by `rank`. The snapshot is resolved.
pub(crate) fn save_report(report: &Report<'_>, rank: Rank, path: &Path) -> Result<(), Error> {
    let format = Format::of_path(path);
    format.check().map_err(|error| error.with_path(path))?;
    let text = match format {
        Format::Text => report.to_string(),
        Format::Json => report.to_json().to_string(),
        #[cfg(feature = "export")]
        _ => return report.snapshot().export().rank(rank).save(path),
        #[cfg(not(feature = "export"))]
        _ => {
            let _ = rank;
            String::new()
        }
    };
    write_atomically(path, |out| out.write_all(text.as_bytes())).map_err(|error| Error::io("write", path, error))
}

/// The module that is the program itself; `None` when nothing of it is in the snapshot.
fn program_of(snapshot: &Snapshot) -> Option<usize> {
    let name = snapshot.process.executable.as_str();
    snapshot.modules.iter().position(|module| module.file_name() == name)
}

#[cfg(feature = "export")]
#[derive(Clone, Debug, Default)]
struct Options {
    /// `None` until told: formats have defaults of their own.
    rank: Option<Rank>,
    own: Own,
    library: Library,
}

#[cfg(feature = "export")]
impl Options {
    /// What is measured, where the format has no default of its own.
    fn rank(&self) -> Rank {
        self.rank.unwrap_or_default()
    }
}

/// A snapshot on its way into a file for another tool.
///
/// # Accuracy
/// The figures are those of the snapshot. What a format asks for and a snapshot does not know is listed in `docs/reports.md`.
#[cfg(feature = "export")]
#[derive(Clone, Debug)]
pub struct Export<'a> {
    snapshot: &'a Snapshot,
    options: Options,
}

/// A difference on its way into a file for another tool.
#[cfg(feature = "export")]
#[derive(Clone, Debug)]
pub struct DiffExport<'a> {
    diff: &'a SnapshotDiff,
    options: Options,
}

#[cfg(feature = "export")]
impl Snapshot {
    /// This snapshot as files for other tools. Call [`resolve`](Self::resolve) first, or they name addresses.
    ///
    /// # Examples
    /// ```
    /// use alloc_core::{Snapshot, TrackingAllocator};
    ///
    /// #[global_allocator]
    /// static ALLOC: TrackingAllocator = TrackingAllocator::new();
    ///
    /// let mut snapshot = Snapshot::take()?;
    /// snapshot.resolve();
    /// # let directory = std::env::temp_dir().join(format!("allocscope-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory).unwrap();
    /// # let path = directory.join("heap.speedscope.json");
    /// // let path = "heap.speedscope.json";
    /// snapshot.export().save(path)?;
    /// # std::fs::remove_dir_all(directory).unwrap();
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn export(&self) -> Export<'_> {
        Export {
            snapshot: self,
            options: Options::default(),
        }
    }
}

#[cfg(feature = "export")]
impl SnapshotDiff {
    /// This difference as files for other tools: differential flame graphs, and the lines they are made from.
    pub fn export(&self) -> DiffExport<'_> {
        DiffExport {
            diff: self,
            options: Options {
                rank: Some(Rank::Live),
                ..Options::default()
            },
        }
    }
}

/// Writes a file in the format that its name asks for, complete or not at all.
#[cfg(feature = "export")]
fn save(path: &Path, put: impl FnOnce(Format, &mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let format = Format::of_path(path);
    format.check().map_err(|error| error.with_path(path))?;
    inside_tracker(|| write_atomically(path, |out| put(format, out))).map_err(|error| Error::io("write", path, error))
}

#[cfg(feature = "export")]
impl Export<'_> {
    /// What is measured, in formats that hold one figure for each stack, and what is shown first, in those that hold several; bytes granted by
    /// default. In pprof profiles and Chrome's it is live bytes unless told otherwise.
    #[must_use]
    pub fn rank(mut self, rank: Rank) -> Self {
        self.options.rank = Some(rank);
        self
    }

    /// Whether library frames are folded; by default they are. pprof and DHAT always have them all.
    #[must_use]
    pub fn library(mut self, library: Library) -> Self {
        self.options.library = library;
        self
    }

    /// Names the crates that are your own, as [`Report::user_crates`](crate::report::Report::user_crates).
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.own = crate::report::own(names);
        self
    }

    /// Writes a file, complete or not at all, in the format that its name asks for ([`Format::of_path`]).
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be written; an older one is then left as it was. [`Error::is_not_built`] when the format is
    /// behind a feature that is off.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        save(path.as_ref(), |format, out| self.put(format, out))
    }

    /// Writes any format to anything.
    ///
    /// # Errors
    /// [`Error::is_io`] when `out` fails, [`Error::is_not_built`] when the format is behind a feature that is off.
    pub fn write(&self, format: Format, mut out: impl Write) -> Result<(), Error> {
        format.check()?;
        let mut bytes = Vec::new();
        inside_tracker(|| self.put(format, &mut bytes))
            .and_then(|()| out.write_all(&bytes))
            .map_err(|error| Error::io("write", Path::new(format.name()), error))
    }

    fn put(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        let snapshot = self.snapshot;
        let report = || {
            let mut report = snapshot.report().rank(self.options.rank());
            report.set_own(self.options.own.clone());
            report
        };
        match format {
            Format::Text => write!(out, "{}", report()),
            Format::Json => write!(out, "{}", report().to_json()),
            Format::Dhat => dhat::write(snapshot, &self.options, out),
            Format::HeapProfile => heap_profile::write(snapshot, &self.options, out),
            Format::Speedscope => speedscope::write(snapshot, &self.options, out),
            Format::Collapsed => collapsed::write(snapshot, &self.options, out),
            #[cfg(feature = "pprof")]
            Format::Pprof => pprof::write(snapshot, &self.options, out),
            #[cfg(feature = "flamegraph")]
            Format::FlameGraph => flamegraph::write(snapshot, &self.options, out),
            #[cfg(feature = "html")]
            Format::Html => html::write(&HtmlReport::of(snapshot, self.options.clone()), out),
            #[allow(
                unreachable_patterns,
                reason = "with all features on, every format has its line above"
            )]
            _ => Err(io::Error::other("a format that was not built")),
        }
    }
}

#[cfg(feature = "export")]
impl DiffExport<'_> {
    /// Whether library frames are folded; by default they are.
    #[must_use]
    pub fn library(mut self, library: Library) -> Self {
        self.options.library = library;
        self
    }

    /// Names the crates that are your own, as [`Report::user_crates`](crate::report::Report::user_crates).
    #[must_use]
    pub fn user_crates<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.own = crate::report::own(names);
        self
    }

    /// What is compared: live bytes ([`Rank::Live`]), or bytes or allocations granted. Live bytes by default; nothing else is known of
    /// both sides.
    #[must_use]
    pub fn rank(mut self, rank: Rank) -> Self {
        self.options.rank = Some(rank);
        self
    }

    /// Writes the differential flame graph to a file, complete or not at all: red grew, blue shrank. A path that ends in `.folded` or
    /// `.collapsed` gets the lines `stack before after` that such graphs are made from.
    ///
    /// # Errors
    /// As [`Export::save`]; [`Error::is_io`], too, for a name that asks for a format that holds no differences.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        save(path.as_ref(), |format, out| self.put(format, out))
    }

    fn put(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Collapsed => collapsed::write_diff(self.diff, &self.options, out),
            #[cfg(feature = "flamegraph")]
            Format::FlameGraph => flamegraph::write_diff(self.diff, &self.options, out),
            _ => {
                let text = format!("{format} hold no differences; use .svg, .folded, or SnapshotDiff::report");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }
}
