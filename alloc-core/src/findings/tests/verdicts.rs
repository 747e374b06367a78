//! One test for each rule.
#![forbid(unsafe_code)]

use super::*;

const LINE: At = ("check_fraud", "APP/src/fraud.rs", 58);
const SET: [At; 3] = [TABLE, FROM_ITER, LINE];

fn grow(site: &mut LoopSite, times: u64) {
    site.growths = times * site.blocks;
    site.grown = site.blocks;
    site.copied_bytes = site.bytes;
}

#[test]
fn a_set_built_in_every_request_is_found_at_its_line() {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt(requests, &SET, 147_472);
    let finding = world.finding();
    assert_eq!(finding.verdict, Verdict::ReuseInstance);
    assert_eq!(finding.line.place, "src/fraud.rs:58");
    assert_eq!(finding.line.collection.as_deref(), Some("HashSet<u64>"));
    assert_eq!((finding.iteration.seen, finding.iteration.observed), (10 * N, N));
    assert_eq!((finding.cost.allocations, finding.cost.bytes), (1.0, 147_472.0));
    assert_eq!((finding.cost.share_of_loop, finding.cost.share_of_program), (1.0, 1.0));
    assert_eq!((finding.severity, finding.confidence.word.as_str()), (99, "high"));
    assert!(finding.suggestion.code.contains("RefCell<HashSet<u64>>"), "{finding}");
}

#[test]
fn thirty_iterations_are_needed_and_before_that_it_says_how_many_there_are() {
    let judge = |observed| {
        let mut world = World::new();
        let requests = world.requests(observed);
        world.rebuilt(requests, &SET, 4096);
        world.findings()
    };
    let few = judge(29);
    assert_eq!((few.findings.len(), few.not_enough.len()), (0, 1));
    assert_eq!(
        (few.not_enough[0].iteration.observed, few.not_enough[0].needed),
        (29, 30)
    );
    assert!(few.to_string().contains("29 of 30 requests"), "{few}");
    let enough = judge(30);
    assert_eq!((enough.findings.len(), enough.not_enough.len()), (1, 0));
}

#[test]
fn what_is_built_now_and_then_is_silent() {
    for (present, found) in [(N, 1), (930, 1), (905, 0), (500, 0), (1, 0)] {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt_with(requests, &SET, 4096, |site| site.present = present);
        assert_eq!(world.findings().findings.len(), found, "present in {present}");
    }
}

#[test]
fn what_the_first_iteration_fills_does_not_hide_what_each_builds() {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt(requests, &SET, 4096);
    // Heavier than all the sets: a cache, made once, by the same line.
    let cache = world.context(requests, &[RAW_VEC, PUSH, LINE], churned(1, 100 << 20));
    world.site(requests, steady(cache, 1, 100 << 20));
    let finding = world.finding();
    assert_eq!(finding.line.collection.as_deref(), Some("HashSet<u64>"));
    assert_eq!((finding.cost.allocations, finding.cost.bytes), (1.0, 4096.0));
}

#[test]
fn what_is_returned_is_silent_even_if_the_caller_frees_it() {
    for confined in [0, 500, 989] {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt_with(requests, &SET, 4096, |site| site.confined = confined);
        assert_eq!(world.verdicts(), [], "confined {confined}");
    }
}

#[test]
fn what_is_cheap_is_silent_and_options_say_what_is() {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt(requests, &SET, 63);
    assert_eq!(world.verdicts(), []);
    let strict = Options::default().min_bytes(8);
    assert_eq!(Findings::of(&world.snapshot, &strict).findings.len(), 1);
    // Above the floor in bytes, and nothing beside what the loop does otherwise.
    world.rebuilt(requests, &[RAW_VEC, ("read", "APP/src/io.rs", 7)], 100);
    let big = world.context(
        requests,
        &[RAW_VEC, ("other", "APP/src/io.rs", 9)],
        churned(1_000_000, 4096),
    );
    world.site(
        requests,
        LoopSite {
            confined: 0,
            ..steady(big, N, 4096)
        },
    );
    assert_eq!(world.verdicts(), []);
    let strict = Options::default().min_share(0.0);
    assert_eq!(Findings::of(&world.snapshot, &strict).findings.len(), 1);
    let severe = Options::default().min_share(0.0).min_severity(2);
    assert_eq!(Findings::of(&world.snapshot, &severe).findings.len(), 0);
}

