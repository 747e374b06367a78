//! Loops, each turn of which builds what the turn before has just dropped.

use std::fmt::Write;
use std::hint::black_box;

use alloc_core::{iteration, iterations, track_memory};

use crate::input::{number, numbers};

/// A list per turn; and one above the loop.
pub(crate) mod list {
    use super::*;

    pub(crate) fn bad(n: u64) {
        black_box(largest_sums(n));
    }

    #[track_memory(loops)]
    fn largest_sums(n: u64) -> u64 {
        let mut largest = 0;
        for batch in 0..n {
            let mut amounts = Vec::new();
            for amount in numbers(batch, 64) {
                amounts.push(amount); // REBUILT: reuse Vec<u64>
            }
            largest = largest.max(black_box(&amounts).iter().sum());
        }
        largest
    }

    pub(crate) fn fixed(n: u64) {
        black_box(largest_sums_in_one(n));
    }

    #[track_memory(loops)]
    fn largest_sums_in_one(n: u64) -> u64 {
        let mut largest = 0;
        let mut amounts = Vec::new();
        for batch in 0..n {
            amounts.clear();
            for amount in numbers(batch, 64) {
                amounts.push(amount);
            }
            largest = largest.max(black_box(&amounts).iter().sum());
        }
        largest
    }
}

/// A text per turn of a `while`.
pub(crate) mod text {
    use super::*;

    pub(crate) fn bad(n: u64) {
        black_box(written(n));
    }

    #[track_memory(loops)]
    fn written(n: u64) -> usize {
        let (mut written, mut order) = (0, 0);
        while order < n {
            let weight = number(order);
            let line = format!("order {order:010} of {weight:010} goes to the warehouse of {order:030}"); // REBUILT: reuse String
            written += black_box(&line).len();
            order += 1;
        }
        written
    }

    pub(crate) fn fixed(n: u64) {
        black_box(written_in_one(n));
    }

    #[track_memory(loops)]
    fn written_in_one(n: u64) -> usize {
        let (mut written, mut order) = (0, 0);
        let mut line = String::new();
        while order < n {
            line.clear();
            let weight = number(order);
            write!(
                line,
                "order {order:010} of {weight:010} goes to the warehouse of {order:030}"
            )
            .expect("strings take everything");
            written += black_box(&line).len();
            order += 1;
        }
        written
    }
}

/// A loop in a loop: said once, where it happens.
pub(crate) mod inner {
    use super::*;

    pub(crate) fn bad(n: u64) {
        black_box(medians(n));
    }

    #[track_memory(loops)]
    fn medians(n: u64) -> u64 {
        let mut sum = 0;
        for day in 0..n / 8 {
            for shop in 0..8 {
                let mut sales: Vec<u64> = numbers(day * 8 + shop, 21).collect(); // REBUILT: reuse Vec<u64>
                sales.sort_unstable();
                sum += sales[10];
            }
        }
        sum
    }

    pub(crate) fn fixed(n: u64) {
        black_box(medians_in_one(n));
    }

    #[track_memory(loops)]
    fn medians_in_one(n: u64) -> u64 {
        let mut sum = 0;
        let mut sales = Vec::new();
        for day in 0..n / 8 {
            for shop in 0..8 {
                sales.clear();
                sales.extend(numbers(day * 8 + shop, 21));
                sales.sort_unstable();
                sum += sales[10];
            }
        }
        sum
    }
}

/// A loop in a function that is not marked, with a guard in each turn.
pub(crate) mod guarded {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for job in 0..n {
            let _iteration = iteration!("jobs, one by one");
            let parts: Vec<u64> = numbers(job, 30).collect(); // REBUILT: reuse Vec<u64>
            black_box(parts.iter().max());
        }
    }

    pub(crate) fn fixed(n: u64) {
        let mut parts = Vec::new();
        for job in 0..n {
            let _iteration = iteration!("jobs, one list");
            parts.clear();
            parts.extend(numbers(job, 30));
            black_box(parts.iter().max());
        }
    }
}

/// The items of an iterator.
pub(crate) mod adapted {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let sum: u64 = iterations!("words, copied", 0..n)
            .map(|word| {
                let letters: Vec<char> = format_args!("{word:032}").to_string().chars().collect(); // REBUILT: reuse Vec<char>
                letters.iter().filter(|letter| **letter == '1').count() as u64
            })
            .sum();
        black_box(sum);
    }

    pub(crate) fn fixed(n: u64) {
        let mut text = String::new();
        let sum: u64 = iterations!("words, in place", 0..n)
            .map(|word| {
                text.clear();
                write!(text, "{word:032}").expect("strings take everything");
                text.chars().filter(|letter| *letter == '1').count() as u64
            })
            .sum();
        black_box(sum);
    }
}
