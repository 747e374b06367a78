//! Spans of `tracing` as scopes, with the real crates: order, threads, tasks, parents, filters, and thousands of spans.
//!
//! A program without the test harness. Scopes are told apart by the names of the spans. What the registry allocates when a
//! span is made is charged to the scope around the span, so figures of spans that make others are compared from below.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use alloc_core::model::CallStats;
use alloc_core::{CarryFuture as _, Mode, TrackingAllocator, current, scope, set_mode, track_memory};
use allocscope_tests::{Rng, YieldOnce, bytes, check_sums, found, node, nodes, own, poll, snapshot};
use tracing::{Dispatch, Instrument as _, Level, Span, info_span, instrument, span};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn calls(name: &str) -> CallStats {
    found(name).calls
}

fn entered(name: &str) -> (u64, u64) {
    let calls = calls(name);
    (calls.entered, calls.completed)
}

/// Fails unless the calling thread is in no scope: nothing was left entered.
fn is_outside() {
    assert_eq!(current().node(), Some(alloc_core::ScopeNodeId::ROOT), "{:?}", current());
}

fn enter_on(dispatch: &Dispatch, span: &Span) {
    dispatch.enter(&span.id().expect("it is enabled"));
}

fn exit_on(dispatch: &Dispatch, span: &Span) {
    dispatch.exit(&span.id().expect("it is enabled"));
}

fn this_dispatch() -> Dispatch {
    tracing::dispatcher::get_default(Clone::clone)
}

fn a_span_is_a_scope_and_a_call() {
    let line = line!() + 2;
    for _ in 0..3 {
        let span = info_span!("plain span");
        for _ in 0..2 {
            let _entered = span.enter();
            drop(bytes(100));
        }
        drop(bytes(5000));
        let kept = span.in_scope(|| bytes(30));
        drop(span);
        drop(kept);
    }
    let node = found("plain span");
    assert!(node.file.ends_with("tracing_spans.rs") && node.line == line, "{node:?}");
    let calls = node.calls;
    assert_eq!((calls.entered, calls.completed), (3, 3), "one call a span");
    assert_eq!((calls.allocations, calls.bytes), (9, 690));
    assert_eq!((calls.max_bytes, calls.max_peak_bytes), (230, 100));
    assert_eq!((calls.retained_bytes, calls.max_retained_bytes), (90, 30));
    assert_eq!(own("plain span"), [9, 690, 0, 9]);
    drop(info_span!("never entered"));
    assert_eq!(
        nodes(&snapshot(), "never entered")
            .map(|node| node.calls.entered)
            .sum::<u64>(),
        0
    );
    is_outside();
}

#[instrument]
fn countdown(n: u32) {
    drop(bytes(10));
    if n > 0 {
        countdown(n - 1);
    }
}

#[track_memory(name = "tracked inside a span")]
fn tracked_inside() {
    drop(bytes(11));
    info_span!("span inside tracked").in_scope(|| drop(bytes(12)));
}

fn spans_and_scopes_nest() {
    countdown(5);
    let node = found("countdown");
    assert_eq!(
        (node.calls.entered, node.calls.completed),
        (6, 1),
        "a recursion is one call"
    );
    assert!(node.own.total_bytes >= 60);

    info_span!("around tracked").in_scope(tracked_inside);
    let after = snapshot();
    let path = ["around tracked", "tracked inside a span", "span inside tracked"]
        .map(|name| allocscope_tests::node(&after, name));
    assert_eq!((path[1].parent, path[2].parent), (Some(path[0].id), Some(path[1].id)));
    assert_eq!(path[2].own.total_bytes, 12);
    is_outside();
}

