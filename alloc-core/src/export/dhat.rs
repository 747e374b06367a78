//! DHAT files, version 2: what Valgrind's `dh_view.html` opens.
//!
//! Called by `Export`. Read side. Bytes and blocks in total and at the end, and bytes at the peak, are those of the snapshot. The format asks
//! for more than a snapshot knows: blocks at the peak are estimated from the mean size, a site's own maximum is the larger of the two moments
//! that are known, the time of the peak and lifetimes are not known. The mode line, which the viewer prints on top, says so.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Library, Options};
use crate::model::{Counters, Snapshot, add_counters};
use crate::report::stacks::{Namer, of_contexts};

const UNKNOWN: &str = "Max is a lower bound, blocks at t-gmax are estimated, lifetimes and the time of t-gmax are not recorded (shown as 0 and t-end)";

/// Fields are in the order of their names: it is the one that files have always had.
#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "Mtu")]
    mega_time_unit: &'static str,
    bkacc: bool,
    bklt: bool,
    cmd: &'a str,
    #[serde(rename = "dhatFileVersion")]
    version: u32,
    ftbl: &'a [String],
    mode: String,
    pid: u32,
    #[serde(serialize_with = "points_of")]
    pps: &'a BTreeMap<Vec<usize>, Counters>,
    te: u64,
    tg: u64,
    tu: &'static str,
    tuth: u32,
    verb: &'static str,
}

/// One point at a time: all of them as values would be many times the file.
fn points_of<S: Serializer>(points: &BTreeMap<Vec<usize>, Counters>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(points.iter().map(|(frames, counters)| point(frames, counters)))
}

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut namer = Namer::of_snapshot(snapshot, &options.own, Library::Whole);
    let stacks = of_contexts(&mut namer, snapshot);

    // The viewer refuses a location that comes twice: one name may stand for several addresses, and one stack for several scopes.
    let mut table = vec!["[root]".to_owned()];
    let mut place_of: HashMap<String, usize> = HashMap::new();
    let mut points: BTreeMap<Vec<usize>, Counters> = BTreeMap::new();
    for (context, stack) in snapshot.contexts.iter().zip(stacks) {
        // Innermost first.
        let frames = stack.iter().rev().map(|&name| {
            let name = &namer.names.names[name as usize];
            let text = match (name.file.is_empty(), name.line) {
                (true, _) => name.text.clone(),
                (false, 0) => format!("{} ({})", name.text, name.file),
                (false, line) => format!("{} ({}:{line})", name.text, name.file),
            };
            *place_of.entry(text).or_insert_with_key(|text| {
                table.push(text.clone());
                table.len() - 1
            })
        });
        add_counters(points.entry(frames.collect()).or_default(), &context.counters);
    }

    let end = snapshot.uptime_ms.saturating_mul(1000);
    let file = File {
        // The viewer takes a second for a million time units.
        mega_time_unit: "s",
        bkacc: false,
        bklt: true,
        cmd: &snapshot.process.executable,
        version: 2,
        ftbl: &table,
        mode: format!("allocscope, mode {}. {UNKNOWN}", snapshot.mode),
        pid: snapshot.process.pid,
        pps: &points,
        te: end,
        tg: end,
        tu: "\u{b5}s",
        tuth: 500,
        verb: "Allocated",
    };
    serde_json::to_writer(out, &file).map_err(io::Error::from)
}

fn point(frames: &[usize], counters: &Counters) -> Value {
    // A reallocation grants a block to its new site, so it is one of the blocks there.
    let blocks = counters.total_allocations.saturating_add(counters.total_reallocations);
    let mean = match counters.live_blocks {
        0 => counters.total_bytes as f64 / blocks.max(1) as f64,
        live => counters.live_bytes as f64 / live as f64,
    };
    let at_peak = match counters.bytes_at_peak {
        0 => 0,
        bytes => ((bytes as f64 / mean.max(1.0)).round() as u64).clamp(1, blocks.max(1)),
    };
    let (most, most_blocks) = if counters.bytes_at_peak > counters.live_bytes {
        (counters.bytes_at_peak, at_peak)
    } else {
        (counters.live_bytes, counters.live_blocks)
    };
    json!({
        "tb": counters.total_bytes,
        "tbk": blocks,
        "tl": 0,
        "mb": most,
        "mbk": most_blocks,
        "gb": counters.bytes_at_peak,
        "gbk": at_peak,
        "eb": counters.live_bytes,
        "ebk": counters.live_blocks,
        "fs": frames,
    })
}
