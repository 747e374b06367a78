//! Formats of hand-made snapshots: what the real consumers in `tests/exports` are not asked, because it is about single bytes.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::*;
use crate::model::{Frame, Symbol, fixture};

/// Two stacks of one line, one of another, one without a stack, in two scopes.
fn snapshot() -> Snapshot {
    let symbol = |function: &str, file: &str, line| Symbol {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
    };
    let frame = |offset, symbols: Vec<Symbol>| Frame {
        module: Some(0),
        offset,
        symbols,
    };
    let push = symbol("push<[u8; 4], Global>", "/rustc/1/library/alloc/src/vec/mod.rs", 9);
    let grow = symbol("grow_one", "/rustc/1/library/alloc/src/raw_vec/mod.rs", 8);
    let tracker = symbol("alloc", "/x/alloc-core/src/record/allocator.rs", 1);
    let mut snapshot = fixture::empty();
    snapshot.modules.push(fixture::module("/bin/app", "ab01", 0x1000));
    snapshot.frames = vec![
        frame(0x10, vec![tracker, grow, push]),
        frame(0x20, vec![symbol("check", "/home/me/shop/src/rules.rs", 7)]),
        frame(0x30, vec![symbol("check", "/home/me/shop/src/rules.rs", 9)]),
        frame(0x40, vec![symbol("main", "/home/me/shop/src/main.rs", 3)]),
        frame(0x50, Vec::new()),
    ];
    snapshot.stacks = fixture::stacks([&[0, 1, 3][..], &[0, 2, 3], &[0, 1, 3, 4]]);
    snapshot.scopes.push(fixture::scope(7, Some(1), "shop::handle"));
    snapshot.scopes.push(fixture::scope(8, Some(7), "a;b"));
    snapshot.contexts = vec![
        fixture::context(7, Some(0), 100),
        fixture::context(8, Some(0), 20),
        fixture::context(1, Some(1), 3),
        fixture::context(1, Some(2), 4),
        fixture::context(8, None, 5),
    ];
    snapshot
}

