//! Flame graphs in a browser: the picture has its boxes, its scripts run, and the differential one has both colours and says which is before.

use std::path::Path;

use allocscope_tests_exports::Files;
use allocscope_tests_exports::browser::Browser;

#[test]
fn flame_graphs_are_drawn_and_searched_and_differences_have_colours() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));

    let folded = files.text("heap.folded");
    let sum: u64 = folded
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    let totals = alloc_core::Snapshot::load(files.path("second.json")).unwrap().totals;
    assert_eq!(sum, totals.total_bytes);
    assert!(
        folded.contains("exporter::handle;exporter::check (exporter.rs:"),
        "{folded}"
    );
    assert!(folded.contains(";Vec"), "{folded}");
    let whole = files.text("whole.folded");
    assert!(
        whole.contains("vec::with_capacity_zeroed_in") || whole.contains("from_elem"),
        "{whole}"
    );

    let Some(mut browser) = Browser::start(files.directory()) else {
        return;
    };
    open(&mut browser, &files.path("heap.svg"));
    let boxes = browser.value("document.querySelectorAll('#frames > g').length");
    assert!(boxes.as_u64().unwrap() > 8, "{boxes}");
    let titles = browser.text("[...document.querySelectorAll('#frames title')].map(t => t.textContent).join('\\n')");
    assert!(
        titles.contains("exporter::check (exporter.rs:") && titles.contains("bytes,"),
        "{titles}"
    );
    // The search of the picture itself, as its button calls it.
    browser.value("search('check'); 0");
    let matched = browser.text("document.getElementById('matched').textContent");
    assert!(
        matched.starts_with("Matched: ") && matched != "Matched: 0%",
        "{matched}"
    );
    browser.picture("flame-graph");

    open(&mut browser, &files.path("diff.svg"));
    let text = browser.text("document.documentElement.textContent");
    assert!(
        text.contains("red grew, blue shrank") && text.contains("before: "),
        "{text}"
    );
    let colour = |browser: &mut Browser, name: &str| {
        browser.text(&format!(
            "[...document.querySelectorAll('#frames > g')].find(g => g.querySelector('title').textContent.startsWith('{name} (')).querySelector('rect').getAttribute('fill')"
        ))
    };
    let parts = |colour: &str| -> Vec<u32> {
        let inner = colour.trim_start_matches("rgb(").trim_end_matches(')');
        inner.split(',').map(|part| part.trim().parse().unwrap()).collect()
    };
    let grew = colour(&mut browser, "HashMap");
    assert!(parts(&grew)[0] > parts(&grew)[2], "the sessions grew and are {grew}");
    let shrank = colour(&mut browser, "String");
    assert!(parts(&shrank)[0] < parts(&shrank)[2], "the log shrank and is {shrank}");
    browser.picture("diff-flame-graph");
    assert_eq!(browser.errors, Vec::<String>::new());
}

fn open(browser: &mut Browser, file: &Path) {
    browser.open(file);
    browser.wait("document.querySelectorAll('#frames > g').length > 0");
}
