//! Reports made on a thread of their own: an async worker goes on with its other tasks meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use alloc_core::report::background;
use alloc_core::{Snapshot, TrackingAllocator};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const PATIENCE: Duration = Duration::from_secs(60);

/// One worker. The report is begun, and ends only after another task of that worker has run: if it held the worker, neither would.
#[test]
fn other_tasks_of_the_worker_run_while_a_report_is_made() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let worker = thread::current().id();
    let (another, others) = channel();
    let report = async {
        let mut snapshot = Snapshot::take().unwrap();
        let made = background(move || {
            others.recv_timeout(PATIENCE).expect("another task runs meanwhile");
            snapshot.resolve();
            (thread::current().id(), snapshot.report().top(100).to_string())
        });
        made.unwrap().await
    };
    let (thread, text) = runtime.block_on(async {
        let (made, ()) = tokio::join!(report, async {
            tokio::task::yield_now().await;
            another.send(()).unwrap();
        });
        made
    });
    assert_ne!(thread, worker);
    assert!(text.contains("background.rs"), "{text}");
}

#[test]
fn a_thread_can_wait_for_it_and_a_panic_reaches_who_waits() {
    assert_eq!(background(|| 7).unwrap().wait(), 7);
    let failing = background(|| -> u32 { panic!("no report today") }).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| failing.wait())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"no report today"));
    // Awaited, too: whoever polls is woken by a panic as by an outcome.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let failing = background(|| -> u32 { panic!("nor tomorrow") }).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(failing))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"nor tomorrow"));
}

/// Dropped before it is done: the work goes on to its end.
#[test]
fn what_nobody_waits_for_is_done_all_the_same() {
    let (go, gone) = channel();
    let (done, was_done) = channel();
    let work = background(move || {
        gone.recv_timeout(PATIENCE).unwrap();
        done.send(()).unwrap();
    });
    drop(work.unwrap());
    go.send(()).unwrap();
    was_done.recv_timeout(PATIENCE).unwrap();
}
