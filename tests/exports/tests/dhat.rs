//! Valgrind's own viewer opens the DHAT files and renders the tree.

use std::path::{Path, PathBuf};

use alloc_core::Snapshot;
use allocscope_tests_exports::Files;
use allocscope_tests_exports::browser::Browser;

fn viewer() -> Option<PathBuf> {
    let places = [
        "/usr/libexec/valgrind",
        "/usr/lib/valgrind",
        "/usr/lib/x86_64-linux-gnu/valgrind",
    ];
    let found = places
        .iter()
        .map(|place| Path::new(place).join("dh_view.html"))
        .find(|file| file.exists());
    if found.is_none() {
        eprintln!("skipped: dh_view.html is not installed (Debian package valgrind)");
    }
    found
}

#[test]
fn the_viewer_renders_the_tree() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    let Some(viewer) = viewer() else { return };
    let Some(mut browser) = Browser::start(files.directory()) else {
        return;
    };
    let totals = Snapshot::load(files.path("second.json")).unwrap().totals;
    for name in ["heap.dhat.json", "hidden-heap.dhat.json"] {
        browser.open(&viewer);
        browser.choose("input[type=file]", &files.path(name));
        browser.wait("document.body.innerText.includes('PP 1.1/')");
        let page = browser.text("document.body.innerText");
        let grouped = |number: u64| {
            let digits = number.to_string();
            let mut out = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        };
        assert!(
            page.contains(&format!("Total:     {} bytes", grouped(totals.total_bytes))),
            "{page}"
        );
        assert!(
            page.contains(&format!("At t-end:  {} bytes", grouped(totals.live_bytes))),
            "{page}"
        );
        assert!(
            page.contains("lifetimes and the time of t-gmax are not recorded"),
            "{page}"
        );
        assert_eq!(page.contains("exporter::check ("), name == "heap.dhat.json", "{page}");
        browser.picture(name);
    }
    assert_eq!(browser.errors, Vec::<String>::new());
}
