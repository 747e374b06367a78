//! What methods do with their receiver and their arguments, by name; and whether a chain is an iterator at a given link.
//!
//! Tables. `map` and `filter` exist on `Option` too, so the links before and after decide: see [`is_iterated`].
#![forbid(unsafe_code)]

use super::flow::{Borrow, Consumer, Exit, Flow};
use crate::kinds;

/// What becomes of the receiver of `method`, when the result goes to `out`.
pub(super) fn receiver(method: &str, out: Flow) -> Flow {
    if kinds::passes_on(method) {
        return out;
    }
    if kinds::takes_apart(method) {
        return Flow::Consumed(Consumer::Iterator);
    }
    match method {
        // Of an `Option` or a `Result`: what was in it is in the result.
        "filter" | "inspect" | "inspect_err" | "flatten" | "take" | "replace" => match out {
            Flow::Out(_) | Flow::Local(_) | Flow::Assigned(_) => out,
            _ => Flow::Borrowed(Borrow::Method),
        },
        "iter" | "chars" | "lines" | "bytes" | "as_bytes" => Flow::Borrowed(Borrow::Iterate),
        "eq" | "ne" | "cmp" | "partial_cmp" | "eq_ignore_ascii_case" => Flow::Borrowed(Borrow::Compare),
        _ => Flow::Borrowed(Borrow::Method),
    }
}

/// What becomes of an argument that is passed by value.
pub(super) fn argument(method: &str) -> Flow {
    match method {
        "extend" | "zip" | "chain" | "extend_from_slice" => Flow::Consumed(Consumer::Iterator),
        "join" | "arg" | "current_dir" | "set_extension" | "with_extension" | "with_file_name" | "set_file_name" => {
            Flow::Consumed(Consumer::AsRef)
        }
        "eq" | "ne" => Flow::Borrowed(Borrow::Compare),
        "expect" | "ok_or" => Flow::Borrowed(Borrow::Eager),
        method if kinds::is_growth(method) => Flow::Out(Exit::Pushed),
        _ => Flow::Out(Exit::HandedOver),
    }
}

/// What becomes of an argument that is passed by reference.
pub(super) fn borrowed_argument(method: &str) -> Borrow {
    match method {
        "get" | "get_mut" | "contains" | "contains_key" | "remove" | "get_key_value" | "take" => Borrow::Lookup,
        "push_str" | "write_str" | "extend_from_slice" => Borrow::Append,
        "eq" | "ne" | "cmp" | "starts_with" | "ends_with" | "eq_ignore_ascii_case" => Borrow::Compare,
        "expect" => Borrow::Eager,
        _ => Borrow::Other,
    }
}

/// Makes an iterator or a stream.
fn is_source(method: &str) -> bool {
    matches!(
        method,
        "iter"
            | "iter_mut"
            | "into_iter"
            | "par_iter"
            | "par_iter_mut"
            | "into_par_iter"
            | "chars"
            | "char_indices"
            | "bytes"
            | "lines"
            | "split"
            | "splitn"
            | "rsplit"
            | "rsplitn"
            | "split_whitespace"
            | "split_ascii_whitespace"
            | "split_terminator"
            | "split_inclusive"
            | "drain"
            | "keys"
            | "values"
            | "values_mut"
            | "into_keys"
            | "into_values"
            | "windows"
            | "chunks"
            | "chunks_exact"
            | "chunks_mut"
            | "par_chunks"
            | "par_bridge"
            | "par_lines"
            | "matches"
            | "match_indices"
            | "find_iter"
            | "captures_iter"
            | "components"
            | "read_dir"
            | "into_stream"
            | "split_off_iter"
            | "successors"
    )
}

/// Only iterators and streams have it, and it gives another one.
fn is_adapter(method: &str) -> bool {
    matches!(
        method,
        "enumerate"
            | "rev"
            | "skip"
            | "step_by"
            | "cycle"
            | "peekable"
            | "flat_map"
            | "flat_map_iter"
            | "filter_map"
            | "take_while"
            | "skip_while"
            | "map_while"
            | "scan"
            | "fuse"
            | "buffered"
            | "buffer_unordered"
            | "with_min_len"
            | "map_init"
            | "map_with"
            | "try_filter"
            | "try_filter_map"
            | "dedup"
            | "sorted"
            | "sorted_by"
            | "sorted_by_key"
            | "unique"
            | "tuple_windows"
            | "interleave"
            | "chunk_by"
            | "ready_chunks"
    )
}

/// Only iterators and streams have it, and it ends them.
fn is_sink(method: &str) -> bool {
    matches!(
        method,
        "collect"
            | "collect_vec"
            | "collect_into_vec"
            | "try_collect"
            | "collect_into"
            | "sum"
            | "product"
            | "count"
            | "fold"
            | "try_fold"
            | "for_each"
            | "try_for_each"
            | "for_each_concurrent"
            | "try_for_each_concurrent"
            | "for_each_with"
            | "for_each_init"
            | "any"
            | "all"
            | "position"
            | "rposition"
            | "find_map"
            | "partition"
            | "unzip"
            | "nth"
            | "last"
            | "next"
            | "max_by"
            | "min_by"
            | "max_by_key"
            | "min_by_key"
            | "reduce_with"
            | "find_any"
            | "find_first"
            | "find_map_any"
            | "position_any"
    )
}

