//! The one-file report in a browser: it loads, sorts, filters, draws, asks the network for nothing, and is readable in dark and light.

use alloc_core::Snapshot;
use allocscope_tests_exports::Files;
use allocscope_tests_exports::browser::Browser;
use serde_json::{Value, json};

fn go(browser: &mut Browser, page: &str) {
    browser.value(&format!("location.hash = '{page}'; 0"));
    browser.wait(&format!("document.getElementById('page-{page}') !== null"));
}

/// The cells of a column of the first table.
fn column(browser: &mut Browser, at: usize) -> Vec<String> {
    let cells = browser.value(&format!(
        "[...document.querySelectorAll('main tbody tr')].map(row => row.children[{at}].textContent)"
    ));
    let cells = cells.as_array().unwrap().iter();
    cells.map(|cell| cell.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_report_loads_sorts_filters_and_draws() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    for name in ["report.html", "series.html"] {
        let page = files.text(name);
        assert!(
            !page.contains("src=\"http") && !page.contains("href=\"http"),
            "{name} loads something"
        );
        assert!(page.contains("default-src 'none'"));
    }
    let hidden = files.text("hidden-report.html");
    for secret in [
        "exporter::",
        "exporter.rs",
        "open_session",
        "/bin/exporter",
        "sessions;",
    ] {
        assert!(!hidden.contains(secret), "{secret}");
    }
    let Some(mut browser) = Browser::start(files.directory()) else {
        return;
    };

    browser.open(&files.path("series.html"));
    assert_eq!(browser.text("document.getElementById('title').textContent"), "exporter");
    let tabs = browser.text("[...document.querySelectorAll('nav button')].map(tab => tab.textContent).join(', ')");
    assert_eq!(
        tabs,
        "Summary, Sites, Scopes, Flame graph, Timeline, Rebuilds, Sizes and lifetimes, Difference"
    );
    browser.picture("html-summary");

    go(&mut browser, "sites");
    let sorted = column(&mut browser, 0);
    assert!(sorted.len() > 3 && sorted[0].contains("exporter.rs"), "{sorted:?}");
    // By name, ascending, then descending.
    browser.value("document.querySelector('main th button').click(); 0");
    let by_name = column(&mut browser, 0);
    browser.value("document.querySelector('main th button').click(); 0");
    let mut reversed = column(&mut browser, 0);
    reversed.reverse();
    assert_eq!(by_name, reversed);
    assert_ne!(by_name, sorted);
    assert_eq!(
        browser.text("document.querySelector('main th').getAttribute('aria-sort')"),
        "descending"
    );
    // Search: fewer rows, and only those that match.
    browser.value("const s = document.querySelector('main input[type=search]'); s.value = 'open_session'; s.dispatchEvent(new Event('input')); 0");
    let found = column(&mut browser, 0);
    assert!(!found.is_empty() && found.len() < sorted.len());
    assert!(found.iter().all(|cell| cell.contains("open_session")), "{found:?}");
    // A row tells its call stack.
    browser.value("document.querySelector('main tbody tr').click(); 0");
    let detail = browser.text("document.querySelector('tr.detail').textContent");
    assert!(
        detail.contains("exporter.rs:") && detail.contains("sessions; <b>open</b>"),
        "{detail}"
    );
    browser.picture("html-sites");

    go(&mut browser, "scopes");
    let scopes = column(&mut browser, 0);
    assert!(
        scopes
            .iter()
            .any(|scope| scope == "exporter::handle > sessions; <b>open</b>"),
        "{scopes:?}"
    );
    assert_eq!(
        browser.value("document.querySelectorAll('main b').length"),
        0,
        "markup of a name was taken for markup"
    );

    go(&mut browser, "flame-graph");
    let boxes = browser.value("document.querySelectorAll('#flame button').length");
    assert!(boxes.as_u64().unwrap() > 6, "{boxes}");
    browser.value("const f = document.querySelector('#page-flame-graph input'); f.value = 'check'; f.dispatchEvent(new Event('input')); 0");
    assert!(
        browser
            .value("document.querySelectorAll('#flame .found').length")
            .as_u64()
            .unwrap()
            > 0
    );
    browser.value("document.querySelector('#flame .found').click(); 0");
    browser.picture("html-flame-graph");

    go(&mut browser, "timeline");
    assert_eq!(browser.value("document.querySelectorAll('svg.chart circle').length"), 3);
    browser.picture("html-timeline");
    go(&mut browser, "rebuilds");
    let rebuilds = browser.text("document.querySelector('main').innerText");
    assert!(
        rebuilds.contains("reuse the instance") && rebuilds.contains("check"),
        "{rebuilds}"
    );
    browser.picture("html-rebuilds");
    go(&mut browser, "sizes");
    let sizes = browser.text("document.querySelector('main').innerText");
    assert!(
        sizes.contains("512 B to 1023 B") && sizes.contains("no other allocation"),
        "{sizes}"
    );
    browser.picture("html-sizes");
    go(&mut browser, "difference");
    let difference = browser.text("document.querySelector('main').innerText");
    assert!(
        difference.contains("write_log") && difference.contains("Before: exporter"),
        "{difference}"
    );
    browser.picture("html-difference");

    for scheme in ["dark", "light"] {
        browser.prefer(scheme);
        for page in ["summary", "sites", "difference"] {
            go(&mut browser, page);
            let worst = browser.value(LEAST_CONTRAST);
            assert!(worst.as_f64().unwrap() >= 4.5, "{scheme}, {page}: contrast {worst}");
        }
        browser.picture(&format!("html-{scheme}"));
    }
    assert_eq!(browser.errors, Vec::<String>::new());
}

#[test]
fn a_page_of_what_is_unknown_says_so() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    let load = |name: &str, change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&files.text(name)).unwrap();
        change(&mut value);
        Snapshot::from_json(&value.to_string()).unwrap()
    };
    // No date is that late, and after time in `off` nobody knows what is alive.
    let first = load("first.json", |_| {});
    let last = load("second.json", |value| {
        value["taken_at_unix_ms"] = u64::MAX.into();
        value["was_off"] = true.into();
    });
    let page = last
        .html()
        .before(&first)
        .series(std::slice::from_ref(&first))
        .to_html();
    std::fs::write(files.path("unknown.html"), page).unwrap();
    let Some(mut browser) = Browser::start(files.directory()) else {
        return;
    };
    browser.open(&files.path("unknown.html"));
    let subtitle = browser.text("document.getElementById('subtitle').textContent");
    assert!(subtitle.contains(", at an unknown time, allocscope "), "{subtitle}");
    let card = browser.text("document.querySelector('.card').textContent");
    assert_eq!(card, "Live nowunknowntracking was off for a time, or too few samples");
    let summary = browser.text("document.querySelector('main').innerText");
    assert!(
        summary.contains("Most bytes alive") && !summary.contains("NaN"),
        "{summary}"
    );

    go(&mut browser, "timeline");
    assert_eq!(column(&mut browser, 1)[0], "unknown");
    assert_ne!(column(&mut browser, 1)[1], "unknown");
    assert_eq!(browser.value("document.querySelectorAll('svg.chart circle').length"), 1);
    let line = browser.text("document.querySelector('path.live').getAttribute('d')");
    assert!(line.starts_with('M') && !line.contains(['L', 'N']), "{line}");
    // Unknown sorts below everything that is known.
    browser.value("document.querySelectorAll('main th button')[1].click(); 0");
    assert_eq!(column(&mut browser, 1)[1], "unknown");
    go(&mut browser, "difference");
    let difference = browser.text("document.querySelector('main').innerText");
    assert_eq!(difference.matches("unknown alive").count(), 1, "{difference}");
    assert_eq!(browser.errors, Vec::<String>::new());
}

