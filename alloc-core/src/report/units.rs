//! Figures and lines as people read them.
//!
//! Called by the text reports and by `findings`. Read side; pure functions. Invariant: a formatted figure is at most 11 characters wide
//! with its sign, and a line no longer than it is told to be. Leaves out colour and terminals: the text is the same everywhere.
#![forbid(unsafe_code)]

/// Columns of a report unless told otherwise, and at least: what the figures of a row take.
pub(super) const WIDTH: usize = 80;

/// `12,345`; from a thousand million on `12.3 G`.
pub(crate) fn count(value: u64) -> String {
    const GIGA: u64 = 1_000_000_000;
    match value {
        0..GIGA => grouped(value),
        _ if value / GIGA < 1_000_000 => format!("{}.{} G", grouped(value / GIGA), value / (GIGA / 10) % 10),
        _ => format!("{:.1e}", value as f64),
    }
}

pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `512 B`, `12.3 KiB`, `4.0 GiB`.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = 0;
    // From 1023.95 on, one decimal would print as 1024.0.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", tenths(scaled), UNITS[unit])
}

/// One decimal, halves away from zero: as scripts in browsers round. Formatting alone would round them to even.
fn tenths(value: f64) -> String {
    format!("{:.1}", (value * 10.0).round() / 10.0)
}

/// `1 block`, `2 blocks`.
pub(super) fn counted(value: u64, what: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(value))
}

/// [`bytes`] with a sign, unless zero.
pub(super) fn signed_bytes(value: i64) -> String {
    format!("{}{}", sign(value), bytes(value.unsigned_abs()))
}

/// [`count`] with a sign, unless zero.
pub(super) fn signed_count(value: i64) -> String {
    format!("{}{}", sign(value), count(value.unsigned_abs()))
}

fn sign(value: i64) -> &'static str {
    match value {
        0 => "",
        1.. => "+",
        _ => "-",
    }
}

/// Mean of a count per call: one decimal while it matters, a dash when there were no calls.
pub(super) fn mean_count(sum: u64, calls: u64) -> String {
    match calls {
        0 => "-".to_owned(),
        _ if sum / calls >= 1000 => count(sum / calls),
        _ => tenths(sum as f64 / calls as f64),
    }
}

/// Mean of bytes per call.
pub(super) fn mean_bytes(sum: u64, calls: u64) -> String {
    match calls {
        0 => "-".to_owned(),
        _ => bytes((sum as f64 / calls as f64).round() as u64),
    }
}

/// `83.2 %`; a dash when there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{} %", tenths(100.0 * part as f64 / whole as f64)),
    }
}

/// A share as a fraction, for JSON.
pub(crate) fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// `850 ms`, `12.3 s`, `4 min 10 s`, `2 h 05 min`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms / 100 % 10),
        120_000..7_200_000 => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {:02} min", grouped(ms / 3_600_000), ms / 60_000 % 60),
    }
}

/// The text in at most `width` characters, cut in the middle: names differ at both ends, the file in front and the type behind. What would
/// disturb a terminal is replaced.
pub(crate) fn fit(text: &str, width: usize) -> String {
    const CUT: &str = "...";
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let length = text.chars().count();
    if length <= width {
        return text.chars().map(clean).collect();
    }
    let room = width.saturating_sub(CUT.len());
    let tail = room / 2;
    let mut out: String = text.chars().take(room - tail).map(clean).collect();
    out.push_str(CUT);
    out.extend(text.chars().skip(length - tail).map(clean));
    out
}

/// A paragraph broken into lines of at most `width` characters; the first keeps the spaces it begins with, the others are indented.
pub(crate) fn wrapped_to(text: &str, indent: usize, width: usize) -> String {
    let start = text.len() - text.trim_start_matches(' ').len();
    let mut out = " ".repeat(start);
    let mut column = start;
    let mut first = true;
    for word in text.split_whitespace() {
        let word = fit(word, width.saturating_sub(indent.max(start)));
        let length = word.chars().count();
        if std::mem::take(&mut first) {
            // No space before the first word.
        } else if column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_groups() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [999_999_999, 1_000_000_000, 12_345_678_901].map(count),
            ["999,999,999", "1.0 G", "12.3 G"]
        );
        assert_eq!(
            [0, 1023, 1024, 1536].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB"]
        );
        assert_eq!([1_048_575, 1_048_576].map(bytes), ["1.0 MiB", "1.0 MiB"]);
        assert_eq!([0, 5, -2048].map(signed_bytes), ["0 B", "+5 B", "-2.0 KiB"]);
        assert_eq!([0, 5, -2048].map(signed_count), ["0", "+5", "-2,048"]);
        assert_eq!(
            [(7, 2), (5000, 2), (1, 0)].map(|(a, b)| mean_count(a, b)),
            ["3.5", "2,500", "-"]
        );
        assert_eq!([(3, 2), (1, 0)].map(|(a, b)| mean_bytes(a, b)), ["2 B", "-"]);
        assert_eq!([(1, 3), (0, 0)].map(|(a, b)| share(a, b)), ["33.3 %", "-"]);
        assert_eq!(
            [50, 12_345, 250_000, 7_500_000].map(duration),
            ["50 ms", "12.3 s", "4 min 10 s", "2 h 05 min"]
        );
    }

    #[test]
    fn halves_are_rounded_up_as_on_the_page() {
        assert_eq!(
            [288_000, 256, 1280, 3840].map(bytes),
            ["281.3 KiB", "256 B", "1.3 KiB", "3.8 KiB"]
        );
        assert_eq!([(1, 80), (3, 80)].map(|(a, b)| share(a, b)), ["1.3 %", "3.8 %"]);
        assert_eq!(mean_count(9, 4), "2.3");
    }

    #[test]
    fn no_figure_is_wider_than_its_column() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                assert!(count(value).len() <= 11 && bytes(value).len() <= 10, "{value}");
                let signed = (value >> 1) as i64;
                assert!(
                    signed_count(-signed).len() <= 12 && signed_bytes(-signed).len() <= 11,
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn text_fits() {
        assert_eq!(fit("short", 5), "short");
        assert_eq!(fit("longer", 5), "l...r");
        assert_eq!(
            fit("src/a/long/path.rs:58  check  Vec<u64>", 22),
            "src/a/long... Vec<u64>"
        );
        assert_eq!(fit("a\nb\u{1b}c", 9), "a?b?c");
        let text = "word ".repeat(40);
        let lines = wrapped_to(&text, 4, WIDTH);
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(lines.lines().skip(1).all(|line| line.starts_with("    word")));
        assert_eq!(lines.split_whitespace().count(), 40);
        assert_eq!(wrapped_to("  a b", 4, WIDTH), "  a b\n");
    }
}
