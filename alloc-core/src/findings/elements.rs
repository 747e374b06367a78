//! How large the elements of a collection are, and so how many fit in a block: what `with_capacity` is to be called with.
//!
//! Called by `advice` and `growth`. Read side; pure functions of the text that names a collection. Knows the primitives and what std
//! makes of them, on a machine with pointers as wide as this one's; says nothing about types that the program defines.
#![forbid(unsafe_code)]

use crate::symbolize::split_arguments;

const POINTER: u64 = size_of::<usize>() as u64;
/// Types inside each other that are looked at; what is nested more deeply is not known. Names come out of files, and may be anything.
const DEEPEST: u32 = 32;

/// A collection as text, taken apart: `HashMap<u64, String>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Collection {
    /// `HashMap`.
    pub(super) name: String,
    /// `u64`, `String`.
    pub(super) parameters: Vec<String>,
}

impl Collection {
    pub(super) fn of(text: &str) -> Self {
        match text.split_once('<') {
            Some((name, rest)) => Self {
                name: name.to_owned(),
                parameters: split_arguments(rest.strip_suffix('>').unwrap_or(rest)),
            },
            None => Self {
                name: text.to_owned(),
                parameters: Vec::new(),
            },
        }
    }

    /// True when its blocks hold text or numbers and no other block.
    pub(super) fn is_leaf(&self) -> bool {
        match self.name.as_str() {
            "String" | "PathBuf" | "OsString" | "CString" => true,
            _ => !self.parameters.is_empty() && self.parameters.iter().all(|parameter| is_plain(parameter, DEEPEST)),
        }
    }

    /// True when one of its type parameters names `inner`.
    pub(super) fn names(&self, inner: &Self) -> bool {
        self.words().any(|word| word == inner.name)
    }

    /// The names in its type parameters.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let parameters = self.parameters.iter();
        parameters.flat_map(|parameter| parameter.split(|c: char| !c.is_alphanumeric() && c != '_'))
    }

    /// Emptied and filled again, it needs no new blocks.
    pub(super) fn keeps_its_block(&self) -> bool {
        matches!(
            self.name.as_str(),
            "Vec" | "String" | "HashMap" | "HashSet" | "VecDeque" | "BinaryHeap" | "PathBuf" | "OsString"
        )
    }

    /// It consists of many small blocks: how many are alive says nothing about how many collections are.
    pub(super) fn is_of_nodes(&self) -> bool {
        matches!(self.name.as_str(), "BTreeMap" | "BTreeSet" | "LinkedList")
    }

    /// What `with_capacity` takes so that a block of `bytes` is granted at once; `None` when the size of an element is not known.
    pub(super) fn capacity_of(&self, bytes: u64) -> Option<u64> {
        match (self.name.as_str(), self.parameters.as_slice()) {
            ("String" | "PathBuf" | "OsString", _) => Some(bytes),
            ("Vec" | "VecDeque" | "BinaryHeap", [element]) => {
                let (size, _) = size_and_align(element)?;
                (size > 0).then(|| bytes.div_ceil(size))
            }
            ("HashSet", [key]) => {
                let (size, _) = size_and_align(key)?;
                Some(table_capacity(bytes, size))
            }
            ("HashMap", [key, value]) => {
                let (size, _) = of_fields([size_and_align(key)?, size_and_align(value)?].into_iter())?;
                Some(table_capacity(bytes, size))
            }
            _ => None,
        }
    }
}

/// How many entries a hash table in a block of `bytes` takes: a power of two of buckets with a control byte each, 7/8 of them used.
fn table_capacity(bytes: u64, entry: u64) -> u64 {
    /// Control bytes behind the last bucket's.
    const GROUP: u64 = 16;
    let buckets = bytes.saturating_sub(GROUP) / entry.saturating_add(1);
    let buckets = match buckets.checked_ilog2() {
        Some(log) => 1_u64 << log,
        None => return 0,
    };
    if buckets <= 8 { buckets - 1 } else { buckets / 8 * 7 }
}

