//! Measured costs: read from JSON, matched to candidates, and what is said when they match nothing.

use alloc_lint::{MatchedBy, MeasuredSite, NoteKind, Options, Profile, Report, lint_source};

const SOURCE: &str = "\
fn cheap(lines: &[&str]) {
    for line in lines {
        let parts: Vec<&str> = line.split(',').collect();
        show(&parts);
    }
}

fn grown(lines: &[&str]) {
    for line in lines {
        let mut letters = Vec::new();
        for letter in line.chars() {
            letters.push(letter);
        }
        show(&letters);
    }
}

fn unmeasured(lines: &[&str]) {
    for line in lines {
        let set: HashSet<char> = line
            .chars()
            .collect();
        show(&set);
    }
}
";

fn site(file: &str, line: u32, function: &str, bytes: u64) -> MeasuredSite {
    MeasuredSite {
        file: file.to_owned(),
        line,
        function: function.to_owned(),
        allocations: 10,
        bytes,
        iterations: Some(5),
        verdict: None,
    }
}

fn lint(sites: Vec<MeasuredSite>) -> Report {
    let mut options = Options::default();
    options.profile = Some(Profile { sites });
    lint_source("src/shop.rs", SOURCE, &options).expect("a thread is to be had")
}

fn measured(report: &Report) -> Vec<(usize, Option<(u64, MatchedBy)>)> {
    let cost = |candidate: &alloc_lint::Candidate| {
        candidate
            .measured
            .as_ref()
            .map(|measured| (measured.bytes, measured.matched_by))
    };
    report
        .candidates
        .iter()
        .map(|candidate| (candidate.line, cost(candidate)))
        .collect()
}

#[test]
fn measured_candidates_come_first_by_bytes_and_unmeasured_ones_last() {
    let report = lint(vec![
        site("/build/shop/src/shop.rs", 3, "shop::cheap", 100),
        site("src/shop.rs", 12, "shop::grown", 900),
        site("src/shop.rs", 12, "shop::grown", 100),
    ]);
    let line = MatchedBy::Line;
    assert_eq!(
        measured(&report),
        [(10, Some((1000, line))), (3, Some((100, line))), (22, None)]
    );
    assert!(
        report
            .to_text()
            .contains("measured: 1000 B in 20 allocations, 5 iterations (200 B each)")
    );
    assert!(report.notes.is_empty());
}

#[test]
fn any_line_of_the_statement_is_its_line() {
    let report = lint(vec![site("src/shop.rs", 20, "shop::unmeasured", 7)]);
    assert_eq!(measured(&report)[0], (22, Some((7, MatchedBy::Line))));
}

#[test]
fn a_site_without_a_line_belongs_to_its_function() {
    let report = lint(vec![site("src/shop.rs", 0, "shop::grown", 7)]);
    assert_eq!(measured(&report)[0], (10, Some((7, MatchedBy::Function))));
    assert!(report.to_text().contains("of the whole function"));
}

#[test]
fn a_site_with_a_line_that_is_none_of_a_candidates_is_charged_to_nobody() {
    let report = lint(vec![site("src/shop.rs", 4, "shop::cheap", 7)]);
    assert!(report.candidates.iter().all(|candidate| candidate.measured.is_none()));
    assert_eq!(report.notes[0].kind, NoteKind::ProfileUnmatched);
    assert!(report.notes[0].message.contains("none is at a candidate"));
}

#[test]
fn a_profile_of_another_program_is_said_to_be_one() {
    let report = lint(vec![site("src/other.rs", 3, "other::cheap", 7)]);
    assert_eq!(report.notes[0].kind, NoteKind::ProfileUnmatched);
    assert!(report.notes[0].message.contains("another program"));
    let report = lint(Vec::new());
    assert!(report.notes[0].message.contains("holds no site"));
}

