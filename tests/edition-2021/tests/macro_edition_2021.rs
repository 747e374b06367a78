//! A caller of edition 2021, where a tail expression drops its temporaries after the locals of its block.
//!
//! An argument outlives those temporaries in a plain function, and has to do so in a tracked one, although it has become
//! a local. Runs against a recording stand-in for the runtime. Forms that do not depend on the edition are in
//! `macro_forms.rs` and `macro_async.rs` of the tests package.
#![deny(warnings)]

use std::future::Future;

#[path = "../../tests/macro_support/mod.rs"]
mod recorder;

use std::cell::RefCell;
use std::pin::Pin;

use alloc_core::{track_memory, tracked};
use recorder::{block_on, log, Noisy};

#[track_memory(crate = crate::recorder)]
fn temporary_in_the_tail(cell: RefCell<u32>, (other,): (RefCell<u32>,)) -> u32 {
    *cell.borrow() + *other.borrow()
}

#[track_memory(crate = crate::recorder)]
async fn temporary_in_an_async_tail(cell: RefCell<u32>) -> u32 {
    *cell.borrow()
}

struct Pair<'a>(&'a RefCell<Vec<u32>>, Noisy);

impl Pair<'_> {
    #[track_memory(crate = crate::recorder)]
    async fn captures_every_lifetime<'b>(&self, more: &'b [u32], mut sum: u32) -> Option<&'b u32> {
        sum += self.0.borrow().iter().sum::<u32>();
        more.iter().find(|n| **n > sum)
    }

    #[track_memory(crate = crate::recorder)]
    unsafe fn calls_unsafe(&self, at: *const u32) -> u32 {
        // In this edition the whole body is an unsafe block.
        #[allow(unsafe_op_in_unsafe_fn, reason = "the edition's rule is the point")]
        {
            *at + self.1 .0.len() as u32
        }
    }
}

#[track_memory(crate = crate::recorder)]
fn returns_box<'a>(n: &'a u32) -> Pin<Box<dyn Future<Output = u32> + 'a>> {
    Box::pin(async move { *n })
}

#[track_memory(crate = crate::recorder)]
fn drops_inside(a: Noisy, _b: Noisy) -> usize {
    a.0.len()
}

#[track_memory(crate = crate::recorder)]
async fn never() -> ! {
    std::panic::panic_any("out")
}

struct Sums(RefCell<Vec<u32>>);

#[track_memory(loops, crate = crate::recorder)]
impl Sums {
    /// Two elided lifetimes and a named one: an `impl Future` of this edition would not capture them by itself.
    async fn sum<'a>(&self, more: &'a [u32], noisy: &Noisy) -> Option<&'a u32> {
        let mut last = None;
        for n in more {
            std::future::ready(()).await;
            self.0.borrow_mut().push(*n + noisy.0.len() as u32);
            last = Some(n)
        }
        last
    }

    fn into_first(self) -> u32 {
        *self.0.borrow().first().unwrap()
    }
}

#[test]
fn rewritten_signatures_loops_and_closures_work_in_this_edition() {
    let sums = Sums(RefCell::new(Vec::new()));
    assert_eq!(block_on(sums.sum(&[1, 2], &Noisy("n"))), Some(&2));
    assert_eq!(log().iter().filter(|line| line.contains("end for")).count(), 2);
    let first = tracked!(crate = crate::recorder, |sums: Sums| *sums.0.borrow().first().unwrap());
    assert_eq!(first(Sums(RefCell::new(vec![7]))), 7);
    assert_eq!(sums.into_first(), 2);
}

#[test]
fn edition_2021_callers_compile_and_run() {
    let cell = || RefCell::new(1);
    assert_eq!(temporary_in_the_tail(cell(), (cell(),)), 2);
    assert_eq!(block_on(temporary_in_an_async_tail(cell())), 1);
    let list = RefCell::new(vec![1, 2]);
    let pair = Pair(&list, Noisy("pair"));
    assert_eq!(block_on(pair.captures_every_lifetime(&[3, 5], 1)), Some(&5));
    // SAFETY: the reference is valid.
    assert_eq!(unsafe { pair.calls_unsafe(&1) }, 5);
    assert_eq!(block_on(returns_box(&4)), 4);
    assert!(std::panic::catch_unwind(|| block_on(async { never().await })).is_err());
    log();
    drops_inside(Noisy("a"), Noisy("b"));
    assert_eq!(log(), ["enter drops_inside", "drop b", "drop a", "leave drops_inside"]);
}
