//! What is made, and which names make it.
//!
//! Called by `names` and by the walk. Tables of names, so that "which types", "which constructors" and "what they cost" are one
//! place each. Names are those of std, and of the crates whose types stand in for std's (hashbrown, ahash, rustc-hash, indexmap).
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Serialize, Serializer};

/// Kind of what a candidate makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// `Vec`, also `vec![]` and `.to_vec()`.
    Vec,
    /// `VecDeque`.
    VecDeque,
    /// `String`, also `format!`, `.to_string()` and `.to_owned()` of text.
    String,
    /// `PathBuf`, also `.to_path_buf()`.
    PathBuf,
    /// `HashMap` and what stands in for it.
    HashMap,
    /// `HashSet` and what stands in for it.
    HashSet,
    /// `BTreeMap`.
    BTreeMap,
    /// `BTreeSet`.
    BTreeSet,
    /// `BinaryHeap`.
    BinaryHeap,
    /// A compiled regular expression.
    Regex,
    /// A value parsed by `serde_json`, of a type that is no collection by name.
    Json,
    /// `Box`.
    Box,
    /// `Rc`.
    Rc,
    /// `Arc`.
    Arc,
    /// `.clone()` of a struct that holds collections, or of something whose type is not seen.
    Clone,
    /// `.collect()` into a type that is not seen.
    Collected,
}