#[test]
fn a_measured_candidate_is_listed_whatever_its_rank() {
    let mut options = Options::default();
    options.min_rank = 100;
    options.profile = Some(Profile {
        sites: vec![site("src/shop.rs", 3, "shop::cheap", 1)],
    });
    let report = lint_source("src/shop.rs", SOURCE, &options).expect("a thread is to be had");
    assert_eq!((report.candidates.len(), report.below_min_rank), (1, 2));
}

#[test]
fn a_list_of_sites_is_read() {
    let text = r#"{"sites": [{"file": "src/shop.rs", "line": 3, "allocations": 2, "bytes": 64, "verdict": "reuse the instance"}]}"#;
    let profile = Profile::from_json(text).expect("it is a list of sites");
    let report = lint(profile.sites);
    let measured = report.candidates[0].measured.as_ref().expect("it is measured");
    assert_eq!(measured.verdict.as_deref(), Some("reuse the instance"));
}

#[test]
fn a_snapshot_is_read_with_the_innermost_own_frame_and_the_iterations_around_it() {
    let scope = |id: u64, parent: Option<u64>, name: &str, kind: &str, entered: u64| {
        serde_json::json!({
            "id": id, "parent": parent, "scope": id, "name": name, "file": "src/shop.rs", "line": 1, "kind": kind,
            "calls": {"entered": entered, "completed": entered}
        })
    };
    let counters = |allocations: u64, bytes: u64| serde_json::json!({"total_allocations": allocations, "total_reallocations": 1, "total_bytes": bytes, "total_frees": 0});
    let symbol =
        |function: &str, file: &str, line: u32| serde_json::json!({"function": function, "file": file, "line": line});
    let snapshot = serde_json::json!({
        "schema_version": 1,
        "scopes": [
            {"id": 1, "parent": null, "scope": 0, "name": "whole program", "file": "", "line": 0, "calls": {"entered": 0}},
            scope(2, Some(1), "shop::handle", "request", 40),
            scope(3, Some(2), "shop::grown", "function", 80),
        ],
        "contexts": [
            {"scope": 3, "stack": 0, "counters": counters(4, 256)},
            {"scope": 3, "stack": null, "counters": counters(1, 8)},
            {"scope": 1, "stack": 1, "counters": counters(1, 1)},
        ],
        "stacks": [{"frames": [0, 1]}, {"frames": [0]}],
        "frames": [
            {"module": 0, "offset": 1, "symbols": [
                symbol("realloc_front<std::alloc::System>", "/build/alloc-core/src/record/gate.rs", 509),
                symbol("__rust_alloc", "/home/me/shop/src/main.rs", 24),
                symbol("alloc::raw_vec::grow", "/rustc/abc/library/alloc/src/raw_vec.rs", 7),
                symbol("regex::f", "/home/me/.cargo/registry/src/index/regex-1.0.0/src/lib.rs", 7)
            ]},
            {"module": 0, "offset": 2, "symbols": [symbol("shop::grown", "/home/me/shop/src/shop.rs", 12), symbol("shop::handle", "/home/me/shop/src/shop.rs", 2)]},
        ],
    });
    let profile = Profile::from_json(&snapshot.to_string()).expect("it is a snapshot");
    let mut expected = site("/home/me/shop/src/shop.rs", 12, "shop::grown", 256);
    expected.allocations = 5;
    expected.iterations = Some(40);
    assert!(profile.sites.contains(&expected), "{profile:?}");
    let by_scope = profile
        .sites
        .iter()
        .find(|site| site.line == 0)
        .expect("a scope stands in for a stack");
    assert_eq!((by_scope.function.as_str(), by_scope.bytes), ("shop::grown", 8));
    assert_eq!(profile.sites.len(), 2);
}

