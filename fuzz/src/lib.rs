//! What is fuzzed: one function per target, from any bytes. The programs in `fuzz_targets` hand them to libFuzzer; the project's tests
//! run them over the corpus with a stable compiler, each in the package that has what it needs: `tests/tests/fuzz_corpus.rs`,
//! `tests/exports/tests/snapshot_corpus.rs`, `alloc-lint/tests/profile_corpus.rs`.
//!
//! None of them may panic, hang, or read what is not theirs; what else must hold is asserted here.

mod allocate;
#[cfg(fuzzing)]
mod export;
#[cfg(fuzzing)]
mod lint;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod walk;

pub use self::allocate::allocations;
#[cfg(fuzzing)]
pub use self::export::exports;
#[cfg(fuzzing)]
pub use self::lint::profile;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use self::walk::{stack_walk, unwind_rows};

use alloc_core::findings::{Baseline, Findings, Options};
use alloc_core::model::{Snapshot, SnapshotDiff};

/// A snapshot's file: what is read can be reported, compared and judged, and is written as it was read.
pub fn snapshot(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(snapshot) = Snapshot::from_json(text) else {
        return;
    };
    let written = snapshot.to_json().expect("what was read can be written");
    let again = Snapshot::from_json(&written).expect("what was written can be read");
    assert_eq!(written, again.to_json().expect("as before"));
    assert!(!snapshot.report().to_string().is_empty());
    snapshot.report().to_json();
    let diff = SnapshotDiff::between(&snapshot, &again);
    assert!(!diff.report().to_string().is_empty());
    Findings::of(&snapshot, &Options::default()).to_json();
}

/// A baseline of accepted findings: read, or refused in words that name the file.
pub fn baseline(data: &[u8]) {
    let path = std::env::temp_dir().join(format!("allocscope-fuzz-{}.json", std::process::id()));
    std::fs::write(&path, data).expect("the directory for temporary files can be written");
    match Baseline::load(&path) {
        Ok(read) => {
            read.save(&path).expect("what was read can be written");
            assert_eq!(Baseline::load(&path).expect("what was written can be read"), read);
        }
        Err(error) => assert!(
            error.to_string().contains("allocscope-fuzz"),
            "the message names no file: {error}"
        ),
    }
}

/// A file of budgets.
pub fn budgets(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(message) = alloc_core::__private::read_budgets(text) {
        assert!(!message.is_empty());
    }
}

/// Bytes taken one after another; zeroes when there are no more.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }
    fn number(&mut self, bytes: usize) -> usize {
        self.take(bytes)
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | usize::from(byte))
    }
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