/// Iterators have it, and others; it changes nothing about which of them this is.
fn keeps(method: &str) -> bool {
    matches!(
        method,
        "map"
            | "filter"
            | "inspect"
            | "and_then"
            | "cloned"
            | "copied"
            | "zip"
            | "chain"
            | "flatten"
            | "take"
            | "by_ref"
            | "map_err"
            | "map_ok"
            | "then"
            | "as_ref"
            | "or_else"
    )
}

/// Methods of iterators, streams and slices that call their last closure once an element.
pub(super) fn calls_for_each(method: &str) -> bool {
    is_sink(method)
        || is_adapter(method)
        || matches!(
            method,
            "find"
                | "reduce"
                | "sort_by"
                | "sort_by_key"
                | "sort_unstable_by"
                | "sort_unstable_by_key"
                | "sort_by_cached_key"
                | "retain"
                | "retain_mut"
                | "dedup_by_key"
                | "dedup_by"
                | "binary_search_by"
                | "binary_search_by_key"
                | "par_sort_by"
                | "par_sort_by_key"
                | "par_sort_unstable_by"
                | "par_sort_unstable_by_key"
                | "partition_point"
                | "partition_in_place"
                | "is_sorted_by_key"
        )
}

/// Methods that do so on iterators only, and on `Option`, `Result` and futures once at most.
pub(super) fn may_call_for_each(method: &str) -> bool {
    matches!(
        method,
        "map" | "filter" | "inspect" | "and_then" | "then" | "map_ok" | "update"
    )
}

/// Whether link `at` of a chain is called on an iterator. `starts_iterated`: the base is a range, or made by `iter::..`.
pub(super) fn is_iterated(methods: &[Option<String>], at: usize, starts_iterated: bool) -> bool {
    let mut known = starts_iterated.then_some(true);
    for method in &methods[..at] {
        known = match method.as_deref() {
            Some(method) if is_source(method) || is_adapter(method) => Some(true),
            Some(method) if keeps(method) => known,
            Some(method) if is_sink(method) => Some(false),
            _ => None,
        };
    }
    if let Some(known) = known {
        return known;
    }
    methods[at..]
        .iter()
        .map(|method| method.as_deref().unwrap_or(""))
        .find(|method| !keeps(method))
        .is_some_and(|method| is_adapter(method) || (is_sink(method) && method != "unzip"))
}

/// What becomes of what a closure returns that is called for each element.
pub(super) fn returned(method: &str) -> Flow {
    match method {
        "sort_by_key"
        | "sort_unstable_by_key"
        | "max_by_key"
        | "min_by_key"
        | "dedup_by_key"
        | "binary_search_by_key"
        | "par_sort_by_key"
        | "par_sort_unstable_by_key"
        | "is_sorted_by_key" => Flow::Borrowed(Borrow::Key),
        "flat_map" | "flat_map_iter" => Flow::Consumed(Consumer::FlatMap),
        "for_each" | "try_for_each" | "retain" | "any" | "all" | "position" | "find" | "filter" | "inspect" => {
            Flow::Dropped
        }
        _ => Flow::Out(Exit::Item),
    }
}

/// Closures that run on errors, or when something is missing for once.
pub(super) fn is_for_errors(method: &str) -> bool {
    matches!(
        method,
        "map_err"
            | "ok_or_else"
            | "unwrap_or_else"
            | "or_else"
            | "with_context"
            | "wrap_err_with"
            | "inspect_err"
            | "context"
            | "wrap_err"
            | "is_err_and"
            | "expect_err"
            | "map_or_else"
    )
}

/// Closures that run once in the life of what they are called on.
pub(super) fn is_once(method: &str) -> bool {
    matches!(
        method,
        "get_or_init"
            | "get_or_try_init"
            | "call_once"
            | "call_once_force"
            | "get_or_insert_with"
            | "or_insert_with"
            | "or_insert_with_key"
            | "or_default"
            | "try_insert_with"
            | "get_with"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iterated(chain: &[&str], at: usize) -> bool {
        let methods: Vec<Option<String>> = chain.iter().map(|method| Some((*method).to_owned())).collect();
        is_iterated(&methods, at, false)
    }

    #[test]
    fn map_is_a_loop_on_iterators_and_none_on_options() {
        assert!(iterated(&["iter", "map", "collect"], 1));
        assert!(iterated(&["map", "collect"], 0));
        assert!(iterated(&["map", "filter", "sum"], 0));
        assert!(!iterated(&["map", "unwrap_or_default"], 0));
        assert!(!iterated(&["get", "map"], 1));
        assert!(!iterated(&["iter", "next", "map"], 2));
        assert!(!iterated(&["iter", "find", "map", "unwrap_or"], 2));
    }
}