#[test]
fn a_page_of_many_sites_shows_the_holder_and_says_what_it_leaves_out() {
    let files = Files::of(env!("CARGO_BIN_EXE_exporter"), env!("CARGO_TARGET_TMPDIR"));
    let mut value: Value = serde_json::from_str(&files.text("second.json")).unwrap();
    let scope = value["scopes"][0]["id"].clone();
    let totals = value["totals"].clone();
    let counters = |granted: u64, live: u64| {
        let mut counters = totals.clone();
        for (_, counter) in counters.as_object_mut().unwrap() {
            *counter = 0.into();
        }
        (counters["total_bytes"], counters["live_bytes"]) = (granted.into(), live.into());
        counters
    };
    // Each is a line of its own; the last was granted least and holds everything.
    let context = |at: u64| {
        let counters = if at < 600 {
            counters(10_000_000 + at, 0)
        } else {
            counters(1 << 20, 1 << 20)
        };
        json!({ "scope": scope, "stack": at, "counters": counters })
    };
    let contexts: Value = (0..601).map(context).collect();
    let frame = |at: u64| {
        let symbol = json!({ "function": "shop::work", "file": "/home/me/shop/src/work.rs", "line": at + 1 });
        json!({ "module": 0, "offset": at, "symbols": [symbol] })
    };
    value["totals"] = counters(6_000_000_000, 1 << 20);
    value["contexts"] = contexts;
    value["frames"] = (0..601).map(frame).collect();
    value["stacks"] = (0..601).map(|at| json!({ "frames": [at] })).collect();
    value["loops"] = json!([]);
    let snapshot = Snapshot::from_json(&value.to_string()).unwrap();
    std::fs::write(files.path("many.html"), snapshot.html().to_html()).unwrap();
    let Some(mut browser) = Browser::start(files.directory()) else {
        return;
    };
    browser.open(&files.path("many.html"));
    let summary = browser.text("document.querySelector('main').innerText");
    let alive = summary.split("Most bytes alive").nth(1).expect(&summary);
    assert!(
        alive.contains("work.rs:601") && alive.contains("1.0 MiB, 100.0 %"),
        "{summary}"
    );
    go(&mut browser, "sites");
    let text = browser.text("document.querySelector('main').innerText");
    assert!(text.contains("501 of 601 sites"), "{text}");
    browser.value("document.querySelectorAll('main th button')[3].click(); 0");
    assert!(column(&mut browser, 0)[0].contains("work.rs:601"));
    assert_eq!(browser.errors, Vec::<String>::new());
}

/// The least contrast between a text on the page and what is behind it, as WCAG computes it.
const LEAST_CONTRAST: &str = r"(() => {
  const numbers = colour => colour.match(/[\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = numbers(colour).map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const parts = numbers(colour);
      if (parts.length < 4 || parts[3] > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let least = 21;
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    if (['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName) || !element.offsetParent) continue;
    const a = light(getComputedStyle(element).color), b = light(behind(element));
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()";
