//! Texts that are made for one request.

use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use alloc_core::track_memory;

use crate::input::{line, number, numbers, user_id};

/// A key made by `format!` to look something up.
pub(crate) mod formatted_key {
    use super::*;

    fn sessions() -> HashMap<String, u64> {
        (0..50)
            .map(|user| {
                (
                    format!("tenant/eu-central-1/customers/{}/sessions/current", user_id(user)),
                    user,
                )
            })
            .collect()
    }

    pub(crate) fn bad(n: u64) {
        let sessions = sessions();
        let users: Vec<String> = (0..50).map(user_id).collect();
        for request in 0..n {
            black_box(session(&sessions, &users[request as usize % users.len()]));
        }
    }

    #[track_memory(request)]
    fn session(sessions: &HashMap<String, u64>, user: &str) -> Option<u64> {
        let key = format!("tenant/eu-central-1/customers/{user}/sessions/current"); // REBUILT: reuse String
        sessions.get(&key).copied()
    }

    pub(crate) fn fixed(n: u64) {
        let sessions = sessions();
        let users: Vec<String> = (0..50).map(user_id).collect();
        let mut key = String::new();
        for request in 0..n {
            black_box(session_by(&sessions, &users[request as usize % users.len()], &mut key));
        }
    }

    #[track_memory(request)]
    fn session_by(sessions: &HashMap<String, u64>, user: &str, key: &mut String) -> Option<u64> {
        key.clear();
        write!(key, "tenant/eu-central-1/customers/{user}/sessions/current").expect("strings take everything");
        sessions.get(key.as_str()).copied()
    }
}

/// A key made its own, where a borrowed one would do.
pub(crate) mod owned_key {
    use super::*;

    fn products() -> (Vec<String>, HashMap<String, u64>) {
        let names: Vec<String> = (0..50).map(line).collect();
        let prices = names.iter().cloned().zip(0..).collect();
        (names, prices)
    }

    pub(crate) fn bad(n: u64) {
        let (names, prices) = products();
        for request in 0..n {
            black_box(price(&prices, &names[request as usize % names.len()]));
        }
    }

    #[track_memory(request)]
    fn price(prices: &HashMap<String, u64>, name: &str) -> Option<u64> {
        prices.get(&name.to_owned()).copied() // REBUILT: reuse String
    }

    pub(crate) fn fixed(n: u64) {
        let (names, prices) = products();
        for request in 0..n {
            black_box(price_of(&prices, &names[request as usize % names.len()]));
        }
    }

    #[track_memory(request)]
    fn price_of(prices: &HashMap<String, u64>, name: &str) -> Option<u64> {
        prices.get(name).copied()
    }
}

/// Added to, piece by piece.
pub(crate) mod added_up {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(checksum(request));
        }
    }

    fn sum(text: &str) -> u64 {
        text.bytes()
            .fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }

    fn outcome(payment: u64) -> &'static str {
        ["payment accepted;", "payment refused;"][payment as usize % 2]
    }

    #[track_memory(request)]
    fn checksum(request: u64) -> u64 {
        let mut text = String::new();
        for field in numbers(request, 20) {
            text += outcome(field); // REBUILT: reuse String
        }
        sum(black_box(&text))
    }

    pub(crate) fn fixed(n: u64) {
        let mut text = String::new();
        for request in 0..n {
            black_box(checksum_in(request, &mut text));
        }
    }

    #[track_memory(request)]
    fn checksum_in(request: u64, text: &mut String) -> u64 {
        text.clear();
        for field in numbers(request, 20) {
            *text += outcome(field);
        }
        sum(black_box(text))
    }
}

/// Taken apart into a list, and put together again.
pub(crate) mod split_and_join {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let lines: Vec<String> = (0..50).map(line).collect();
        for request in 0..n {
            black_box(converted_length(&lines[request as usize % lines.len()]));
        }
    }

    #[track_memory(request)]
    fn converted_length(line: &str) -> usize {
        let fields: Vec<&str> = line.split(',').collect(); // REBUILT: reuse Vec<&str>
        let joined = fields.join("; "); // REBUILT: reuse String
        black_box(&joined).len()
    }

    pub(crate) fn fixed(n: u64) {
        let lines: Vec<String> = (0..50).map(line).collect();
        let mut joined = String::new();
        for request in 0..n {
            black_box(converted_length_in(&lines[request as usize % lines.len()], &mut joined));
        }
    }

    #[track_memory(request)]
    fn converted_length_in(line: &str, joined: &mut String) -> usize {
        joined.clear();
        for field in line.split(',') {
            if !joined.is_empty() {
                joined.push_str("; ");
            }
            joined.push_str(field);
        }
        black_box(&*joined).len()
    }
}

