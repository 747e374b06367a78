//! What was seen of contents that are built again and again: equal each time, or not.
//!
//! Filled by `contents`, consumed by `findings`. Read side, plain data. Leaves out the contents themselves: neither they nor their hashes
//! are in a snapshot.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::ids::ScopeNodeId;

/// What one [`observe_contents!`](crate::observe_contents) saw on one path of scopes, since the program began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ContentStats {
    /// Name given in the source; empty when there is none.
    pub name: String,
    /// Source file.
    pub file: String,
    /// Line in it.
    pub line: u32,
    /// Type of the value, as `std::any::type_name` has it; empty when there were several, in a generic function.
    pub type_name: String,
    /// The scope node that the thread was in; `None`: all paths beyond the first four together.
    pub scope: Option<ScopeNodeId>,
    /// Contents looked at. A sample of the calls: see `docs/same-contents.md`.
    pub observed: u64,
    /// Of these, how many could be compared with the one observed before.
    pub compared: u64,
    /// Of these, how many were equal to it.
    pub equal_to_last: u64,
    /// Different contents seen, at least. Counts no further than eight.
    pub distinct_at_least: u64,
    /// Different contents seen, at most.
    pub distinct_at_most: u64,
    /// Contents that were too large to be hashed. They are in no other figure.
    pub too_large: u64,
}

impl ContentStats {
    /// True when every comparison found the contents equal, and there were at least `comparisons` of them.
    #[must_use]
    pub fn is_equal_each_time(&self, comparisons: u64) -> bool {
        self.compared >= comparisons && self.equal_to_last == self.compared && self.too_large == 0
    }

    /// The collection that was observed, without its path, its parameters, and what is wrapped around it: `HashSet`.
    #[must_use]
    pub fn collection(&self) -> &str {
        let mut name = self.type_name.as_str();
        loop {
            name = name.trim_start_matches('&').trim_start_matches("mut ");
            if name == "str" || name.starts_with("str>") {
                return "String";
            }
            if name.starts_with('[') {
                return "Vec";
            }
            let (path, parameters) = name.split_once('<').unwrap_or((name, ""));
            let last = path.rsplit("::").next().unwrap_or(path).trim_end_matches('>');
            match last {
                "Arc" | "Rc" | "Box" | "Option" | "Hashed" => name = parameters,
                _ => return last,
            }
        }
    }

    /// True when it stands in `file`, which may be a longer or a shorter path of the same file.
    fn is_in(&self, file: &str) -> bool {
        let ends = |long: &str, short: &str| {
            long.strip_suffix(short)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(['/', '\\']))
        };
        !self.file.is_empty() && !file.is_empty() && (ends(&self.file, file) || ends(file, &self.file))
    }
}

/// Of what was observed, that which speaks of the `collection` (`HashSet`) built at `file:line` in `scope`.
///
/// The observation stands where the collection is complete: in the same file, in the same scope node, on the line itself or below it, and
/// above `next_line`, where the function builds its next collection of this kind, if it does.
#[must_use]
pub fn contents_built_at<'a>(
    contents: &'a [ContentStats],
    collection: &str,
    file: &str,
    line: u32,
    next_line: Option<u32>,
    scope: ScopeNodeId,
) -> Option<&'a ContentStats> {
    contents
        .iter()
        .filter(|stats| stats.scope == Some(scope) && stats.is_in(file) && stats.line >= line)
        .filter(|stats| stats.collection() == collection)
        .filter(|stats| next_line.is_none_or(|next| stats.line < next || stats.line == line))
        .min_by_key(|stats| stats.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, scope: u32) -> ContentStats {
        ContentStats {
            file: "src/fraud.rs".to_owned(),
            line,
            scope: Some(ScopeNodeId(scope)),
            type_name: "std::collections::hash::set::HashSet<u64>".to_owned(),
            ..ContentStats::default()
        }
    }

    #[test]
    fn an_observation_speaks_of_the_nearest_line_above_it() {
        let contents = [at(30, 2), at(12, 2), at(12, 3), at(9, 2)];
        let built_at = |file, line, next, scope| {
            contents_built_at(&contents, "HashSet", file, line, next, ScopeNodeId(scope)).map(|found| found.line)
        };
        let find = |line, next, scope| built_at("/home/app/src/fraud.rs", line, next, scope);
        assert_eq!(find(10, None, 2), Some(12));
        assert_eq!(find(12, Some(12), 2), Some(12), "the next collection on the same line");
        assert_eq!(find(10, Some(12), 2), None, "it is the next collection's");
        assert_eq!(find(13, None, 2), Some(30));
        assert_eq!(find(31, None, 2), None);
        assert_eq!(find(10, None, 4), None, "another path of scopes");
        assert_eq!(built_at("src/xfraud.rs", 10, None, 2), None);
        assert_eq!(built_at("fraud.rs", 13, None, 2), Some(30));
        assert_eq!(
            contents_built_at(&contents, "HashMap", "fraud.rs", 13, None, ScopeNodeId(2)),
            None,
            "another kind of collection"
        );
    }

    #[test]
    fn the_last_line_that_there_can_be_is_a_line() {
        let last = [at(u32::MAX, 2)];
        for (next, found) in [(None, true), (Some(u32::MAX), true), (Some(7), true)] {
            let stats = contents_built_at(&last, "HashSet", "fraud.rs", u32::MAX, next, ScopeNodeId(2));
            assert_eq!(stats.is_some(), found, "{next:?}");
        }
    }

    #[test]
    fn the_type_names_the_collection() {
        let collection = |type_name: &str| {
            let stats = ContentStats {
                type_name: type_name.to_owned(),
                ..ContentStats::default()
            };
            stats.collection().to_owned()
        };
        for (type_name, expected) in [
            ("std::collections::hash::set::HashSet<u64>", "HashSet"),
            ("&alloc::vec::Vec<alloc::string::String>", "Vec"),
            (
                "alloc::sync::Arc<std::collections::hash::map::HashMap<u64, u64>>",
                "HashMap",
            ),
            ("core::option::Option<&str>", "String"),
            ("alloc::sync::Arc<str>", "String"),
            ("alloc::string::String", "String"),
            ("[u8]", "Vec"),
            ("shop::Rules", "Rules"),
            ("", ""),
        ] {
            assert_eq!(collection(type_name), expected, "{type_name}");
        }
    }

    #[test]
    fn equal_each_time_needs_comparisons_and_no_exception() {
        let stats = |compared, equal_to_last, too_large| ContentStats {
            compared,
            equal_to_last,
            too_large,
            ..ContentStats::default()
        };
        assert!(stats(30, 30, 0).is_equal_each_time(30));
        assert!(!stats(29, 29, 0).is_equal_each_time(30));
        assert!(!stats(30, 29, 0).is_equal_each_time(30));
        assert!(!stats(30, 30, 1).is_equal_each_time(30));
    }
}