#[test]
fn several_at_once_are_for_a_pool_and_many_for_an_arena() {
    let found = |one_live, few_live, most_live| {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt_with(requests, &SET, 4096, |site| {
            (site.one_live, site.few_live, site.most_live) = (one_live, few_live, most_live);
        });
        world.finding()
    };
    assert_eq!(found(960, 0, 50).verdict, Verdict::ReuseInstance);
    let few = found(100, 900, 3);
    assert_eq!((few.verdict, few.at_once), (Verdict::Pool, AtOnce::Few { most: 3 }));
    assert!(few.suggestion.explanation.contains("Up to 3"), "{few}");
    let many = found(10, 10, 500);
    assert_eq!(
        (many.verdict, many.at_once),
        (Verdict::Pool, AtOnce::Many { most: 500 })
    );
    assert!(many.suggestion.code.contains("Bump"), "{many}");
}

#[test]
fn what_lives_across_an_await_or_moves_is_never_kept_by_a_thread() {
    for crossed in [10, 1000] {
        for is_moved in [false, true] {
            let mut world = World::new();
            let requests = world.requests(N);
            world.rebuilt_with(requests, &SET, 4096, |site| {
                if is_moved {
                    site.crossed_threads = crossed;
                } else {
                    site.crossed_await = crossed;
                }
            });
            let finding = world.finding();
            assert_eq!(finding.verdict, Verdict::Pool);
            assert!(finding.crosses);
            let text = finding.to_string();
            assert!(!text.contains("thread_local"), "{text}");
            assert!(text.contains("POOL"), "{text}");
        }
    }
    // A stray one in a thousand is none.
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt_with(requests, &SET, 4096, |site| site.crossed_await = 5);
    assert_eq!(world.verdicts(), [Verdict::ReuseInstance]);
    // Not confined: nothing to say.
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt_with(requests, &SET, 4096, |site| {
        (site.crossed_await, site.confined) = (N, 0)
    });
    assert_eq!(world.verdicts(), []);
}

#[test]
fn what_escapes_and_grows_to_the_same_size_gets_its_capacity() {
    let judge = |size: u64, spread: u64, times: u64| {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt_with(
            requests,
            &[RAW_VEC, PUSH, ("rows", "APP/src/rows.rs", 12)],
            size,
            |site| {
                grow(site, times);
                site.confined = 0;
                site.final_bytes = (0..64).map(|at| size + at % 2 * spread).collect();
            },
        );
        world.findings().findings
    };
    let found = judge(800, 0, 4);
    assert_eq!(found[0].verdict, Verdict::ReserveCapacity);
    assert!(
        found[0].suggestion.code.contains("Vec::with_capacity(100)"),
        "{}",
        found[0]
    );
    assert_eq!(found[0].growth.unwrap().capacity, Some(100));
    // Sizes differ too much; it grows once; what is copied is nothing.
    assert_eq!(
        (judge(800, 2400, 4).len(), judge(800, 0, 1).len(), judge(80, 0, 4).len()),
        (0, 0, 0)
    );
}

#[test]
fn elements_of_unknown_size_get_bytes_and_how_to_compute() {
    let mut world = World::new();
    let requests = world.requests(N);
    let push = (
        "push<shop::Order, alloc::alloc::Global>",
        "LIB/alloc/src/vec/mod.rs",
        2500,
    );
    world.rebuilt_with(
        requests,
        &[RAW_VEC, push, ("rows", "APP/src/rows.rs", 12)],
        800,
        |site| {
            grow(site, 3);
            site.confined = 0;
        },
    );
    let code = world.finding().suggestion.code;
    assert!(code.contains("Vec::with_capacity(800 / size_of::<Order>())"), "{code}");
}

