//! Which collection a call stack builds.
//!
//! Called by `report`, once for each distinct leading run of library frames. Read side; pure functions of text. The
//! rule: of the standard library's frames next to the allocator, the outermost one whose file is a collection's,
//! because the inner ones are building blocks (a `HashSet` is a `HashMap` is a table; a `String` is a `Vec`). Leaves out
//! collections of other crates: their standard-library parts are named.
#![forbid(unsafe_code)]

use std::fmt;

use super::names::{Origin, is_hashbrown_file, split_balanced, without_generics};
use crate::model::Symbol;

/// A collection of the standard library, with its type parameters where the debug information has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CollectionKind {
    /// `HashSet`, `Vec`, ...
    pub(crate) name: &'static str,
    /// `u64` of `HashSet<u64>`; empty when unknown, or when the kind has none.
    pub(crate) parameters: Vec<String>,
}

impl fmt::Display for CollectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if !self.parameters.is_empty() {
            write!(f, "<{}>", self.parameters.join(", "))?;
        }
        Ok(())
    }
}

/// Where the leading library frames of a stack (innermost first) say which collection it builds: the position of the
/// deciding frame. The iterator yields, for each source frame, its origin and [`belongs_to_collection`].
pub(crate) fn deciding_frame(frames: impl Iterator<Item = (Origin, bool)>) -> Option<usize> {
    let mut found = None;
    for (at, (origin, belongs)) in frames.enumerate() {
        match origin {
            Origin::Tracker if found.is_none() => {}
            Origin::Std if belongs => found = Some(at),
            Origin::Std => {}
            Origin::Tracker | Origin::Dependency | Origin::User | Origin::Unknown => break,
        }
    }
    found
}

/// True when the frame, if it is the standard library's, is a method of a collection that can allocate.
pub(crate) fn belongs_to_collection(symbol: &Symbol) -> bool {
    base_kind(symbol).is_some()
}

/// The collection that one library frame belongs to.
pub(crate) fn collection_kind(symbol: &Symbol) -> Option<CollectionKind> {
    let mut name = base_kind(symbol)?;
    let mut parameters = parameters(symbol, name);
    let wanted = match name {
        "HashMap" | "BTreeMap" => 2,
        "String" | "CString" | "OsString" | "PathBuf" => 0,
        _ => 1,
    };
    // hashbrown's table holds one type, the pair; a set is a map to nothing.
    if name == "HashMap"
        && let Some(pair) = parameters
            .first()
            .and_then(|p| p.strip_prefix('('))
            .and_then(|p| p.strip_suffix(')'))
        && symbol.file.contains("raw")
    {
        let mut pair = split_arguments(pair);
        if pair.get(1).is_some_and(|value| value == "()") {
            name = "HashSet";
            pair.truncate(1);
        }
        parameters = pair;
    }
    parameters.truncate(wanted);
    if parameters.len() < wanted && name != "HashSet" {
        parameters.clear();
    }
    Some(CollectionKind { name, parameters })
}

/// The kind by the frame's file, or by its name when the file is not known.
fn base_kind(symbol: &Symbol) -> Option<&'static str> {
    let function = without_generics(&symbol.function);
    let method = function.rsplit("::").next().unwrap_or(&function);
    // What a box, an iterator or a guard does on behalf of its content is the content's business.
    if matches!(
        method,
        "call_once" | "call_mut" | "call" | "poll" | "next" | "fold" | "try_fold" | "fmt" | "write_str"
    ) || method.starts_with("drop")
    {
        return None;
    }
    // A slice of strings joins to a string.
    if matches!(method, "join" | "concat") && symbol.file.ends_with("slice.rs") {
        return None;
    }
    if symbol.file.is_empty() {
        kind_of_name(&symbol.function)
    } else {
        kind_of_file(&symbol.file.replace('\\', "/"))
    }
}

