//! Writing a file: complete or not at all; and into what is no file, as it comes.
//!
//! Read side. Called by everything that writes for the user. Cost: linear.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::progress::{PIECE, Progress};

/// Writes a file beside `path`, syncs it, and renames it into place; behind links, if `path` is one. On any error the file beside is removed.
/// What is there and is no file, as a device or a pipe, is written to and stays what it is.
pub(crate) fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match Target::of(path)? {
        Target::Open(file) => write_to(file, write).map(drop),
        Target::File(path, permissions) => replace(&path, permissions, write),
    }
}

/// What a path leads to.
enum Target {
    /// A file, and who may use it, or none yet: another one can take its place.
    File(PathBuf, Option<fs::Permissions>),
    /// What must stay.
    Open(File),
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        if is_descriptor(path) {
            // It may be a file that has been written to, and will be: neither may it be replaced, nor may it be emptied.
            return File::options().append(true).open(path).map(Self::Open);
        }
        let there = match fs::metadata(path) {
            Ok(there) => there,
            // A link to where nothing is yet is followed, too.
            Err(_) if fs::symlink_metadata(path).is_ok() => return File::create(path).map(Self::Open),
            Err(_) => return Ok(Self::File(path.to_owned(), None)),
        };
        if there.is_file() {
            return Ok(Self::File(fs::canonicalize(path)?, Some(there.permissions())));
        }
        if there.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        open_special(path, &there).map(Self::Open)
    }
}

/// Does this name what a process has open, as `/dev/stdout` and `/proc/self/fd/1`?
fn is_descriptor(path: &Path) -> bool {
    let is_named = ["/dev/stdout", "/dev/stderr", "/dev/fd"]
        .iter()
        .any(|name| path.starts_with(name));
    is_named || path.starts_with("/proc") && path.parent().is_some_and(|parent| parent.ends_with("fd"))
}

/// Opens a device, a pipe or the like.
fn open_special(path: &Path, there: &fs::Metadata) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
        if there.file_type().is_fifo() {
            // To open a pipe that nobody reads would wait for somebody who does, for ever perhaps. So it is opened without waiting first.
            let probe = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path);
            return match probe {
                Ok(_reads) => File::options().write(true).open(path),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                    Err(io::Error::new(error.kind(), "nobody reads from this pipe"))
                }
                Err(error) => Err(error),
            };
        }
    }
    let _ = there;
    File::options().write(true).open(path)
}

/// Writes all of it, and says how far it is when it takes long. Gives the file back.
fn write_to(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<File> {
    let mut out = Written {
        file: BufWriter::with_capacity(PIECE, file),
        progress: Progress::of_pieces("writing a file"),
        since: 0,
    };
    write(&mut out)?;
    out.file.into_inner().map_err(io::IntoInnerError::into_error)
}

fn replace(
    path: &Path,
    permissions: Option<fs::Permissions>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
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

    let written = File::options()
        .write(true)
        .create_new(true)
        .open(&beside)
        .and_then(|file| {
            // Before there is anything in it that others may not read.
            permissions.map_or(Ok(()), |known| file.set_permissions(known))?;
            write_to(file, write)?.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
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

/// A file that is written, which says how far it is when it takes long.
struct Written {
    file: BufWriter<File>,
    progress: Progress,
    /// Bytes written since the last step.
    since: usize,
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.since += written;
        while self.since >= PIECE {
            self.since -= PIECE;
            self.progress.step();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

    use super::*;

    fn put(path: &Path, text: &str) -> io::Result<()> {
        write_atomically(path, |out| out.write_all(text.as_bytes()))
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("allocscope-write-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn who_may_read_a_file_may_read_the_next() {
        use std::os::unix::fs::PermissionsExt;
        let directory = directory("mode");
        let path = directory.join("file");
        put(&path, "first").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        put(&path, "second").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn links_stay_links() {
        let directory = directory("links");
        let (file, link) = (directory.join("file"), directory.join("link"));
        symlink(&file, &link).unwrap();
        for text in ["there was nothing", "there was something"] {
            put(&link, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing is left beside");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_pipe_stays_a_pipe_and_one_that_nobody_reads_is_an_error() {
        let directory = directory("pipe");
        let pipe = directory.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = put(&pipe, "lost").unwrap_err();
        assert!(error.to_string().contains("nobody reads from this pipe"), "{error}");
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
        };
        // The reader may not have come yet.
        while put(&pipe, "read").is_err() {
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), "read");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn devices_and_directories_stay() {
        put(Path::new("/dev/null"), "nothing").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let directory = directory("directory");
        let error = put(&directory, "text").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        assert!(fs::metadata(&directory).unwrap().is_dir());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_a_process_has_open_is_added_to() {
        use std::os::fd::AsRawFd;
        let directory = directory("open");
        let path = directory.join("file");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        file.write_all(b"before, ").unwrap();
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if cfg!(target_os = "linux") {
            put(&descriptor, "report, ").unwrap();
            file.write_all(b"after").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "before, report, after");
        }
        assert!(is_descriptor(Path::new("/dev/stdout")) && is_descriptor(Path::new("/dev/fd/3")));
        assert!(!is_descriptor(Path::new("/dev/shm/report.json")));
        fs::remove_dir_all(&directory).unwrap();
    }
}