#[test]
fn what_stays_alive_is_said_to_be_retained_and_fails_no_gate() {
    let mut world = World::new();
    let requests = world.requests(N);
    let alive = Counters {
        total_frees: 100,
        freed_bytes: 100 * 512,
        live_blocks: 10 * N - 100,
        live_bytes: (10 * N - 100) * 512,
        ..churned(10 * N, 512)
    };
    let context = world.context(requests, &[RAW_VEC, PUSH, ("remember", "APP/src/log.rs", 5)], alive);
    world.site(
        requests,
        LoopSite {
            confined: 0,
            ..steady(context, N, 512)
        },
    );
    let finding = world.finding();
    assert_eq!(finding.verdict, Verdict::Retained);
    assert!(finding.severity <= 20, "{finding}");
    assert!(world.findings().check(&Baseline::default()).is_ok());
}

#[test]
fn a_pattern_that_is_compiled_in_each_request_is_to_be_compiled_once() {
    let mut world = World::new();
    let requests = world.requests(N);
    let compile = ("new", "REG/regex-1.11.1/src/regex/string.rs", 180);
    let line = ("validate", "APP/src/form.rs", 9);
    let inner = ("compile", "REG/regex-automata-0.4.9/src/nfa/thompson/compiler.rs", 70);
    world.rebuilt_with(requests, &[RAW_VEC, PUSH, inner, compile, line], 4096, |site| {
        (site.one_live, site.most_live) = (0, 300);
    });
    let finding = world.finding();
    assert_eq!(finding.verdict, Verdict::CacheValue);
    assert!(finding.suggestion.code.contains("LazyLock<Regex>"), "{finding}");
}

#[test]
fn a_document_is_not_reused_but_borrowed_from() {
    let mut world = World::new();
    let requests = world.requests(N);
    let parse = (
        "from_str<serde_json::value::Value>",
        "REG/serde_json-1.0.140/src/de.rs",
        2700,
    );
    world.rebuilt(
        requests,
        &[RAW_VEC, PUSH, parse, ("order", "APP/src/order.rs", 20)],
        300,
    );
    let finding = world.finding();
    assert_eq!(finding.verdict, Verdict::Pool);
    assert!(finding.suggestion.code.contains("Cow<'a, str>"), "{finding}");
}

#[test]
fn clones_are_shared_and_named_where_they_are_asked_for() {
    let mut world = World::new();
    let requests = world.requests(N);
    let copy = ("to_vec<u8>", "LIB/alloc/src/slice.rs", 400);
    let clone = ("clone", "LIB/alloc/src/string.rs", 2300);
    let derived = ("clone", "APP/src/config.rs", 3);
    world.rebuilt(
        requests,
        &[copy, clone, derived, ("handle", "APP/src/main.rs", 33)],
        300,
    );
    let finding = world.finding();
    assert_eq!(finding.line.place, "src/main.rs:33");
    assert_eq!(finding.line.made_by.as_deref(), Some("clone"));
    assert!(finding.suggestion.code.contains("Arc::clone"), "{finding}");
}

/// Brackets close what they open, outside of comments and texts; statements end.
pub(super) fn looks_like_rust(code: &str) -> bool {
    let mut open = Vec::new();
    for line in code.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let outside_of_texts = line.split('"').step_by(2).collect::<String>();
        for c in outside_of_texts.chars() {
            match c {
                '(' | '[' | '{' => open.push(c),
                ')' if open.pop() != Some('(') => return false,
                ']' if open.pop() != Some('[') => return false,
                '}' if open.pop() != Some('{') => return false,
                _ => {}
            }
        }
        let line = line.trim_end();
        let ends = |end: &str| line.ends_with(end);
        if !line.is_empty()
            && ![
                ";",
                "{",
                "}",
                ",",
                "|",
                ")]",
                "expect(\"the pattern is valid\")",
                "()",
                "valid\")",
            ]
            .into_iter()
            .any(ends)
        {
            return false;
        }
    }
    open.is_empty()
}

