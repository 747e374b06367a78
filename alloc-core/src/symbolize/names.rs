//! What the name and the file of a source frame say: whose code it is, and how to print it short.
//!
//! Called by `symbolize::kinds` and by `report`. Read side; pure functions of text. Invariant: none of them fails, on
//! any text. Leaves out what the text does not say: with line tables only, a function's name has no module path. The lint, which may not
//! import from here, has the same marks of whose code it is (`alloc-lint/src/origin.rs`): a change here is due there, too.
#![forbid(unsafe_code)]

use crate::model::Symbol;

/// Whose code a source frame is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The tracker, and the allocator shims around it.
    Tracker,
    /// The standard library, hashbrown included.
    Std,
    /// A crate from a registry or a git checkout, C code that it brings included.
    Dependency,
    /// The user's own.
    User,
    /// The C library, or symbols that do not say.
    Unknown,
}

/// Which crates are the user's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// Crate names with underscores. Empty: whatever is not from a registry, a git checkout or the toolchain.
    names: Vec<String>,
}

impl Own {
    pub(crate) fn new(names: &[String]) -> Self {
        Self {
            names: names.iter().map(|name| name.replace('-', "_")).collect(),
        }
    }

    /// Whose code the frame is in. With configured names, everything else that is neither the standard library nor the
    /// tracker counts as a dependency.
    pub(crate) fn origin(&self, symbol: &Symbol) -> Origin {
        let origin = default_origin(symbol);
        if self.names.is_empty() || !matches!(origin, Origin::User | Origin::Dependency) {
            return origin;
        }
        if self.names.iter().any(|name| is_of_crate(symbol, name)) {
            Origin::User
        } else {
            Origin::Dependency
        }
    }
}

fn default_origin(symbol: &Symbol) -> Origin {
    if is_allocator_shim(&symbol.function) {
        return Origin::Tracker;
    }
    if symbol.file.is_empty() {
        return origin_by_name(&symbol.function);
    }
    let file = symbol.file.replace('\\', "/");
    if is_tracker_file(&file) {
        Origin::Tracker
    } else if is_std_file(&file) {
        Origin::Std
    } else if is_fetched_file(&file) {
        Origin::Dependency
    } else if !file.ends_with(".rs") {
        // The C library, mostly: below `main`, or in a callback.
        Origin::Unknown
    } else {
        Origin::User
    }
}

/// The functions between a collection and the global allocator: `__rust_alloc` and its siblings, whose line is that of
/// the `static` that holds the allocator.
fn is_allocator_shim(function: &str) -> bool {
    let name = without_generics(function);
    let last = name.rsplit("::").next().unwrap_or(&name);
    ["__rust_", "__rg_", "__rdl_"].iter().any(|prefix| {
        let Some(rest) = last.strip_prefix(prefix) else {
            return false;
        };
        matches!(rest, "alloc" | "dealloc" | "realloc" | "alloc_zeroed")
    })
}

fn is_tracker_file(file: &str) -> bool {
    let mut parts = file.split('/').peekable();
    while let Some(part) = parts.next() {
        let named = part == "alloc-core" || part.strip_prefix("alloc-core-").is_some_and(starts_with_digit);
        if named && parts.peek() == Some(&"src") {
            return true;
        }
    }
    false
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_std_file(file: &str) -> bool {
    let from_toolchain = ["/rustc/", "/rustlib/src/", "/rust/deps/"]
        .iter()
        .any(|mark| file.contains(mark));
    let relative = ["library/alloc/", "library/core/", "library/std/"]
        .iter()
        .any(|start| file.starts_with(start));
    from_toolchain || relative || is_hashbrown_file(file)
}

pub(super) fn is_hashbrown_file(file: &str) -> bool {
    file.split('/')
        .any(|part| part == "hashbrown" || part.strip_prefix("hashbrown-").is_some_and(starts_with_digit))
}

fn is_fetched_file(file: &str) -> bool {
    ["/registry/src/", "/git/checkouts/", "/vendor/"]
        .iter()
        .any(|mark| file.contains(mark))
}

/// Without line tables only the path in the name is left.
fn origin_by_name(function: &str) -> Origin {
    let start = function.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
    let start = start
        .strip_prefix("mut ")
        .or_else(|| start.strip_prefix("const "))
        .unwrap_or(start);
    let Some((first, _)) = start.split_once("::") else {
        // `main`, `start_thread` and their like: C, or nothing at all.
        return Origin::Unknown;
    };
    match first.trim_start_matches("dyn ") {
        "std" | "core" | "alloc" | "hashbrown" | "rustc_demangle" => Origin::Std,
        "alloc_core" | "__rustc" => Origin::Tracker,
        _ => Origin::User,
    }
}

fn is_of_crate(symbol: &Symbol, name: &str) -> bool {
    let path = symbol.function.trim_start_matches(['<', '&']);
    if path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")) {
        return true;
    }
    symbol.file.split(['/', '\\']).any(|part| {
        let part = part.replace('-', "_");
        // `name`, or `name-1.2.3` as in a registry.
        part.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('_').is_some_and(starts_with_digit))
    })
}

