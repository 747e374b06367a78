//! `#[track_memory(loops)]`: every turn of every loop is a call of a scope of its own, in sync code and around `.await`.
//!
//! Runs against a recording stand-in for the runtime, so each test sees the order of enters, leaves and ends.
#![deny(warnings)]
#![allow(
    clippy::never_loop,
    clippy::explicit_counter_loop,
    clippy::while_let_loop,
    clippy::while_immutable_condition,
    clippy::while_let_on_iterator,
    reason = "odd loops are the point"
)]

#[path = "macro_support/mod.rs"]
mod recorder;

use std::rc::Rc;

use alloc_core::track_memory;
use recorder::{Noisy, YieldOnce, block_on, log, note, poll_once_and_drop};

/// The log without the line numbers in the names of loops.
fn seen() -> Vec<String> {
    log()
        .into_iter()
        .map(|line| line.split('@').next().unwrap().to_owned())
        .collect()
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|seen| *seen == line).count()
}

#[track_memory(loops, crate = crate::recorder)]
fn every_kind(n: u32) -> u32 {
    let mut sum = 0;
    for i in 0..n {
        sum += i;
    }
    let mut left = n;
    while left > 0 {
        left -= 1;
    }
    loop {
        sum += 1;
        if sum > 10 {
            break sum;
        }
    }
}

#[test]
fn each_turn_is_a_call_of_its_loop() {
    assert_eq!(every_kind(3), 11);
    let seen = seen();
    assert_eq!(
        (
            count(&seen, "enter for"),
            count(&seen, "enter while"),
            count(&seen, "enter loop")
        ),
        (3, 3, 8)
    );
    assert_eq!(
        (seen[0].as_str(), seen[1].as_str(), seen[2].as_str()),
        ("enter every_kind", "enter for", "leave for")
    );
    assert_eq!(seen.len(), 2 + 2 * 14);
}

#[test]
fn loop_is_named_after_its_function_and_line() {
    #[track_memory(loops, name = "given", crate = crate::recorder)]
    fn f() -> u32 {
        loop {
            return line!() - 1;
        }
    }
    let line = f();
    let site = recorder::__private::last_site();
    assert_eq!(site.name, format!("given::loop@{line}"));
    assert_eq!((site.line, site.kind), (line, "loop"));
    assert!(site.file.ends_with("macro_loops.rs"));
    every_kind(1);
    let site = recorder::__private::last_site();
    assert!(site.name.starts_with("macro_loops::every_kind::loop@"), "{}", site.name);
}

#[test]
fn request_is_the_kind_of_the_function_and_not_of_its_loops() {
    #[track_memory(request, loops, crate = crate::recorder)]
    fn serve(turns: u32) {
        for _ in 0..turns {}
    }
    serve(0);
    assert_eq!(recorder::__private::last_site().kind, "request");
    serve(1);
    assert_eq!(recorder::__private::last_site().kind, "loop");
}

#[test]
fn every_way_out_of_a_turn_ends_it() {
    #[track_memory(loops, crate = crate::recorder)]
    fn leaves(how: u32) -> Option<u32> {
        'outer: for i in 0..2 {
            while i < 2 {
                match how {
                    0 => continue 'outer,
                    1 => break,
                    2 => break 'outer,
                    3 => return Some(i),
                    4 => None?,
                    _ => std::panic::panic_any("out"),
                }
            }
        }
        Some(9)
    }
    for (how, result, turns) in [
        (0, Some(9), 2),
        (1, Some(9), 2),
        (2, Some(9), 1),
        (3, Some(0), 1),
        (4, None, 1),
    ] {
        assert_eq!(leaves(how), result);
        let seen = seen();
        for kind in ["for", "while"] {
            assert_eq!(count(&seen, &format!("enter {kind}")), turns, "{how}: {seen:?}");
            assert_eq!(count(&seen, &format!("leave {kind}")), turns, "{how}: {seen:?}");
        }
        assert_eq!(seen.last().unwrap(), "leave leaves");
    }
    assert!(std::panic::catch_unwind(|| leaves(5)).is_err());
    assert_eq!(
        seen(),
        [
            "enter leaves",
            "enter for",
            "enter while",
            "leave while",
            "leave for",
            "leave leaves"
        ]
    );
}

#[test]
fn what_a_turn_owns_is_dropped_in_it() {
    #[track_memory(loops, crate = crate::recorder)]
    fn owns(items: Vec<Noisy>) {
        for item in items {
            let _local = Noisy("local");
            note(item.0);
        }
    }
    owns(vec![Noisy("a")]);
    assert_eq!(
        seen(),
        [
            "enter owns",
            "enter for",
            "a",
            "drop local",
            "drop a",
            "leave for",
            "leave owns"
        ]
    );
}

#[test]
fn loops_of_closures_and_inner_functions_are_theirs() {
    #[track_memory(loops, crate = crate::recorder)]
    fn outer() -> u32 {
        fn inner() -> u32 {
            loop {
                return 1;
            }
        }
        let closure = || loop {
            break inner();
        };
        closure()
    }
    assert_eq!(outer(), 1);
    assert_eq!(seen(), ["enter outer", "leave outer"]);
}

