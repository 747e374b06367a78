//! What grows to the same size each time, and is given away: it could be made in that size.

use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;

use alloc_core::track_memory;

use crate::input::{number, numbers};

/// A list of a page's entries, which the caller keeps for a while.
pub(crate) mod page {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let mut shown = Vec::new();
        for request in 0..n {
            shown = black_box(entries(request));
        }
        drop(shown);
    }

    #[track_memory(request)]
    fn entries(request: u64) -> Vec<u64> {
        let mut entries = Vec::new();
        for entry in numbers(request, 100) {
            entries.push(entry); // REBUILT: reserve Vec<u64>
        }
        entries
    }

    pub(crate) fn fixed(n: u64) {
        let mut shown = Vec::new();
        for request in 0..n {
            shown = black_box(entries_reserved(request));
        }
        drop(shown);
    }

    #[track_memory(request)]
    fn entries_reserved(request: u64) -> Vec<u64> {
        let mut entries = Vec::with_capacity(100);
        for entry in numbers(request, 100) {
            entries.push(entry);
        }
        entries
    }
}

/// A table, which grows without a word to the allocator: a larger one is made, and the old one freed.
pub(crate) mod table {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let mut index = HashMap::new();
        for request in 0..n {
            index = black_box(squares(request));
        }
        drop(index);
    }

    #[track_memory(request)]
    fn squares(request: u64) -> HashMap<u64, u64> {
        let mut squares = HashMap::new();
        for key in 0..100 {
            squares.insert(key, number(request) * key); // REBUILT: reserve HashMap<u64, u64>
        }
        squares
    }

    pub(crate) fn fixed(n: u64) {
        let mut index = HashMap::new();
        for request in 0..n {
            index = black_box(squares_reserved(request));
        }
        drop(index);
    }

    #[track_memory(request)]
    fn squares_reserved(request: u64) -> HashMap<u64, u64> {
        let mut squares = HashMap::with_capacity(100);
        for key in 0..100 {
            squares.insert(key, number(request) * key);
        }
        squares
    }
}

/// The text of an answer.
pub(crate) mod answer {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            let answer = render(request);
            black_box(answer.len());
        }
    }

    #[track_memory(request)]
    fn render(request: u64) -> String {
        let mut answer = String::new();
        for field in numbers(request, 100) {
            write!(answer, "<td>{field:07}</td>").expect("strings take everything"); // REBUILT: reserve String
        }
        answer
    }

    pub(crate) fn fixed(n: u64) {
        for request in 0..n {
            let answer = render_reserved(request);
            black_box(answer.len());
        }
    }

    #[track_memory(request)]
    fn render_reserved(request: u64) -> String {
        let mut answer = String::with_capacity(1700);
        for field in numbers(request, 100) {
            write!(answer, "<td>{field:07}</td>").expect("strings take everything");
        }
        answer
    }
}
