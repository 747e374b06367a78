//! A small program with scopes, growth, churn and what stays, that writes itself in every format into the directory given as argument, if one is.
//!
//! What is asked of the files is in `tests/`; `first.json` and `second.json` are the snapshots they were made from.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;

use alloc_core::export::Library;
use alloc_core::report::Rank;
use alloc_core::{Error, Snapshot, SnapshotDiff, TrackingAllocator, track_memory};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[derive(Default)]
struct Shop {
    sessions: HashMap<u64, Vec<u8>>,
    log: Vec<String>,
}

#[track_memory(request)]
fn handle(shop: &mut Shop, id: u64) {
    check(id);
    open_session(shop, id);
}

#[track_memory]
fn check(id: u64) {
    let rules: Vec<u64> = (0..200).map(|rule| rule * id).collect();
    black_box(&rules);
    let text: [Box<[u8; 4]>; 2] = [Box::new([1; 4]), Box::new([2; 4])];
    black_box(text);
}

#[track_memory(name = "sessions; <b>open</b>")]
fn open_session(shop: &mut Shop, id: u64) {
    shop.sessions.insert(id, black_box(vec![0; 1000]));
}

fn write_log(shop: &mut Shop, lines: usize) {
    for line in 0..lines {
        shop.log.push(format!("line {line} of a log that grows and grows"));
    }
}

fn main() -> Result<(), Error> {
    let mut shop = Shop::default();
    write_log(&mut shop, 500);
    (0..100).for_each(|id| handle(&mut shop, id));

    let mut first = Snapshot::take()?;
    // What was there goes, and more comes: a difference in both colours.
    shop.log = Vec::new();
    (100..400).for_each(|id| handle(&mut shop, id));
    let mut middle = Snapshot::take()?;
    (400..600).for_each(|id| handle(&mut shop, id));
    let mut second = Snapshot::take()?;

    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Ok(());
    };
    let at = |name: &str| directory.join(name);
    second.export().save(at("addresses.pb.gz"))?;
    second.save(at("addresses.json"))?;
    first.resolve();
    middle.resolve();
    second.resolve();
    first.save(at("first.json"))?;
    second.save(at("second.json"))?;
    for name in [
        "heap.pb.gz",
        "heap.dhat.json",
        "heap.heapprofile",
        "heap.speedscope.json",
        "heap.folded",
        "heap.svg",
        "report.json",
        "report.txt",
        "report.html",
    ] {
        second.export().save(at(name))?;
        let hidden = second.without_names();
        hidden.export().save(at(&format!("hidden-{name}")))?;
    }
    second.without_names().save(at("hidden-second.json"))?;
    second
        .export()
        .rank(Rank::Live)
        .library(Library::Whole)
        .save(at("whole.folded"))?;
    let diff = SnapshotDiff::between(&first, &second);
    diff.export().save(at("diff.svg"))?;
    diff.export().save(at("diff.folded"))?;
    second
        .html()
        .before(&first)
        .series(&[first.clone(), middle])
        .save(at("series.html"))?;
    println!("written");
    Ok(())
}
