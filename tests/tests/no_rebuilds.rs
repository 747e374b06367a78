//! `assert_no_rebuilds!` as its users see it: what panics and with which text, what passes, and that neighbours do not matter.

use std::collections::HashSet;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

use alloc_core::findings::Baseline;
use alloc_core::{TrackingAllocator, assert_no_rebuilds, track_memory};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[track_memory(request)]
fn rebuilds(user: u64) -> bool {
    let risky: HashSet<u64> = (0..100).collect();
    black_box(&risky).contains(&user)
}

#[track_memory(request)]
fn keeps(user: u64, risky: &mut HashSet<u64>) -> bool {
    risky.clear();
    risky.extend(0..100);
    black_box(&*risky).contains(&user)
}

fn line_of(what: &str) -> usize {
    let source = include_str!("no_rebuilds.rs");
    1 + source
        .lines()
        .position(|line| line.contains(what))
        .expect("it is there")
}

/// The text of the panic.
fn panic_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it must panic");
    *panic.downcast::<String>().expect("a text")
}

fn serve_badly(requests: u64) -> usize {
    (0..requests).filter(|&user| rebuilds(user)).count()
}

fn serve_well(requests: u64) -> usize {
    let mut risky = HashSet::new();
    (0..requests).filter(|&user| keeps(user, &mut risky)).count()
}

#[test]
fn what_is_rebuilt_panics_with_the_line_and_the_advice() {
    let text = panic_of(|| {
        assert_no_rebuilds!(serve_badly(60));
    });
    // Lines are broken to fit a terminal.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line_of("let risky: HashSet<u64> = (0..100)");
    for part in [
        "tests/no_rebuilds.rs:".to_owned(),
        "serve_badly(60)".to_owned(),
        "1 collection is rebuilt".to_owned(),
        "reuse the instance: HashSet<u64> severity".to_owned(),
        format!("at tests/no_rebuilds.rs:{line} "),
        "60 seen, 60".to_owned(),
        "thread_local!".to_owned(),
    ] {
        assert!(text.contains(&part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn what_is_kept_passes_and_gives_the_value() {
    let found = assert_no_rebuilds!(serve_well(200));
    assert_eq!(found, 100);
}

#[test]
fn too_few_iterations_are_a_panic_that_says_how_many_there_were() {
    let text = panic_of(|| {
        assert_no_rebuilds!(serve_well(29));
    });
    assert!(
        text.contains("nothing can be said with 29 iterations; run at least 30"),
        "{text}"
    );
    let text = panic_of(|| {
        assert_no_rebuilds!(black_box(vec![1]));
    });
    assert!(
        text.contains("no iteration was seen") && text.contains("#[track_memory(request)]"),
        "{text}"
    );
}

#[test]
fn neither_neighbours_nor_predecessors_matter() {
    fn check(serve: fn(u64) -> usize) -> bool {
        catch_unwind(|| assert_no_rebuilds!(serve(40))).is_ok()
    }
    // One place, one thread after another, and at once.
    for _ in 0..2 {
        assert!(!check(serve_badly));
        assert!(check(serve_well));
    }
    std::thread::scope(|threads| {
        let checks: Vec<_> = [serve_badly as fn(u64) -> usize, serve_well]
            .into_iter()
            .cycle()
            .take(4)
            .map(|serve| threads.spawn(move || check(serve)))
            .collect();
        let passed: Vec<bool> = checks.into_iter().map(|check| check.join().unwrap()).collect();
        assert_eq!(passed, [false, true, false, true]);
    });
}

#[track_memory(request)]
fn may_rebuild(user: u64, rebuilds: bool) -> bool {
    if rebuilds {
        let risky: HashSet<u64> = (0..100).collect();
        return black_box(&risky).contains(&user);
    }
    drop(black_box(Box::new(user)));
    false
}

#[test]
fn what_one_handler_did_in_an_earlier_test_does_not_hide_what_it_rebuilds() {
    let serve = |requests: u64, rebuilds: bool| (0..requests).filter(|&user| may_rebuild(user, rebuilds)).count();
    for harmless in [100, 400, 600, 3000] {
        // As a rule in the place of the one before; a neighbour may hold it.
        assert_no_rebuilds!(serve(harmless, false));
        let text = panic_of(|| {
            assert_no_rebuilds!(serve(100, true));
        });
        assert!(text.contains("reuse the instance"), "{text}");
    }
}

#[track_memory(request)]
fn descends(depth: u64) {
    if depth > 0 {
        return descends(depth - 1);
    }
    let list: Vec<u64> = Vec::with_capacity(100);
    black_box(&list);
}

#[test]
fn a_request_that_calls_itself_is_one_iteration() {
    for depth in [0, 1, 3] {
        let text = panic_of(|| {
            assert_no_rebuilds!((0..200).for_each(|_| descends(depth)));
        });
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("1 collection is rebuilt") && text.contains("200 seen, 200 observed"),
            "{text}"
        );
        assert!(text.contains("in 1 allocation per request"), "{text}");
    }
}

#[test]
fn a_baseline_and_a_severity_let_things_pass() {
    let text = panic_of(|| {
        assert_no_rebuilds!(serve_badly(50));
    });
    let id = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("id    "))
        .expect("an id");
    let id = id.split(',').next().expect("it ends");
    let path = std::env::temp_dir().join(format!("allocscope-no-rebuilds-{}.json", std::process::id()));
    let accepted = format!(r#"{{"baseline_version":1,"accepted":[{{"id":"{id}","reason":"a test"}}]}}"#);
    std::fs::write(&path, accepted).unwrap();
    assert_eq!(Baseline::load(&path).unwrap().accepted.len(), 1);
    assert_eq!(assert_no_rebuilds!(serve_badly(50), baseline = &path), 50);

    std::fs::write(&path, r#"{"baseline_version":1,"accepted":[{"id":"x","reason":""}]}"#).unwrap();
    let text = panic_of(|| {
        assert_no_rebuilds!(serve_badly(50), baseline = &path,);
    });
    assert!(text.contains("has no reason"), "{text}");
    std::fs::remove_file(&path).unwrap();

    // Alone in its loop, so as severe as it is sure.
    assert_no_rebuilds!(serve_badly(30), min_severity = 100);
    let text = panic_of(|| {
        assert_no_rebuilds!(serve_badly(300), min_severity = 80);
    });
    assert!(text.contains("severity 9"), "{text}");
}
