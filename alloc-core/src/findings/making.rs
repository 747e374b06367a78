//! How a line comes to build something: what the library frames between it and the allocator say.
//!
//! Called by `places`; used by `rules` and `advice`. Read side; pure functions of names and files. What is not recognised is built in the
//! ordinary way, and the collection alone decides on the advice.
#![forbid(unsafe_code)]

use std::fmt;

use crate::model::Symbol;
use crate::symbolize::{Origin, belongs_to_collection, without_generics};

/// How a line builds what it builds, where that changes the advice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Making {
    /// A value that depends on its arguments alone and is meant to be made once: the type's name, as a rule.
    Compile(&'static Compiled),
    /// A document is read into values.
    Parse(&'static str),
    Clone,
    /// Text or a slice is copied into a collection of its own: `to_owned`, `to_string`, `to_vec`.
    Copy,
    Format,
    Join,
    Sort,
    Collect,
}

/// Constructors that are meant to be called once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Compiled {
    /// Crate, as in paths of functions.
    krate: &'static str,
    /// Type for the advice.
    pub(super) type_name: &'static str,
    /// Methods of the crate that the own code calls.
    methods: &'static [&'static str],
}

/// Documented in `docs/rebuilds.md`.
const COMPILED: &[Compiled] = &[
    Compiled {
        krate: "regex",
        type_name: "Regex",
        methods: &["new", "build", "from_str"],
    },
    Compiled {
        krate: "regex_lite",
        type_name: "Regex",
        methods: &["new", "build", "from_str"],
    },
    Compiled {
        krate: "fancy_regex",
        type_name: "Regex",
        methods: &["new", "build", "from_str"],
    },
    Compiled {
        krate: "regex_automata",
        type_name: "Regex",
        methods: &["new", "new_many", "build", "build_many"],
    },
    Compiled {
        krate: "globset",
        type_name: "GlobSet",
        methods: &["new", "build", "from_str"],
    },
    Compiled {
        krate: "aho_corasick",
        type_name: "AhoCorasick",
        methods: &["new", "build"],
    },
    Compiled {
        krate: "jsonschema",
        type_name: "Validator",
        methods: &["new", "build", "validator_for", "compile"],
    },
    Compiled {
        krate: "tera",
        type_name: "Tera",
        methods: &["new", "parse"],
    },
    Compiled {
        krate: "handlebars",
        type_name: "Handlebars",
        methods: &["new", "register_template_string"],
    },
    Compiled {
        krate: "reqwest",
        type_name: "Client",
        methods: &["new", "build"],
    },
];

/// Crates that read documents, and the methods that do.
const PARSERS: &[&str] = &[
    "serde_json",
    "simd_json",
    "sonic_rs",
    "serde_yaml",
    "toml",
    "ron",
    "quick_xml",
    "serde_urlencoded",
];
const PARSING: &[&str] = &[
    "from_str",
    "from_slice",
    "from_reader",
    "from_bytes",
    "parse",
    "from_value",
];

impl Making {
    /// By the frames between the allocator and the own line, innermost first.
    pub(super) fn of(frames: &[(&Symbol, Origin)]) -> Option<Self> {
        let frames: Vec<Below> = frames
            .iter()
            .map(|(symbol, origin)| Below::of(symbol, *origin))
            .collect();
        // Nearest to the own line: what its author wrote.
        let called = frames.iter().rev().find(|below| below.origin == Origin::Dependency);
        if let Some(called) = called {
            let krate = called.krate.as_deref().unwrap_or_default();
            let of_crate = |compiled: &&Compiled| compiled.krate == krate;
            if let Some(compiled) = COMPILED.iter().find(of_crate)
                && compiled.methods.contains(&called.method.as_str())
            {
                return Some(Self::Compile(compiled));
            }
            if let Some(&parser) = PARSERS.iter().find(|&&parser| parser == krate)
                && PARSING.contains(&called.method.as_str())
            {
                return Some(Self::Parse(parser));
            }
        }
        // From the line inwards, up to the first method of a collection or of a dependency: what these do inside, nobody here wrote.
        let below_line = frames
            .iter()
            .rev()
            .filter(|below| matches!(below.origin, Origin::Std | Origin::User | Origin::Dependency));
        for below in below_line {
            let idiom = below.idiom();
            if below.origin == Origin::Dependency {
                // Whether to clone its type is for the own line to say.
                return idiom.filter(|idiom| *idiom == Self::Clone);
            }
            if idiom.is_some() || below.is_of_collection {
                return idiom;
            }
        }
        None
    }
}