/// Put into small letters, to be compared.
pub(crate) mod small_letters {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let header = "X-Request-Signature-Of-The-Partner-That-Sent-The-Payment-Notification-In-Question".to_owned();
        for _ in 0..n {
            black_box(is_signature(&header));
        }
    }

    #[track_memory(request)]
    fn is_signature(header: &str) -> bool {
        header.to_lowercase().starts_with("x-request-signature") // REBUILT: reuse String
    }

    pub(crate) fn fixed(n: u64) {
        let header = "X-Request-Signature-Of-The-Partner-That-Sent-The-Payment-Notification-In-Question".to_owned();
        for _ in 0..n {
            black_box(is_signature_header(&header));
        }
    }

    #[track_memory(request)]
    fn is_signature_header(header: &str) -> bool {
        const NAME: &str = "x-request-signature";
        header
            .get(..NAME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(NAME))
    }
}

/// Bytes as text, in a helper far from the request.
pub(crate) mod hex {
    use super::*;

    fn digest(request: u64) -> [u8; 64] {
        std::array::from_fn(|at| number(request + at as u64) as u8)
    }

    fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(2 * bytes.len()); // REBUILT: reuse String
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }

    pub(crate) fn bad(n: u64) {
        let expected = encode(&digest(3));
        for request in 0..n {
            black_box(is_genuine(request, &expected));
        }
    }

    #[track_memory(request)]
    fn is_genuine(request: u64, expected: &str) -> bool {
        encode(&digest(request)) == expected
    }

    pub(crate) fn fixed(n: u64) {
        let mut expected = [0; 128];
        encode_into(&digest(3), &mut expected);
        for request in 0..n {
            black_box(is_genuine_digest(request, &expected));
        }
    }

    fn encode_into(bytes: &[u8; 64], text: &mut [u8; 128]) {
        for (byte, digits) in bytes.iter().zip(text.chunks_exact_mut(2)) {
            digits[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            digits[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
    }

    #[track_memory(request)]
    fn is_genuine_digest(request: u64, expected: &[u8; 128]) -> bool {
        let mut text = [0; 128];
        encode_into(&digest(request), &mut text);
        text == *expected
    }
}

/// A path put together to ask whether it is below another.
pub(crate) mod paths {
    use super::*;

    fn files() -> Vec<String> {
        (0..50)
            .map(|n| format!("customers/{}/documents/invoice-{n:06}.pdf", user_id(n)))
            .collect()
    }

    pub(crate) fn bad(n: u64) {
        let files = files();
        for request in 0..n {
            black_box(has_parent(
                Path::new("/srv/storage/eu-central-1"),
                &files[request as usize % files.len()],
            ));
        }
    }

    #[track_memory(request)]
    fn has_parent(root: &Path, file: &str) -> bool {
        let path = root.join(file); // REBUILT: reuse PathBuf
        black_box(&path)
            .parent()
            .is_some_and(|parent| parent.ends_with("documents"))
    }

    pub(crate) fn fixed(n: u64) {
        let files = files();
        let mut path = PathBuf::new();
        for request in 0..n {
            let file = &files[request as usize % files.len()];
            black_box(has_parent_in(Path::new("/srv/storage/eu-central-1"), file, &mut path));
        }
    }

    #[track_memory(request)]
    fn has_parent_in(root: &Path, file: &str, path: &mut PathBuf) -> bool {
        path.clear();
        path.push(root);
        path.push(file);
        black_box(&*path)
            .parent()
            .is_some_and(|parent| parent.ends_with("documents"))
    }
}

/// Texts in a list that is kept; the texts are not.
pub(crate) mod list_kept {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let lines: Vec<String> = (0..50).map(line).collect();
        let mut parts = Vec::new();
        for request in 0..n {
            black_box(longest(&lines[request as usize % lines.len()], &mut parts));
        }
    }

    #[track_memory(request)]
    fn longest(line: &str, parts: &mut Vec<String>) -> usize {
        parts.clear();
        for part in line.split(',') {
            parts.push(part.to_owned()); // REBUILT: pool String
        }
        let longest = parts.iter().map(String::len).max().unwrap_or(0);
        parts.clear();
        longest
    }

    pub(crate) fn fixed(n: u64) {
        let lines: Vec<String> = (0..50).map(line).collect();
        for request in 0..n {
            black_box(longest_borrowed(&lines[request as usize % lines.len()]));
        }
    }

    #[track_memory(request)]
    fn longest_borrowed(line: &str) -> usize {
        line.split(',').map(str::len).max().unwrap_or(0)
    }
}
