//! `#[track_memory(budget(...))]`: the limits arrive at the runtime as they were written, whatever the form of the function.
//!
//! Runs against a recording stand-in for the runtime; what a budget does is tested with the real one, what is refused under
//! `ui/fail` of the macro.
#![deny(warnings)]

#[path = "macro_support/mod.rs"]
mod recorder;

use std::pin::Pin;

use alloc_core::{track_memory, tracked};
use recorder::__private::{CallBudget, OnExceed};
use recorder::{block_on, log};

/// What was written without `on_exceed`: tests have debug assertions unless they are built without.
const DEFAULT: OnExceed = if cfg!(debug_assertions) {
    OnExceed::Panic
} else {
    OnExceed::Count
};

const NOTHING: CallBudget = CallBudget::new(cfg!(debug_assertions));

fn last() -> CallBudget {
    log();
    recorder::__private::last_budget()
}

#[test]
fn every_limit_arrives_as_written() {
    #[track_memory(budget(allocations = 1_000, bytes = "64 KiB", peak = 0x10, retained = 0), crate = crate::recorder)]
    fn all() {}
    #[track_memory(crate = crate::recorder, name = "bounded", budget(bounded = "1.5 MiB", on_exceed = warn,))]
    fn bounded() {}
    #[track_memory(budget(on_exceed = count, bytes = 1), crate = crate::recorder)]
    fn counted() {}
    #[track_memory(budget(bytes = 1, on_exceed = panic), crate = crate::recorder)]
    fn panics() {}

    all();
    let expected = CallBudget {
        allocations: Some(1000),
        bytes: Some(65_536),
        peak: Some(16),
        retained: Some(0),
        ..NOTHING
    };
    assert_eq!((last(), expected.on_exceed), (expected, DEFAULT));
    bounded();
    let expected = CallBudget {
        bounded: Some(1_572_864),
        on_exceed: OnExceed::Warn,
        ..NOTHING
    };
    assert_eq!(last(), expected);
    counted();
    assert_eq!(last().on_exceed, OnExceed::Count);
    panics();
    assert_eq!(last().on_exceed, OnExceed::Panic);
}

struct Owner(u32);

impl Owner {
    #[track_memory(budget(bytes = 2), crate = crate::recorder)]
    fn by_value(self) -> u32 {
        self.0
    }
}

#[track_memory(budget(bytes = 3), loops, crate = crate::recorder)]
async fn asynchronous() -> u32 {
    let mut turns = 0;
    while turns < 3 {
        recorder::YieldOnce::default().await;
        turns += 1;
    }
    turns
}

#[track_memory(budget(bytes = 4), crate = crate::recorder)]
fn returned(n: u32) -> Pin<Box<dyn Future<Output = u32>>> {
    let n = n + 1;
    Box::pin(async move { n })
}

#[test]
fn every_form_of_function_has_its_budget() {
    assert_eq!(Owner(2).by_value(), 2);
    assert_eq!(last().bytes, Some(2));
    assert_eq!(block_on(asynchronous()), 3);
    assert_eq!(last().bytes, Some(3));
    assert_eq!(block_on(returned(3)), 4);
    assert_eq!(log(), ["budget", "enter returned", "leave returned"]);
    assert_eq!(last().bytes, Some(4));
    let closure = tracked!(budget(bytes = 5), crate = crate::recorder, |n: u32| n);
    assert_eq!(closure(5), 5);
    assert_eq!(last().bytes, Some(5));
}
