//! A snapshot of 200 MB loads in the memory of the snapshot, without its text beside it; cut and spoilt ones are refused with the position.
//!
//! The peak is what the operating system says (`VmHWM`), the snapshot's own memory what the tracker says.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use alloc_core::model::Context;
use alloc_core::{Snapshot, TrackingAllocator};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const CONTEXTS: usize = 1_100_000;

/// A field of `/proc/self/status`, in bytes.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The snapshot of a small program, with its heaviest context many times over.
fn write_large(path: &Path) -> u64 {
    let text = Snapshot::take().unwrap().to_json().unwrap();
    let (head, rest) = text.split_once("\"contexts\":[").unwrap();
    let at = rest.find("],\"stacks\"").unwrap();
    let (contexts, tail) = rest.split_at(at);
    let one = contexts.split("},{\"scope\"").next().unwrap();
    let one = if contexts.contains("},{\"scope\"") {
        format!("{one}}}")
    } else {
        one.to_owned()
    };
    let mut out = BufWriter::new(File::create(path).unwrap());
    write!(out, "{head}\"contexts\":[{one}").unwrap();
    let more = format!(",{one}").repeat(1000);
    for _ in 0..CONTEXTS / 1000 {
        out.write_all(more.as_bytes()).unwrap();
    }
    write!(out, "{tail}").unwrap();
    out.into_inner().unwrap().metadata().unwrap().len()
}

#[test]
fn a_file_of_200_megabytes_loads_without_its_text_beside_it() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("large-{}.json", std::process::id()));
    let size = write_large(&path);
    assert!(size > 200_000_000, "{size}");
    let before = status("VmRSS");
    let snapshot = Snapshot::load(&path).unwrap();
    let peak = status("VmHWM").saturating_sub(before);
    let held = Snapshot::take().unwrap().tracker.own_live_bytes;
    assert_eq!(snapshot.contexts.len(), CONTEXTS + 1);
    println!("file {size} bytes, snapshot {held}, peak of loading {peak}");
    // Neither the text nor a second copy of what is made from it was ever there.
    assert!(peak < held + size / 4, "peak {peak}, held {held}, file {size}");
    let bare = (CONTEXTS * size_of::<Context>()) as u64;
    assert!(held < bare + size / 4, "held {held}, contexts {bare}");
    drop(snapshot);

    // Cut where nobody expects it: position and reason.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(size / 20)
        .unwrap();
    let error = Snapshot::load(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(error.is_format() && error.position().is_some(), "{error}");
    assert!(
        error.to_string().contains("the text ends early, at line 1 column "),
        "{error}"
    );
}
