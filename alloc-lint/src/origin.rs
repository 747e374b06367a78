//! Whose code a source frame is.
//!
//! Called by `profile`. The marks are those by which the reports of the measuring side tell code of others: a change here is due there, too
//! (`alloc-core/src/symbolize/names.rs`).
//!
//! LIMIT: a program whose own files are below a directory `vendor` counts as code of others.
#![forbid(unsafe_code)]

/// The standard library as the toolchain and its debug information name it; `/rust/deps/` has the crates that it is built with.
const TOOLCHAIN: [&str; 3] = ["/rustc/", "/rustlib/src/", "/rust/deps/"];
/// The same where paths are relative.
const LIBRARY: [&str; 3] = ["library/alloc/", "library/core/", "library/std/"];
/// Where crates are that were fetched, wherever cargo keeps its files.
const FETCHED: [&str; 3] = ["/registry/src/", "/git/checkouts/", "/vendor/"];
/// Functions between a collection and the allocator: their line is that of `#[global_allocator]`.
const SHIMS: [&str; 3] = ["__rust_", "__rg_", "__rdl_"];

/// The program's own: neither of the standard library, nor of a fetched crate, nor of the tracker, which stands innermost in every stack.
pub(crate) fn is_own(function: &str, file: &str) -> bool {
    let file = file.replace('\\', "/");
    let is_below = |marks: &[&str]| marks.iter().any(|mark| file.contains(mark));
    let is_std = is_below(&TOOLCHAIN) || LIBRARY.iter().any(|start| file.starts_with(start));
    // Without `.rs` it is the C library, mostly.
    file.ends_with(".rs")
        && !SHIMS.iter().any(|shim| function.contains(shim))
        && !is_std
        && !is_below(&FETCHED)
        && !is_hashbrown(&file)
        && !is_tracker(&file)
}

/// The hash tables of the standard library, also where a program has them as a crate.
fn is_hashbrown(file: &str) -> bool {
    file.split('/').any(|part| is_crate(part, "hashbrown"))
}

/// Its sources; its tests are programs of their own.
fn is_tracker(file: &str) -> bool {
    let parts = file.split('/');
    parts
        .clone()
        .zip(parts.skip(1))
        .any(|(part, next)| is_crate(part, "alloc-core") && next == "src")
}

/// `name`, or `name-1.2.3` as in a registry.
fn is_crate(part: &str, name: &str) -> bool {
    part.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    })
}
