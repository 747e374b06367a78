//! Estimates from samples: sums of weights, and the 95 % intervals that follow from them.
//!
//! Read side, plain data; filled by `control` from what mode `sampled` recorded, summed by `model::diff` and `report`. Invariants: sums
//! are formed after weighting, so they can be added in any order; the variance is estimated without bias from the same samples; a sum of
//! too few samples gives no estimate. Formulae and sources: `docs/sampled-mode.md`. Leaves out how weights come about (the record side).
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::Snapshot;

/// Samples that stand for less than this many of equal weight give no estimate: its standard error would be above a third.
pub const LEAST_SAMPLES: f64 = 10.0;
/// From so many samples on, what no sample has seen is left out of the interval.
const MANY_SAMPLES: u64 = 30;
/// How far the mean square of weights may be above the square of their mean for samples of one size.
const UNEVEN: f64 = 1.01;
/// 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// With 95 % certainty no more than this many intervals were granted where not one sample was taken: -ln 0.05.
const UNSEEN: f64 = 2.995_732_273_553_991;

/// How samples were taken in mode `sampled`, and what is exact in spite of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sampling {
    /// Mean number of bytes between two samples, as set.
    pub interval_bytes: u64,
    /// The same as it is now: larger while the rate cap makes the tracker back off.
    pub current_interval_bytes: u64,
    /// Largest interval that any sample was taken with.
    pub largest_interval_bytes: u64,
    /// Seed of the draws, if one was set: the same program then takes the same samples again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Requests granted in mode `sampled`, sampled or not. Exact.
    pub allocations: u64,
    /// Reallocations granted in mode `sampled`. Exact.
    pub reallocations: u64,
    /// Bytes granted in mode `sampled`, by both. Exact.
    pub bytes: u64,
    /// Samples of the whole program.
    pub samples: Samples,
    /// True while something is recorded less well than set: the rate cap is in force, or the tracker's memory is nearly full.
    pub degraded: bool,
    /// How often the interval was doubled because samples came too fast.
    pub times_backed_off: u64,
    /// Samples drawn and not recorded, because the tracker was at its memory ceiling: estimates leave out what they stand for.
    pub unrecorded_samples: u64,
}

/// The samples of one context, one scope, or the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Samples {
    /// Of everything granted.
    pub granted: SampleSum,
    /// Of what is alive.
    pub live: SampleSum,
    /// Of blocks that their thread freed before it had made more than eight further allocations.
    pub temporary: SampleSum,
}

/// A sum over samples. Each sample of `size` bytes, taken with probability `p`, counts as `1/p` blocks and `size/p` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SampleSum {
    /// How many samples.
    pub samples: u64,
    /// Estimated blocks: the sum of `1/p`.
    pub blocks: f64,
    /// Estimated bytes: the sum of `size/p`.
    pub bytes: f64,
    /// Estimated variance of `blocks`: the sum of `(1-p)/p²`.
    pub blocks_variance: f64,
    /// Estimated variance of `bytes`: the sum of `size² (1-p)/p²`.
    pub bytes_variance: f64,
    /// Largest interval that one of the samples was taken with.
    pub interval_bytes: u64,
}

/// An estimated figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The estimate, without bias.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

impl Snapshot {
    /// Live bytes of the program; `None`, unknown, when tracking has been off since the first allocation: nobody counted what was granted
    /// then.
    ///
    /// # Accuracy
    /// Exact when nothing was sampled, else an estimate: see [`Snapshot::sampling`].
    #[must_use]
    pub fn live_bytes(&self) -> Option<u64> {
        (!self.was_off).then_some(self.totals.live_bytes)
    }

    /// Live blocks of the program, as [`live_bytes`](Self::live_bytes).
    #[must_use]
    pub fn live_blocks(&self) -> Option<u64> {
        (!self.was_off).then_some(self.totals.live_blocks)
    }
}

impl Estimate {
    /// True when the interval holds `truth`.
    #[must_use]
    pub fn holds(&self, truth: f64) -> bool {
        (self.low..=self.high).contains(&truth)
    }
}

impl SampleSum {
    /// The estimated bytes; `None` when there are too few samples to say.
    ///
    /// # Accuracy
    /// The interval holds the truth in 95 of 100 cases for 30 samples and more; below, its upper end also allows for what no sample
    /// has seen.
    #[must_use]
    pub fn estimated_bytes(&self) -> Option<Estimate> {
        if !self.is_enough() {
            return None;
        }
        let mut estimate = interval(self.bytes, self.bytes_variance);
        if self.samples < MANY_SAMPLES {
            estimate.high = estimate.high.max(self.bytes + UNSEEN * self.interval_bytes as f64);
        }
        Some(estimate)
    }

    /// The estimated number of blocks; `None` when there are too few samples to say, or when these differ in size.
    ///
    /// # Accuracy
    /// As [`estimated_bytes`](Self::estimated_bytes), for blocks of the size that was sampled. Where sizes differ, most blocks are small and
    /// most samples are not: [`blocks`](Self::blocks) is right on average, but how far off it may be cannot be told from the samples.
    #[must_use]
    pub fn estimated_blocks(&self) -> Option<Estimate> {
        // The sum of squared weights is that of (1-p)/p², and of 1/p once more: at least their mean squared, and equal to it only if all are.
        let squares = self.blocks_variance + self.blocks;
        let is_even = self.samples as f64 * squares <= UNEVEN * self.blocks * self.blocks;
        (self.is_enough() && is_even).then(|| interval(self.blocks, self.blocks_variance))
    }

