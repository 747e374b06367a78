//! Numbers as people read them, and lines that end before column 80.
//!
//! Used by the programs for everything they print themselves.
#![forbid(unsafe_code)]

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A mean of counts: with decimals below ten, so that "less than one" shows; without above.
pub fn mean(number: f64) -> String {
    if number > 0.0 && number < 0.01 {
        return "<0.01".to_owned();
    }
    if number > 0.0 && number < 0.095 {
        return format!("{number:.2}");
    }
    if number > 0.0 && number < 9.95 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// Bytes with a binary unit, three or more significant digits.
pub fn bytes(number: f64) -> String {
    if number < 1_023.5 {
        return format!("{number:.0} B");
    }
    let mut number = number;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1_023.5 {
            break;
        }
        number /= 1_024.0;
        unit = next;
    }
    if number < 99.95 {
        format!("{number:.1} {unit}")
    } else {
        format!("{number:.0} {unit}")
    }
}

/// A duration in the unit that leaves one to three digits before the point.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 999.5 {
        format!("{micros:.0} µs")
    } else if micros < 99_950.0 {
        format!("{:.1} ms", micros / 1e3)
    } else if micros < 999_500.0 {
        format!("{:.0} ms", micros / 1e3)
    } else {
        format!("{:.1} s", micros / 1e6)
    }
}

/// `part` of `whole` in percent, one decimal; "-" when there is no whole.
pub fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{:.1} %", 100.0 * part / whole)
    } else {
        "-".to_owned()
    }
}

/// The end of a text, at most `width` columns of it; what was cut is marked.
pub fn tail(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(length - width.saturating_sub(1));
    std::iter::once('…').chain(kept).collect()
}

/// Breaks a paragraph into lines of at most `width` columns, each beginning with `indent`. Words stay whole.
pub fn wrap(paragraph: &str, indent: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(indent);
            column = indent.chars().count();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_numbers() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [count(0), count(999), count(1_000), count(1_234_567)].map(|s| s)
        );
        assert_eq!(
            ["0", "<0.01", "0.02", "0.3", "9.9", "10", "100,012"],
            [0.0, 0.001, 0.02, 0.26, 9.94, 9.96, 100_012.4].map(mean)
        );
        assert_eq!(
            ["0 B", "1023 B", "1.0 KiB", "99.9 KiB", "100 KiB", "12.4 MiB"],
            [0.0, 1_023.0, 1_023.9, 102_297.0, 102_400.0, 13_002_342.0].map(bytes)
        );
        let times = [
            Duration::from_micros(310),
            Duration::from_micros(92_140),
            Duration::from_millis(140),
        ];
        assert_eq!(["310 µs", "92.1 ms", "140 ms"], times.map(duration));
        assert_eq!(duration(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(
            (percent(1.0, 3.0).as_str(), percent(1.0, 0.0).as_str()),
            ("33.3 %", "-")
        );
    }

    #[test]
    fn what_is_cut_is_marked() {
        assert_eq!(tail("src/a.rs:1", 10), "src/a.rs:1");
        assert_eq!(tail("crate src/a.rs:1", 10), "…rc/a.rs:1");
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let text = wrap("one two three four five", "  ", 10);
        assert_eq!(text, "  one two\n  three\n  four\n  five");
    }
}