/// Ways to build something, innermost frame first, without the own line.
const WAYS: &[&[At]] = &[
    &[RAW_VEC, PUSH],
    &[RAW_VEC, ("push<shop::Order>", "LIB/alloc/src/vec/mod.rs", 1)],
    &[RAW_VEC],
    &[
        ("from_iter<u64>", "LIB/alloc/src/vec/mod.rs", 1),
        ("collect", "LIB/core/src/iter/traits/iterator.rs", 2),
    ],
    &[STRING],
    &[STRING, FORMAT],
    &[STRING, ("join<&str>", "LIB/alloc/src/slice.rs", 1)],
    &[STRING, ("to_owned", "LIB/alloc/src/str.rs", 1)],
    &[RAW_VEC, ("to_vec<u8>", "LIB/alloc/src/slice.rs", 1)],
    &[STRING, ("clone", "LIB/alloc/src/string.rs", 1)],
    &[TABLE, FROM_ITER],
    &[(
        "reserve_rehash<(u64, shop::Order)>",
        "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs",
        1,
    )],
    &[("reserve_rehash", "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs", 1)],
    &[("insert<u64, u8>", "LIB/alloc/src/collections/btree/map.rs", 1)],
    &[("insert<u64>", "LIB/alloc/src/collections/btree/set.rs", 1)],
    &[("push_back<u32>", "LIB/alloc/src/collections/vec_deque/mod.rs", 1)],
    &[("push<u32>", "LIB/alloc/src/collections/binary_heap/mod.rs", 1)],
    &[("push_back<u32>", "LIB/alloc/src/collections/linked_list.rs", 1)],
    &[("push", "LIB/std/src/path.rs", 1)],
    &[("push", "LIB/std/src/ffi/os_str.rs", 1)],
    &[("new<u64>", "LIB/alloc/src/boxed.rs", 1)],
    &[("new<dyn shop::Shape>", "LIB/alloc/src/sync.rs", 1)],
    &[("sort<u64>", "LIB/alloc/src/slice.rs", 1)],
    &[RAW_VEC, ("new", "REG/regex-1.11.1/src/regex/string.rs", 1)],
    &[RAW_VEC, ("build", "REG/globset-0.4.16/src/lib.rs", 1)],
    &[RAW_VEC, ("new", "REG/reqwest-0.12.0/src/lib.rs", 1)],
    &[
        RAW_VEC,
        (
            "from_str<serde_json::value::Value>",
            "REG/serde_json-1.0.140/src/de.rs",
            1,
        ),
    ],
    &[RAW_VEC, ("parse", "REG/quick_xml-0.1.0/src/de.rs", 1)],
];

#[test]
fn every_suggestion_reads_like_rust_and_none_keeps_with_the_thread_what_leaves_it() {
    type Change = fn(&mut LoopSite);
    let changes: [Change; 6] = [
        |_| {},
        |site| (site.one_live, site.few_live, site.most_live) = (0, N, 4),
        |site| (site.one_live, site.most_live) = (0, 90),
        |site| site.crossed_await = N,
        |site| site.crossed_threads = N,
        |site| {
            grow(site, 4);
            site.confined = 0;
        },
    ];
    let mut different = std::collections::BTreeSet::new();
    for kind in [ScopeKind::Request, ScopeKind::Loop, ScopeKind::Function] {
        for way in WAYS {
            for change in changes {
                let mut world = World::new();
                let scope = world.scope(1, "shop::batch", kind, 70);
                world.observe(scope, N);
                let mut frames = way.to_vec();
                frames.push(("work", "APP/src/work.rs", 5));
                world.rebuilt_with(scope, &frames, 4096, change);
                let Some(finding) = world.findings().findings.pop() else {
                    // What has no capacity cannot reserve it.
                    assert_eq!(world.snapshot.loops[0].sites[0].confined, 0);
                    continue;
                };
                let Suggestion { explanation, code } = &finding.suggestion;
                assert!(
                    explanation.ends_with('.') && !explanation.contains("  "),
                    "{explanation}"
                );
                assert!(looks_like_rust(code), "{code}");
                if finding.crosses {
                    assert!(
                        !explanation.contains("thread_local") && !code.contains("thread_local"),
                        "{finding}"
                    );
                }
                let text = finding.to_string();
                assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
                different.insert(format!("{explanation}\n{code}"));
            }
        }
    }
    assert!(different.len() > 60, "{}", different.len());
}