#[test]
fn what_is_no_profile_is_an_error_that_says_what_was_found() {
    for (text, part) in [
        ("no", "found no JSON"),
        ("{}", "neither a snapshot"),
        ("[]", "neither a snapshot"),
        (r#"{"schema_version": 2, "contexts": []}"#, "found schema version 2"),
        (r#"{"schema_version": 1, "contexts": [{}]}"#, "read a snapshot"),
        (r#"{"sites": [{}]}"#, "read a list of measured sites"),
    ] {
        let error = Profile::from_json(text).expect_err("it is none");
        assert!(error.is_format() && error.to_string().contains(part), "{error}");
    }
}

/// A snapshot of one request, whose one stack has these frames, innermost first.
fn snapshot(frames: &[(&str, &str, u32)], calls: &serde_json::Value) -> Profile {
    let symbols: Vec<_> = frames
        .iter()
        .map(|(function, file, line)| serde_json::json!({"function": function, "file": file, "line": line}))
        .collect();
    let snapshot = serde_json::json!({
        "schema_version": 1,
        "scopes": [{"id": 1, "parent": null, "name": "shop::handle", "file": "src/shop.rs", "kind": "request", "calls": calls}],
        "contexts": [{"scope": 1, "stack": 0, "counters": {"total_allocations": 4, "total_bytes": 256}}],
        "stacks": [{"frames": [0]}],
        "frames": [{"module": 0, "offset": 1, "symbols": symbols}],
    });
    Profile::from_json(&snapshot.to_string()).expect("it is a snapshot")
}

#[test]
fn what_the_code_of_others_allocates_is_charged_to_the_line_that_asks_for_it() {
    for foreign in [
        "/rust/deps/hashbrown-0.16.1/src/raw/alloc.rs",
        "/home/me/hashbrown/src/raw/mod.rs",
        "/usr/local/cargo/registry/src/index.crates.io-1/smallvec-1.0.0/src/lib.rs",
        "/usr/local/cargo/git/checkouts/smallvec-12/abc/src/lib.rs",
        "/home/me/shop/vendor/smallvec/src/lib.rs",
        "C:\\Users\\me\\.cargo\\registry\\src\\i\\smallvec-1.0.0\\src\\lib.rs",
        "/usr/local/cargo/registry/src/i/alloc-core-0.1.0/src/record/gate.rs",
        "library/alloc/src/raw_vec/mod.rs",
        "./malloc/malloc.c",
    ] {
        let frames = [
            ("f", foreign, 19),
            ("shop::unmeasured", "/home/me/shop/src/shop.rs", 22),
        ];
        let profile = snapshot(&frames, &serde_json::json!({"entered": 1, "completed": 1}));
        let report = lint(profile.sites);
        assert_eq!(measured(&report)[0], (22, Some((256, MatchedBy::Line))), "{foreign}");
    }
}

#[test]
fn directories_that_look_like_the_code_of_others_are_the_programs_own() {
    for own in [
        "/home/me/library/core/src/shop.rs",
        "/home/me/alloc-core/tests/shop.rs",
        "/home/me/hashbrowns/src/shop.rs",
        "C:\\me\\src\\shop.rs",
    ] {
        let profile = snapshot(&[("f", own, 3)], &serde_json::json!({"entered": 1, "completed": 1}));
        assert_eq!((profile.sites[0].file.as_str(), profile.sites[0].line), (own, 3));
    }
}

#[test]
fn iterations_are_outermost_calls_and_open_ones_while_none_has_ended() {
    for (entered, completed, iterations) in [(90, 40, 40), (40, 40, 40), (3, 0, 3), (0, 0, 0)] {
        let calls = serde_json::json!({"entered": entered, "completed": completed});
        let profile = snapshot(&[("shop::handle", "/home/me/shop/src/shop.rs", 3)], &calls);
        assert_eq!(profile.sites[0].iterations, Some(iterations), "{calls}");
    }
}

#[test]
fn a_report_is_no_profile_and_what_to_give_instead_is_said() {
    let report = r#"{"report_version": 1, "report": "hot_paths", "sites": [{"file": "src/shop.rs", "line": 3, "counters": {"total_bytes": 64}}]}"#;
    let error = Profile::from_json(report).expect_err("its costs are not those of a site");
    let text = error.to_string();
    assert!(
        error.is_format() && text.contains("found a report") && text.contains("ALLOCSCOPE_SNAPSHOT"),
        "{text}"
    );
}