/// A function name for people: without generics, without closures, with at most one module or type before it.
pub(crate) fn short_function(function: &str) -> String {
    // `<app::Foo as app::Bar>::baz` and `<app::Foo>::baz`: the type stands for its path.
    let (owner, rest) = match function.strip_prefix('<').and_then(|_| split_balanced(function)) {
        Some((inner, rest)) if rest.starts_with("::") => {
            let self_type = inner.split(" as ").next().unwrap_or(inner);
            (Some(last_segment(&without_generics(self_type)).to_owned()), &rest[2..])
        }
        _ => (None, function),
    };
    let rest = without_generics(rest);
    let mut closure = None;
    let mut segments: Vec<&str> = owner.as_deref().into_iter().collect();
    for segment in rest.split("::").filter(|segment| !segment.is_empty()) {
        if segment.starts_with('{') {
            closure = Some(segment);
        } else {
            segments.push(segment);
        }
    }
    match (segments.as_slice(), closure) {
        ([], Some(closure)) if closure.contains("async") => "async body".to_owned(),
        ([], Some(_)) => "closure".to_owned(),
        ([], None) => "?".to_owned(),
        ([.., module, name], _) => format!("{module}::{name}"),
        ([name], _) => (*name).to_owned(),
    }
}

/// The function that a nameless closure or async body was written in, where a frame outside it tells.
///
/// With line tables only, the frame of a closure is called `{closure#0}` and nothing more; but whoever runs it is
/// generic over it, and spells its type: `map_fold<u64, shop::fraud::rules::{closure_env#0}, ..>`.
pub(crate) fn enclosing_function<'a>(function: &str, outside: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Frames outside that are searched; adapters rarely nest deeper.
    const REACH: usize = 16;
    let (kind, number) = function.strip_prefix('{')?.split_once('#')?;
    let number = number.split_once('}')?.0;
    let type_name = format!("::{{{kind}_env#{number}}}");
    for name in outside.take(REACH) {
        let (mut start, mut searched) = (0, 0);
        for (at, _) in name.match_indices(&type_name) {
            // PERF: what is before the last match was searched for that one. Names come out of files, and may repeat it ever so often.
            let news = &name[searched..at];
            if let Some(end) = news.rfind(|c: char| !(c.is_alphanumeric() || "_:{}#".contains(c))) {
                start = searched + end + news[end..].chars().next().map_or(1, char::len_utf8);
            }
            searched = at;
            let path = &name[start..at];
            let library = ["std::", "core::", "alloc::", "hashbrown::", "alloc_core::"];
            if !path.is_empty() && !library.iter().any(|start| path.starts_with(start)) {
                return Some(short_function(path)).filter(|name| name != "closure" && name != "async body");
            }
        }
        // The next nameless body belongs to somebody else.
        if name.starts_with('{') {
            break;
        }
    }
    None
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::")
        .next()
        .unwrap_or(path)
        .trim_start_matches(['&', '*', ' '])
}

/// Splits `<inner>rest` at the bracket that closes the first one.
pub(super) fn split_balanced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if previous != '-' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
        previous = c;
    }
    None
}

/// The function's name with a module in front: with line tables only a name has none, and the file stands in for it.
///
/// `push<u64, Global>` of `alloc/src/vec/mod.rs` becomes `vec::push<u64, Global>`.
pub(crate) fn qualified_function(symbol: &Symbol) -> String {
    let has_path = without_generics(&symbol.function).contains("::") || symbol.function.starts_with('<');
    match module_of_file(&symbol.file) {
        Some(module) if !has_path && !symbol.function.is_empty() => format!("{module}::{}", symbol.function),
        _ => symbol.function.clone(),
    }
}

