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
    /// `module-1`. What is made of it (reports, exports, files) holds no names either.
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
        Origin::Std | Origin::Tracker => {
            symbol.function = library_function(&symbol.function);
            symbol.file = library_file(&symbol.file);
            // Whose function it is, is told by the file, and without one by the name.
            if symbol.file.is_empty() && !symbol.function.starts_with("__rust_") {
                let path = if origin == Origin::Std { "std" } else { "alloc_core" };
                symbol.function = format!("{path}::{}", symbol.function);
            }
        }
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

/// The last part of the name: what stands before it may be a type of the program.
fn library_function(function: &str) -> String {
    // `<Vec<u64>>::push`: what the brackets hold goes with the generics.
    let plain = without_generics(function);
    plain.rsplit("::").next().unwrap_or_default().to_owned()
}

/// The path from the library's own directory on.
fn library_file(file: &str) -> String {
    let file = file.replace('\\', "/");
    // What stands before is where somebody keeps a toolchain or a registry.
    for (mark, stays) in [
        ("library/", "/rustc/library/"),
        ("hashbrown-", "/rust/deps/hashbrown-"),
        ("alloc-core/", "alloc-core/"),
        ("rust/deps/", "/rust/deps/"),
    ] {
        if let Some(at) = file.rfind(mark).filter(|&at| at == 0 || file[..at].ends_with('/')) {
            return format!("{stays}{}", &file[at + mark.len()..]);
        }
    }
    String::new()
}
