//! What the tests of exports share: the program that writes them, the tools that read them, and a browser.
//!
//! A tool that this machine has not is no failure: the test says so on stderr and ends.
#![forbid(unsafe_code)]

pub mod browser;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of files, removed at the end.
#[derive(Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Runs the program at `exporter` and keeps what it wrote.
    ///
    /// # Panics
    /// When the program fails.
    pub fn of(exporter: &str, scratch: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(scratch).join(format!("exports-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the build directory can be written");
        let files = Self(directory);
        run(Command::new(exporter).arg(&files.0));
        files
    }

    /// The path of one of them.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of one of them.
    ///
    /// # Panics
    /// When it is missing or no text.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs the program again, stripped, and keeps what it wrote instead. False, with the reason printed, where nothing strips.
    ///
    /// # Panics
    /// When either fails.
    #[must_use]
    pub fn rewrite_stripped(&self, exporter: &str) -> bool {
        let Some(strip) = tool(&["strip"], "binutils") else {
            return false;
        };
        let stripped = self.path("stripped");
        run(Command::new(strip)
            .args(["--strip-all", "-o"])
            .arg(&stripped)
            .arg(exporter));
        run(Command::new(&stripped).arg(self.directory()));
        true
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where a program is; `None`, and a line on stderr, when this machine has none of these names.
#[must_use]
pub fn tool(names: &[&str], package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = names
        .iter()
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: {} is not installed (Debian package {package})", names[0]);
    }
    found
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started or fails; with what it printed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a command prints.
///
/// # Panics
/// As [`run`].
pub fn printed(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).into_owned()
}