#[test]
fn advice_fits_the_collection_and_the_loop() {
    let advice = |kind: ScopeKind, frames: &[At]| {
        let mut world = World::new();
        let scope = world.scope(1, "shop::batch", kind, 70);
        world.observe(scope, N);
        let mut frames = frames.to_vec();
        frames.push(("work", "APP/src/work.rs", 5));
        world.rebuilt(scope, &frames, 400);
        world.finding()
    };
    let tree = ("insert<u64, u8>", "LIB/alloc/src/collections/btree/map.rs", 90);
    for (kind, frames, wanted, unwanted) in [
        (
            ScopeKind::Loop,
            &[RAW_VEC, PUSH][..],
            "above the loop at src/main.rs:70",
            "thread_local",
        ),
        (ScopeKind::Request, &[RAW_VEC, PUSH], "thread_local!", "above the loop"),
        (ScopeKind::Request, &[STRING, FORMAT], "write!(text,", "above the loop"),
        (ScopeKind::Loop, &[STRING, FORMAT], "text.clear()", "thread_local"),
        (ScopeKind::Loop, &[tree], "frees the nodes", "RefCell"),
        (
            ScopeKind::Loop,
            &[
                ("driftsort_main", "LIB/core/src/slice/sort/stable/mod.rs", 1),
                ("sort<u64>", "LIB/alloc/src/slice.rs", 2),
            ],
            "sort_unstable",
            "clear",
        ),
        (
            ScopeKind::Request,
            &[("new<dyn shop::Shape>", "LIB/alloc/src/boxed.rs", 4)],
            "&dyn",
            "clear",
        ),
    ] {
        let finding = advice(kind, frames);
        let is_of_nodes = frames == [tree];
        assert_eq!(finding.verdict == Verdict::Pool, is_of_nodes);
        let text = format!("{}\n{}", finding.suggestion.explanation, finding.suggestion.code);
        assert!(text.contains(wanted), "{text}");
        assert!(!text.contains(unwanted), "{text}");
    }
}

#[test]
fn lines_of_dependencies_alone_are_not_judged_and_it_says_so() {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt(requests, &[RAW_VEC, ("read", "REG/hyper-1.0.0/src/lib.rs", 5)], 4096);
    let findings = world.findings();
    assert_eq!(findings.findings, []);
    assert!(
        findings.notes.iter().any(|note| note.contains("dependencies")),
        "{findings}"
    );
    let own = Findings::of(&world.snapshot, &Options::default().user_crates(["hyper"]));
    assert_eq!(own.findings.len(), 1);
}

#[test]
fn several_blocks_that_a_dependency_makes_for_itself_are_not_for_the_caller_to_pool() {
    let called = [
        RAW_VEC,
        ("get", "REG/redb-2.6.3/src/table.rs", 5),
        ("ask", "src/ask.rs", 9),
    ];
    let verdicts = |most_live: u64| {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt_with(requests, &called, 4096, |site| {
            (site.most_live, site.one_live, site.few_live) =
                (most_live, N * u64::from(most_live == 1), N * u64::from(most_live > 1));
        });
        world.verdicts()
    };
    assert_eq!(verdicts(7), []);
    assert_eq!(
        verdicts(1),
        [Verdict::ReuseInstance],
        "one of them may be what the call gives"
    );
}

#[test]
fn what_a_dependency_clones_inside_of_a_call_is_no_clone_of_the_callers() {
    let clone = ("clone<u64>", "LIB/alloc/src/vec/mod.rs", 3000);
    let next = ("next", "REG/regex-automata-0.4.9/src/meta/regex.rs", 5);
    let explanation = |frames: &[At]| {
        let mut world = World::new();
        let requests = world.requests(N);
        world.rebuilt(requests, frames, 4096);
        let finding = world.finding();
        assert_eq!(finding.verdict, Verdict::ReuseInstance);
        finding.suggestion.explanation
    };
    let inside = explanation(&[RAW_VEC, clone, next, ("search", "APP/src/search.rs", 9)]);
    assert!(
        inside.contains("dependency") && !inside.contains("clones a"),
        "{inside}"
    );
    // Its type is cloned by the line itself.
    let cloned = ("clone", "REG/http-1.0.0/src/header.rs", 5);
    let own = explanation(&[RAW_VEC, clone, cloned, ("search", "APP/src/search.rs", 9)]);
    assert!(own.contains("clones a"), "{own}");
}

