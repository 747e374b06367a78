//! Calls whose figures hang on what happened elsewhere: one process per question.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use alloc_core::{Mode, TrackingAllocator, current, scope, set_mode, track_memory};
use allocscope_tests::{node, poll, run_again, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Calls its function at every poll, until that says that it is done.
struct Steps<F>(F);

impl<F: FnMut() -> bool + Unpin> Future for Steps<F> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if (self.0)() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[track_memory(name = "turns", loops)]
async fn turns() {
    for _ in 0..3 {
        let mut polls = 0;
        Steps(move || {
            polls += 1;
            drop(std::hint::black_box(vec![0_u8; 100]));
            assert!(polls < 2, "at the second poll");
            false
        })
        .await;
    }
}

fn a_panic_in_an_awaited_future_ends_the_turn() {
    let outside = current();
    {
        let mut future = std::pin::pin!(turns());
        assert!(poll(future.as_mut()).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()))).is_err());
    }
    assert_eq!(
        format!("{:?}", current()),
        format!("{outside:?}"),
        "the thread is where it was"
    );
    let after = snapshot();
    for node in after.scopes.iter().skip(1) {
        assert_eq!((node.calls.entered, node.calls.completed), (1, 1), "{}", node.name);
    }
}

type Kept = Rc<RefCell<Vec<Vec<u8>>>>;

#[track_memory(name = "keeps")]
async fn keeps(kept: Kept) {
    let mut polls = 0;
    Steps(move || {
        polls += 1;
        if polls == 1 {
            kept.borrow_mut().push(vec![1; 100_000]);
        }
        polls == 2
    })
    .await;
}

#[track_memory(name = "unrelated")]
async fn unrelated(kept: Kept) {
    let mut polls = 0;
    Steps(move || {
        polls += 1;
        kept.borrow_mut().push(vec![2; if polls == 1 { 500 } else { 800 }]);
        polls == 2
    })
    .await;
}

fn a_call_is_not_told_of_what_belongs_to_one_before_it() {
    let (first, second) = (Kept::default(), Kept::default());
    first.borrow_mut().reserve(8);
    second.borrow_mut().reserve(8);
    let mut keeps = Box::pin(keeps(Rc::clone(&first)));
    let mut unrelated = Box::pin(unrelated(Rc::clone(&second)));
    {
        let _tick = scope!("tick");
        assert!(poll(keeps.as_mut()).is_pending());
    }
    assert!(poll(unrelated.as_mut()).is_pending());
    first.borrow_mut().clear();
    assert!(poll(unrelated.as_mut()).is_ready());
    assert_eq!(node(&snapshot(), "unrelated").calls.max_peak_bytes, 1300);
}

fn what_others_freed_is_not_retained_by_the_call_around_crossed_guards() {
    let (give, taken) = std::sync::mpsc::sync_channel::<Vec<u8>>(4);
    let (tell, told) = std::sync::mpsc::sync_channel::<()>(4);
    let thread = std::thread::spawn(move || {
        for block in taken {
            drop(block);
            tell.send(()).expect("somebody listens");
        }
    });
    // Receives without waiting: a thread that waits on a channel for the first time allocates, now or on a slower day.
    let is_told = || {
        while told.try_recv().is_err() {
            std::thread::yield_now();
        }
    };
    for _ in 0..2 {
        give.send(vec![0; 1]).expect("the thread lives");
        is_told();
    }
    {
        let _around = scope!("around");
        let own = vec![0_u8; 10];
        let (outer, inner) = (scope!("outer"), scope!("inner"));
        give.send(vec![0; 100_000]).expect("the thread lives");
        is_told();
        drop(outer);
        drop(inner);
        drop(own);
    }
    let after = snapshot();
    assert_eq!(node(&after, "around").inclusive.live_bytes, 0);
    assert_eq!(node(&after, "around").calls.retained_bytes, 0);
    drop(give);
    thread.join().expect("no panic");
}

fn a_snapshot_dropped_in_a_scope_leaves_the_peak_column_right() {
    for name in ["holder", "dropper"] {
        let _scope = if name == "holder" {
            scope!("holder")
        } else {
            scope!("dropper")
        };
        drop(std::hint::black_box(vec![0_u8; 10]));
    }
    let before = snapshot();
    let held = {
        let _scope = scope!("holder");
        vec![0_u8; 30_000]
    };
    let scope = scope!("holder");
    let more = vec![0_u8; 1000];
    {
        let _scope = scope!("dropper");
        drop(before);
    }
    drop(more);
    drop(scope);
    drop(held);
    let after = snapshot();
    assert!(after.peak_bytes >= 31_000);
    assert_eq!(after.totals.bytes_at_peak, after.peak_bytes);
}

fn main() {
    let part = std::env::var("ALLOCSCOPE_TEST_PART");
    if part.is_ok() {
        set_mode(Mode::Scopes);
    }
    match part.as_deref() {
        Ok("panic") => a_panic_in_an_awaited_future_ends_the_turn(),
        Ok("before") => a_call_is_not_told_of_what_belongs_to_one_before_it(),
        Ok("crossed") => what_others_freed_is_not_retained_by_the_call_around_crossed_guards(),
        Ok("peak") => a_snapshot_dropped_in_a_scope_leaves_the_peak_column_right(),
        Ok(other) => panic!("no part {other}"),
        Err(_) => {
            for part in ["panic", "before", "crossed", "peak"] {
                run_again(&[("ALLOCSCOPE_TEST_PART", part)]);
            }
        }
    }
}