/// A directory of a crate that holds its sources.
fn is_source_root(part: &&str) -> bool {
    matches!(*part, "src" | "tests" | "examples" | "benches")
}

/// The crate that a source file belongs to, as its path says: the directory around `src`, without a version.
pub(crate) fn crate_of_file(file: &str) -> Option<String> {
    let file = file.replace('\\', "/");
    let parts: Vec<&str> = file.split('/').collect();
    // `/usr/src/app/src/main.rs`: the last one. `app/src/tests/a.rs`: the one around it.
    let mut at = parts.iter().rposition(is_source_root)?;
    while at > 0 && parts[at - 1] == "src" {
        at -= 1;
    }
    let crate_name = parts.get(at.checked_sub(1)?).filter(|name| !name.is_empty())?;
    let name = match crate_name.rsplit_once('-') {
        Some((name, version)) if starts_with_digit(version) => name,
        _ => crate_name,
    };
    Some(name.replace('-', "_"))
}

/// `vec` of `alloc/src/vec/mod.rs`, `payments` of `payments-1.2.0/src/main.rs`, nothing of what is not Rust.
fn module_of_file(file: &str) -> Option<String> {
    let file = file.replace('\\', "/");
    let mut parts = file.strip_suffix(".rs")?.rsplit('/');
    let mut module = parts.next()?;
    if matches!(module, "mod" | "lib" | "main") {
        module = parts.find(|part| *part != "src")?;
    }
    // A crate's directory may end in its version.
    let name = match module.rsplit_once('-') {
        Some((name, version)) if starts_with_digit(version) => name,
        _ => module,
    };
    (!name.is_empty()).then(|| name.replace('-', "_"))
}