#[test]
fn without_symbols_each_stack_stands_for_itself_and_it_says_so() {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt(requests, &SET, 4096);
    world.rebuilt(requests, &[RAW_VEC, PUSH, LINE], 4096);
    for frame in &mut world.snapshot.frames {
        frame.symbols.clear();
    }
    let findings = world.findings();
    assert_eq!(findings.findings.len(), 2);
    assert!(
        findings.notes.iter().any(|note| note.contains("resolve()")),
        "{findings}"
    );
}

#[test]
fn nothing_observed_is_said_and_what_to_do() {
    let world = World::new();
    let text = world.findings().to_string();
    assert!(text.contains("#[track_memory(request)]"), "{text}");
    let mut world = World::new();
    world.snapshot.mode = "scopes".to_owned();
    assert!(world.findings().to_string().contains("ALLOCSCOPE_MODE=exact"));
}

#[test]
fn references_that_lead_nowhere_do_no_harm() {
    let mut world = World::new();
    let requests = world.requests(N);
    world.rebuilt_with(requests, &SET, 4096, |site| site.freed_before = vec![before(999, N)]);
    world.site(requests, steady(77, N, 100));
    world.observe(4711, N);
    assert_eq!(world.verdicts(), [Verdict::ReuseInstance]);
}

#[test]
fn two_stacks_of_one_line_in_one_iteration_are_two_instances_and_alternatives_are_one() {
    for (present, most) in [(N, 2), (N / 2, 1)] {
        let mut world = World::new();
        let requests = world.requests(N);
        for _ in 0..2 {
            world.rebuilt_with(requests, &SET, 4096, |site| {
                (site.present, site.one_live) = (present, present);
            });
        }
        if most == 1 {
            let findings = world.findings();
            assert_eq!(findings.findings, [], "present in half of them, as far as known");
            continue;
        }
        let finding = world.finding();
        assert_eq!(
            (finding.verdict, finding.at_once),
            (Verdict::Pool, AtOnce::Few { most })
        );
    }
    // Nearly all in one stack, the rest in another.
    let mut world = World::new();
    let requests = world.requests(N);
    for present in [950, 50] {
        world.rebuilt_with(requests, &SET, 4096, |site| {
            (site.present, site.one_live) = (present, present)
        });
    }
    assert_eq!(world.finding().at_once, AtOnce::One);
}

#[test]
fn what_grows_on_other_lines_is_in_the_cost() {
    let mut world = World::new();
    let requests = world.requests(N);
    let grow_line = ("grow", "APP/src/fraud.rs", 60);
    let context = world.rebuilt_with(requests, &[RAW_VEC, PUSH, LINE], 16, |site| {
        grow(site, 8);
        site.bytes = 8192 * N;
        site.final_bytes = vec![4096; 64];
    });
    assert_eq!(context, 0);
    world.context(
        requests,
        &[RAW_VEC, grow_line],
        Counters {
            total_allocations: 0,
            total_frees: 0,
            ..churned(10 * N, 8176)
        },
    );
    let finding = world.finding();
    assert_eq!((finding.line.line, finding.cost.bytes), (58, 8192.0));
    assert_eq!(finding.cost.share_of_loop, 1.0);
    assert!(finding.to_string().contains("growths on other lines"), "{finding}");
}

#[test]
fn references_are_not_to_be_kept() {
    let push = ("push<&str, alloc::alloc::Global>", "LIB/alloc/src/vec/mod.rs", 1);
    for kind in [ScopeKind::Request, ScopeKind::Loop] {
        let mut world = World::new();
        let scope = world.scope(1, "shop::batch", kind, 70);
        world.observe(scope, N);
        world.rebuilt(scope, &[RAW_VEC, push, LINE], 4096);
        let text = world.finding().to_string();
        assert!(
            text.contains("Its elements are references") && !text.contains("thread_local"),
            "{text}"
        );
    }
}

#[test]
fn many_findings_are_told_in_short() {
    let mut world = World::new();
    let requests = world.requests(N);
    for line in 0..30 {
        world.rebuilt(requests, &[RAW_VEC, PUSH, ("many", "APP/src/many.rs", 10 + line)], 4096);
    }
    let text = world.findings().to_string();
    assert!(
        text.contains("LESS SEVERE") && text.contains("src/many.rs:39"),
        "{text}"
    );
    assert_eq!(text.matches("  fix   ").count(), 20);
}