    /// True when the samples are as good as ten of equal weight, one sample's worth of unseen bytes allowed for. A single block far
    /// larger than the interval is enough: it is sampled for certain.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.samples > 0 && is_enough(self.bytes, self.bytes_variance, self.interval_bytes as f64)
    }

    /// Adds other samples.
    pub fn add(&mut self, more: &Self) {
        self.samples = self.samples.wrapping_add(more.samples);
        self.blocks += more.blocks;
        self.bytes += more.bytes;
        self.blocks_variance += more.blocks_variance;
        self.bytes_variance += more.bytes_variance;
        self.interval_bytes = self.interval_bytes.max(more.interval_bytes);
    }

    /// Takes away samples that are in the sum. Never below nothing: what is left of rounding is cut off.
    pub fn subtract(&mut self, fewer: &Self) {
        self.samples = self.samples.saturating_sub(fewer.samples);
        if self.samples == 0 {
            *self = Self {
                interval_bytes: self.interval_bytes,
                ..Self::default()
            };
            return;
        }
        self.blocks = (self.blocks - fewer.blocks).max(0.0);
        self.bytes = (self.bytes - fewer.bytes).max(0.0);
        self.blocks_variance = (self.blocks_variance - fewer.blocks_variance).max(0.0);
        self.bytes_variance = (self.bytes_variance - fewer.bytes_variance).max(0.0);
    }
}

impl Samples {
    /// Adds other samples.
    pub fn add(&mut self, more: &Self) {
        self.granted.add(&more.granted);
        self.live.add(&more.live);
        self.temporary.add(&more.temporary);
    }

    /// True when nothing was sampled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.granted.samples == 0
    }
}

/// True when `bytes` with that variance are as good as ten samples of equal weight, `unseen` bytes allowed for.
pub(crate) fn is_enough(bytes: f64, variance: f64, unseen: f64) -> bool {
    bytes * bytes >= LEAST_SAMPLES * (variance + unseen * unseen)
}

/// All values `m` that `value` is no further away from than 1.96 standard errors, the variance being proportional to `m`: Wilson's
/// interval, for sums. Unlike `value ± 1.96 standard errors` it is right for few samples and never reaches below 0.
fn interval(value: f64, variance: f64) -> Estimate {
    if value <= 0.0 {
        return Estimate {
            value: 0.0,
            low: 0.0,
            high: 0.0,
        };
    }
    let shift = variance / value * Z * Z / 2.0;
    let reach = (variance * Z * Z + shift * shift).sqrt();
    Estimate {
        value,
        low: (value + shift - reach).max(0.0),
        high: value + shift + reach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 1 << 19;

    /// `samples` of blocks far smaller than the interval.
    fn small(samples: u64, size: f64) -> SampleSum {
        let weight = INTERVAL as f64 / size;
        let n = samples as f64;
        SampleSum {
            samples,
            blocks: n * weight,
            bytes: n * INTERVAL as f64,
            blocks_variance: n * weight * weight,
            bytes_variance: n * (INTERVAL as f64).powi(2),
            interval_bytes: INTERVAL,
        }
    }

    #[test]
    fn few_samples_of_small_blocks_give_no_number_and_many_give_one() {
        assert_eq!(small(0, 64.0).estimated_bytes(), None);
        assert_eq!(small(10, 64.0).estimated_bytes(), None);
        let estimate = small(11, 64.0).estimated_bytes().expect("enough");
        assert!(estimate.low > 0.0 && estimate.low < estimate.value && estimate.value < estimate.high);
        // Wilson's interval of a Poisson count of 100: 82.2 to 121.6.
        let hundred = small(100, 64.0).estimated_bytes().expect("enough");
        let samples = |bytes: f64| (bytes / INTERVAL as f64 * 10.0).round() / 10.0;
        assert_eq!((samples(hundred.low), samples(hundred.high)), (82.2, 121.6));
    }

    #[test]
    fn one_block_far_larger_than_the_interval_is_enough() {
        let mut sum = SampleSum {
            samples: 1,
            blocks: 1.0,
            bytes: (1u64 << 30) as f64,
            interval_bytes: INTERVAL,
            ..SampleSum::default()
        };
        let estimate = sum.estimated_bytes().expect("sampled for certain");
        assert_eq!(estimate.low, estimate.value);
        assert!(
            estimate.high > estimate.value + 2.9 * INTERVAL as f64,
            "what was not seen"
        );
        assert_eq!(sum.estimated_blocks().map(|blocks| blocks.value), Some(1.0));
        sum.bytes = INTERVAL as f64;
        assert_eq!(sum.estimated_bytes(), None);
    }

    #[test]
    fn blocks_have_no_interval_where_sizes_differ() {
        let mut sum = small(100, 64.0);
        assert!(sum.estimated_blocks().is_some());
        sum.add(&small(100, 256.0));
        assert!(sum.estimated_blocks().is_none() && sum.estimated_bytes().is_some());
    }

    #[test]
    fn what_is_taken_away_again_leaves_nothing() {
        let mut sum = small(3, 48.0);
        sum.add(&small(40, 7.0));
        sum.subtract(&small(40, 7.0));
        sum.subtract(&small(3, 48.0));
        assert_eq!(
            sum,
            SampleSum {
                interval_bytes: INTERVAL,
                ..SampleSum::default()
            }
        );
    }
}