/// True when a dependency builds it for itself: what the own line calls is a function of one, and no method of a standard collection, and
/// no constructor or parser that is known.
pub(super) fn is_of_dependency(frames: &[(&Symbol, Origin)]) -> bool {
    let is_known = matches!(Making::of(frames), Some(Making::Compile(_) | Making::Parse(_)));
    is_inside_dependency(frames) && !is_known
}

/// True when the collection is declared inside of a dependency, whatever the own line called it for.
pub(super) fn is_inside_dependency(frames: &[(&Symbol, Origin)]) -> bool {
    let called = frames.iter().rev().find(|(symbol, origin)| {
        *origin == Origin::Dependency || *origin == Origin::Std && belongs_to_collection(symbol)
    });
    called.is_some_and(|(_, origin)| *origin == Origin::Dependency)
}

/// A frame below the line.
struct Below {
    origin: Origin,
    method: String,
    krate: Option<String>,
    /// Of the file, with `/`.
    file: String,
    is_of_collection: bool,
}

impl Below {
    fn of(symbol: &Symbol, origin: Origin) -> Self {
        let name = without_generics(&symbol.function);
        let method = name
            .rsplit("::")
            .find(|part| !part.starts_with('{'))
            .unwrap_or_default();
        let file = symbol.file.replace('\\', "/");
        Self {
            origin,
            method: method.to_owned(),
            krate: crate_of_file(&file).or_else(|| crate_of_name(&symbol.function)),
            is_of_collection: origin == Origin::Std && belongs_to_collection(symbol),
            file,
        }
    }

    fn idiom(&self) -> Option<Making> {
        let in_file = |part: &str| self.file.is_empty() || self.file.contains(part);
        Some(match self.method.as_str() {
            "clone" | "clone_from" => Making::Clone,
            "to_owned" | "to_vec" | "into_owned" => Making::Copy,
            "to_string" | "spec_to_string" if in_file("string.rs") => Making::Copy,
            "from" if self.file.ends_with("alloc/src/string.rs") => Making::Copy,
            "format" | "format_inner" if in_file("fmt.rs") => Making::Format,
            "join" | "concat" if in_file("/str.rs") || in_file("/slice.rs") => Making::Join,
            "sort" | "sort_by" | "sort_by_key" | "sort_by_cached_key" | "stable_sort" if in_file("slice") => {
                Making::Sort
            }
            "collect" | "from_iter" => Making::Collect,
            _ => return None,
        })
    }
}

/// `serde_json` of `/registry/src/index-1/serde_json-1.0.1/src/de.rs`.
fn crate_of_file(file: &str) -> Option<String> {
    let (rest, skip) = [("/registry/src/", 1), ("/git/checkouts/", 0), ("/vendor/", 0)]
        .iter()
        .find_map(|&(mark, skip)| Some((file.split_once(mark)?.1, skip)))?;
    let directory = rest.split('/').nth(skip)?;
    let name = match directory.rsplit_once('-') {
        // Versions of two parts have a dash, too: `1.0.0-rc.1`.
        Some(_) => {
            let mut parts = directory.split('-');
            let mut name = parts.next()?.to_owned();
            for part in parts.take_while(|part| !part.starts_with(|c: char| c.is_ascii_digit())) {
                name.push('_');
                name.push_str(part);
            }
            name
        }
        None => directory.to_owned(),
    };
    Some(name)
}

/// `regex` of `<regex::regex::string::Regex>::new`.
fn crate_of_name(function: &str) -> Option<String> {
    let start = function.trim_start_matches(['<', '&', '*']);
    let (first, _) = start.split_once("::")?;
    Some(first.trim_start_matches("dyn ").to_owned())
}

