//! What the record side calls: at the end of the program, and where an allocation is denied.
//!
//! A part of `control`. Nothing may unwind out of these functions.
#![forbid(unsafe_code)]

use crate::model::{Error, Snapshot, write_atomically};
use crate::record::settings;
use crate::record::sys;
use crate::record::thread::InTracker;

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
    let outcome = std::panic::catch_unwind(|| {
        let mut snapshot = Snapshot::take()?;
        snapshot.resolve();
        if let Some(path) = settings::snapshot_path() {
            write_out(path, &snapshot.to_json()?)?;
        }
        if let Some(path) = settings::report_path() {
            write_report(path, &snapshot)?;
        }
        Ok::<(), Error>(())
    });
    if let Ok(Err(error)) = outcome {
        sys::write_stderr(format!("allocscope: nothing written at exit: {error}\n").as_bytes());
    }
}

fn write_report(path: &std::ffi::CStr, snapshot: &Snapshot) -> Result<(), Error> {
    if path.to_bytes() == b"-" {
        let report = snapshot.report().width_of(std::io::stderr());
        sys::write_stderr(report.to_string().as_bytes());
        return Ok(());
    }
    let path = String::from_utf8_lossy(path.to_bytes()).into_owned();
    crate::export::save_report(snapshot, std::path::Path::new(&path))
}

fn write_out(path: &std::ffi::CStr, text: &str) -> Result<(), Error> {
    if path.to_bytes() == b"-" {
        sys::write_stderr(text.as_bytes());
        return Ok(());
    }
    let path = std::path::PathBuf::from(String::from_utf8_lossy(path.to_bytes()).into_owned());
    write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(|error| Error::io("write", &path, error))
}
