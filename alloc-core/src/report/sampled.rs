//! What reports say about estimates: values with their 95 % intervals, or that there are too few samples.
//!
//! Called by both reports, for snapshots with samples only. Read side. Cost: none to speak of.
#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::units::{bytes, count, counted};
use crate::model::{Counters, Estimate, SampleSum, Samples, Sampling, ScopeNode, Snapshot, WindowSamples, is_enough};

/// `12.3 MiB (11.0 MiB to 13.9 MiB)`, or that there are too few samples. Nothing of it is above `granted`: so much was granted, exactly.
pub(super) fn estimate(sum: &SampleSum, granted: u64) -> String {
    match limited(sum, granted) {
        Some(Estimate { value, low, high, .. }) => format!("{} ({} to {})", whole(value), whole(low), whole(high)),
        None => too_few(sum),
    }
}

/// The estimated bytes, cut off at what was granted. The estimate alone is right on average, and so too large as often as too small.
fn limited(sum: &SampleSum, granted: u64) -> Option<Estimate> {
    let mut estimate = sum.estimated_bytes()?;
    for end in [&mut estimate.value, &mut estimate.low, &mut estimate.high] {
        *end = end.min(granted as f64);
    }
    Some(estimate)
}

/// Cuts estimated figures off at the exact ones of the program.
pub(super) fn limit(counters: &mut Counters, program: &Counters) {
    let (requests, granted) = (program.total_allocations, program.total_bytes);
    counters.total_reallocations = counters.total_reallocations.min(program.total_reallocations);
    for figure in [
        &mut counters.total_allocations,
        &mut counters.total_frees,
        &mut counters.live_blocks,
    ] {
        *figure = requests.min(*figure);
    }
    for figure in [
        &mut counters.total_bytes,
        &mut counters.freed_bytes,
        &mut counters.live_bytes,
    ] {
        *figure = granted.min(*figure);
    }
}

/// The figures of a scope, whose requests and bytes granted are exact: what samples say of the others is cut off at these.
pub(super) fn within(counters: &Counters, samples: Option<&Samples>) -> Counters {
    let mut figures = *counters;
    if samples.is_some() {
        limit(&mut figures, counters);
    }
    figures
}

/// The figures of the program as reports show them: none that samples are too few for, and none above what was granted.
pub(super) struct Program<'a> {
    snapshot: &'a Snapshot,
    pub(super) totals: Counters,
    /// `None` where samples are too few.
    pub(super) peak: Option<u64>,
    /// How many samples there are of what is alive, where these are too few.
    pub(super) too_few_alive: Option<u64>,
    /// The same of what was freed.
    pub(super) too_few_freed: Option<u64>,
}