fn parents_are_those_of_the_span() {
    let outer = info_span!("outer parent");
    let inner = outer.in_scope(|| info_span!("made inside"));
    let explicit = info_span!(parent: &outer, "told its parent");
    let root = outer.in_scope(|| info_span!(parent: None, "told it has none"));
    info_span!("somewhere else").in_scope(|| {
        for span in [&inner, &explicit, &root] {
            span.in_scope(|| drop(bytes(1)));
        }
    });
    let after = snapshot();
    let outer = node(&after, "outer parent").id;
    assert_eq!(node(&after, "made inside").parent, Some(outer));
    assert_eq!(node(&after, "told its parent").parent, Some(outer));
    assert_eq!(
        node(&after, "told it has none").parent,
        Some(alloc_core::ScopeNodeId::ROOT)
    );
    assert_eq!(own("somewhere else"), [0; 4]);
    is_outside();
}

fn spans_left_out_of_order_keep_the_stack_right() {
    let dispatch = this_dispatch();
    let names = ["order a", "order b", "order c"];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let spans = [info_span!("order a"), info_span!("order b"), info_span!("order c")];
        for span in &spans {
            enter_on(&dispatch, span);
        }
        drop(bytes(7));
        for which in order {
            exit_on(&dispatch, &spans[which]);
        }
        is_outside();
    }
    for name in names {
        assert_eq!(entered(name), (6, 6), "{name}");
    }
    assert_eq!(own("order c"), [6, 42, 0, 6]);

    // `order b` is still entered when what it is in is left: it goes on.
    let [early, late] = [info_span!("left early"), info_span!("goes on")].map(Span::entered);
    drop(early);
    drop(bytes(21));
    drop(late);
    is_outside();
    assert_eq!(own("goes on"), [1, 21, 0, 1]);
    assert_eq!((entered("left early"), entered("goes on")), ((1, 1), (1, 1)));
}

fn spans_and_guards_left_out_of_order_keep_the_stack_right() {
    for _ in 0..3 {
        let span = info_span!("around a guard").entered();
        let guard = scope!("guard inside");
        drop(span);
        is_outside();
        drop(bytes(1000));
        drop(guard);
        is_outside();

        let guard = scope!("guard around");
        let span = info_span!("inside a guard").entered();
        drop(guard);
        is_outside();
        drop(bytes(1000));
        drop(span);
        is_outside();
    }
    for name in ["around a guard", "guard inside", "guard around", "inside a guard"] {
        let node = found(name);
        assert_eq!(node.calls.entered, 3, "{name}");
        assert!(node.own.total_bytes < 1000, "{name}");
    }
    for _ in 0..2 {
        info_span!("sound after that").in_scope(|| drop(bytes(5)));
    }
    assert_eq!(
        (calls("sound after that").completed, calls("sound after that").bytes),
        (2, 10)
    );
}

fn a_span_left_on_another_thread_is_left() {
    let dispatch = this_dispatch();
    let span = info_span!("left elsewhere");
    enter_on(&dispatch, &span);
    thread::scope(|threads| {
        threads.spawn(|| exit_on(&dispatch, &span));
    });
    info_span!("next on this thread").in_scope(|| drop(bytes(9)));
    is_outside();
    assert_eq!(own("next on this thread"), [1, 9, 0, 1]);
    drop(span);
    assert_eq!(entered("left elsewhere"), (1, 1));

    // One that is never entered anywhere.
    let span = info_span!("only left");
    exit_on(&dispatch, &span);
    enter_on(&dispatch, &span);
    drop(bytes(3));
    exit_on(&dispatch, &span);
    is_outside();
    drop(span);
    assert_eq!(own("only left"), [1, 3, 0, 1]);

    // A thread that ends inside.
    let span = info_span!("never left");
    thread::scope(|threads| {
        // Joined: the end of the scope alone does not wait for the thread's destructors.
        threads.spawn(|| enter_on(&dispatch, &span)).join().expect("no panic");
    });
    span.in_scope(|| drop(bytes(4)));
    drop(span);
    assert_eq!(entered("never left"), (1, 1));
    is_outside();
}

