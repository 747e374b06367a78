//! The few sums that the programs take from a snapshot, beyond the reports that `alloc_core` prints.
//!
//! Called by the programs and the tests, on resolved snapshots (`Snapshot::resolve`). Read side: plain data in, plain
//! data out. Linear in the snapshot.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use alloc_core::Snapshot;

/// What is counted for all nodes of one scope, wherever in the tree it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeFigures {
    /// Calls that have ended; the next two are about these.
    pub calls: u64,
    /// Allocations of these calls, callees included. Reallocations are not in it.
    pub call_allocations: u64,
    /// Bytes granted in these calls, callees included.
    pub call_bytes: u64,
    /// Allocations of the scope and the scopes inside it, in calls that ended or not.
    pub allocations: u64,
    /// Bytes granted by the same.
    pub bytes: u64,
    /// Live bytes granted by the same.
    pub live_bytes: u64,
    /// Largest (granted - freed) since entry in any one call.
    pub call_peak_bytes: u64,
    /// Largest live bytes of the scope; with several nodes, the sum of theirs: an upper bound.
    pub peak_bytes: u64,
}

impl ScopeFigures {
    /// The figures of the scope with this name; all zero when it was never entered.
    pub fn of(snapshot: &Snapshot, name: &str) -> ScopeFigures {
        let mut sum = ScopeFigures::default();
        for node in snapshot.scopes.iter().filter(|node| node.name == name) {
            sum.calls += node.calls.completed;
            sum.call_allocations += node.calls.allocations;
            sum.call_bytes += node.calls.bytes;
            sum.allocations += node.inclusive.total_allocations;
            sum.bytes += node.inclusive.total_bytes;
            sum.live_bytes += node.inclusive.live_bytes;
            sum.call_peak_bytes = sum.call_peak_bytes.max(node.calls.max_peak_bytes);
            sum.peak_bytes += node.peak_bytes;
        }
        sum
    }

    /// Allocations and bytes of one call, in the calls that ended after `before` was taken.
    pub fn per_call_since(&self, before: &ScopeFigures) -> PerCall {
        let calls = self.calls - before.calls;
        let each = |after: u64, before: u64| {
            if calls == 0 {
                0.0
            } else {
                (after - before) as f64 / calls as f64
            }
        };
        PerCall {
            calls,
            allocations: each(self.call_allocations, before.call_allocations),
            bytes: each(self.call_bytes, before.call_bytes),
        }
    }
}

/// Mean figures of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerCall {
    /// Calls the means are over.
    pub calls: u64,
    /// Allocations of one.
    pub allocations: f64,
    /// Bytes granted in one.
    pub bytes: f64,
}

/// A line of source, and what was allocated by it and by what it called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineCost {
    /// Path as [`LineCost::lines`] was told to shorten it.
    pub file: String,
    /// Line in it.
    pub line: u32,
    /// Requests granted; reallocations are not in it.
    pub allocations: u64,
    /// Bytes granted.
    pub bytes: u64,
    /// Bytes granted and not yet freed.
    pub live_bytes: u64,
}

impl LineCost {
    /// The lines that allocated inside the scope `scope` (and the scopes inside that), most bytes first.
    ///
    /// Each allocation counts for one line: the innermost frame of its stack whose file `own` shortens to a path.
    /// Allocations whose stacks have no such frame are left out. The entry points of the allocator are passed over:
    /// their line is that of the `#[global_allocator]`.
    pub fn lines(snapshot: &Snapshot, scope: &str, own: impl Fn(&str) -> Option<&str>) -> Vec<LineCost> {
        // Parents come before their children, so one pass finds everything inside.
        let mut inside = HashMap::new();
        for node in &snapshot.scopes {
            let parent_inside = node
                .parent
                .and_then(|parent| inside.get(&parent).copied())
                .unwrap_or(false);
            inside.insert(node.id, parent_inside || node.name == scope);
        }
        let mut lines: BTreeMap<(&str, u32), LineCost> = BTreeMap::new();
        for context in &snapshot.contexts {
            if !inside.get(&context.scope).copied().unwrap_or(false) {
                continue;
            }
            let Some(stack) = context.stack.and_then(|index| snapshot.stacks.get(index as usize)) else {
                continue;
            };
            let frames = stack
                .frames
                .iter()
                .filter_map(|&frame| snapshot.frames.get(frame as usize));
            let symbols = frames.flat_map(|frame| frame.symbols.iter());
            let mut callers = symbols.filter(|symbol| !symbol.function.contains("__rust_"));
            let Some((file, line)) = callers.find_map(|symbol| Some((own(&symbol.file)?, symbol.line))) else {
                continue;
            };
            let cost = lines.entry((file, line)).or_insert_with(|| LineCost {
                file: file.to_owned(),
                line,
                allocations: 0,
                bytes: 0,
                live_bytes: 0,
            });
            cost.allocations += context.counters.total_allocations;
            cost.bytes += context.counters.total_bytes;
            cost.live_bytes += context.counters.live_bytes;
        }
        let mut lines: Vec<LineCost> = lines.into_values().collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.bytes));
        lines
    }
}

/// Shortens the path of a file of this package to `examples/src/...`; `None` for any other file.
pub fn in_this_package(file: &str) -> Option<&str> {
    const ROOT: &str = "examples/src/";
    let start = file.rfind(ROOT)?;
    let at_boundary = start == 0 || file[..start].ends_with('/');
    at_boundary.then(|| &file[start..])
}

/// Shortens the path of a file of the crate `name` from a registry to `name-1.2.3/src/...`; `None` for any other file.
pub fn in_crate<'f>(file: &'f str, name: &str) -> Option<&'f str> {
    let folder_of_crate = |source: usize| {
        let start = file[..source].rfind('/').map_or(0, |slash| slash + 1);
        let version = file[start..source].strip_prefix(name)?.strip_prefix('-')?;
        version
            .starts_with(|first: char| first.is_ascii_digit())
            .then_some(start)
    };
    let start = file
        .match_indices("/src/")
        .find_map(|(source, _)| folder_of_crate(source))?;
    Some(&file[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shortened_only_when_it_is_of_the_package_asked_for() {
        assert_eq!(in_this_package("examples/src/load.rs"), Some("examples/src/load.rs"));
        assert_eq!(
            in_this_package("/home/me/allocscope/examples/src/fraud/set.rs"),
            Some("examples/src/fraud/set.rs")
        );
        assert_eq!(in_this_package("/home/me/other-examples/src/load.rs"), None);
        assert_eq!(in_this_package("/rustc/0a1b/library/alloc/src/vec/mod.rs"), None);

        let file = "/home/me/.cargo/registry/src/index-1/regex-automata-0.4.9/src/meta/regex.rs";
        assert_eq!(
            in_crate(file, "regex-automata"),
            Some("regex-automata-0.4.9/src/meta/regex.rs")
        );
        assert_eq!(
            in_crate(file, "regex"),
            None,
            "another crate, although its name begins alike"
        );
        assert_eq!(
            in_crate("/home/me/syn/src/file.rs", "syn"),
            None,
            "no version: not from a registry"
        );
    }
}
