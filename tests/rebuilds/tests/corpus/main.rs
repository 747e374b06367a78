//! Small programs in pairs: one builds something again and again, and its twin is mended. Is each bad line found, and nothing else?
//!
//! One process, so that everything that is found is found beside everything else. Each case runs some hundred requests or turns; then one
//! snapshot is judged. A case says in its source which line is to be found, with which verdict: see `marks`. `REBUILDS_ONLY=fraud::set`
//! runs the cases whose names begin so; `REBUILDS_SHOW=1` prints what was found.

use std::collections::BTreeMap;

use alloc_core::{TrackingAllocator, findings};

mod fraud;
mod growth;
mod input;
mod kept;
mod lists;
mod maps;
mod marks;
mod parsing;
mod tasks;
mod texts;
mod turns;
mod verdicts;

use marks::{Mark, Source};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Requests, or turns, of one case.
const TURNS: u64 = 200;

struct Case {
    module: &'static str,
    name: &'static str,
    source: Source,
    run: fn(u64),
    /// Not the bad one of a pair: nothing is to be found.
    is_silent: bool,
}

macro_rules! cases {
    ($($file:ident { $($module:ident { $($run:ident),+ })+ })+) => {
        &[$($($(Case {
            module: stringify!($module),
            name: concat!(stringify!($file), "::", stringify!($module), "::", stringify!($run)),
            source: Source {
                file: concat!("tests/corpus/", stringify!($file), ".rs"),
                text: include_str!(concat!(stringify!($file), ".rs")),
            },
            run: $file::$module::$run,
            is_silent: !matches!(stringify!($run).as_bytes(), b"bad"),
        },)+)+)+]
    };
}

static CASES: &[Case] = cases! {
    fraud {
        set { bad, fixed }
        list { bad, fixed }
        set_of_strings { bad, fixed }
        hit_and_miss { bad, fixed }
        observed { bad, fixed }
    }
    lists {
        vec_pushed { bad, fixed }
        collect_chain { bad, fixed }
        sort_scratch { bad, fixed }
        matrix_rows { bad, fixed }
        queue { bad, fixed }
        heap { bad, fixed }
        btree { bad, fixed }
        recursion { bad, fixed }
        boxed { bad, fixed }
    }
    maps {
        counts { bad, fixed }
        nested { bad, fixed }
        configuration { bad, fixed }
        map_copied { bad, fixed }
        two_at_once { bad, fixed }
    }
    texts {
        formatted_key { bad, fixed }
        owned_key { bad, fixed }
        added_up { bad, fixed }
        split_and_join { bad, fixed }
        small_letters { bad, fixed }
        hex { bad, fixed }
        paths { bad, fixed }
        list_kept { bad, fixed }
    }
    parsing {
        expression { bad, fixed }
        document { bad, fixed }
    }
    growth {
        page { bad, fixed }
        table { bad, fixed }
        answer { bad, fixed }
    }
    turns {
        list { bad, fixed }
        text { bad, fixed }
        inner { bad, fixed }
        guarded { bad, fixed }
        adapted { bad, fixed }
    }
    tasks {
        held_across_await { bad, fixed }
        between_awaits { bad, fixed }
        many_in_flight { bad, fixed }
        connection { bad, fixed }
        waiting_turns { bad, fixed }
        messages { silent }
    }
    kept {
        bounded_cache { silent }
        returned { silent }
        at_start { silent }
        lazily { silent }
        batches { silent }
        sessions { silent }
        ring { silent }
        snapshots { silent }
        small_change { silent }
        for_ever { silent }
    }
};

/// The cases that are asked for.
fn chosen() -> Vec<&'static Case> {
    let only = std::env::var("REBUILDS_ONLY").unwrap_or_default();
    let chosen: Vec<&Case> = CASES.iter().filter(|case| case.name.starts_with(&only)).collect();
    assert!(
        !chosen.is_empty(),
        "REBUILDS_ONLY={only}: no case has a name that begins so"
    );
    chosen
}

/// What is to be found in the modules of `cases`. Fails when a source and the list of cases do not fit together.
fn expected(cases: &[&Case]) -> Vec<Mark> {
    let mut marks: BTreeMap<&str, Vec<Mark>> = BTreeMap::new();
    for case in CASES {
        marks.entry(case.source.file).or_insert_with(|| case.source.marks());
    }
    let mut expected = Vec::new();
    for case in CASES {
        let lines = case.source.lines_of(case.module);
        let of_file = marks.get_mut(case.source.file).expect("read above");
        let of_case: Vec<Mark> = of_file
            .iter()
            .filter(|mark| lines.contains(&mark.line))
            .cloned()
            .collect();
        let is_chosen = cases.iter().any(|chosen| chosen.name == case.name);
        if case.is_silent {
            assert!(
                case.name.ends_with("fixed") || of_case.iter().all(|mark| mark.verdict == "retained"),
                "{} is to be silent, and is marked",
                case.name
            );
            if !case.name.ends_with("fixed") && is_chosen {
                expected.extend(of_case);
            }
        } else {
            assert!(!of_case.is_empty(), "{} has no mark", case.name);
            if is_chosen {
                expected.extend(of_case);
            }
        }
    }
    let marked: usize = marks.values().map(Vec::len).sum();
    if cases.len() == CASES.len() {
        assert_eq!(marked, expected.len(), "a mark stands outside the modules of the cases");
    }
    expected
}

fn main() {
    let cases = chosen();
    let expected = expected(&cases);
    for case in &cases {
        (case.run)(TURNS);
    }
    let found = findings::findings().expect("the allocator is installed");
    if std::env::var_os("REBUILDS_SHOW").is_some() {
        println!("{found}");
    }
    let wrong = verdicts::compare(&expected, &found);
    let pairs = CASES.iter().filter(|case| !case.is_silent).count();
    println!(
        "{pairs} pairs and {} silent ones: {} lines to be found, {} found, {} wrong",
        CASES.len() - 2 * pairs,
        expected.len(),
        found.findings.len(),
        wrong.len()
    );
    for wrong in &wrong {
        println!("{wrong}");
    }
    if wrong.is_empty() && cases.len() == CASES.len() {
        verdicts::notices_mistakes(&expected, &found);
    }
    assert!(wrong.is_empty(), "{} of the verdicts are wrong: see above", wrong.len());
}