/// No blocks of its own.
fn is_plain(text: &str, deepest: u32) -> bool {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return deepest > 0 && split_arguments(inner).iter().all(|part| is_plain(part, deepest - 1));
    }
    text.starts_with('&') || primitive(text).is_some()
}

fn primitive(name: &str) -> Option<(u64, u64)> {
    let size = match name {
        "u8" | "i8" | "bool" => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" | "f32" | "char" => 4,
        "u64" | "i64" | "f64" => 8,
        "u128" | "i128" => 16,
        "usize" | "isize" => POINTER,
        "()" => return Some((0, 1)),
        _ => return None,
    };
    Some((size, size))
}

/// Size and alignment of a type by its name, in bytes.
fn size_and_align(text: &str) -> Option<(u64, u64)> {
    size_within(text, DEEPEST)
}

fn size_within(text: &str, deepest: u32) -> Option<(u64, u64)> {
    let deepest = deepest.checked_sub(1)?;
    let text = text.trim();
    if let Some(known) = primitive(text) {
        return Some(known);
    }
    if let Some(target) = text.strip_prefix('&') {
        return Some((pointer_to(target, deepest)?, POINTER));
    }
    if let Some(fields) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        let fields: Option<Vec<_>> = split_arguments(fields)
            .iter()
            .map(|field| size_within(field, deepest))
            .collect();
        return of_fields(fields?.into_iter());
    }
    if let Some((element, count)) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .and_then(|text| text.rsplit_once(';'))
    {
        let (size, align) = size_within(element, deepest)?;
        return Some((size.checked_mul(count.trim().parse().ok()?)?, align));
    }
    let Collection { name, parameters } = Collection::of(text);
    let words = match (name.as_str(), parameters.as_slice()) {
        ("String" | "PathBuf" | "OsString", []) | ("Vec" | "BTreeMap" | "BTreeSet" | "BinaryHeap", [_, ..]) => 3,
        ("VecDeque", [_]) => 4,
        ("HashSet", [_]) | ("HashMap", [_, _]) => 6,
        ("Box" | "Rc" | "Arc", [target]) => return Some((pointer_to(target, deepest)?, POINTER)),
        ("Option", [inner]) => {
            let (size, align) = size_within(inner, deepest)?;
            // Types with values to spare take none of it for `None`.
            let has_niche = inner.starts_with('&') || matches!(inner.as_str(), "bool" | "char") || {
                let name = Collection::of(inner).name;
                matches!(
                    name.as_str(),
                    "String" | "PathBuf" | "OsString" | "Vec" | "VecDeque" | "BinaryHeap"
                ) || matches!(name.as_str(), "Box" | "Rc" | "Arc" | "HashMap" | "HashSet")
            };
            let is_known = has_niche || primitive(inner).is_some();
            let size = if has_niche { size } else { size.checked_add(align)? };
            return is_known.then_some((size, align));
        }
        _ => return None,
    };
    Some((words * POINTER, POINTER))
}

/// Of a pointer to `target`, which may have to carry a length or a table; `None` when that cannot be told.
fn pointer_to(target: &str, deepest: u32) -> Option<u64> {
    let target = target.trim_start_matches("mut ").trim();
    let is_slice = target.starts_with('[') && !target.contains(';');
    if target == "str" || target == "Path" || target == "OsStr" || target == "CStr" || is_slice {
        return Some(2 * POINTER);
    }
    if target.starts_with("dyn ") {
        return Some(2 * POINTER);
    }
    size_within(target, deepest).map(|_| POINTER)
}