/// The name with everything in angle brackets removed, `::<...>` included.
pub(crate) fn without_generics(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0_usize;
    let mut previous = ' ';
    for c in name.chars() {
        match c {
            '<' => {
                if depth == 0 && out.ends_with("::") {
                    out.truncate(out.len() - 2);
                }
                depth += 1;
            }
            '>' if previous != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        previous = c;
    }
    out
}

/// True for functions that do their work on behalf of a caller who says neither their name nor their line: `clone`, `fmt`, serde's visitors.
pub(crate) fn is_conduit(symbol: &Symbol) -> bool {
    let name = without_generics(&symbol.function);
    let method = name
        .rsplit("::")
        .find(|part| !part.starts_with('{'))
        .unwrap_or_default();
    matches!(method, "clone" | "fmt" | "serialize" | "deserialize") || method.starts_with("visit_")
}

/// A path for people: relative to `base` where it lies under it, else from the crate's directory on.
pub(crate) fn short_path(file: &str, base: Option<&str>) -> String {
    let file = file.replace('\\', "/");
    if let Some(base) = base.filter(|base| base.len() > 1)
        && let Some(rest) = file.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'))
    {
        return rest.to_owned();
    }
    let parts: Vec<&str> = file
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.len() <= 1 {
        return parts.concat();
    }
    // The last such directory, so that `/usr/src/app/src/main.rs` begins at `app`.
    let from = match parts[..parts.len() - 1].iter().rposition(is_source_root) {
        Some(at) => at.saturating_sub(1),
        None => parts.len() - 2,
    };
    parts[from..].join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(function: &str, file: &str) -> Symbol {
        Symbol {
            function: function.to_owned(),
            file: file.to_owned(),
            line: 1,
        }
    }

    #[test]
    fn the_crate_of_a_file_is_around_its_sources() {
        for (file, crate_name) in [
            ("/home/me/pay-ments/src/api/mod.rs", Some("pay_ments")),
            ("/usr/src/app/src/main.rs", Some("app")),
            ("/x/registry/src/index-1/serde_json-1.0.1/src/de.rs", Some("serde_json")),
            ("app/src/tests/a.rs", Some("app")),
            ("/app/tests/a.rs", Some("app")),
            ("/rustc/1/library/alloc/src/vec/mod.rs", Some("alloc")),
            ("build.rs", None),
            ("src/main.rs", None),
        ] {
            assert_eq!(crate_of_file(file).as_deref(), crate_name, "{file}");
        }
    }

    #[test]
    fn a_bare_name_is_qualified_by_its_file() {
        for (function, file, qualified) in [
            (
                "push<u64, Global>",
                "/rustc/1/library/alloc/src/vec/mod.rs",
                "vec::push<u64, Global>",
            ),
            ("main", "/home/me/pay-ments/src/main.rs", "pay_ments::main"),
            (
                "get",
                "/x/registry/src/i/serde_json-1.0.1/src/lib.rs",
                "serde_json::get",
            ),
            ("app::rules::check", "/home/me/app/src/rules.rs", "app::rules::check"),
            (
                "<app::A as app::B>::go",
                "/home/me/app/src/a.rs",
                "<app::A as app::B>::go",
            ),
            ("malloc", "./malloc/malloc.c", "malloc"),
            ("f", "", "f"),
            ("f", "lib.rs", "f"),
        ] {
            assert_eq!(qualified_function(&symbol(function, file)), qualified);
        }
    }

    #[test]
    fn origins_follow_the_file() {
        let own = Own::default();
        for (file, origin) in [
            ("/rustc/5980761/library/alloc/src/vec/mod.rs", Origin::Std),
            (
                "/home/me/.rustup/toolchains/x/lib/rustlib/src/rust/library/std/src/thread/mod.rs",
                Origin::Std,
            ),
            ("/rust/deps/hashbrown-0.16.1/src/map.rs", Origin::Std),
            (
                "/home/me/.cargo/registry/src/index-1/hashbrown-0.15.2/src/map.rs",
                Origin::Std,
            ),
            (
                "/home/me/.cargo/registry/src/index-1/serde_json-1.0.1/src/de.rs",
                Origin::Dependency,
            ),
            (
                "/home/me/.cargo/git/checkouts/tokio-12/abc/tokio/src/lib.rs",
                Origin::Dependency,
            ),
            ("./csu/libc-start.c", Origin::Unknown),
            (
                "/x/registry/src/i/libsqlite3-sys-0.30.1/sqlite3/sqlite3.c",
                Origin::Dependency,
            ),
            (
                "/home/me/.cargo/registry/src/index-1/alloc-core-0.1.0/src/record/gate.rs",
                Origin::Tracker,
            ),
            ("/home/me/allocscope/alloc-core/src/future.rs", Origin::Tracker),
            ("/home/me/allocscope/alloc-core/tests/stacks.rs", Origin::User),
            ("/home/me/shop/src/main.rs", Origin::User),
            ("C:\\me\\shop\\src\\main.rs", Origin::User),
        ] {
            assert_eq!(own.origin(&symbol("f", file)), origin, "{file}");
        }
        assert_eq!(
            own.origin(&symbol("__rustc::__rust_alloc", "/home/me/shop/src/main.rs")),
            Origin::Tracker
        );
        assert_eq!(own.origin(&symbol("__rust_alloc_zeroed", "")), Origin::Tracker);
    }

    #[test]
    fn origins_follow_the_name_when_there_is_no_file() {
        let own = Own::default();
        for (function, origin) in [
            ("alloc::raw_vec::RawVec<T,A>::grow_one", Origin::Std),
            ("<alloc::vec::Vec<u64>>::push", Origin::Std),
            ("<&mut std::io::Stdout as core::fmt::Write>::write_str", Origin::Std),
            ("shop::main", Origin::User),
            ("<shop::Cart as core::fmt::Display>::fmt", Origin::User),
            ("alloc_core::record::gate::on_alloc", Origin::Tracker),
            ("main", Origin::Unknown),
            ("", Origin::Unknown),
        ] {
            assert_eq!(own.origin(&symbol(function, "")), origin, "{function}");
        }
    }

    #[test]
    fn configured_crates_narrow_and_widen_what_is_own() {
        let own = Own::new(&["my-shop".to_owned(), "sqlx".to_owned()]);
        assert_eq!(own.origin(&symbol("f", "/home/me/my_shop/src/a.rs")), Origin::User);
        assert_eq!(own.origin(&symbol("f", "/home/me/my-shop/src/a.rs")), Origin::User);
        assert_eq!(
            own.origin(&symbol("f", "/x/registry/src/i/sqlx-0.8.1/src/a.rs")),
            Origin::User
        );
        assert_eq!(
            own.origin(&symbol("f", "/x/registry/src/i/sqlx-core-0.8.1/src/a.rs")),
            Origin::Dependency
        );
        assert_eq!(own.origin(&symbol("f", "/home/me/other/src/a.rs")), Origin::Dependency);
        assert_eq!(own.origin(&symbol("my_shop::f", "")), Origin::User);
        assert_eq!(own.origin(&symbol("f", "/rustc/1/library/std/src/a.rs")), Origin::Std);
    }

    #[test]
    fn functions_print_short() {
        for (long, short) in [
            ("check_fraud", "check_fraud"),
            ("check_fraud<u64, alloc::alloc::Global>", "check_fraud"),
            ("shop::fraud::rules::check_fraud", "rules::check_fraud"),
            ("shop::fraud::check_fraud::{{closure}}", "fraud::check_fraud"),
            (
                "shop::fraud::check_fraud::{closure#0}::{closure#1}",
                "fraud::check_fraud",
            ),
            (
                "<shop::Cart as core::iter::FromIterator<u8>>::from_iter",
                "Cart::from_iter",
            ),
            ("<shop::Cart<u8>>::add::<shop::Item>", "Cart::add"),
            ("<&shop::Cart as shop::Sum>::sum", "Cart::sum"),
            ("shop::Cart<T>::add", "Cart::add"),
            ("call<fn(u8) -> u8>", "call"),
            ("{closure#0}<u8>", "closure"),
            ("{async_fn#0}", "async body"),
            ("{async_block#2}", "async body"),
            ("", "?"),
        ] {
            assert_eq!(short_function(long), short, "{long}");
        }
    }

    #[test]
    fn a_nameless_body_is_named_by_the_type_of_whoever_runs_it() {
        let name = |function: &str, outside: &[&str]| enclosing_function(function, outside.iter().copied());
        let fold = "fold<u64, Map<Range<u64>, shop::fraud::rules::{closure_env#0}>, core::iter::x::{closure_env#0}>";
        assert_eq!(name("{closure#0}", &["f", fold]).as_deref(), Some("fraud::rules"));
        assert_eq!(name("{closure#1}", &["f", fold]), None);
        assert_eq!(name("{closure#0}", &["for_each<core::iter::x::{closure_env#0}>"]), None);
        assert_eq!(name("{closure#0}", &["{closure#0}<u8>", fold]), None);
        let poll = "poll<shop::pay::handler::{async_fn_env#0}>";
        assert_eq!(name("{async_fn#0}", &[poll]).as_deref(), Some("pay::handler"));
        let block = "poll<shop::pay::handler::{async_fn#0}::{async_block_env#0}>";
        assert_eq!(name("{async_block#0}", &[block]).as_deref(), Some("pay::handler"));
        assert_eq!(name("handler", &[poll]), None);
        let odd = "fold<std::a::{closure_env#0}→core::b::{closure_env#0}, std::c::{closure_env#0}, shop::fraud::rules::{closure_env#0}>";
        assert_eq!(name("{closure#0}", &[odd]).as_deref(), Some("fraud::rules"));
    }

    /// Quadratic work would take many minutes.
    #[test]
    fn a_name_that_repeats_itself_is_read() {
        let long = format!("std::a{}", "::{closure_env#0}".repeat(200_000));
        assert_eq!(enclosing_function("{closure#0}", std::iter::once(long.as_str())), None);
    }

    #[test]
    fn paths_print_short() {
        assert_eq!(
            short_path("/home/me/shop/src/main.rs", Some("/home/me/shop")),
            "src/main.rs"
        );
        assert_eq!(
            short_path("/home/me/shop/src/main.rs", Some("/home/me/sh")),
            "shop/src/main.rs"
        );
        assert_eq!(short_path("/usr/src/shop/src/a/b.rs", None), "shop/src/a/b.rs");
        assert_eq!(short_path("/home/me/one.rs", None), "me/one.rs");
        assert_eq!(short_path("C:\\me\\shop\\src\\main.rs", None), "shop/src/main.rs");
        assert_eq!(short_path("src/main.rs", None), "src/main.rs");
        assert_eq!(short_path("", None), "");
    }
}