fn kind_of_file(file: &str) -> Option<&'static str> {
    /// Parts of a path, and the kind; the first that fits counts.
    const FILES: &[(&str, &str)] = &[
        ("std/src/collections/hash/map", "HashMap"),
        ("std/src/collections/hash/set", "HashSet"),
        ("alloc/src/collections/btree/set", "BTreeSet"),
        ("alloc/src/collections/btree/", "BTreeMap"),
        ("alloc/src/collections/vec_deque/", "VecDeque"),
        ("alloc/src/collections/binary_heap", "BinaryHeap"),
        ("alloc/src/collections/linked_list", "LinkedList"),
        ("alloc/src/string.rs", "String"),
        ("alloc/src/str.rs", "String"),
        ("alloc/src/fmt.rs", "String"),
        ("alloc/src/ffi/c_str.rs", "CString"),
        ("std/src/ffi/os_str.rs", "OsString"),
        ("std/src/path.rs", "PathBuf"),
        ("alloc/src/vec/", "Vec"),
        ("alloc/src/slice.rs", "Vec"),
        ("alloc/src/raw_vec", "Vec"),
        ("alloc/src/sync.rs", "Arc"),
        ("alloc/src/rc.rs", "Rc"),
        ("alloc/src/boxed", "Box"),
    ];
    if is_hashbrown_file(file) {
        return Some(if file.ends_with("/set.rs") {
            "HashSet"
        } else {
            "HashMap"
        });
    }
    FILES
        .iter()
        .find(|(part, _)| file.contains(part))
        .map(|&(_, kind)| kind)
}

/// Only functions that were not inlined have a name without line tables: growth, mostly.
fn kind_of_name(function: &str) -> Option<&'static str> {
    const NAMES: &[(&str, &str)] = &[
        ("std::collections::hash::map", "HashMap"),
        ("std::collections::hash::set", "HashSet"),
        ("hashbrown::set", "HashSet"),
        ("hashbrown::", "HashMap"),
        ("alloc::collections::btree::set", "BTreeSet"),
        ("alloc::collections::btree", "BTreeMap"),
        ("alloc::collections::vec_deque", "VecDeque"),
        ("alloc::collections::binary_heap", "BinaryHeap"),
        ("alloc::collections::linked_list", "LinkedList"),
        ("alloc::string", "String"),
        ("alloc::str::", "String"),
        ("alloc::fmt", "String"),
        ("alloc::vec", "Vec"),
        ("alloc::slice", "Vec"),
        ("alloc::raw_vec", "Vec"),
        ("alloc::sync", "Arc"),
        ("alloc::rc", "Rc"),
        ("alloc::boxed", "Box"),
    ];
    let start = function.trim_start_matches(['<', '&']);
    NAMES
        .iter()
        .find(|(path, _)| start.starts_with(path))
        .map(|&(_, kind)| kind)
}

/// Type arguments that the frame's name carries, shortened. Three forms occur:
/// `insert<u64, String, RandomState, Global>` (line tables only), `<alloc::vec::Vec<u64>>::push` (v0 mangling), and
/// `alloc::vec::Vec<T,A>::push` (legacy mangling: parameter names, which say nothing).
fn parameters(symbol: &Symbol, kind: &str) -> Vec<String> {
    let function = symbol.function.as_str();
    let list = if function.starts_with('<') {
        let Some((inner, _)) = split_balanced(function) else {
            return Vec::new();
        };
        let self_type = inner.split(" as ").next().unwrap_or(inner);
        let owner = without_generics(self_type);
        let owner = owner.rsplit("::").next().unwrap_or(&owner);
        if owner != kind && !matches!(owner, "RawVec" | "RawTable" | "VacantEntry" | "OccupiedEntry") {
            return Vec::new();
        }
        self_type.find('<').map(|at| &self_type[at..])
    } else if function.ends_with('>') && !function.contains("::<") {
        function.find('<').map(|at| &function[at..])
    } else {
        None
    };
    let Some((arguments, _)) = list.and_then(split_balanced) else {
        return Vec::new();
    };
    let arguments = split_arguments(arguments);
    // A building block that is generic in its allocator only; or the names of parameters, which say nothing.
    let is_placeholder = |argument: &String| matches!(argument.as_bytes(), [b'A'..=b'Z']);
    let says_nothing = arguments
        .first()
        .is_some_and(|first| first == "Global" || is_placeholder(first));
    if says_nothing { Vec::new() } else { arguments }
}