fn text(format: Format, snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    snapshot.export().write(format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_name_of_a_file_says_the_format() {
    for (name, format) in [
        ("a.pb.gz", Format::Pprof),
        ("a/b.PPROF", Format::Pprof),
        ("x.json", Format::Json),
        ("x.dhat.json", Format::Dhat),
        ("dhat.out.123", Format::Dhat),
        ("x.speedscope.json", Format::Speedscope),
        ("x.heapprofile", Format::HeapProfile),
        ("x.folded", Format::Collapsed),
        ("x.svg", Format::FlameGraph),
        ("x.html", Format::Html),
        ("report", Format::Text),
        ("report.txt", Format::Text),
        ("html", Format::Text),
    ] {
        assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
    }
}

#[test]
fn collapsed_stacks_are_folded_sorted_and_summed() {
    assert_eq!(
        text(Format::Collapsed, &snapshot()),
        "app+0x50;shop::main;rules::check (rules.rs:7);Vec<[u8, 4]> 4\n\
         shop::handle;a,b;(no call stack recorded) 5\n\
         shop::main;rules::check (rules.rs:7);Vec<[u8, 4]> 120\n\
         shop::main;rules::check (rules.rs:9);Vec<[u8, 4]> 3\n"
    );
    let mut out = Vec::new();
    let snapshot = snapshot();
    let whole = snapshot.export().library(Library::Whole);
    whole.write(Format::Collapsed, &mut out).unwrap();
    let whole = String::from_utf8(out).unwrap();
    assert!(
        whole.contains("shop::main;rules::check;vec::push<[u8, 4], Global>;raw_vec::grow_one 123\n"),
        "{whole}"
    );
}

#[test]
fn a_difference_is_drawn_by_the_size_of_its_change() {
    let before = snapshot();
    let mut after = before.clone();
    after.contexts[2].counters.live_bytes += 50;
    after.contexts[3].counters.live_bytes = 0;
    let diff = SnapshotDiff::between(&before, &after);
    let mut out = Vec::new();
    diff.export().put(Format::Collapsed, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "app+0x50;shop::main;rules::check (rules.rs:7);Vec<[u8, 4]> 8 4\n\
         shop::main;rules::check (rules.rs:9);Vec<[u8, 4]> 0 50\n"
    );
    let error = diff.export().save("never/x.speedscope.json").unwrap_err();
    assert!(error.is_io(), "{error}");
}

#[test]
fn heap_profiles_nest_and_sum_to_what_is_alive() {
    let profile: Value = serde_json::from_str(&text(Format::HeapProfile, &snapshot())).unwrap();
    fn sum(node: &Value) -> u64 {
        let inside = node["children"].as_array().unwrap().iter().map(sum);
        node["selfSize"].as_u64().unwrap() + inside.sum::<u64>()
    }
    assert_eq!(sum(&profile["head"]), 132);
    let samples = profile["samples"].as_array().unwrap().iter();
    assert_eq!(samples.map(|sample| sample["size"].as_u64().unwrap()).sum::<u64>(), 132);
}

#[test]
fn heap_profiles_hold_the_figure_that_is_asked_for() {
    let mut churn = snapshot();
    churn.contexts[0].counters.total_bytes += 1000;
    let sizes = |export: Export<'_>| {
        let mut out = Vec::new();
        export.write(Format::HeapProfile, &mut out).unwrap();
        let profile: Value = serde_json::from_slice(&out).unwrap();
        let samples = profile["samples"].as_array().unwrap().iter();
        samples.map(|sample| sample["size"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(sizes(churn.export()), 132);
    assert_eq!(sizes(churn.export().rank(Rank::Live)), 132);
    assert_eq!(sizes(churn.export().rank(Rank::Bytes)), 1132);
    assert_eq!(sizes(churn.export().rank(Rank::Allocations)), 5);
}

#[test]
fn speedscope_files_are_the_same_bytes_as_ever() {
    let mut whole = snapshot();
    whole.contexts[1].counters.live_bytes = 0;
    let mut out = Vec::new();
    let export = whole.export().rank(Rank::Live).library(Library::Whole);
    export.write(Format::Speedscope, &mut out).unwrap();
    let expected = include_str!("snapshots/speedscope.json").trim_end();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        expected.replace("VERSION", env!("CARGO_PKG_VERSION"))
    );
    // A figure that is zero everywhere has no profile, but one there must be.
    let nothing: Value = serde_json::from_str(&text(Format::Speedscope, &fixture::empty())).unwrap();
    assert_eq!(nothing["profiles"].as_array().unwrap().len(), 1);
    assert_eq!(nothing["profiles"][0]["samples"], serde_json::json!([]));
}

#[test]
fn a_stack_of_any_depth_is_written() {
    let mut deep = snapshot();
    let frames: Vec<u32> = (0..20_000).map(|at| 1 + at % 3).collect();
    deep.stacks = fixture::stacks([&frames[..], &[0, 2, 3], &[0, 1, 3, 4]]);
    let profile = text(Format::HeapProfile, &deep);
    assert_eq!(
        profile.matches("\"children\":[").count(),
        profile.matches("]}").count() - 1
    );
    assert!(text(Format::Collapsed, &deep).len() > 200_000);
}

#[test]
fn dhat_points_are_unique_and_sum_to_the_totals() {
    let file: Value = serde_json::from_str(&text(Format::Dhat, &snapshot())).unwrap();
    let points = file["pps"].as_array().unwrap();
    let stacks: std::collections::HashSet<String> = points.iter().map(|point| point["fs"].to_string()).collect();
    assert_eq!(stacks.len(), points.len());
    assert_eq!(
        points.iter().map(|point| point["tb"].as_u64().unwrap()).sum::<u64>(),
        132
    );
    assert_eq!(
        points.iter().map(|point| point["ebk"].as_u64().unwrap()).sum::<u64>(),
        5
    );
    assert!(!file["ftbl"].to_string().contains("alloc-core"));
}

#[test]
fn nothing_of_the_program_is_left_without_names() {
    let hidden = snapshot().without_names();
    let formats = [
        Format::Text,
        Format::Json,
        Format::Dhat,
        Format::Speedscope,
        Format::Collapsed,
    ];
    let all = formats.map(|format| text(format, &hidden)).concat() + &hidden.to_json().unwrap();
    for secret in [
        "shop", "check", "rules", "main", "/home", "handle", "a;b", "a,b", "/bin/app", "\"app",
    ] {
        assert!(!all.contains(secret), "{secret}");
    }
    assert!(text(Format::Collapsed, &hidden).contains("own::f2;own::f1 (file1.rs:7);Vec 120\n"));
    assert_eq!(hidden.totals, snapshot().totals);
    assert_eq!(Snapshot::from_json(&hidden.to_json().unwrap()).unwrap(), hidden);
}

#[test]
fn only_paths_of_the_library_itself_stay_without_names() {
    let mut crowd = snapshot();
    let shim = "/home/me/library/secret-merger/src/main.rs";
    let kept = [
        (
            "grow_one",
            "/rustc/59807616e/library/alloc/src/raw_vec/mod.rs",
            "/rustc/library/alloc/src/raw_vec/mod.rs",
        ),
        (
            "grow_one",
            "/rustc/library/alloc/src/raw_vec/mod.rs",
            "/rustc/library/alloc/src/raw_vec/mod.rs",
        ),
        (
            "insert",
            "/home/me/r/hashbrown-0.15.2/src/map.rs",
            "/rust/deps/hashbrown-0.15.2/src/map.rs",
        ),
        (
            "lookup",
            "/rust/deps/addr2line-0.25.1/src/lib.rs",
            "/rust/deps/addr2line-0.25.1/src/lib.rs",
        ),
        (
            "alloc",
            "/home/me/library/x/alloc-core/src/record/gate.rs",
            "alloc-core/src/record/gate.rs",
        ),
        (
            "alloc",
            "/home/me/.cargo/registry/src/i/alloc-core-0.1.0/src/gate.rs",
            "alloc-core/src/gate.rs",
        ),
    ];
    let hidden = [
        ("__rust_alloc", shim),
        ("__rustc::__rust_realloc", shim),
        ("__rg_alloc", shim),
        ("__rdl_dealloc", "/home/me/library/std/src/secret-merger/main.rs"),
        ("secret_merge", "/home/rustc/library/secret-merger/src/main.rs"),
        ("secret_merge", "/home/rustc/src/library/core/secret-merger.rs"),
        ("secret_merge", "/home/me/rust/deps/secret-merger/src/main.rs"),
        ("secret_merge", "/home/me/rust/deps/secret-merger-1.0/src/main.rs"),
        ("secret_merge", "/home/me/hashbrown-0-secret-merger/src/main.rs"),
        ("secret_merge", "/home/me/hashbrown-0.15.2/secret-merger/src/main.rs"),
        ("secret_merge", "/home/me/hashbrown/src/secret-merger.rs"),
    ];
    let symbol = |function: &str, file: &str| Symbol {
        function: function.to_owned(),
        file: file.to_owned(),
        line: 1,
    };
    let symbols = kept.iter().map(|&(function, file, _)| symbol(function, file));
    crowd.frames[0].symbols = symbols
        .chain(hidden.map(|(function, file)| symbol(function, file)))
        .collect();
    let without = crowd.without_names();
    let left = &without.frames[0].symbols;
    for (symbol, (function, _, file)) in left.iter().zip(kept) {
        assert_eq!((symbol.function.as_str(), symbol.file.as_str()), (function, file));
    }
    for (symbol, (function, file)) in left[kept.len()..].iter().zip(hidden) {
        assert_eq!(symbol.file, "", "{file}");
        assert!(!symbol.function.contains("secret"), "{function} in {file}: {symbol:?}");
    }
    assert!(!without.to_json().unwrap().contains("secret"));
    // Nothing is left to take away, and whose code it is has not changed.
    assert_eq!(without.without_names().frames[0].symbols[..9], left[..9]);
    let own = Own::default();
    for (before, after) in crowd.frames[0].symbols.iter().zip(left) {
        assert_eq!(own.origin(before), own.origin(after), "{before:?} {after:?}");
    }
}

#[test]
#[cfg(feature = "pprof")]
fn the_first_mapping_is_the_program() {
    use crate::export::pprof::profile;

    let mut plugin = snapshot();
    plugin
        .modules
        .insert(0, fixture::module("/lib/libplugin.so", "cd02", 0x9_0000));
    for frame in &mut plugin.frames {
        frame.module = Some(1);
    }
    plugin.frames[4].module = Some(0);
    let path_of = |snapshot: &Snapshot, which: fn(&pprof::Profile) -> u64| {
        let profile = profile(snapshot, &Options::default());
        let id = which(&profile);
        let mapping = profile.mapping.iter().find(|mapping| mapping.id == id).unwrap();
        profile.string_table[mapping.filename as usize].clone()
    };
    assert_eq!(path_of(&plugin, |profile| profile.mapping[0].id), "/bin/app");
    assert_eq!(path_of(&plugin, |profile| profile.location[0].mapping_id), "/bin/app");
    // Without names, too: who has the binary can name the addresses.
    let hidden = plugin.without_names();
    assert_eq!(path_of(&hidden, |profile| profile.mapping[0].id), "program");
    assert_eq!(path_of(&hidden, |profile| profile.location[0].mapping_id), "program");
}

#[test]
#[cfg(feature = "pprof")]
fn profiles_are_the_same_bytes_each_time_and_decode() {
    use std::io::Read as _;

    use prost::Message as _;

    let write = || {
        let mut out = Vec::new();
        snapshot().export().write(Format::Pprof, &mut out).unwrap();
        out
    };
    let bytes = write();
    assert_eq!(bytes, write());
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_end(&mut plain)
        .unwrap();
    let profile = pprof::Profile::decode(&plain[..]).unwrap();
    assert_eq!(profile.string_table[0], "");
    assert_eq!(profile.sample.len(), 5);
    let addresses: Vec<u64> = profile.location.iter().map(|location| location.address).collect();
    assert_eq!(addresses[..3], [0x100f, 0x101f, 0x103f]);
    assert_eq!(profile.mapping[0].memory_limit, 0x1051);
    // The unresolved frame keeps the module from passing for a named one.
    assert!(!profile.mapping[0].has_functions);
    assert_eq!(profile.location[0].line.len(), 2);
}

#[test]
#[cfg(feature = "html")]
fn no_text_of_the_program_can_end_the_script() {
    let mut hostile = snapshot();
    hostile.scopes[1].name = "</script><img src=x onerror=alert(1)>/*script*/".to_owned();
    let page = hostile.html().to_html();
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<img"));
    assert!(page.contains("\\u003c/script>"));
}

/// The data of a page.
#[cfg(feature = "html")]
fn data_of(report: &HtmlReport<'_>) -> Value {
    let page = report.to_html();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

#[test]
#[cfg(feature = "html")]
fn the_page_holds_the_heaviest_sites_by_every_figure() {
    // 1300 sites that only churn; one was granted less than any of them and holds all that is alive, another holds the most blocks.
    let mut crowd = fixture::empty();
    crowd.modules.push(fixture::module("/bin/app", "ab01", 0x1000));
    for at in 0..1302 {
        crowd
            .frames
            .push(fixture::frame(0, u64::from(at) + 1, "shop::work", at + 1));
        crowd.contexts.push(fixture::context(1, Some(at), 0));
    }
    crowd.stacks = fixture::stacks((0..1302).map(|at| [at]));
    for (at, context) in (0..).zip(&mut crowd.contexts) {
        let c = &mut context.counters;
        (c.total_bytes, c.live_blocks) = (10_000_000 + at, 0);
    }
    let holder = &mut crowd.contexts[1300].counters;
    (holder.total_bytes, holder.live_bytes, holder.live_blocks) = (1 << 20, 1 << 20, 1);
    let many = &mut crowd.contexts[1301].counters;
    (many.total_bytes, many.live_blocks) = (2, 1000);
    crowd.totals.live_bytes = 1 << 20;
    let data = data_of(&crowd.html());
    let sites = data["report"]["sites"].as_array().unwrap();
    let lines: Vec<u64> = sites.iter().map(|site| site["line"].as_u64().unwrap()).collect();
    assert!(lines.contains(&1301) && lines.contains(&1302), "{lines:?}");
    assert_eq!(data["report"]["site_count"], 1302);
    // What is left out is the light end, and ranks are those among all.
    assert!(sites.len() < 1302 && lines[..500].iter().rev().copied().eq(801..=1300));
    let rank = |line| &sites[lines.iter().position(|at| *at == line).unwrap()]["rank"];
    assert_eq!(
        (rank(1300), rank(1301), rank(1302)),
        (&1.into(), &1301.into(), &1302.into())
    );
}

#[test]
#[cfg(feature = "html")]
fn the_page_knows_what_is_unknown_after_time_in_off() {
    let mut first = snapshot();
    first.totals.live_bytes = 132;
    let mut last = first.clone();
    (last.epoch, last.was_off) = (2, true);
    let earlier = [first.clone()];
    let data = data_of(&last.html().before(&first).series(&earlier));
    assert_eq!(data["series"][0]["live_bytes"], 132);
    assert_eq!(data["series"][1]["live_bytes"], Value::Null);
    assert_eq!(data["series"][1]["live_blocks"], Value::Null);
    assert_eq!(data["live_of_diff"], serde_json::json!([132, null]));
}

#[test]
#[cfg(feature = "flamegraph")]
fn a_graph_of_nothing_is_a_picture_that_says_so() {
    let graph = text(Format::FlameGraph, &fixture::empty());
    assert!(
        graph.starts_with("<svg") && graph.contains("nothing to show"),
        "{graph}"
    );
}
