//! Snapshots as versioned JSON: to text, to a file, and back.
//!
//! Called by the user through `Snapshot::save` and its siblings, and by `control` at exit. Read side. Invariants: what
//! was written reads back equal; a file is complete or absent (written beside its target, synced, then renamed); every
//! index and reference in a snapshot that was read is valid, so nothing downstream needs to check. Cost: linear.
//! Leaves out migrations: there is one version so far. The schema is described in `docs/snapshot-format.md`.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use super::{Error, SCHEMA_VERSION, ScopeNodeId, Snapshot};

impl Snapshot {
    /// Writes the snapshot as JSON, complete or not at all: a reader never sees half a file.
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be written; an older file at `path` is then left as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        write_atomically(path, |out| self.write_json(out)).map_err(|source| Error::io("write", path, source))
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be read, [`Error::is_format`] when it is truncated, corrupt or of another
    /// version; the message names the file, the position and the reason.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| Error::io("read", path, source))?;
        Self::from_bytes(&bytes).map_err(|error| error.with_path(path))
    }

    /// The snapshot as JSON text.
    ///
    /// # Errors
    /// None that a snapshot made by this crate can cause; kept for figures that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::encode)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Error::is_format`], as [`load`](Self::load).
    pub fn from_json(text: &str) -> Result<Self, Error> {
        Self::from_bytes(text.as_bytes())
    }

    /// Writes the JSON text, in short pieces, without a line end.
    pub(crate) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(out, self).map_err(io::Error::from)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        /// The one field that every version has; the others are skipped, whatever they are.
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: u64,
        }

        let snapshot: Self = match serde_json::from_slice(bytes) {
            Ok(snapshot) => snapshot,
            // Another version is the better explanation of a field that does not fit.
            Err(error) => match serde_json::from_slice::<Versioned>(bytes) {
                Ok(versioned) if versioned.schema_version != u64::from(SCHEMA_VERSION) => {
                    return Err(Error::version(versioned.schema_version, SCHEMA_VERSION));
                }
                _ => return Err(Error::json(error)),
            },
        };
        if snapshot.schema_version != SCHEMA_VERSION {
            return Err(Error::version(u64::from(snapshot.schema_version), SCHEMA_VERSION));
        }
        snapshot.check().map_err(Error::content)?;
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
        Ok(())
    }
}

/// Writes a file beside `path`, syncs it, and renames it into place. On any error the file beside is removed.
pub(crate) fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    /// Two threads saving to one path at once must not share the file beside it.
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);

    let directory: PathBuf = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut beside_name = std::ffi::OsString::from(".");
    beside_name.push(name);
    // ORDERING: Relaxed; only the value's uniqueness matters.
    beside_name.push(format!(
        ".{}-{}.tmp",
        std::process::id(),
        SEQUENCE.fetch_add(1, Ordering::Relaxed)
    ));
    let beside = directory.join(beside_name);

    let written = (|| {
        let file = File::options().write(true).create_new(true).open(&beside)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        write(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The first error is the one worth telling.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The name itself must survive a crash too. Not every file system lets a directory be opened and synced.
    if let Ok(directory) = File::open(&directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}
