//! Which files there are under the given paths, and what they are called in the report.
//!
//! Called by `lint`. What version control ignores is left out, and so are hidden directories and `target`; with [`Tests::Skip`]
//! also `tests`, `benches` and `build.rs`. A file that is named itself is always taken. Sorted, so that runs are the same.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use ignore::WalkBuilder;

use crate::error::LintError;
use crate::options::{Options, Tests};

/// The files under `paths`, by the name that the report gives them.
pub(crate) fn list(paths: &[PathBuf], options: &Options) -> Result<BTreeMap<String, PathBuf>, LintError> {
    let here = std::env::current_dir().map_err(|source| LintError::io(Path::new("."), source))?;
    let root = options.root.clone().unwrap_or_else(|| here.clone());
    let root = root.canonicalize().unwrap_or(root);
    let mut files = BTreeMap::new();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|source| LintError::io(path, source))?;
        if metadata.is_file() {
            files.insert(name(path, &root), path.clone());
            continue;
        }
        let tests = options.tests;
        let walk = WalkBuilder::new(path)
            .filter_entry(move |entry| entry.depth() == 0 || !is_left_out(entry.file_name(), tests))
            .build();
        for entry in walk {
            let entry = entry.map_err(LintError::walk)?;
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            if is_file && entry.path().extension().is_some_and(|extension| extension == "rs") {
                files.insert(name(entry.path(), &root), entry.into_path());
            }
        }
    }
    Ok(files)
}

fn is_left_out(name: &std::ffi::OsStr, tests: Tests) -> bool {
    let Some(name) = name.to_str() else { return false };
    name == "target" || (tests == Tests::Skip && matches!(name, "tests" | "benches" | "build.rs" | "tests.rs"))
}

/// `src/cart.rs`: below `root` if it is there, with `/` everywhere.
fn name(path: &Path, root: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let below = full.strip_prefix(root).unwrap_or(&full);
    let parts: Vec<String> = below
        .components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    let slash = if below.is_absolute() { "/" } else { "" };
    format!("{slash}{}", parts.join("/"))
}

/// `cart::item` of `shop/src/cart/item.rs`; empty for the root of a crate and for files outside of any `src`.
pub(crate) fn module_of(name: &str) -> String {
    let Some(stem) = name.strip_suffix(".rs") else {
        return String::new();
    };
    let parts: Vec<&str> = stem.split('/').collect();
    let Some(src) = parts.iter().rposition(|part| *part == "src") else {
        return String::new();
    };
    let mut parts = parts[src + 1..].to_vec();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    if parts.first() == Some(&"bin") {
        parts.remove(0);
    }
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_after_their_files() {
        for (file, module) in [
            ("src/lib.rs", ""),
            ("shop/src/cart/item.rs", "cart::item"),
            ("src/cart/mod.rs", "cart"),
            ("src/bin/tool.rs", "tool"),
            ("examples/demo.rs", ""),
        ] {
            assert_eq!(module_of(file), module, "{file}");
        }
    }
}
