//! What the record side calls: at the end of the program, and where an allocation is denied.
//!
//! A part of `control`. Nothing may unwind out of these functions.
#![forbid(unsafe_code)]

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::model::{Error, Snapshot};
use crate::record::settings;
use crate::record::sys;
use crate::record::thread::InTracker;
use crate::report::Rank;

/// Says on stderr which allocation was made where none may be; the record side ends the program after it.
pub(crate) fn on_denied(context: u32, size: usize) {
    let _inside = InTracker::enter();
    // Nothing may unwind out of an allocator.
    let text = std::panic::catch_unwind(|| crate::budget::denied_text(1, context, size as u64));
    if let Ok(text) = text {
        sys::write_stderr(format!("allocscope: {text}\n").as_bytes());
    }
}

/// Writes what the environment asked for when the program ends.
pub(crate) extern "C" fn at_exit() {
    if !settings::is_first_process() {
        // A forked child would write over its parent's report.
        return;
    }
    // A panic must not leave an `extern "C"` function.
    let _ = std::panic::catch_unwind(|| match Snapshot::take() {
        Ok(mut snapshot) => {
            snapshot.resolve();
            let written = settings::snapshot_path().map(|path| write_out(path, &snapshot));
            say(written);
            say(settings::report_path().map(|path| write_report(path, &snapshot)));
        }
        Err(_) if settings::has_said_not_installed() => {}
        Err(error) => say(Some(Err(error))),
    });
}

/// One that cannot be written does not keep the other from being written.
fn say(written: Option<Result<(), Error>>) {
    if let Some(Err(error)) = written {
        sys::write_stderr(format!("allocscope: at exit: {error}\n").as_bytes());
    }
}

fn write_report(path: &CStr, snapshot: &Snapshot) -> Result<(), Error> {
    let rank = settings::report_rank().and_then(Rank::named).unwrap_or_default();
    let mut report = snapshot.report().rank(rank);
    if let Some(sites) = settings::report_top() {
        report = report.top(sites);
    }
    if path.to_bytes() == b"-" {
        let report = report.width_of(std::io::stderr());
        sys::write_stderr(report.to_string().as_bytes());
        return Ok(());
    }
    crate::export::save_report(&report, rank, &of_this_process(path))
}

fn write_out(path: &CStr, snapshot: &Snapshot) -> Result<(), Error> {
    if path.to_bytes() == b"-" {
        sys::write_stderr(snapshot.to_json()?.as_bytes());
        return Ok(());
    }
    snapshot.save(of_this_process(path))
}

/// The path with the process's id for each `%p`: programs that inherit one environment do not write over each other's files.
fn of_this_process(path: &CStr) -> PathBuf {
    let mut own = Vec::new();
    let mut rest = path.to_bytes();
    while let Some(at) = rest.windows(2).position(|two| two == b"%p") {
        own.extend_from_slice(&rest[..at]);
        own.extend_from_slice(std::process::id().to_string().as_bytes());
        rest = &rest[at + 2..];
    }
    own.extend_from_slice(rest);
    PathBuf::from(OsString::from_vec(own))
}
