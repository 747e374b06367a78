//! The arithmetic of samples: intervals in 14 bits, exponential draws, and weights.
//!
//! Record side, called by `sample` for each sample, never for other allocations. Pure; no libm, whose functions may be replaced in a
//! program and are not the same everywhere: equal seeds give equal samples on every system. Accuracy: `ln` to 3e-11, weights to 1e-9,
//! both relative (tested against `f64::ln` and `f64::exp_m1`). Cost: some 30 ns each. Leaves out who draws, and when.
#![forbid(unsafe_code)]

/// Smallest and largest interval.
pub(crate) const LEAST_BYTES: u64 = 16;
pub(crate) const MOST_BYTES: u64 = 1 << 40;

/// Mean number of bytes between two samples, to nine bits: it is part of what a context is known by, so that the weight of a block can be
/// computed again, exactly, from its size and its context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Interval(u32);

const MANTISSA_BITS: u32 = 8;

impl Interval {
    pub(crate) const DEFAULT: Self = Self(19 << MANTISSA_BITS);
    pub(crate) const MOST: Self = Self(40 << MANTISSA_BITS);

    /// The largest that is not above `bytes`, in the range of all.
    pub(crate) fn at_most(bytes: u64) -> Self {
        let bytes = bytes.clamp(LEAST_BYTES, MOST_BYTES);
        let exponent = bytes.ilog2();
        let mantissa = ((u128::from(bytes) << MANTISSA_BITS) >> exponent) as u32 & ((1 << MANTISSA_BITS) - 1);
        Self((exponent << MANTISSA_BITS) | mantissa)
    }
    /// `None` for 0, which no interval is.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }
    pub(crate) fn bytes(self) -> u64 {
        let mantissa = u64::from((1 << MANTISSA_BITS) | (self.0 & ((1 << MANTISSA_BITS) - 1)));
        let exponent = self.0 >> MANTISSA_BITS;
        if exponent < MANTISSA_BITS {
            mantissa >> (MANTISSA_BITS - exponent)
        } else {
            mantissa << (exponent - MANTISSA_BITS).min(40)
        }
    }
    /// Doubled so often.
    pub(crate) fn doubled(self, times: u32) -> Self {
        Self((self.0 + (times << MANTISSA_BITS)).min(Self::MOST.0))
    }
}

/// The next of a sequence of numbers, 64 random bits each (SplitMix64).
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Bytes to let pass until the next sample: the whole part of an exponential draw. A request of `size` bytes is sampled if that is less
/// than `size`: with probability `1 - exp(-size / interval)`, however many bytes passed before, and also if it is 1 byte.
pub(crate) fn draw(random: u64, interval: Interval) -> u64 {
    const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
    // In (0, 1]: the logarithm is finite.
    let uniform = ((random >> 11) + 1) as f64 * SCALE;
    (-ln(uniform) * interval.bytes() as f64) as u64
}

/// Natural logarithm of a normal positive number.
fn ln(x: f64) -> f64 {
    const LN_2: f64 = core::f64::consts::LN_2;
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > core::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh s; |s| < 0.172, so the first term left out is below 2e-12 of the sum.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q / 13.0)))));
    f64::from(exponent) * LN_2 + 2.0 * s * series
}

/// `1 / (1 - exp(-x))`, for x > 0: what a block of `x` intervals counts for.
fn inverse_probability(x: f64) -> f64 {
    // Beyond, it is 1 in the precision of the sums.
    if x > 48.0 {
        return 1.0;
    }
    let mut halvings = 0;
    let mut part = x;
    while part > 1.0 {
        part *= 0.5;
        halvings += 1;
    }
    // 1 / (1 - exp(-y)) = 1/y + 1/2 + y/12 - y³/720 + ...: Bernoulli numbers; the first term left out is below 6e-10.
    let y = part;
    let q = y * y;
    let odd = y * (1.0 / 12.0 - q * (1.0 / 720.0 - q * (1.0 / 30_240.0 - q * (1.0 / 1_209_600.0 - q / 47_900_160.0))));
    let weight = 1.0 / y + 0.5 + odd;
    if halvings == 0 {
        return weight;
    }
    let mut rest = 1.0 - 1.0 / weight;
    for _ in 0..halvings {
        rest *= rest;
    }
    1.0 / (1.0 - rest)
}

/// What a sample stands for, in the units of the sums.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Weight {
    /// Blocks, in units of 1 / `BLOCK`.
    pub(crate) blocks: u64,
    /// Bytes, in units of 1 / `BYTE`.
    pub(crate) bytes: u64,
    pub(crate) blocks_variance: f64,
    pub(crate) bytes_variance: f64,
}

/// Units of a block, and of a byte, that weights are counted in.
pub(crate) const BLOCK: f64 = 65_536.0;
pub(crate) const BYTE: f64 = 256.0;

impl Weight {
    /// Of a block of `size` bytes, which must not be 0. Whole numbers, and always the same: what a free takes away is exactly what the
    /// allocation added.
    pub(crate) fn of(size: usize, interval: Interval) -> Self {
        let size = size as f64;
        let weight = inverse_probability(size / interval.bytes() as f64);
        // (1 - p) / p², with p = 1 / weight.
        let blocks_variance = weight * (weight - 1.0);
        Self {
            blocks: (weight * BLOCK + 0.5) as u64,
            bytes: (size * weight * BYTE + 0.5) as u64,
            blocks_variance,
            bytes_variance: size * size * blocks_variance,
        }
    }

    /// Whole bytes.
    pub(crate) fn whole_bytes(&self) -> i64 {
        (self.bytes / BYTE as u64) as i64
    }
}

#[cfg(test)]
mod tests;