fn a_span_entered_twice_at_a_time_is_one_call() {
    let span = info_span!("shared");
    span.in_scope(|| {
        drop(bytes(100));
        span.in_scope(|| drop(bytes(10)));
        thread::scope(|threads| {
            let work = || span.in_scope(|| drop(bytes(1000)));
            threads.spawn(work).join().expect("no panic");
        });
    });
    let before = calls("shared");
    assert_eq!((before.entered, before.completed), (1, 0));
    drop(span);
    let after = found("shared");
    // What starts the thread is in it as well.
    assert!(after.own.total_bytes >= 1110, "everything is charged to the scope");
    assert_eq!(after.calls.completed, 1);
    let elsewhere = after.own.total_bytes - after.calls.bytes;
    assert_eq!(elsewhere, 1000, "what the other thread did is no part of the call");
    is_outside();
}

fn panics_leave_the_spans() {
    let result = std::panic::catch_unwind(|| {
        let _outer = info_span!("panics").entered();
        let _inner = info_span!("panics inside").entered();
        std::panic::resume_unwind(Box::new(0_u8));
    });
    assert!(result.is_err());
    is_outside();
    assert_eq!((entered("panics"), entered("panics inside")), ((1, 1), (1, 1)));
}

fn the_mode_may_change_inside() {
    set_mode(Mode::Off);
    let off = info_span!("made while off");
    off.in_scope(|| drop(bytes(1000)));
    set_mode(Mode::Scopes);
    off.in_scope(|| {
        drop(bytes(10));
        set_mode(Mode::Off);
        drop(bytes(1000));
    });
    set_mode(Mode::Exact);
    off.in_scope(|| drop(bytes(10)));
    drop(off);
    is_outside();
    assert_eq!(own("made while off"), [2, 20, 0, 2]);
    assert_eq!((entered("made while off"), calls("made while off").bytes), ((1, 1), 20));
}

fn filters_apply() {
    let verbose = span!(Level::TRACE, "too verbose");
    verbose.in_scope(|| drop(bytes(1)));
    assert_eq!(nodes(&snapshot(), "too verbose").count(), 0);
}

fn what_the_layer_allocates_is_the_trackers() {
    // No snapshot is alive when the next one is taken: it would be the tracker's, too.
    let held = || snapshot().tracker.own_live_bytes;
    let before = held();
    let mut spans = Vec::with_capacity(1000);
    {
        let _scope = scope!("makes spans");
        for _ in 0..1000 {
            spans.push(info_span!("one of many"));
        }
    }
    let alive = held();
    drop(spans);
    let after = held();
    println!("spans alive: {} bytes of the tracker's", alive - before);
    assert!(alive - before >= 1000 * 32);
    assert!(after < alive, "given back");
}

// On Tokio.

#[instrument(skip_all, name = "handles")]
async fn handles(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut sum = 0;
    for _ in 0..6 {
        sum += reads(rng.size(2000)).await;
        if rng.chance(50) {
            YieldOnce::default().await;
        }
    }
    sum
}

#[instrument(skip_all, name = "reads")]
async fn reads(size: usize) -> u64 {
    let held = bytes(size);
    YieldOnce::default().await;
    drop(bytes(size));
    2 * held.capacity() as u64
}

async fn ten_thousand_spans_in_tasks_are_exact() {
    let tasks: Vec<_> = {
        let _request = info_span!("starts tasks").entered();
        (0..1500)
            .map(|seed| tokio::spawn(handles(seed).in_current_span().in_current_scope()))
            .collect()
    };
    let mut expected = 0;
    for task in tasks {
        expected += task.await.expect("no panic");
    }
    let after = snapshot();
    let reads = node(&after, "reads");
    let spans = 1500 * 6;
    assert_eq!((reads.calls.entered, reads.calls.completed), (spans, spans));
    assert_eq!((reads.calls.allocations, reads.calls.bytes), (2 * spans, expected));
    assert_eq!((reads.calls.retained_bytes, reads.calls.upper_bound_calls), (0, 0));
    assert_eq!((reads.own.total_bytes, reads.own.live_bytes), (expected, 0));
    let handles = node(&after, "handles");
    assert_eq!((handles.calls.entered, handles.calls.completed), (1500, 1500));
    assert_eq!(reads.parent, Some(handles.id));
    assert_eq!(handles.parent, Some(node(&after, "starts tasks").id));
}

