//! A program of named allocation sites, each in a function of its own, for the oracles that count by stack.
//!
//! Included by `src/bin/oracle_sites_*.rs`: the same source under each allocator. No site function calls another. Nothing here is random.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::sync::Arc;

macro_rules! sites {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            $(#[$attribute])*
            #[inline(never)]
            fn $name($($argument: $type),*) -> $result $body
        )*
    };
}

sites! {
    fn site_box(number: u64) -> Box<[u64; 3]> { Box::new([number; 3]) }
    fn site_vector(length: usize) -> Vec<u32> { Vec::with_capacity(length) }
    fn site_zeroed(length: usize) -> Vec<u8> { vec![0; length] }
    fn site_table(length: usize) -> HashMap<usize, u16, BuildHasherDefault<DefaultHasher>> {
        HashMap::with_capacity_and_hasher(length, BuildHasherDefault::default())
    }
    fn site_shared(length: usize) -> Arc<[u16]> { Arc::from(&[7; 300][..length]) }
    fn site_text(text: &str) -> String { text.to_owned() }
    fn site_nested(length: usize) -> Vec<Vec<usize>> { (0..length).map(|number| vec![number; 2]).collect() }
    /// Allocates and reallocates.
    fn site_pushes(length: usize) -> Vec<usize> {
        let mut numbers = Vec::new();
        for number in 0..length { numbers.push(number); }
        numbers
    }
    /// Only allocates; `site_extends` and `site_shrinks` reallocate its blocks.
    fn site_begins(length: usize) -> Vec<u64> { Vec::with_capacity(length) }
    fn site_extends(numbers: &mut Vec<u64>) -> () {
        for _ in 0..5 { numbers.reserve_exact(numbers.capacity() + 3); numbers.resize(numbers.capacity(), 1); }
    }
    fn site_shrinks(numbers: &mut Vec<u64>) -> () { numbers.truncate(3); numbers.shrink_to_fit(); }
}

/// The sites whose blocks are never reallocated, by themselves or by others.
#[allow(dead_code, reason = "only the test asks")]
pub(crate) const NEVER_REALLOCATED: [&str; 7] = [
    "site_box",
    "site_vector",
    "site_zeroed",
    "site_table",
    "site_shared",
    "site_text",
    "site_nested",
];

/// The others.
#[allow(dead_code, reason = "only the test asks")]
pub(crate) const REALLOCATED: [&str; 4] = ["site_pushes", "site_begins", "site_extends", "site_shrinks"];

/// Everything, a few hundred times.
#[allow(dead_code, reason = "not in the test")]
pub(crate) fn run() {
    let mut kept = Vec::with_capacity(2000);
    for turn in 0..300 {
        let number = black_box(turn);
        kept.push(site_box(number as u64));
        drop(black_box(site_vector(number + 1)));
        drop(black_box(site_zeroed(2 * number + 1)));
        drop(black_box(site_table(number + 1)));
        drop(black_box(site_shared(number)));
        drop(black_box(site_text(&"some text or other"[..number % 17 + 1])));
        drop(black_box(site_nested(number % 20 + 1)));
        drop(black_box(site_pushes(number)));
        let mut numbers = site_begins(number % 7 + 1);
        site_extends(&mut numbers);
        if turn % 3 == 0 {
            site_shrinks(&mut numbers);
        }
        drop(black_box(numbers));
    }
    kept.truncate(100);
    std::mem::forget(black_box(kept));
}
