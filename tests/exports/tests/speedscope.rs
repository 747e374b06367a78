//! speedscope's own importer reads its own format, Chrome heap profiles, collapsed stacks and pprof profiles.
//!
//! The application is looked for where `SPEEDSCOPE_DIR` says, and where `.ci/run` puts it: `target/npm/node_modules/speedscope`.

use std::path::{Path, PathBuf};

use allocscope_tests_exports::Files;
use allocscope_tests_exports::browser::Browser;

fn application() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/npm/node_modules/speedscope");
    let directory = std::env::var_os("SPEEDSCOPE_DIR").map_or(installed, PathBuf::from);
    let page = directory.join("dist/release/index.html");
    if let Ok(page) = page.canonicalize() {
        return Some(page);
    }
    eprintln!("skipped: speedscope is not installed (npm install --prefix target/npm speedscope)");
    None
}

#[test]
fn speedscope_imports_what_is_exported() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    let Some(page) = application() else { return };
    let Some(mut browser) = Browser::start(files.directory()) else {
        return;
    };
    for (name, function) in [
        ("heap.speedscope.json", "exporter::check ("),
        ("heap.heapprofile", "exporter::open_session ("),
        ("heap.folded", "exporter::check ("),
        ("heap.pb.gz", "exporter::open_session"),
        ("hidden-heap.speedscope.json", "own::f"),
    ] {
        browser.open_url(&format!("file://{}?file={name}", page.display()));
        browser.wait("document.querySelector('input[type=file]') !== null");
        browser.choose("input[type=file]", &files.path(name));
        // The sandwich view lists the functions as text; the others are drawn on a canvas.
        browser.wait("document.body.innerText.includes('Sandwich')");
        browser.value("[...document.querySelectorAll('div')].filter(e => e.innerText && e.innerText.trim().endsWith('Sandwich') && e.children.length <= 1).at(-1).click(); 0");
        browser.wait(&format!("document.body.innerText.includes('{function}')"));
        let text = browser.text("document.body.innerText");
        assert!(!text.contains("Something went wrong"), "{name}: {text}");
        browser.picture(&format!("speedscope-{name}"));
    }
    let bad: Vec<&String> = browser.errors.iter().filter(|error| !error.contains("WebGL")).collect();
    assert!(bad.is_empty(), "{bad:?}");
}