async fn spawned_futures_stay_in_their_spans() {
    let task = {
        let _span = info_span!("request span").entered();
        tokio::spawn(
            async {
                drop(bytes(100));
                YieldOnce::default().await;
                bytes(50)
            }
            .instrument(info_span!("background")),
        )
    };
    drop(task.await.expect("no panic"));
    let after = snapshot();
    let background = node(&after, "background");
    assert_eq!(background.parent, Some(node(&after, "request span").id));
    assert_eq!((background.calls.completed, background.calls.bytes), (1, 150));
    assert_eq!(background.calls.retained_bytes, 50);
}

fn an_instrumented_future_dropped_half_run_ends_its_call() {
    {
        let future = async {
            let _held = bytes(100);
            std::future::pending::<()>().await;
        };
        let mut future = pin!(future.instrument(info_span!("half run")));
        assert!(poll(future.as_mut()).is_pending());
        is_outside();
    }
    is_outside();
    let calls = calls("half run");
    assert_eq!((calls.entered, calls.completed, calls.bytes), (1, 1, 100));
    assert_eq!((calls.retained_bytes, calls.max_peak_bytes), (0, 100));
}

/// Random enters and exits of shared spans on several threads, in any order: in the end every thread is outside.
fn random_orders_leave_nothing_behind() {
    let spans = [
        info_span!("random 0"),
        info_span!("random 1"),
        info_span!("random 2"),
        info_span!("random 3"),
        info_span!("random 4"),
    ];
    let dispatch = this_dispatch();
    thread::scope(|threads| {
        for seed in 0..4 {
            let (spans, dispatch) = (&spans, &dispatch);
            threads.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut open: Vec<usize> = Vec::with_capacity(64);
                for _ in 0..3000 {
                    if open.len() < 6 && rng.chance(50) {
                        let which = rng.below(spans.len());
                        enter_on(dispatch, &spans[which]);
                        open.push(which);
                    } else if !open.is_empty() {
                        let which = open.swap_remove(rng.below(open.len()));
                        exit_on(dispatch, &spans[which]);
                    }
                    drop(bytes(rng.size(500)));
                    if open.is_empty() {
                        is_outside();
                    }
                }
                for which in open {
                    exit_on(dispatch, &spans[which]);
                }
                is_outside();
            });
        }
    });
    drop(spans);
    let after = snapshot();
    for name in ["random 0", "random 1", "random 2", "random 3", "random 4"] {
        let node = node(&after, name);
        // The registry's list of the spans that a thread is in may grow in any of them.
        assert!(node.own.live_bytes < 4096, "{name}");
        assert!(node.own.total_allocations > 0, "{name}");
        assert_eq!(
            (node.calls.entered, node.calls.completed),
            (1, 1),
            "{name}: one span, one call"
        );
    }
}

fn main() {
    tracing_subscriber::registry()
        .with(alloc_core::tracing::layer().with_filter(LevelFilter::INFO))
        .init();
    a_span_is_a_scope_and_a_call();
    spans_and_scopes_nest();
    parents_are_those_of_the_span();
    spans_left_out_of_order_keep_the_stack_right();
    spans_and_guards_left_out_of_order_keep_the_stack_right();
    a_span_left_on_another_thread_is_left();
    a_span_entered_twice_at_a_time_is_one_call();
    panics_leave_the_spans();
    the_mode_may_change_inside();
    filters_apply();
    what_the_layer_allocates_is_the_trackers();
    an_instrumented_future_dropped_half_run_ends_its_call();
    random_orders_leave_nothing_behind();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let all = tokio::spawn(async {
            ten_thousand_spans_in_tasks_are_exact().await;
            spawned_futures_stay_in_their_spans().await;
        });
        tokio::time::timeout(Duration::from_secs(300), all)
            .await
            .expect("it ends in time")
            .expect("no panic");
    });
    drop(runtime);
    check_sums(&snapshot());
}
