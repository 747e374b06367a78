//! A Rust library with the system's allocator, for `loaded_libraries` to load and unload.

use std::hint::black_box;

/// Allocates, keeps nothing, and says how much it summed up.
#[unsafe(no_mangle)]
pub extern "C" fn work(turns: usize) -> usize {
    let mut sum = 0;
    for turn in 0..turns {
        let mut numbers: Vec<usize> = Vec::new();
        for number in 0..=turn % 50 {
            numbers.push(number);
        }
        sum += black_box(numbers).len();
    }
    sum
}