/// Of a struct or tuple, whose fields the compiler puts in the best order; `None` when it is larger than anything can be.
fn of_fields(mut fields: impl Iterator<Item = (u64, u64)>) -> Option<(u64, u64)> {
    let (size, align) = fields.try_fold((0_u64, 1), |(size, align), (field, field_align)| {
        Some((size.checked_add(field)?, align.max(field_align)))
    })?;
    Some((size.checked_next_multiple_of(align)?, align))
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! sizes {
        ($($type:ty),* $(,)?) => {
            $(assert_eq!(
                size_and_align(stringify!($type)),
                Some((size_of::<$type>() as u64, align_of::<$type>() as u64)),
                stringify!($type)
            );)*
        };
    }

    #[test]
    fn sizes_are_those_of_the_compiler() {
        use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
        use std::sync::Arc;
        sizes!(
            u8, i16, f32, char, bool, u64, i128, usize, (), &u64, &str, &[u8], String, Vec<u8>, [u32; 3], (u64, u8), (u8, u32, u8), (u64, String),
            Box<u64>, Box<[u8]>, Box<str>, Arc<String>, Option<String>, Option<u64>, Option<u8>, Option<bool>, Option<&str>, Option<Vec<u8>>,
            HashMap<u64, u8>, HashSet<String>, BTreeMap<u8, u8>, VecDeque<u8>, BinaryHeap<u64>, Vec<(u64, Option<String>)>,
        );
        for unknown in [
            "Order",
            "Option<Order>",
            "&Order",
            "Box<Order>",
            "(u8, Order)",
            "",
            "[u8; N]",
            "Option<(u8, u8)>",
        ] {
            assert_eq!(size_and_align(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn capacities_are_those_that_grant_the_block_at_once() {
        for (text, bytes, capacity) in [
            ("Vec<u64>", 800, Some(100)),
            ("Vec<(u64, u8)>", 1600, Some(100)),
            ("String", 300, Some(300)),
            ("VecDeque<u32>", 64, Some(16)),
            ("Vec<Order>", 800, None),
            ("Vec", 800, None),
            ("BTreeMap<u8, u8>", 800, None),
            ("HashSet<u64>", 16 * 9 + 16, Some(14)),
            ("HashSet<u64>", 4 * 9 + 16, Some(3)),
            ("HashMap<u64, u8>", 128 * 17 + 16, Some(112)),
            ("HashSet<u8>", 3, Some(0)),
        ] {
            assert_eq!(Collection::of(text).capacity_of(bytes), capacity, "{text}");
        }
    }

    #[test]
    fn types_that_no_compiler_would_take_are_not_known() {
        let around = |open: &str, inner: &str, close: &str, times: usize| {
            format!("{}{inner}{}", open.repeat(times), close.repeat(times))
        };
        assert_eq!(size_and_align(&around("&", "u8", "", 20)), Some((POINTER, POINTER)));
        for times in [1000, 200_000] {
            for (open, close) in [("&", ""), ("(", ")"), ("[", "; 1]"), ("Option<", ">"), ("Box<", ">")] {
                let deep = around(open, "u8", close, times);
                assert_eq!(size_and_align(&deep), None);
                let holder = Collection {
                    name: "Vec".to_owned(),
                    parameters: vec![deep],
                };
                assert_eq!(holder.is_leaf(), open == "&");
                assert_eq!(holder.capacity_of(1000), None);
            }
        }
        let huge = "[u8; 18446744073709551615]";
        for (text, capacity) in [
            (format!("HashSet<{huge}>"), Some(0)),
            (format!("HashMap<{huge}, u8>"), None),
            (format!("HashMap<{huge}, u64>"), None),
            (format!("Vec<{huge}>"), Some(1)),
            (format!("Vec<({huge}, {huge})>"), None),
            (format!("Vec<Option<{huge}>>"), None),
            ("Vec<[u8; 0]>".to_owned(), None),
        ] {
            assert_eq!(Collection::of(&text).capacity_of(u64::MAX), capacity, "{text}");
        }
    }

    #[test]
    fn a_collection_names_what_it_holds() {
        let map = Collection::of("HashMap<String, Vec<(u64, Order)>>");
        for (inner, named) in [
            ("String", true),
            ("Vec<(u64, Order)>", true),
            ("Box<u8>", false),
            ("Str", false),
        ] {
            assert_eq!(map.names(&Collection::of(inner)), named, "{inner}");
        }
        for (text, leaf) in [
            ("String", true),
            ("Vec<u8>", true),
            ("HashSet<(u64, &str)>", true),
            ("Vec", false),
            ("Vec<String>", false),
            ("Vec<Order>", false),
        ] {
            assert_eq!(Collection::of(text).is_leaf(), leaf, "{text}");
        }
    }
}
