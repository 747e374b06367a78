//! Snapshots without names: what can be given away.
//!
//! Called by the user before anything is saved or exported. Read side. Invariant: no text of the source, of a path or of the program is left,
//! but the standard library's own; figures, shapes, offsets and build ids stay, so whoever has the binaries can name it all again. Cost:
//! a copy of the snapshot.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::inside::inside_tracker;
use crate::model::{Frame, Snapshot, Symbol};
use crate::symbolize::{Origin, Own, without_generics};

impl Snapshot {
    /// A copy in which every name and path of the program is replaced by a number: `own::f12` in `src/file3.rs`, `scope 4`,
    /// `module-2`; the program is called `program`. What is made of it (reports, exports, files) holds no names either.
    ///
    /// Names of the standard library stay, without type parameters, so that collections can still be told apart; so do line numbers,
    /// offsets and build ids: with the binary at hand, [`resolve`](Self::resolve) of a copy without symbols names them again. The same name
    /// gets the same number within a snapshot, and perhaps another one in the next.
    ///
    /// # Overhead
    /// A copy of the snapshot.
    #[must_use]
    pub fn without_names(&self) -> Self {
        inside_tracker(|| without_names(self))
    }
}

/// Numbers in place of names.
#[derive(Default)]
struct Numbers(HashMap<String, usize>);

impl Numbers {
    fn of(&mut self, name: &str) -> usize {
        let next = self.0.len() + 1;
        *self.0.entry(name.to_owned()).or_insert(next)
    }

    fn file(&mut self, file: &str) -> String {
        match file {
            "" => String::new(),
            file => format!("src/file{}.rs", self.of(file)),
        }
    }
}

fn without_names(snapshot: &Snapshot) -> Snapshot {
    let mut hidden = snapshot.clone();
    let (mut functions, mut files, mut scopes) = (Numbers::default(), Numbers::default(), Numbers::default());
    hidden.process.executable = "program".to_owned();
    for (number, module) in (1..).zip(&mut hidden.modules) {
        module.path = format!("module-{number}");
    }
    if let Some(at) = super::program_of(snapshot) {
        // So it can still be told which module the binary is, that somebody may have.
        hidden.modules[at].path = "program".to_owned();
    }
    // Whose code a frame is in is told by its path; the replacement keeps that much.
    let own = Own::default();
    for Frame { symbols, .. } in &mut hidden.frames {
        for symbol in symbols {
            hide(symbol, own.origin(symbol), &mut functions, &mut files);
        }
    }
    for node in hidden.scopes.iter_mut().skip(1) {
        node.name = format!("scope {}", scopes.of(&node.name));
        node.file = files.file(&node.file);
    }
    for budget in &mut hidden.budgets {
        budget.name = format!("scope {}", scopes.of(&budget.name));
        budget.file = files.file(&budget.file);
    }
    for contents in &mut hidden.contents {
        if !contents.name.is_empty() {
            contents.name = format!("contents {}", scopes.of(&contents.name));
        }
        contents.file = files.file(&contents.file);
        contents.type_name = match contents.collection() {
            known @ ("HashMap" | "HashSet" | "BTreeMap" | "BTreeSet" | "Vec" | "VecDeque" | "String") => {
                known.to_owned()
            }
            _ => String::new(),
        };
    }
    hidden
}

fn hide(symbol: &mut Symbol, origin: Origin, functions: &mut Numbers, files: &mut Numbers) {
    match origin {
        Origin::Std | Origin::Tracker => hide_library(symbol, origin, functions),
        Origin::Dependency | Origin::User | Origin::Unknown => {
            let number = functions.of(&symbol.function);
            let (crate_name, directory) = match origin {
                Origin::User => ("own", ""),
                Origin::Dependency => ("dependency", "/registry/src/"),
                _ => ("", ""),
            };
            symbol.function = match crate_name {
                "" => format!("f{number}"),
                name => format!("{name}::f{number}"),
            };
            if !symbol.file.is_empty() {
                let ending = if origin == Origin::Unknown { "c" } else { "rs" };
                symbol.file = format!("{directory}src/file{}.{ending}", files.of(&symbol.file));
            }
        }
    }
}

fn hide_library(symbol: &mut Symbol, origin: Origin, functions: &mut Numbers) {
    let name = library_function(&symbol.function);
    let is_shim = ["__rust_", "__rg_", "__rdl_"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if origin == Origin::Tracker && is_shim {
        // `__rust_alloc` is known by its name; its file is the program's own, where the allocator is declared.
        symbol.function = name;
        symbol.file.clear();
        return;
    }
    let file = library_file(&symbol.file);
    let path = if origin == Origin::Std { "std" } else { "alloc_core" };
    symbol.function = match (symbol.file.is_empty(), file.is_empty()) {
        (_, false) => name,
        // Whose function it is, is told by the file, and without one by the name.
        (true, true) => format!("{path}::{name}"),
        // In a directory that is only called like the library's, it may be the program's.
        (false, true) => format!("{path}::f{}", functions.of(&symbol.function)),
    };
    symbol.file = file;
}

/// The last part of the name: what stands before it may be a type of the program.
fn library_function(function: &str) -> String {
    // `<Vec<u64>>::push`: what the brackets hold goes with the generics.
    let plain = without_generics(function);
    plain.rsplit("::").next().unwrap_or_default().to_owned()
}

/// The path from the library's own directory on; empty when the path is not laid out as the library's.
fn library_file(file: &str) -> String {
    let file = file.replace('\\', "/");
    // The crates that the standard library is built with.
    if file.starts_with("/rust/deps/") {
        return file;
    }
    // What stands before is where somebody keeps a toolchain or a registry, and may itself be called `library`.
    let starts = file.match_indices('/').map(|(at, _)| at + 1);
    let inside = |start: usize| {
        let (package, rest) = file[start..].split_once('/')?;
        if package == "library" {
            let (name, source) = rest.split_once('/')?;
            let is_library = LIBRARY.contains(&name) && source.starts_with("src/");
            return is_library.then(|| format!("/rustc/library/{rest}"));
        }
        if !rest.starts_with("src/") {
            return None;
        }
        if package == "alloc-core" || package.strip_prefix("alloc-core-").is_some_and(is_version) {
            return Some(format!("alloc-core/{rest}"));
        }
        let version = package.strip_prefix("hashbrown-").filter(|version| is_version(version));
        version.map(|version| format!("/rust/deps/hashbrown-{version}/{rest}"))
    };
    std::iter::once(0)
        .chain(starts)
        .filter_map(inside)
        .next_back()
        .unwrap_or_default()
}

/// The standard library's crates, as its directory has them.
const LIBRARY: [&str; 10] = [
    "alloc",
    "backtrace",
    "core",
    "panic_abort",
    "panic_unwind",
    "proc_macro",
    "std",
    "std_detect",
    "test",
    "unwind",
];

/// `0.15.2`: without letters, which could say anything.
fn is_version(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}
