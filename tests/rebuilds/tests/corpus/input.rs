//! What requests bring with them: the same in every run.

/// A number that looks random and is not, below a million.
pub(crate) fn number(seed: u64) -> u64 {
    let mut z = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 31)) % 1_000_000
}

/// So many of them.
pub(crate) fn numbers(seed: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |nth| number(seed * 1000 + nth))
}

/// As an identifier.
pub(crate) fn user_id(user: u64) -> String {
    format!("user-{user:016}")
}

/// A line of a log, about a hundred bytes.
pub(crate) fn line(seed: u64) -> String {
    let fields: Vec<String> = numbers(seed, 12).map(|field| format!("{field:07}")).collect();
    fields.join(",")
}
