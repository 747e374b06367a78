//! One function for each collection. None is inlined, so that each has a frame of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hint::black_box;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

/// Lines of a function of this file, first to last.
pub(crate) fn lines(function: &str) -> RangeInclusive<u64> {
    let source = include_str!("mod.rs");
    let first = source
        .lines()
        .position(|line| line.starts_with(&format!("pub(crate) fn {function}(")))
        .unwrap();
    let last = source.lines().skip(first).position(|line| line == "}").unwrap() + first;
    first as u64 + 1..=last as u64 + 1
}

#[derive(Clone)]
pub(crate) struct Big(#[expect(dead_code, reason = "only its size matters")] [u64; 32]);

pub(crate) struct Small(#[expect(dead_code, reason = "only its size matters")] [u64; 3]);

#[inline(never)]
pub(crate) fn hash_set(values: &[u64]) -> HashSet<u64> {
    values.iter().copied().collect()
}

#[inline(never)]
pub(crate) fn hash_map(values: &[u64]) -> HashMap<u64, String> {
    let mut map = HashMap::new();
    for &value in values {
        map.insert(value, String::new());
    }
    map
}

#[inline(never)]
pub(crate) fn vec_push(values: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &value in values {
        bytes.push(value as u8);
    }
    bytes
}

#[inline(never)]
pub(crate) fn vec_collect(values: &[u64]) -> Vec<u32> {
    let collected: Vec<u32> = values.iter().map(|&value| value as u32).collect();
    // Looked at here, or the call above becomes a jump that leaves no frame of this function.
    black_box(&collected);
    collected
}

#[inline(never)]
pub(crate) fn string_push(values: &[u64]) -> String {
    let mut text = String::new();
    for _ in values {
        text.push_str(black_box("abc"));
    }
    text
}

#[inline(never)]
pub(crate) fn string_format(values: &[u64]) -> String {
    format!("{} values", values.len())
}

#[inline(never)]
pub(crate) fn btree_map(values: &[u64]) -> BTreeMap<u64, String> {
    let mut map = BTreeMap::new();
    for &value in values {
        map.insert(value, String::new());
    }
    map
}

#[inline(never)]
pub(crate) fn btree_set(values: &[u64]) -> BTreeSet<u64> {
    let mut set = BTreeSet::new();
    for &value in values {
        set.insert(value);
    }
    set
}

#[inline(never)]
pub(crate) fn vec_deque(values: &[u64]) -> VecDeque<u32> {
    let mut queue = VecDeque::new();
    for &value in values {
        queue.push_back(value as u32);
    }
    queue
}

#[inline(never)]
pub(crate) fn boxed(values: &[u64]) -> Box<Big> {
    Box::new(Big([values[0]; 32]))
}

#[inline(never)]
pub(crate) fn arc(values: &[u64]) -> Arc<Big> {
    Arc::new(Big([values[0]; 32]))
}

#[inline(never)]
pub(crate) fn rc(values: &[u64]) -> Rc<Small> {
    Rc::new(Small([values[0]; 3]))
}
