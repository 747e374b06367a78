//! Snapshots as versioned JSON: to text, to a file, and back.
//!
//! Called by the user through `Snapshot::save` and its siblings, and by `control` at exit. Read side. Invariants: what
//! was written reads back equal; a file is complete or absent (`write`); every
//! index and reference in a snapshot that was read is valid, so nothing downstream needs to check. Cost: linear.
//! Leaves out migrations: there is one version so far. The schema is described in `docs/snapshot-format.md`.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::Deserialize;

use super::{Error, SCHEMA_VERSION, ScopeNodeId, Snapshot, write_atomically};
use crate::inside::inside_tracker;
use crate::progress::{PIECE, Progress};

impl Snapshot {
    /// Writes the snapshot as JSON, complete or not at all: a reader never sees half a file.
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be written; an older file at `path` is then left as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        inside_tracker(|| write_atomically(path, |out| self.write_json(out)))
            .map_err(|source| Error::io("write", path, source))
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Overhead
    /// The text is read piece by piece and never held as a whole, so the memory is that of the snapshot. A file that takes longer than a second
    /// says so on stderr.
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be read, [`Error::is_format`] when it is truncated, corrupt or of another
    /// version; the message names the file, the position and the reason.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        inside_tracker(|| {
            let open = || Pieces::open(path).map_err(|source| Error::io("read", path, source));
            Self::from_pieces(open).map_err(|error| match error.io_source() {
                // Not the text is at fault, but what it is read from.
                Some(source) => Error::io("read", path, source),
                None => error.with_path(path),
            })
        })
    }

    /// The snapshot as JSON text.
    ///
    /// # Errors
    /// None that a snapshot made by this crate can cause; kept for figures that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, Error> {
        inside_tracker(|| serde_json::to_string(self).map_err(Error::encode))
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Error::is_format`], as [`load`](Self::load).
    pub fn from_json(text: &str) -> Result<Self, Error> {
        inside_tracker(|| Self::from_bytes(text.as_bytes()))
    }

    /// Writes the JSON text, in short pieces, without a line end.
    pub(crate) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(out, self).map_err(io::Error::from)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::checked(serde_json::from_slice(bytes), || serde_json::from_slice(bytes).ok())
    }

    fn from_pieces(open: impl Fn() -> Result<Pieces, Error>) -> Result<Self, Error> {
        let snapshot = serde_json::from_reader(open()?);
        Self::checked(snapshot, || serde_json::from_reader(open().ok()?).ok())
    }

    /// A snapshot that was read, if it is one. `versioned` reads the text again.
    fn checked(
        read: Result<Self, serde_json::Error>,
        versioned: impl FnOnce() -> Option<Versioned>,
    ) -> Result<Self, Error> {
        let mut snapshot = match read {
            Ok(snapshot) => snapshot,
            // A text that ends early is just that, and may be long to read again.
            Err(error) if error.is_eof() => return Err(Error::json(error)),
            // Another version is the better explanation of a field that does not fit.
            Err(error) => match versioned() {
                Some(versioned) if versioned.schema_version != u64::from(SCHEMA_VERSION) => {
                    return Err(Error::version(versioned.schema_version, SCHEMA_VERSION));
                }
                _ => return Err(Error::json(error)),
            },
        };
        if snapshot.schema_version != SCHEMA_VERSION {
            return Err(Error::version(u64::from(snapshot.schema_version), SCHEMA_VERSION));
        }
        snapshot.check().map_err(Error::content)?;
        // They grew while their lengths were not known: up to half of their room is unused.
        snapshot.contexts.shrink_to_fit();
        snapshot.stacks.shrink_to_fit();
        snapshot.frames.shrink_to_fit();
        Ok(snapshot)
    }

    /// Says what is wrong with the references inside the snapshot, if anything is.
    fn check(&self) -> Result<(), String> {
        let within = |what: &str, index: u32, table: &str, len: usize| {
            if (index as usize) < len {
                Ok(())
            } else {
                Err(format!("{what} is {index}, but {table} has {len} entries"))
            }
        };
        let mut ids: HashSet<ScopeNodeId> = HashSet::with_capacity(self.scopes.len());
        for (at, node) in self.scopes.iter().enumerate() {
            match node.parent {
                None if at != 0 => {
                    return Err(format!(
                        "scopes[{at}].parent is missing, and only scopes[0] is the root"
                    ));
                }
                Some(_) if at == 0 => return Err("scopes[0] is the root and must not have a parent".to_owned()),
                Some(parent) if !ids.contains(&parent) => {
                    return Err(format!(
                        "scopes[{at}].parent is {}, which is no scope before it",
                        parent.0
                    ));
                }
                _ => {}
            }
            if !ids.insert(node.id) {
                return Err(format!("scopes[{at}].id is {}, which an earlier scope has", node.id.0));
            }
        }
        if self.scopes.is_empty() {
            return Err("scopes is empty, and the root is missing".to_owned());
        }
        for (at, frame) in self.frames.iter().enumerate() {
            if let Some(module) = frame.module {
                within(&format!("frames[{at}].module"), module, "modules", self.modules.len())?;
            }
        }
        for (at, stack) in self.stacks.iter().enumerate() {
            for (position, &frame) in stack.frames.iter().enumerate() {
                within(
                    &format!("stacks[{at}].frames[{position}]"),
                    frame,
                    "frames",
                    self.frames.len(),
                )?;
            }
        }
        for (at, context) in self.contexts.iter().enumerate() {
            if !ids.contains(&context.scope) {
                return Err(format!(
                    "contexts[{at}].scope is {}, which is in no entry of scopes",
                    context.scope.0
                ));
            }
            if let Some(stack) = context.stack {
                within(&format!("contexts[{at}].stack"), stack, "stacks", self.stacks.len())?;
            }
        }
        self.check_loops(&ids)
    }

    fn check_loops(&self, ids: &HashSet<ScopeNodeId>) -> Result<(), String> {
        let contexts = self.contexts.len();
        for (at, stats) in self.loops.iter().enumerate() {
            if !ids.contains(&stats.scope) {
                return Err(format!(
                    "loops[{at}].scope is {}, which is in no entry of scopes",
                    stats.scope.0
                ));
            }
            for site in &stats.sites {
                let before = site.freed_before.iter().map(|before| before.context);
                if let Some(found) = before.chain([site.context]).find(|&found| found as usize >= contexts) {
                    return Err(format!(
                        "a context in loops[{at}] is {found}, but contexts has {contexts} entries"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The one field that every version has; the others are skipped, whatever they are.
#[derive(Deserialize)]
struct Versioned {
    schema_version: u64,
}

/// A file read in pieces, which says how far it is when it takes long.
struct Pieces {
    file: BufReader<File>,
    progress: Progress,
    /// Bytes read since the last step.
    since: usize,
}

impl Pieces {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let steps = file.metadata()?.len() as usize / PIECE;
        Ok(Self {
            file: BufReader::with_capacity(PIECE, file),
            progress: Progress::new("reading a snapshot", steps),
            since: 0,
        })
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.since += read;
        if self.since >= PIECE {
            self.since -= PIECE;
            self.progress.step();
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::{FreedBefore, LoopSite, LoopStats, fixture};
    use super::*;

    /// A directory of this test's own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("allocscope-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_saved_loads_equal_and_leaves_no_other_file() {
        let directory = Directory::new("round-trip");
        let path = directory.0.join("s.json");
        let snapshot = fixture::full();
        snapshot.save(&path).unwrap();
        snapshot.save(&path).unwrap();
        assert_eq!(Snapshot::load(&path).unwrap(), snapshot);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
        let text = snapshot.to_json().unwrap();
        assert_eq!(text.as_bytes(), fs::read(&path).unwrap());
        assert_eq!(Snapshot::from_json(&text).unwrap(), snapshot);
        assert_eq!(Snapshot::from_json(&text).unwrap().to_json().unwrap(), text);
    }

    #[test]
    fn a_failed_save_keeps_the_old_file_and_cleans_up() {
        let directory = Directory::new("failed");
        let path = directory.0.join("s.json");
        fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(error.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);

        let missing = directory.0.join("no/such/s.json");
        let error = fixture::full().save(&missing).unwrap_err();
        assert!(error.is_io() && error.path() == Some(missing.as_path()));
        assert!(
            error
                .to_string()
                .starts_with(&format!("failed to write {}: ", missing.display())),
            "{error}"
        );
        let error = Snapshot::load(&missing).unwrap_err();
        assert!(
            error.is_io() && error.to_string().starts_with("failed to read "),
            "{error}"
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_a_format_error_with_a_position() {
        let text = fixture::full().to_json().unwrap();
        for cut in 0..text.len() {
            let error = Snapshot::from_json(&text[..cut]).unwrap_err();
            assert!(
                error.is_format() && !error.is_unsupported_version(),
                "cut at {cut}: {error}"
            );
            assert!(
                error.to_string().contains("the text ends early, at line 1 column"),
                "cut at {cut}: {error}"
            );
            assert_eq!(error.to_string().lines().count(), 1);
        }
        assert_eq!(Snapshot::from_json(&text[..50]).unwrap_err().position(), Some((1, 50)));
    }

    #[test]
    fn corrupt_text_is_a_format_error_and_never_a_panic() {
        let text = fixture::full().to_json().unwrap();
        for at in 0..text.len() {
            for byte in *b"\"{9-x\0\xff" {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                if let Err(error) = Snapshot::from_bytes(&bytes) {
                    assert!(error.is_format(), "{error}");
                }
            }
        }
        let error = Snapshot::from_json(&text.replacen("\"epoch\":1", "\"epoch\":\"x\"", 1)).unwrap_err();
        assert!(error.to_string().contains("line 1 column "), "{error}");
        assert!(
            error.to_string().contains("invalid type: string \"x\", expected u32"),
            "{error}"
        );
    }

    #[test]
    fn another_version_is_named_even_when_nothing_else_fits() {
        let newer = Snapshot::from_json(r#"{"schema_version": 99, "shape": ["new"]}"#).unwrap_err();
        assert_eq!(newer.found_version(), Some(99));
        assert!(newer.to_string().contains("schema version 99"), "{newer}");
        let mut snapshot = fixture::full();
        snapshot.schema_version = SCHEMA_VERSION + 1;
        let error = Snapshot::from_json(&snapshot.to_json().unwrap()).unwrap_err();
        assert!(
            error.is_unsupported_version() && error.to_string().contains("newer alloc-core"),
            "{error}"
        );
        assert!(
            !Snapshot::from_json(r#"{"schema_version": 1}"#)
                .unwrap_err()
                .is_unsupported_version()
        );
        assert!(Snapshot::from_json("[]").unwrap_err().is_format());
    }

    #[test]
    fn unknown_fields_are_skipped_so_that_additions_stay_readable() {
        let text = fixture::full()
            .to_json()
            .unwrap()
            .replacen('{', r#"{"added_later":[1],"#, 1);
        assert_eq!(Snapshot::from_json(&text).unwrap(), fixture::full());
    }

    #[test]
    fn every_bad_index_is_a_format_error() {
        type Spoil = fn(&mut Snapshot);
        fn observed(scope: u32, context: u32, before: u32) -> Vec<LoopStats> {
            let freed_before = vec![FreedBefore {
                context: before,
                blocks: 1,
            }];
            let site = LoopSite {
                context,
                freed_before,
                ..LoopSite::default()
            };
            let (iterations, observed, recent, suspended, moved, missed_events) = (1, 1, 1, 0, 0, 0);
            let (scope, sites) = (ScopeNodeId(scope), vec![site]);
            vec![LoopStats {
                scope,
                iterations,
                observed,
                recent,
                suspended,
                moved,
                missed_events,
                sites,
            }]
        }
        let cases: [(Spoil, &str); 13] = [
            (
                |s| s.loops = observed(9, 0, 0),
                "loops[0].scope is 9, which is in no entry of scopes",
            ),
            (
                |s| s.loops = observed(7, 2, 0),
                "a context in loops[0] is 2, but contexts has 2 entries",
            ),
            (
                |s| s.loops = observed(7, 0, 5),
                "a context in loops[0] is 5, but contexts has 2 entries",
            ),
            (
                |s| s.frames[0].module = Some(1),
                "frames[0].module is 1, but modules has 1 entries",
            ),
            (
                |s| s.stacks.frames_mut()[2] = 2,
                "stacks[1].frames[0] is 2, but frames has 2 entries",
            ),
            (
                |s| s.contexts[0].stack = Some(9),
                "contexts[0].stack is 9, but stacks has 2 entries",
            ),
            (
                |s| s.contexts[1].scope = ScopeNodeId(5),
                "contexts[1].scope is 5, which is in no entry of scopes",
            ),
            (
                |s| s.scopes[1].parent = Some(ScopeNodeId(7)),
                "scopes[1].parent is 7, which is no scope before it",
            ),
            (
                |s| s.scopes[1].parent = None,
                "scopes[1].parent is missing, and only scopes[0] is the root",
            ),
            (
                |s| s.scopes[0].parent = Some(ScopeNodeId(7)),
                "scopes[0] is the root and must not have a parent",
            ),
            (
                |s| s.scopes[1].id = ScopeNodeId(1),
                "scopes[1].id is 1, which an earlier scope has",
            ),
            (
                |s| s.scopes.swap(0, 1),
                "scopes[0] is the root and must not have a parent",
            ),
            (
                |s| (s.scopes.clear(), s.contexts.clear()).0,
                "scopes is empty, and the root is missing",
            ),
        ];
        for (spoil, message) in cases {
            let mut snapshot = fixture::full();
            spoil(&mut snapshot);
            let error = Snapshot::from_json(&snapshot.to_json().unwrap()).unwrap_err();
            assert!(error.is_format());
            assert_eq!(error.to_string(), format!("failed to read snapshot: {message}"));
        }
    }

    #[test]
    fn the_documentation_names_every_field() {
        let document = include_str!("../../../docs/snapshot-format.md");
        let snapshot = fixture::full();
        let mut later = snapshot.clone();
        later.epoch = 2;
        later.contexts[0].counters.total_bytes += 64;
        later.contexts[0].counters.total_allocations += 1;
        let mut across = later.clone();
        across.process.run_id = "other".to_owned();
        let diff = super::super::SnapshotDiff::between(&snapshot, &later);
        let across = super::super::SnapshotDiff::between(&snapshot, &across);
        let mut names = std::collections::BTreeSet::new();
        for value in [
            serde_json::to_value(&snapshot).unwrap(),
            serde_json::to_value(&diff).unwrap(),
            snapshot.report().to_json(),
            diff.report().to_json(),
            across.report().to_json(),
        ] {
            fixture::field_names(&value, &mut names);
        }
        assert!(names.len() > 80, "{names:?}");
        let missing: Vec<_> = names
            .iter()
            .filter(|name| !document.contains(&format!("`{name}`")))
            .collect();
        assert!(missing.is_empty(), "docs/snapshot-format.md does not name {missing:?}");
    }
}