impl fmt::Display for Making {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compile(compiled) => write!(f, "{}::{}", compiled.krate, compiled.type_name),
            Self::Parse(parser) => f.write_str(parser),
            Self::Clone => f.write_str("clone"),
            Self::Copy => f.write_str("copy"),
            Self::Format => f.write_str("format!"),
            Self::Join => f.write_str("join"),
            Self::Sort => f.write_str("sort"),
            Self::Collect => f.write_str("collect"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "/home/me/.cargo/registry/src/index.crates.io-1";

    fn made(frames: &[(&str, &str)]) -> String {
        let symbols: Vec<Symbol> = frames
            .iter()
            .map(|(function, file)| Symbol {
                function: (*function).to_owned(),
                file: file.replace("REG", REGISTRY).replace("LIB", "/rustc/1/library"),
                line: 1,
            })
            .collect();
        let own = crate::symbolize::Own::default();
        let frames: Vec<_> = symbols.iter().map(|symbol| (symbol, own.origin(symbol))).collect();
        Making::of(&frames).map_or_else(|| "-".to_owned(), |making| making.to_string())
    }

    #[test]
    fn constructors_of_dependencies_are_known_by_crate_and_method() {
        let push = ("push<u8>", "LIB/alloc/src/vec/mod.rs");
        let automaton = ("new", "REG/regex-automata-0.4.9/src/meta/regex.rs");
        for (called, expected) in [
            (("new", "REG/regex-1.11.1/src/regex/string.rs"), "regex::Regex"),
            (
                (
                    "regex::regex::string::Regex::new",
                    "REG/regex-1.11.1/src/regex/string.rs",
                ),
                "regex::Regex",
            ),
            (("build", "REG/globset-0.4.16/src/lib.rs"), "globset::GlobSet"),
            (
                ("new<&[&str]>", "REG/aho-corasick-1.1.3/src/ahocorasick.rs"),
                "aho_corasick::AhoCorasick",
            ),
            // What a match needs is not what compiling needs.
            (("captures_iter", "REG/regex-1.11.1/src/regex/string.rs"), "-"),
            (
                ("from_str<serde_json::value::Value>", "REG/serde_json-1.0.140/src/de.rs"),
                "serde_json",
            ),
            (("to_string<app::Order>", "REG/serde_json-1.0.140/src/ser.rs"), "-"),
        ] {
            assert_eq!(made(&[push, automaton, called]), expected, "{called:?}");
        }
    }

    #[test]
    fn idioms_are_named_by_the_frame_next_to_the_line() {
        let alloc = ("alloc", "LIB/alloc/src/alloc.rs");
        for (frames, expected) in [
            (
                vec![
                    ("to_vec<u8>", "LIB/alloc/src/slice.rs"),
                    ("clone", "LIB/alloc/src/string.rs"),
                ],
                "clone",
            ),
            (
                vec![
                    ("to_vec<u8>", "LIB/alloc/src/slice.rs"),
                    ("to_owned", "LIB/alloc/src/str.rs"),
                ],
                "copy",
            ),
            (
                vec![
                    ("spec_to_string", "LIB/alloc/src/string.rs"),
                    ("to_string<str>", "LIB/alloc/src/string.rs"),
                ],
                "copy",
            ),
            (vec![("from", "LIB/alloc/src/string.rs")], "copy"),
            (
                vec![
                    ("with_capacity", "LIB/alloc/src/string.rs"),
                    ("format_inner", "LIB/alloc/src/fmt.rs"),
                ],
                "format!",
            ),
            (
                vec![
                    ("join<&str>", "LIB/alloc/src/str.rs"),
                    ("join<&str>", "LIB/alloc/src/slice.rs"),
                ],
                "join",
            ),
            (
                vec![
                    ("driftsort_main", "LIB/core/src/slice/sort/stable/mod.rs"),
                    ("sort<u64>", "LIB/alloc/src/slice.rs"),
                ],
                "sort",
            ),
            (
                vec![
                    ("from_iter<u64>", "LIB/alloc/src/vec/mod.rs"),
                    ("collect", "LIB/core/src/iter/traits/iterator.rs"),
                ],
                "collect",
            ),
            (vec![("push<u8>", "LIB/alloc/src/vec/mod.rs")], "-"),
            (
                vec![
                    ("to_vec<u8>", "LIB/alloc/src/slice.rs"),
                    ("to_owned", "LIB/std/src/ffi/os_str.rs"),
                    ("join<&str>", "LIB/std/src/path.rs"),
                ],
                "-",
            ),
            (vec![("clone", "/home/me/app/src/config.rs")], "clone"),
        ] {
            let mut all = vec![alloc];
            all.extend(frames.iter().copied());
            assert_eq!(made(&all), expected, "{frames:?}");
        }
    }

    #[test]
    fn crates_are_read_off_paths() {
        for (file, krate) in [
            ("/x/registry/src/i/serde_json-1.0.1/src/de.rs", Some("serde_json")),
            (
                "/x/registry/src/i/aho-corasick-1.1.3-rc.1/src/de.rs",
                Some("aho_corasick"),
            ),
            ("/x/git/checkouts/tokio-12/abc/tokio/src/lib.rs", Some("tokio")),
            ("/x/vendor/regex/src/lib.rs", Some("regex")),
            ("/home/me/src/lib.rs", None),
        ] {
            assert_eq!(crate_of_file(file).as_deref(), krate, "{file}");
        }
    }
}