#[track_memory(loops, crate = crate::recorder)]
async fn waits_in_its_turns(turns: u32) -> u32 {
    let mut sum = 0;
    for i in 0..turns {
        let _held = Noisy("held");
        YieldOnce::default().await;
        sum += i;
    }
    sum
}

#[test]
fn turn_is_left_while_it_waits_and_is_one_call() {
    assert_eq!(block_on(waits_in_its_turns(1)), 0);
    assert_eq!(
        seen(),
        [
            "enter waits_in_its_turns",
            "enter for",
            "leave for", // before the `.await`
            "enter for", // the future is polled inside
            "leave for",
            "leave waits_in_its_turns",
            "waiting",
            "enter waits_in_its_turns",
            "enter for",
            "leave for",
            "enter for", // after it
            "drop held",
            "end for",
            "leave waits_in_its_turns",
        ]
    );
}

#[test]
fn dropped_future_ends_the_turn_it_was_in() {
    poll_once_and_drop(waits_in_its_turns(3));
    let seen = seen();
    assert_eq!(seen[seen.len() - 2..], ["drop held", "cut off for"]);
}

/// Asserts that the future is `Send`, and runs it.
fn run_sendable<F: Future + Send>(future: F) -> F::Output {
    block_on(future)
}

async fn give<T>(value: T) -> T {
    YieldOnce::default().await;
    value
}

async fn fail() -> Result<u32, String> {
    Err("no".to_owned())
}

#[track_memory(loops, crate = crate::recorder)]
async fn every_place(items: &[u32], text: &str) -> Result<usize, String> {
    let mut turns = 0;
    let mut iter = items.iter();
    // In the condition of the outer loop: outside of its turns.
    while let Some(item) = give(iter.next()).await {
        turns += 1;
        // Borrowing a temporary that has to outlive the wait.
        let length = give(&String::from(text)).await.len();
        let nested = give(give(*item).await + 1).await;
        let mut inner = nested;
        'inner: while give(inner > 0).await {
            inner -= 1;
            for step in 0..3 {
                if give(step).await == 1 {
                    continue 'inner;
                }
                if step > 1 {
                    break 'inner;
                }
            }
        }
        // No wait in here: a guard is enough.
        for _ in 0..2 {
            turns += 1;
        }
        let block = async { give(length).await };
        let Ok(n) = (match block.await {
            0 => Err(()),
            n if n > 100 => fail().await.map(|n| n as usize).map_err(drop),
            n => Ok(n),
        }) else {
            continue;
        };
        if n == 3 {
            return Ok(give(turns).await);
        }
        if n == 4 {
            fail().await?;
        }
        assert_eq!(give(n).await, n, "{}", give(n).await);
        println!("{}", give(n).await);
        let joined = local_join!(give(1), give(2));
        let _ = local_join! { give(1), give(2) };
        turns += joined - 3;
        declare!(declared);
        turns += declared;
    }
    let last = loop {
        if turns > 5 {
            break give(turns).await;
        }
        turns += 1;
        give(()).await
    };
    Ok(last)
}

/// Waits, where nobody sees it.
macro_rules! local_join {
    ($a:expr, $b:expr) => {
        ($a).await + ($b).await
    };
}
use local_join;

macro_rules! declare {
    ($name:ident) => {
        let $name = give(0).await;
    };
}
use declare;

#[test]
fn waits_are_found_in_every_place_and_the_future_stays_send() {
    for (text, result) in [
        ("", Ok(6)),
        ("a", Ok(6)),
        ("abc", Ok(3)),
        ("abcd", Err("no".to_owned())),
    ] {
        assert_eq!(run_sendable(every_place(&[1, 2], text)), result);
        let seen = seen();
        let ends: Vec<_> = ["while", "for", "loop"]
            .into_iter()
            .map(|kind| {
                let entered = count(&seen, &format!("enter {kind}"));
                let left = count(&seen, &format!("leave {kind}")) + count(&seen, &format!("end {kind}"));
                assert_eq!(entered, left, "{text}: {seen:?}");
                count(&seen, &format!("cut off {kind}"))
            })
            .collect();
        assert!(
            !text.is_empty() || ends == [0, 0, 0],
            "no turn is cut off when all waits are seen: {seen:?}"
        );
    }
}

#[test]
fn future_that_was_not_send_still_compiles() {
    #[track_memory(loops, crate = crate::recorder)]
    async fn local(shared: Rc<u32>) -> u32 {
        loop {
            YieldOnce::default().await;
            return *shared;
        }
    }
    assert_eq!(block_on(local(Rc::new(4))), 4);
}

#[test]
fn returned_future_has_loops_too() {
    #[track_memory(loops, crate = crate::recorder)]
    fn returned(n: u32) -> impl Future<Output = u32> {
        for _ in 0..n {}
        async move {
            for _ in 0..n {
                give(()).await;
            }
            n
        }
    }
    assert_eq!(run_sendable(returned(2)), 2);
    let seen = seen();
    assert_eq!(count(&seen, "end for"), 2, "{seen:?}");
    assert_eq!(count(&seen, "enter for"), 2 + 2 * 4, "{seen:?}");
    assert_eq!(
        count(&seen, "enter returned"),
        4,
        "its own run, and three polls: {seen:?}"
    );
}
