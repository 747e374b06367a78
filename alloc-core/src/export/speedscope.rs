//! speedscope files: one profile for each figure, to be switched in the viewer.
//!
//! Called by `Export`. Read side. Format: <https://www.speedscope.app/file-format-schema.json>.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Options;
use crate::model::Snapshot;
use crate::report::Rank;
use crate::report::stacks::{Namer, of_contexts};

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut namer = Namer::of_snapshot(snapshot, &options.own, options.library);
    let stacks = of_contexts(&mut namer, snapshot);
    let ranks = [
        Rank::Bytes,
        Rank::Allocations,
        Rank::Live,
        Rank::Peak,
        Rank::Copied,
        Rank::Temporary,
    ];
    let profiles: Vec<(Rank, Value)> = ranks
        .into_iter()
        .filter_map(|rank| {
            let (samples, weights): (Vec<&Vec<u32>>, Vec<u64>) = stacks
                .iter()
                .zip(rank.weights(snapshot))
                .filter(|(_, weight)| *weight > 0)
                .unzip();
            let sum = weights.iter().fold(0_u64, |sum, weight| sum.saturating_add(*weight));
            let unit = if rank == Rank::Allocations { "none" } else { "bytes" };
            let profile = json!({
                "type": "sampled",
                "name": rank.title(),
                "unit": unit,
                "startValue": 0,
                "endValue": sum,
                "samples": samples,
                "weights": weights,
            });
            // A figure that is zero everywhere is nothing to look at; one profile there must be.
            (sum > 0 || rank == Rank::Bytes).then_some((rank, profile))
        })
        .collect();
    let active = profiles.iter().position(|(rank, _)| *rank == options.rank()).unwrap_or(0);
    let frames: Vec<Value> = namer
        .names
        .names
        .iter()
        .map(|name| match (name.file.is_empty(), name.line) {
            (true, _) => json!({ "name": name.text }),
            (false, 0) => json!({ "name": name.text, "file": name.file }),
            (false, line) => json!({ "name": name.text, "file": name.file, "line": line }),
        })
        .collect();
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": concat!("allocscope ", env!("CARGO_PKG_VERSION")),
        "name": snapshot.process.executable,
        "activeProfileIndex": active,
        "shared": { "frames": frames },
        "profiles": profiles.into_iter().map(|(_, profile)| profile).collect::<Vec<_>>(),
    });
    serde_json::to_writer(out, &file).map_err(io::Error::from)
}