impl Kind {
    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Vec => "Vec",
            Kind::VecDeque => "VecDeque",
            Kind::String => "String",
            Kind::PathBuf => "PathBuf",
            Kind::HashMap => "HashMap",
            Kind::HashSet => "HashSet",
            Kind::BTreeMap => "BTreeMap",
            Kind::BTreeSet => "BTreeSet",
            Kind::BinaryHeap => "BinaryHeap",
            Kind::Regex => "Regex",
            Kind::Json => "Json",
            Kind::Box => "Box",
            Kind::Rc => "Rc",
            Kind::Arc => "Arc",
            Kind::Clone => "Clone",
            Kind::Collected => "Collected",
        }
    }

    /// The kind of a type with this name; `None` for all that are not looked for.
    pub(crate) fn of_type(name: &str) -> Option<Self> {
        Some(match name {
            "Vec" => Kind::Vec,
            "VecDeque" => Kind::VecDeque,
            "String" => Kind::String,
            "PathBuf" => Kind::PathBuf,
            "HashMap" | "FxHashMap" | "AHashMap" | "IndexMap" => Kind::HashMap,
            "HashSet" | "FxHashSet" | "AHashSet" | "IndexSet" => Kind::HashSet,
            "BTreeMap" => Kind::BTreeMap,
            "BTreeSet" => Kind::BTreeSet,
            "BinaryHeap" => Kind::BinaryHeap,
            "Regex" | "RegexSet" | "RegexBuilder" | "RegexSetBuilder" => Kind::Regex,
            "Box" => Kind::Box,
            "Rc" => Kind::Rc,
            "Arc" => Kind::Arc,
            _ => return None,
        })
    }

    /// Keys and values, or members: what is asked rather than gone through.
    pub(crate) fn is_lookup(self) -> bool {
        matches!(self, Kind::HashMap | Kind::HashSet | Kind::BTreeMap | Kind::BTreeSet)
    }

    /// Grows by pushes, and keeps its buffer when cleared.
    pub(crate) fn is_buffer(self) -> bool {
        matches!(
            self,
            Kind::Vec
                | Kind::VecDeque
                | Kind::String
                | Kind::HashMap
                | Kind::HashSet
                | Kind::BinaryHeap
                | Kind::PathBuf
        )
    }

    pub(crate) fn is_pointer(self) -> bool {
        matches!(self, Kind::Box | Kind::Rc | Kind::Arc)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What a constructor does about memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ctor {
    /// Takes none until something is put in.
    Empty,
    /// Takes room for its first argument: none if that is 0.
    Capacity,
    /// Takes what its argument needs: none if that is an empty literal.
    From,
    /// Always takes some.
    Makes,
}

/// The constructor `name` of `kind`; `None` when it is not one that makes a new value.
pub(crate) fn constructor(kind: Kind, name: &str) -> Option<Ctor> {
    match (kind, name) {
        (Kind::Regex, "new") => Some(Ctor::Makes),
        (Kind::Box | Kind::Rc | Kind::Arc, "new" | "from") => Some(Ctor::Makes),
        (Kind::Regex | Kind::Box | Kind::Rc | Kind::Arc | Kind::Json | Kind::Clone | Kind::Collected, _) => None,
        (_, "new" | "default" | "with_hasher") => Some(Ctor::Empty),
        (_, "with_capacity" | "with_capacity_and_hasher") => Some(Ctor::Capacity),
        (_, "from" | "from_iter") => Some(Ctor::From),
        _ => None,
    }
}

/// Methods that put something into their receiver, or may make it larger.
pub(crate) fn is_growth(method: &str) -> bool {
    matches!(
        method,
        "push"
            | "push_str"
            | "push_back"
            | "push_front"
            | "insert"
            | "insert_str"
            | "extend"
            | "extend_from_slice"
            | "extend_from_within"
            | "append"
            | "resize"
            | "resize_with"
            | "reserve"
            | "reserve_exact"
            | "entry"
            | "write_str"
            | "write_fmt"
            | "write_char"
            | "write_all"
            | "put_slice"
            | "put_u8"
            | "get_or_insert_with"
            | "replace"
            | "splice"
            | "try_reserve"
            | "push_within_capacity"
            | "write"
    )
}

/// Methods whose result is their receiver, or holds it.
pub(crate) fn passes_on(method: &str) -> bool {
    matches!(
        method,
        "unwrap"
            | "expect"
            | "unwrap_or"
            | "unwrap_or_default"
            | "unwrap_or_else"
            | "into"
            | "try_into"
            | "ok"
            | "err"
            | "map_err"
            | "ok_or"
            | "ok_or_else"
            | "context"
            | "with_context"
            | "freeze"
            | "boxed"
            | "finish"
            | "build"
            | "or_else"
            | "or"
            | "leak"
            | "await"
            | "chain_err"
            | "wrap_err"
            | "wrap_err_with"
    ) || (method.starts_with("into_") && !takes_apart(method))
}

/// Methods that take the receiver's elements out one by one and free its memory.
pub(crate) fn takes_apart(method: &str) -> bool {
    matches!(
        method,
        "into_iter" | "into_par_iter" | "into_keys" | "into_values" | "drain" | "into_sorted_vec"
    )
}

/// Types whose `clone` copies no heap memory.
pub(crate) fn is_cheap(name: &str) -> bool {
    matches!(
        name,
        "Rc" | "Arc"
            | "Weak"
            | "Bytes"
            | "Sender"
            | "SyncSender"
            | "UnboundedSender"
            | "Receiver"
            | "Handle"
            | "Duration"
            | "Instant"
            | "SystemTime"
            | "Ordering"
            | "PhantomData"
            | "bool"
            | "char"
            | "u8"
            | "u16"
            | "u32"
            | "u64"
            | "u128"
            | "usize"
            | "i8"
            | "i16"
            | "i32"
            | "i64"
            | "i128"
            | "isize"
            | "f32"
            | "f64"
            | "NonZeroU32"
            | "NonZeroU64"
            | "NonZeroUsize"
            | "IpAddr"
            | "Ipv4Addr"
            | "Ipv6Addr"
            | "SocketAddr"
            | "Uuid"
            | "Span"
            | "Method"
            | "StatusCode"
            | "Iter"
            | "Chars"
            | "Range"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_that_take_no_memory_are_told_from_those_that_do() {
        assert_eq!(constructor(Kind::Vec, "new"), Some(Ctor::Empty));
        assert_eq!(constructor(Kind::HashMap, "with_capacity"), Some(Ctor::Capacity));
        assert_eq!(constructor(Kind::Box, "new"), Some(Ctor::Makes));
        assert_eq!(constructor(Kind::Arc, "clone"), None);
        assert_eq!(constructor(Kind::String, "from_utf8"), None);
    }
}
