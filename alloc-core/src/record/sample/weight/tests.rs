//! The arithmetic against the standard library's, and the distribution of the draws.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn intervals_are_kept_to_nine_bits_and_small_ones_exactly() {
    for bytes in 16..512 {
        assert_eq!(Interval::at_most(bytes).bytes(), bytes);
    }
    for power in 4..=40 {
        assert_eq!(Interval::at_most(1 << power).bytes(), 1 << power);
    }
    for bytes in [1000, 100_000, 524_287, 123_456_789_012] {
        let kept = Interval::at_most(bytes).bytes();
        assert!(
            kept <= bytes && kept as f64 > bytes as f64 * (1.0 - 1.0 / 256.0),
            "{bytes}: {kept}"
        );
        assert_eq!(Interval::at_most(kept).bytes(), kept);
    }
    assert_eq!(Interval::DEFAULT.bytes(), 512 << 10);
    assert_eq!(
        (Interval::at_most(0).bytes(), Interval::at_most(u64::MAX).bytes()),
        (16, 1 << 40)
    );
    assert_eq!(Interval::DEFAULT.doubled(3).bytes(), 4 << 20);
    assert_eq!(Interval::DEFAULT.doubled(60).bytes(), 1 << 40);
    assert!(Interval::at_most(0).bits() != 0 && Interval::at_most(u64::MAX).bits() <= Interval::MOST.bits());
}

#[test]
fn logarithm_is_right_to_3e_11() {
    let mut state = 1;
    let mut worst: f64 = 0.0;
    for _ in 0..200_000 {
        let bits = next_random(&mut state);
        // All magnitudes, and close to 1.
        for x in [
            ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64,
            f64::from_bits((bits >> 12) | ((970 + bits % 60) << 52)),
            1.0 - (bits >> 40) as f64 * 1e-9,
        ] {
            let truth = x.ln();
            let error = (ln(x) - truth).abs() / truth.abs().max(1e-300);
            if truth != 0.0 {
                worst = worst.max(error);
            }
        }
    }
    assert!(worst < 3e-11, "{worst:e}");
    assert_eq!(ln(1.0), 0.0);
}

#[test]
fn weights_are_right_to_1e_9() {
    let mut worst: f64 = 0.0;
    for step in 1..100_000 {
        for x in [step as f64 * 1e-9, step as f64 * 1e-5, step as f64 * 1e-3] {
            let truth = -1.0 / (-x).exp_m1();
            worst = worst.max((inverse_probability(x) / truth - 1.0).abs());
        }
    }
    assert!(worst < 1e-9, "{worst:e}");
}

#[test]
fn draws_are_exponential() {
    // Kolmogorov and Smirnov: the largest distance of the two distribution functions is above 1.95 / sqrt(n) in one of 1000 samples.
    for (seed, interval) in [(1, 16), (2, 4096), (3, 512 << 10), (4, 1 << 40)] {
        let interval = Interval::at_most(interval);
        let mut state = seed;
        let count = 100_000;
        let mut drawn: Vec<u64> = (0..count).map(|_| draw(next_random(&mut state), interval)).collect();
        drawn.sort_unstable();
        let mut largest: f64 = 0.0;
        let mut at = 0;
        // The whole part of a draw is below `n` if the draw is.
        for equal in drawn.chunk_by(|one, other| one == other) {
            let Some(&value) = equal.first() else { continue };
            let below = at as f64 / f64::from(count);
            at += equal.len();
            let up_to = at as f64 / f64::from(count);
            let truth = |bytes: u64| -(-(bytes as f64) / interval.bytes() as f64).exp_m1();
            largest = largest
                .max((below - truth(value)).abs())
                .max((up_to - truth(value + 1)).abs());
        }
        let bound = 1.95 / f64::from(count).sqrt();
        assert!(
            largest < bound,
            "interval {}: {largest}, bound {bound}",
            interval.bytes()
        );
    }
}

#[test]
fn a_request_is_sampled_as_often_as_its_weight_says_whatever_its_size() {
    // Chi-square with one degree of freedom for each size: below 15 in 9999 of 10000.
    let interval = Interval::at_most(4096);
    for size in [1u64, 7, 64, 1000, 4096, 20_000] {
        let mut state = size;
        let mut countdown = draw(next_random(&mut state), interval);
        let requests = 400_000u32;
        let mut sampled = 0u32;
        for _ in 0..requests {
            if countdown < size {
                sampled += 1;
                countdown = draw(next_random(&mut state), interval);
            } else {
                countdown -= size;
            }
        }
        let p = -(-(size as f64) / 4096.0).exp_m1();
        let expected = p * f64::from(requests);
        let distance = f64::from(sampled) - expected;
        let chi_square = distance * distance / (expected * (1.0 - p));
        assert!(chi_square < 15.0, "size {size}: {sampled} sampled, {expected} expected");
        let weight = Weight::of(size as usize, interval);
        assert!((weight.blocks as f64 / BLOCK * p - 1.0).abs() < 1e-4);
    }
}

#[test]
fn what_a_weight_comes_to_is_never_lost_to_its_units() {
    for interval in [16, 4096, 512 << 10, 1 << 40].map(Interval::at_most) {
        for size in [1, 3, 16, 1000, 1 << 20, 1 << 30, 1usize << 46] {
            let p = -(-(size as f64) / interval.bytes() as f64).exp_m1();
            let weight = Weight::of(size, interval);
            assert!(
                (weight.blocks as f64 / BLOCK * p - 1.0).abs() < 1e-5,
                "{size} {interval:?}"
            );
            assert!(
                (weight.bytes as f64 / BYTE / size as f64 * p - 1.0).abs() < 1e-3,
                "{size} {interval:?}"
            );
            assert!(weight.bytes_variance >= 0.0 && weight.blocks >= BLOCK as u64);
        }
    }
}
