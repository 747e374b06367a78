//! The Memory panel of Chrome's own developer tools loads the heap profiles.

use std::collections::HashMap;
use std::time::Duration;

use allocscope_tests_exports::Files;
use allocscope_tests_exports::browser::Browser;
use serde_json::Value;

/// The panel, as far as the tools let it be reached: they promise nothing of their insides.
const PANEL: &str =
    "import('/devtools/panels/profiler/profiler.js').then(all => all.HeapProfilerPanel.HeapProfilerPanel.instance())";

#[test]
fn the_memory_panel_loads_what_is_exported() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    let Some(mut tools) = Browser::start_developer_tools(files.directory()) else {
        return;
    };
    if tools.value(&format!("{PANEL}.then(panel => 'loadFromFile' in panel, () => false)")) != true {
        eprintln!("skipped: the developer tools of this Chromium are made in another way");
        return;
    }
    tools.value("import('/devtools/ui/legacy/legacy.js').then(all => all.ViewManager.ViewManager.instance().showView('heap-profiler')).then(() => 0)");
    for (name, function) in [
        ("heap", "exporter::open_session (exporter.rs:"),
        ("hidden-heap", "own::f"),
    ] {
        let text = Value::from(files.text(&format!("{name}.heapprofile")));
        tools.value(&format!(
            "{PANEL}.then(panel => panel.loadFromFile(new File([{text}], '{name}.heapprofile'))).then(() => 0)"
        ));
        let page = open(&mut tools, name, function);
        let profile: Value = serde_json::from_str(&files.text(&format!("{name}.heapprofile"))).unwrap();
        let mut sizes = HashMap::new();
        sum_by_function(&profile["head"], &mut sizes);
        let largest = sizes.values().max().unwrap();
        assert!(*largest > 100_000, "{sizes:?}");
        // In units of a thousand bytes; as a row of what functions hold themselves.
        let row = format!("{:.0} kB", *largest as f64 / 1000.0);
        assert!(page.lines().any(|line| line == row), "no {row} in {page}");
        tools.picture(&format!("devtools-{name}"));
    }
    // The browser serves its tools without an icon.
    tools.errors.retain(|error| !error.contains("favicon.ico"));
    assert_eq!(tools.errors, Vec::<String>::new());
}

/// What each function holds, all calls of it together.
fn sum_by_function(node: &Value, sizes: &mut HashMap<String, u64>) {
    *sizes.entry(node["callFrame"].to_string()).or_default() += node["selfSize"].as_u64().unwrap();
    for child in node["children"].as_array().unwrap() {
        sum_by_function(child, sizes);
    }
}

/// Opens a loaded profile, and gives the page when a function is on it. A click may come before the row is where it will be, so there are several.
fn open(tools: &mut Browser, name: &str, function: &str) -> String {
    for _ in 0..120 {
        let page = tools.whole_text();
        if page.contains(function) {
            return page;
        }
        if page.lines().any(|line| line == name) {
            tools.click_text(name);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("no {function} in {}", tools.whole_text())
}