impl<'a> Program<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut program = Self {
            snapshot,
            totals: snapshot.totals,
            peak: Some(snapshot.peak_bytes),
            too_few_alive: None,
            too_few_freed: None,
        };
        let Some(sampling) = snapshot.sampling.filter(|sampling| sampling.bytes > 0) else {
            return program;
        };
        let exact = snapshot.totals;
        limit(&mut program.totals, &exact);
        let t = &program.totals;
        let unseen = unseen(&sampling);
        // What other modes counted has no variance, and is in the figure.
        let too_few =
            |bytes: u64, sum: &SampleSum| (!is_enough(bytes as f64, sum.bytes_variance, unseen)).then_some(sum.samples);
        let live = sampling.samples.live;
        program.too_few_alive = too_few(t.live_bytes, &live);
        program.too_few_freed = too_few(t.freed_bytes, &freed(&sampling));
        let peak = snapshot.peak_bytes.min(t.total_bytes);
        // Of the samples at the peak only the bytes are known: as if they were of small blocks, whose estimates vary most.
        let estimated = peak.saturating_sub(t.bytes_at_peak) as f64;
        let is_known = is_enough(peak as f64, estimated * interval(&sampling) as f64, unseen)
            || (peak > 0 && estimated <= 0.0)
            || program.too_few_alive.is_none();
        program.peak = is_known.then_some(peak);
        program
    }

    /// True when anything was granted in mode `sampled`.
    pub(super) fn is_sampled(&self) -> bool {
        self.snapshot.sampling.is_some_and(|sampling| sampling.bytes > 0)
    }

    /// The peak of the scope at that place, the first of which is the program; `None` where samples are too few.
    pub(super) fn peak_of(&self, at: usize, node: &ScopeNode) -> Option<u64> {
        let Some(sampling) = self.snapshot.sampling.filter(|_| self.is_sampled()) else {
            return Some(node.peak_bytes);
        };
        if at == 0 {
            return self.peak;
        }
        let Some(samples) = &node.inclusive_samples else {
            return (node.peak_bytes > 0 || node.inclusive.total_bytes == 0).then_some(node.peak_bytes);
        };
        let peak = node.peak_bytes.min(node.inclusive.total_bytes);
        let estimated = samples.granted.bytes.min(peak as f64);
        let is_known = samples.live.is_enough()
            || is_enough(peak as f64, estimated * interval(&sampling) as f64, unseen(&sampling));
        is_known.then_some(peak)
    }

    /// Live bytes and blocks, as the totals show them.
    pub(super) fn live(&self) -> String {
        match (self.snapshot.live_bytes(), self.too_few_alive) {
            (None, _) => "unknown".to_owned(),
            (_, Some(samples)) => format!("too few samples ({samples})"),
            _ => format!(
                "{} in {}",
                bytes(self.totals.live_bytes),
                counted(self.totals.live_blocks, "block")
            ),
        }
    }

    /// Live bytes; `None` when unknown, or samples are too few.
    pub(super) fn live_bytes(&self) -> Option<u64> {
        let is_known = self.snapshot.live_bytes().is_some() && self.too_few_alive.is_none();
        is_known.then_some(self.totals.live_bytes)
    }

    /// Bytes freed; `None` where samples are too few.
    pub(super) fn freed_bytes(&self) -> Option<u64> {
        self.too_few_freed.is_none().then_some(self.totals.freed_bytes)
    }
}

fn interval(sampling: &Sampling) -> u64 {
    sampling.current_interval_bytes.max(sampling.largest_interval_bytes)
}

/// As many bytes as one more sample could have told of; no more than were granted.
fn unseen(sampling: &Sampling) -> f64 {
    interval(sampling).min(sampling.bytes) as f64
}

fn freed(sampling: &Sampling) -> SampleSum {
    let mut freed = sampling.samples.granted;
    freed.subtract(&sampling.samples.live);
    freed
}

pub(super) fn too_few(sum: &SampleSum) -> String {
    format!("too few samples ({})", sum.samples)
}

fn whole(value: f64) -> String {
    bytes(value.round() as u64)
}

/// What the samples of a site say, in one sentence. `granted`: bytes of the program in mode `sampled`.
pub(super) fn site(samples: &Samples, granted: u64) -> String {
    if !samples.granted.is_enough() {
        return format!("estimated: {}", too_few(&samples.granted));
    }
    let mut parts = vec![format!("bytes {}", estimate(&samples.granted, granted))];
    for (name, sum) in [("live", &samples.live), ("temporary", &samples.temporary)] {
        if sum.samples > 0 {
            parts.push(format!("{name} {}", estimate(sum, granted)));
        }
    }
    format!("estimated: {}", parts.join(", "))
}

/// The same for what happened in a window.
pub(super) fn window(samples: &WindowSamples) -> String {
    if samples.retained.samples == 0 {
        return format!(
            "estimated: bytes {}, retained by no sample",
            estimate(&samples.granted, u64::MAX)
        );
    }
    format!(
        "estimated: bytes {}, retained {}",
        estimate(&samples.granted, u64::MAX),
        estimate(&samples.retained, u64::MAX)
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

/// The estimates that follow from samples; `null` where these are too few. None is above `granted`.
pub(super) fn json(samples: Option<&Samples>, granted: u64) -> Option<Value> {
    let samples = samples?;
    Some(json!({
        "granted": of_sum(&samples.granted, granted),
        "live": of_sum(&samples.live, granted),
        "temporary": of_sum(&samples.temporary, granted),
    }))
}

fn of_sum(sum: &SampleSum, granted: u64) -> Value {
    json!({
        "samples": sum.samples,
        "estimated_bytes": limited(sum, granted),
        "estimated_blocks": sum.estimated_blocks(),
    })
}
