//! The estimates of simulated programs, made with the record side's own draws and weights: are the intervals right, and is nothing biased?
//!
//! Seeds are fixed. `cargo test -- --ignored` has the long forms, with larger samples and narrower bounds.
#![forbid(unsafe_code)]

use super::*;
use crate::model::{Estimate, SampleSum};
use crate::record::sample::{Weight, draw, next_random};

/// One thread: its countdown, and all that is sampled of it.
struct Sampler {
    state: u64,
    countdown: u64,
    interval: Interval,
}

impl Sampler {
    fn new(seed: u64, interval: Interval) -> Self {
        let mut sampler = Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678,
            countdown: 0,
            interval,
        };
        sampler.countdown = draw(sampler.random(), interval);
        sampler
    }

    fn random(&mut self) -> u64 {
        next_random(&mut self.state)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random() % end
    }

    fn is_sample(&mut self, size: usize) -> bool {
        let is_sample = self.countdown < size as u64;
        if is_sample {
            self.countdown = draw(self.random(), self.interval);
        } else {
            self.countdown -= size as u64;
        }
        is_sample
    }
}

fn add(sum: &mut Sum, weight: &Weight) {
    sum.samples += 1;
    sum.blocks += weight.blocks;
    sum.bytes += weight.bytes;
    sum.blocks_variance += weight.blocks_variance;
    sum.bytes_variance += weight.bytes_variance;
}

/// Sizes of the requests of one site.
type Sizes = fn(&mut Sampler) -> usize;

const SITES: [Sizes; 6] = [
    |_| 48,
    // All magnitudes from 16 bytes to 16 KiB, the interval.
    |random| 16 << random.below(11),
    |_| 4 << 10,
    |random| 1 + random.below(40 << 10) as usize,
    // As large as the interval.
    |_| 16 << 10,
    // Many small ones, few large ones.
    |random| if random.below(200) == 0 { 64 << 10 } else { 32 },
];
const INTERVAL: u64 = 16 << 10;

#[derive(Default)]
struct Site {
    granted: Sum,
    freed: Sum,
    truth_blocks: f64,
    truth_bytes: f64,
    live_bytes: f64,
}

/// Counts how many intervals held the truth.
#[derive(Clone, Copy, Default)]
struct Coverage {
    held: u32,
    all: u32,
}

impl Coverage {
    fn note(&mut self, sum: &SampleSum, estimate: Option<Estimate>, truth: f64) {
        if sum.samples >= 30 {
            self.all += 1;
            self.held += u32::from(estimate.is_some_and(|estimate| estimate.holds(truth)));
        }
    }
    fn percent(&self) -> f64 {
        100.0 * f64::from(self.held) / f64::from(self.all.max(1))
    }
}

/// Bytes and blocks granted, and bytes alive, of `trials` programs with a site of each kind.
fn coverage(trials: u64, intervals_per_site: std::ops::Range<u64>) -> [Coverage; 3] {
    let interval = Interval::at_most(INTERVAL);
    let mut coverage = [Coverage::default(); 3];
    for trial in 0..trials {
        let mut sampler = Sampler::new(trial, interval);
        for sizes in SITES {
            let (from, to) = (intervals_per_site.start, intervals_per_site.end);
            let target = (from + sampler.below(to - from)) * INTERVAL;
            let survivors = 10 + sampler.below(80);
            let mut site = Site::default();
            while site.truth_bytes < target as f64 {
                let size = sizes(&mut sampler);
                let survives = sampler.below(100) < survivors;
                site.truth_blocks += 1.0;
                site.truth_bytes += size as f64;
                if survives {
                    site.live_bytes += size as f64;
                }
                if sampler.is_sample(size) {
                    let weight = Weight::of(size, interval);
                    add(&mut site.granted, &weight);
                    if !survives {
                        add(&mut site.freed, &weight);
                    }
                }
            }
            let samples = Sampled {
                id: 0,
                interval,
                temporary: Sum::default(),
                freed: site.freed,
                granted: site.granted,
                reallocated: 0,
            }
            .samples();
            let (granted, live) = (&samples.granted, &samples.live);
            coverage[0].note(granted, granted.estimated_bytes(), site.truth_bytes);
            if let Some(blocks) = granted.estimated_blocks() {
                coverage[1].note(granted, Some(blocks), site.truth_blocks);
            }
            coverage[2].note(live, live.estimated_bytes(), site.live_bytes);
        }
    }
    coverage
}

fn assert_coverage(coverage: [Coverage; 3]) {
    for (coverage, what) in coverage.iter().zip(["bytes", "blocks", "live bytes"]) {
        println!(
            "{what}: {} of {} intervals hold the truth: {:.2} %",
            coverage.held,
            coverage.all,
            coverage.percent()
        );
        assert!(coverage.all >= 1000, "{what}: {}", coverage.all);
        assert!(
            (93.0..=97.0).contains(&coverage.percent()),
            "{what}: {:.2} %",
            coverage.percent()
        );
    }
}

#[test]
fn intervals_hold_the_truth_in_95_of_100_cases() {
    assert_coverage(coverage(1000, 40..120));
}

#[test]
#[ignore = "the long form: a minute"]
fn intervals_hold_the_truth_in_95_of_100_cases_however_many_samples_there_are() {
    for intervals in [35..60, 60..200, 200..1000] {
        println!("{intervals:?}");
        assert_coverage(coverage(5000, intervals));
    }
}

/// Estimated and true live bytes after a seeded run that replaces blocks at random.
fn churn(seed: u64, changes: usize) -> (f64, f64) {
    let interval = Interval::at_most(INTERVAL);
    let mut sampler = Sampler::new(seed ^ 0xc0ffee, interval);
    let mut blocks: Vec<Option<(usize, bool)>> = vec![None; 2000];
    let (mut granted, mut freed) = (0u64, 0u64);
    for _ in 0..changes {
        let at = sampler.below(blocks.len() as u64) as usize;
        if let Some((size, is_sample)) = blocks[at].take() {
            if is_sample {
                freed += Weight::of(size, interval).bytes;
            }
        } else {
            let kind = sampler.below(SITES.len() as u64) as usize;
            let size = SITES[kind](&mut sampler);
            let is_sample = sampler.is_sample(size);
            if is_sample {
                granted += Weight::of(size, interval).bytes;
            }
            blocks[at] = Some((size, is_sample));
        }
    }
    let truth: usize = blocks.iter().flatten().map(|(size, _)| size).sum();
    ((granted - freed) as f64 / BYTE, truth as f64)
}

/// The mean error of live bytes, in standard errors of that mean.
fn bias(runs: u64, changes: usize) -> f64 {
    let errors: Vec<f64> = (0..runs)
        .map(|seed| churn(seed, changes))
        .map(|(estimate, truth)| estimate - truth)
        .collect();
    let mean = errors.iter().sum::<f64>() / runs as f64;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / (runs - 1) as f64;
    let bias = mean / (variance / runs as f64).sqrt();
    println!("mean error {mean:.0} bytes, {bias:.2} standard errors");
    bias
}

#[test]
fn live_bytes_are_estimated_without_bias() {
    assert!(bias(200, 20_000).abs() <= 2.0);
}

#[test]
#[ignore = "the long form: a minute"]
fn live_bytes_are_estimated_without_bias_in_long_runs() {
    assert!(bias(2000, 200_000).abs() <= 2.0);
}