/// Splits at the commas outside all brackets, and shortens each type.
pub(crate) fn split_arguments(list: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut depth = 0_i32;
    let mut start = 0;
    let mut previous = ' ';
    for (at, c) in list.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if previous == '-' => {}
            '>' | ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(short_type(list[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
        previous = c;
    }
    let last = list[start..].trim();
    if !last.is_empty() {
        arguments.push(short_type(last));
    }
    arguments
}

/// A type without module paths, default allocator and default hasher.
fn short_type(long: &str) -> String {
    let mut out = String::with_capacity(long.len());
    let mut rest = long;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("::") {
            let path = out
                .trim_end_matches(|c: char| c.is_alphanumeric() || "_{}#".contains(c))
                .len();
            if path < out.len() {
                out.truncate(path);
            } else {
                out.push_str("::");
            }
            rest = tail;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out.replace(", Global>", ">").replace(", RandomState>", ">")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(function: &str, file: &str) -> String {
        let symbol = Symbol {
            function: function.to_owned(),
            file: file.to_owned(),
            line: 1,
        };
        collection_kind(&symbol).map_or_else(|| "-".to_owned(), |kind| kind.to_string())
    }

    #[test]
    fn files_and_type_arguments_name_the_collection() {
        let library = "/rustc/59807616e/library";
        for (function, file, expected) in [
            (
                "insert<u64, alloc::string::String, std::hash::random::RandomState, alloc::alloc::Global>",
                "std/src/collections/hash/map.rs",
                "HashMap<u64, String>",
            ),
            (
                "from_iter<u64, std::hash::random::RandomState, core::ops::range::Range<u64>>",
                "std/src/collections/hash/set.rs",
                "HashSet<u64>",
            ),
            ("push<u8, alloc::alloc::Global>", "alloc/src/vec/mod.rs", "Vec<u8>"),
            (
                "to_vec<(u64, &str), alloc::alloc::Global>",
                "alloc/src/slice.rs",
                "Vec<(u64, &str)>",
            ),
            ("finish_grow<alloc::alloc::Global>", "alloc/src/raw_vec/mod.rs", "Vec"),
            ("push_str", "alloc/src/string.rs", "String"),
            ("join<&str>", "alloc/src/str.rs", "String"),
            ("join<&str, &str>", "alloc/src/slice.rs", "-"),
            ("format", "alloc/src/fmt.rs", "String"),
            (
                "insert<u64, shop::model::Big, alloc::alloc::Global>",
                "alloc/src/collections/btree/map.rs",
                "BTreeMap<u64, Big>",
            ),
            (
                "insert<u64, alloc::alloc::Global>",
                "alloc/src/collections/btree/set.rs",
                "BTreeSet<u64>",
            ),
            (
                "push_back<u32, alloc::alloc::Global>",
                "alloc/src/collections/vec_deque/mod.rs",
                "VecDeque<u32>",
            ),
            ("new<shop::Big>", "alloc/src/boxed.rs", "Box<Big>"),
            ("new<shop::Big>", "alloc/src/sync.rs", "Arc<Big>"),
            (
                "new<core::cell::RefCell<alloc::vec::Vec<u8, alloc::alloc::Global>>>",
                "alloc/src/rc.rs",
                "Rc<RefCell<Vec<u8>>>",
            ),
            (
                "call_once<(), dyn core::ops::function::FnOnce<(), Output=()>, alloc::alloc::Global>",
                "alloc/src/boxed.rs",
                "-",
            ),
            (
                "<alloc::vec::Vec<u8>>::with_capacity",
                "alloc/src/vec/mod.rs",
                "Vec<u8>",
            ),
            ("alloc::vec::Vec<T,A>::push", "alloc/src/vec/mod.rs", "Vec"),
            (
                "<alloc::vec::Vec<u8> as core::convert::From<&str>>::from",
                "alloc/src/string.rs",
                "String",
            ),
            (
                "collect<core::ops::range::Range<u64>, std::collections::hash::set::HashSet<u64>>",
                "core/src/iter/traits/iterator.rs",
                "-",
            ),
        ] {
            assert_eq!(
                kind(function, &format!("{library}/{file}")),
                expected,
                "{function} in {file}"
            );
        }
        let table = "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs";
        assert_eq!(
            kind("reserve_rehash<(u64, ()), alloc::alloc::Global>", table),
            "HashSet<u64>"
        );
        assert_eq!(
            kind(
                "reserve_rehash<(u64, alloc::string::String), alloc::alloc::Global>",
                table
            ),
            "HashMap<u64, String>"
        );
        assert_eq!(
            kind(
                "insert<u64, u8, ahash::RandomState, alloc::alloc::Global>",
                "/x/registry/src/i/hashbrown-0.15.0/src/map.rs"
            ),
            "HashMap<u64, u8>"
        );
    }

    #[test]
    fn names_serve_where_files_are_missing() {
        for (function, expected) in [
            ("alloc::raw_vec::RawVec<T,A>::grow_one", "Vec"),
            (
                "<alloc::vec::Vec<T> as alloc::vec::spec_from_iter::SpecFromIter<T,I>>::from_iter",
                "Vec",
            ),
            ("<alloc::raw_vec::RawVec<u64>>::grow_one", "Vec<u64>"),
            ("hashbrown::map::HashMap<K,V,S,A>::insert", "HashMap"),
            (
                "<hashbrown::map::HashMap<u64, alloc::string::String, std::hash::random::RandomState>>::insert",
                "HashMap<u64, String>",
            ),
            ("alloc::fmt::format::format_inner", "String"),
            ("shop::main", "-"),
        ] {
            assert_eq!(kind(function, ""), expected, "{function}");
        }
    }

    #[test]
    fn odd_names_do_no_harm() {
        for function in [
            "<",
            ">",
            "a<",
            "a>",
            "a<b->c>",
            "::",
            "<>::x",
            "f<,>",
            "f<(>",
            "é<ü::ß>",
        ] {
            for file in [
                "",
                "/rustc/1/library/alloc/src/vec/mod.rs",
                "/rust/deps/hashbrown-0.1.0/src/raw/mod.rs",
            ] {
                kind(function, file);
            }
        }
        assert_eq!(short_type("&'static mut [a::b::C; 3]"), "&'static mut [C; 3]");
        assert_eq!(short_type("<a::T as b::U>::Out"), "<T as U>::Out");
        assert_eq!(
            short_type("dyn a::B<c::D, Output=e::F> + Send"),
            "dyn B<D, Output=F> + Send"
        );
        assert_eq!(
            split_arguments("fn(u8, u16) -> u32, (a::B, C)"),
            ["fn(u8, u16) -> u32", "(B, C)"]
        );
    }

    #[test]
    fn the_outermost_library_frame_next_to_the_allocator_decides() {
        let frame = |file: &str| Symbol {
            function: "f".to_owned(),
            file: file.to_owned(),
            line: 1,
        };
        let frames = [
            (frame("alloc-core/src/record/gate.rs"), Origin::Tracker),
            (frame("library/alloc/src/raw_vec/mod.rs"), Origin::Std),
            (frame("library/alloc/src/vec/mod.rs"), Origin::Std),
            (frame("library/alloc/src/string.rs"), Origin::Std),
            (frame("library/core/src/iter/traits/iterator.rs"), Origin::Std),
            (frame("shop/src/main.rs"), Origin::User),
            (frame("library/std/src/collections/hash/map.rs"), Origin::Std),
        ];
        let deciding = |frames: &[(Symbol, Origin)]| {
            deciding_frame(
                frames
                    .iter()
                    .map(|(symbol, origin)| (*origin, belongs_to_collection(symbol))),
            )
        };
        assert_eq!(deciding(&frames), Some(3));
        assert_eq!(deciding(&frames[5..]), None);
    }
}
