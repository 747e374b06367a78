//! What reports say about estimates: values with their 95 % intervals, or that there are too few samples.
//!
//! Called by both reports, for snapshots with samples only. Read side. Cost: none to speak of.
#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::units::{bytes, count};
use crate::model::{Estimate, SampleSum, Samples, Sampling, Snapshot, WindowSamples};

/// `12.3 MiB (11.0 MiB to 13.9 MiB)`, or that there are too few samples.
pub(super) fn estimate(sum: &SampleSum) -> String {
    match sum.estimated_bytes() {
        Some(Estimate { value, low, high, .. }) => format!("{} ({} to {})", whole(value), whole(low), whole(high)),
        None => too_few(sum),
    }
}

pub(super) fn too_few(sum: &SampleSum) -> String {
    format!("too few samples ({})", sum.samples)
}

fn whole(value: f64) -> String {
    bytes(value.round() as u64)
}

/// What the samples of a site say, in one sentence.
pub(super) fn site(samples: &Samples) -> String {
    if !samples.granted.is_enough() {
        return format!("estimated: {}", too_few(&samples.granted));
    }
    let mut parts = vec![format!("bytes {}", estimate(&samples.granted))];
    for (name, sum) in [("live", &samples.live), ("temporary", &samples.temporary)] {
        if sum.samples > 0 {
            parts.push(format!("{name} {}", estimate(sum)));
        }
    }
    format!("estimated: {}", parts.join(", "))
}

/// The same for what happened in a window.
pub(super) fn window(samples: &WindowSamples) -> String {
    if samples.retained.samples == 0 {
        return format!("estimated: bytes {}, retained by no sample", estimate(&samples.granted));
    }
    format!(
        "estimated: bytes {}, retained {}",
        estimate(&samples.granted),
        estimate(&samples.retained)
    )
}

/// How samples were taken, and what is estimated; in whole sentences.
pub(super) fn paragraphs(sampling: &Sampling) -> Vec<String> {
    let mut texts = vec![format!(
        "Sampled: one sample in {} on average, {} samples. Exact: allocations, reallocations and bytes of scopes and of the program. Estimated: \
         all figures of sites, and what is alive, freed or at a peak; in parentheses the 95 % interval.",
        bytes(sampling.interval_bytes),
        count(sampling.samples.granted.samples)
    )];
    if sampling.degraded {
        let mut reasons = Vec::new();
        if sampling.current_interval_bytes > sampling.interval_bytes {
            reasons.push(format!(
                "samples come faster than the cap, so the interval is {} for now",
                bytes(sampling.current_interval_bytes)
            ));
        }
        if sampling.unrecorded_samples > 0 {
            reasons.push(format!(
                "{} samples were not recorded, because the tracker is at its memory ceiling (ALLOCSCOPE_MEMORY_MIB raises it): estimates are \
                 low by what they stand for",
                count(sampling.unrecorded_samples)
            ));
        }
        if reasons.is_empty() {
            reasons.push("the tracker's memory is nearly full (ALLOCSCOPE_MEMORY_MIB raises the ceiling)".to_owned());
        }
        texts.push(format!("Degraded: {}.", reasons.join("; ")));
    }
    texts
}

/// Live bytes and blocks of the program, as the totals show them.
pub(super) fn live(snapshot: &Snapshot) -> String {
    let figures = |bytes_now, blocks| format!("{} in {} blocks", bytes(bytes_now), count(blocks));
    match (snapshot.live_bytes(), snapshot.live_blocks()) {
        (Some(bytes_now), Some(blocks)) => figures(bytes_now, blocks),
        _ => "unknown".to_owned(),
    }
}

/// The estimates that follow from samples; `null` where these are too few.
pub(super) fn json(samples: Option<&Samples>) -> Option<Value> {
    let samples = samples?;
    let of = |sum: &SampleSum| {
        json!({
            "samples": sum.samples,
            "estimated_bytes": sum.estimated_bytes(),
            "estimated_blocks": sum.estimated_blocks(),
        })
    };
    Some(json!({
        "granted": of(&samples.granted),
        "live": of(&samples.live),
        "temporary": of(&samples.temporary),
    }))
}
