//! speedscope files: one profile for each figure, to be switched in the viewer.
//!
//! Called by `Export`. Read side. Format: <https://www.speedscope.app/file-format-schema.json>. Stacks are written from where they are, once
//! for each figure: copies of them would be many times the file.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::Options;
use crate::model::Snapshot;
use crate::report::Rank;
use crate::report::stacks::{Name, Namer, of_contexts};

/// Fields are in the order of their names, here and below: it is the one that files have always had.
#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(rename = "activeProfileIndex")]
    active_profile_index: usize,
    exporter: &'static str,
    name: &'a str,
    profiles: &'a [Profile<'a>],
    shared: Shared<'a>,
}

#[derive(Serialize)]
struct Shared<'a> {
    #[serde(serialize_with = "frames")]
    frames: &'a [Name],
}

#[derive(Serialize)]
struct Frame<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    name: &'a str,
}

#[derive(Serialize)]
struct Profile<'a> {
    #[serde(skip)]
    rank: Rank,
    #[serde(rename = "endValue")]
    end_value: u64,
    name: &'static str,
    samples: Stacks<'a>,
    #[serde(rename = "startValue")]
    start_value: u64,
    r#type: &'static str,
    unit: &'static str,
    weights: Vec<u64>,
}

/// The stacks of the contexts at these places.
struct Stacks<'a> {
    all: &'a [Vec<u32>],
    places: Vec<u32>,
}

impl Serialize for Stacks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.places.iter().map(|&at| &self.all[at as usize]))
    }
}

fn frames<S: Serializer>(names: &[Name], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(|name| Frame {
        file: &name.file,
        // Without its file, a line says nothing.
        line: Some(name.line).filter(|&line| line > 0 && !name.file.is_empty()),
        name: &name.text,
    }))
}

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
    let profiles: Vec<Profile<'_>> = ranks
        .into_iter()
        .filter_map(|rank| {
            let (places, weights): (Vec<u32>, Vec<u64>) = (0..)
                .zip(rank.weights(snapshot))
                .filter(|(_, weight)| *weight > 0)
                .unzip();
            let sum = weights.iter().fold(0_u64, |sum, weight| sum.saturating_add(*weight));
            let profile = Profile {
                rank,
                end_value: sum,
                name: rank.title(),
                samples: Stacks { all: &stacks, places },
                start_value: 0,
                r#type: "sampled",
                unit: if rank == Rank::Allocations { "none" } else { "bytes" },
                weights,
            };
            // A figure that is zero everywhere is nothing to look at; one profile there must be.
            (sum > 0 || rank == Rank::Bytes).then_some(profile)
        })
        .collect();
    let active = profiles.iter().position(|profile| profile.rank == options.rank());
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        active_profile_index: active.unwrap_or(0),
        exporter: concat!("allocscope ", env!("CARGO_PKG_VERSION")),
        name: &snapshot.process.executable,
        profiles: &profiles,
        shared: Shared {
            frames: &namer.names.names,
        },
    };
    serde_json::to_writer(out, &file).map_err(io::Error::from)
}
