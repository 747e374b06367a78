//! Limits on a measurement: how they are written, and whether one is kept.
//!
//! Called by `assert_budget!`, `#[allocation_test]` and the budgets file. Read side; pure.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::RangeInclusive;

use super::usage::Usage;

/// A figure of a [`Usage`] that can have a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// [`Usage::allocations`]
    Allocations,
    /// [`Usage::reallocations`]
    Reallocations,
    /// [`Usage::frees`]
    Frees,
    /// [`Usage::bytes`]
    Bytes,
    /// [`Usage::copied_bytes`]
    Copied,
    /// [`Usage::peak_bytes`]
    Peak,
    /// [`Usage::retained_bytes`]
    Retained,
}

impl Metric {
    /// The name that macros and files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocations => "allocations",
            Self::Reallocations => "reallocations",
            Self::Frees => "frees",
            Self::Bytes => "bytes",
            Self::Copied => "copied",
            Self::Peak => "peak",
            Self::Retained => "retained",
        }
    }

    /// The figure.
    pub fn of(self, usage: &Usage) -> u64 {
        match self {
            Self::Allocations => usage.allocations,
            Self::Reallocations => usage.reallocations,
            Self::Frees => usage.frees,
            Self::Bytes => usage.bytes,
            Self::Copied => usage.copied_bytes,
            Self::Peak => usage.peak_bytes,
            Self::Retained => usage.retained_bytes,
        }
    }

    /// True when it counts bytes, false when it counts events.
    pub(crate) const fn is_bytes(self) -> bool {
        matches!(self, Self::Bytes | Self::Copied | Self::Peak | Self::Retained)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a figure is allowed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// `<=`
    AtMost(u64),
    /// `<`
    Below(u64),
    /// `==`
    Exactly(u64),
    /// `in least..=most`
    Within(u64, u64),
}

impl Limit {
    /// True when `actual` is allowed.
    pub const fn allows(self, actual: u64) -> bool {
        match self {
            Self::AtMost(most) => actual <= most,
            Self::Below(end) => actual < end,
            Self::Exactly(value) => actual == value,
            Self::Within(least, most) => least <= actual && actual <= most,
        }
    }

    /// The nearest allowed value to one that is not.
    pub(crate) const fn nearest(self, actual: u64) -> u64 {
        match self {
            Self::AtMost(most) => most,
            Self::Below(end) => end.saturating_sub(1),
            Self::Exactly(value) => value,
            Self::Within(least, most) => {
                if actual < least {
                    least
                } else {
                    most
                }
            }
        }
    }
}

/// A limit for one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which figure.
    pub metric: Metric,
    /// What it may be.
    pub limit: Limit,
}

impl Check {
    /// True when `usage` keeps the limit.
    pub fn passes(&self, usage: &Usage) -> bool {
        self.limit.allows(self.metric.of(usage))
    }
}

/// What can stand for a number in a limit: an integer, or a text as `"4 KiB"`.
pub trait Amount {
    /// The number.
    ///
    /// # Panics
    /// When it is negative, or when the text is no size; the message says what is accepted.
    fn amount(self) -> u64;
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Amount for $type {
            #[track_caller]
            fn amount(self) -> u64 {
                match u64::try_from(self) {
                    Ok(amount) => amount,
                    Err(_) => panic!("found the limit {self}; limits go from 0 to 2^64 - 1"),
                }
            }
        }
    )* };
}

integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl Amount for &str {
    #[track_caller]
    fn amount(self) -> u64 {
        match parse_size(self) {
            Some(size) => size,
            None => {
                panic!("found the limit {self:?}; write a number of bytes as 512, \"4 KiB\", \"1.5 MiB\" or \"2 kB\"")
            }
        }
    }
}

/// Both ends of a range.
#[track_caller]
pub fn within<A: Amount + Clone>(range: RangeInclusive<A>) -> Limit {
    let (least, most) = range.into_inner();
    Limit::Within(least.amount(), most.amount())
}

/// `"4 KiB"`, `"1.5 MiB"`, `"2 kB"`, `"512 B"`, `"512"`, as bytes. `None`: no size, or not a whole number of bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit: u128 = match unit {
        "" | "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = whole.replace('_', "").parse().ok()?;
    let scale = 10_u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let parts = whole.checked_mul(scale)?.checked_add(fraction)?.checked_mul(unit)?;
    (parts % scale == 0).then(|| u64::try_from(parts / scale).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_exactly_or_not_at_all() {
        for (text, size) in [
            ("0", 0),
            ("512", 512),
            ("512 B", 512),
            ("4 KiB", 4096),
            ("4KiB", 4096),
            ("1.5 MiB", 1_572_864),
            ("2 kB", 2000),
            ("1_000", 1000),
            ("3 GiB", 3 << 30),
            ("0.25 KiB", 256),
        ] {
            assert_eq!(parse_size(text), Some(size), "{text}");
        }
        for text in [
            "",
            "KiB",
            "4 kib",
            "-1",
            "1.3 B",
            "1.2.3 KiB",
            "4 KiB more",
            "99999999999999999999",
            "1e3",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn limits_allow_what_they_say() {
        assert!(Limit::AtMost(3).allows(3) && !Limit::AtMost(3).allows(4));
        assert!(Limit::Below(3).allows(2) && !Limit::Below(3).allows(3));
        assert!(Limit::Exactly(3).allows(3) && !Limit::Exactly(3).allows(2));
        assert!(Limit::Within(2, 3).allows(2) && !Limit::Within(2, 3).allows(1) && !Limit::Within(2, 3).allows(4));
        assert_eq!((Limit::Within(2, 3).nearest(0), Limit::Within(2, 3).nearest(9)), (2, 3));
    }
}
