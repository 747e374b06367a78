//! Scopes carried by futures: tasks, blocking jobs, `select!`, `join!`, `FuturesUnordered`, cancellation, thousands of tasks.
//!
//! A program without the test harness, each part with scopes of its own. What Tokio allocates when a task is spawned is
//! charged to the spawning scope as well, so exact parts make the handle in the scope and spawn outside it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use alloc_core::carry::tokio::JoinSetExt as _;
use alloc_core::{
    CarryFuture as _, InScope, Mode, ScopeHandle, TrackingAllocator, carry, current, scope, set_mode, track_memory,
};
use allocscope_tests::{Rng, YieldOnce, bytes, check_sums, found, node, own, poll, snapshot};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

// Polled by hand.

fn every_poll_runs_in_the_scope_and_nothing_between_them() {
    let task = {
        let _scope = scope!("by hand");
        async {
            let first = bytes(100);
            YieldOnce::default().await;
            drop(first);
            bytes(30)
        }
        .in_current_scope()
    };
    let mut task = Box::pin(task);
    assert!(poll(task.as_mut()).is_pending());
    drop(bytes(5000));
    assert_eq!(own("by hand"), [1, 100, 100, 0]);
    let kept = std::thread::spawn(move || {
        let _other = scope!("polls");
        let Poll::Ready(kept) = poll(task.as_mut()) else {
            unreachable!("it waits once")
        };
        kept
    });
    let kept = kept.join().expect("no panic");
    assert_eq!(own("by hand"), [2, 130, 30, 1]);
    assert_eq!(own("polls"), [0; 4]);
    drop(kept);
}

struct AllocatesWhenDropped(usize);

impl Drop for AllocatesWhenDropped {
    fn drop(&mut self) {
        drop(bytes(self.0));
    }
}

async fn holds(size: usize) {
    let _held = AllocatesWhenDropped(size);
    std::future::pending::<()>().await;
}

fn dropping_happens_in_the_scope() {
    let make = |size| {
        let _scope = scope!("dropped");
        holds(size).in_current_scope()
    };
    drop(make(1));
    assert_eq!(own("dropped"), [0; 4], "never polled: it holds nothing");
    {
        let mut half_run = pin!(make(10));
        assert!(poll(half_run.as_mut()).is_pending());
    }
    assert_eq!(own("dropped"), [1, 10, 0, 1]);
}

#[track_memory(name = "tracked and carried")]
async fn tracked_and_carried() -> Vec<u8> {
    drop(bytes(20));
    YieldOnce::default().await;
    bytes(22)
}

fn a_tracked_future_is_a_child_of_the_scope_it_is_carried_in() {
    let handle = {
        let _scope = scope!("carries a call");
        current()
    };
    let mut task = pin!(tracked_and_carried().in_scope(handle));
    let _elsewhere = scope!("somewhere else");
    assert!(poll(task.as_mut()).is_pending());
    let Poll::Ready(kept) = poll(task.as_mut()) else {
        unreachable!("it waits once")
    };
    let after = snapshot();
    let tracked = node(&after, "tracked and carried");
    assert_eq!(tracked.parent, Some(node(&after, "carries a call").id));
    let calls = tracked.calls;
    assert_eq!(
        (calls.completed, calls.allocations, calls.bytes, calls.retained_bytes),
        (1, 2, 42, 22)
    );
    drop(kept);
}

fn a_panic_in_a_poll_leaves_the_scope() {
    let task = {
        let _scope = scope!("panics in a poll");
        async {
            drop(bytes(9));
            std::panic::resume_unwind(Box::new(0_u8));
        }
        .in_current_scope()
    };
    let mut task = Box::pin(task);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(task.as_mut()))).is_err());
    let before = own("panics in a poll")[1];
    drop(bytes(1000));
    assert_eq!(own("panics in a poll")[1], before);
}

fn the_mode_may_change_between_polls() {
    let task = {
        let _scope = scope!("switched");
        async {
            for _ in 0..3 {
                drop(bytes(10));
                YieldOnce::default().await;
            }
        }
        .in_current_scope()
    };
    let mut task = pin!(task);
    for mode in [Mode::Scopes, Mode::Off, Mode::Exact] {
        set_mode(mode);
        assert!(poll(task.as_mut()).is_pending());
    }
    assert!(poll(task.as_mut()).is_ready());
    assert_eq!(own("switched"), [2, 20, 0, 2]);
}

const fn is_send<T: Send>(_: &T) {}
const fn is_unpin<T: Unpin>() {}

fn manners() {
    is_send(&async {}.in_current_scope());
    is_unpin::<InScope<std::future::Ready<()>>>();
    is_unpin::<ScopeHandle>();
    assert!(size_of::<InScope<[u64; 8]>>() <= size_of::<[u64; 8]>() + 32);
}

// On Tokio.

async fn work(size: usize, waits: usize) -> Vec<u8> {
    drop(bytes(size));
    for _ in 0..waits {
        YieldOnce::default().await;
        drop(bytes(size));
    }
    bytes(size)
}

async fn every_way_to_spawn_is_charged() {
    let made_of = |name: &str, own: [u64; 4], blocks: u64, size: u64| {
        // The rest is Tokio's own: tasks and their like.
        assert!(own[0] >= blocks && own[1] >= blocks * size, "{name}: {own:?}");
        assert!(own[2] >= size, "{name} holds the result: {own:?}");
    };
    let (kept, before) = {
        let _scope = scope!("spawn");
        (carry::tokio::spawn(work(10_000, 3)), ())
    };
    let () = before;
    let kept = kept.await.expect("no panic");
    made_of("spawn", own("spawn"), 5, 10_000);
    drop(kept);
    let blocking = {
        let _scope = scope!("spawn_blocking");
        carry::tokio::spawn_blocking(|| bytes(10_000))
    };
    let kept = blocking.await.expect("no panic");
    made_of("spawn_blocking", own("spawn_blocking"), 1, 10_000);
    drop(kept);
    let mut set = JoinSet::new();
    {
        let _scope = scope!("set");
        set.spawn_carried(work(10_000, 1));
        set.spawn_blocking_carried(|| bytes(10_000));
    }
    let mut all = Vec::new();
    while let Some(one) = set.join_next().await {
        all.push(one.expect("no panic"));
    }
    made_of("set", own("set"), 4, 10_000);
    drop((set, all));
    for name in ["spawn", "spawn_blocking", "set"] {
        assert!(found(name).own.live_bytes < 10_000, "{name}");
    }
}

fn local_tasks_are_charged() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let kept = local.block_on(&runtime, async {
        let task = {
            let _scope = scope!("spawn_local");
            carry::tokio::spawn_local(async { std::rc::Rc::new(bytes(10_000)) })
        };
        let kept = task.await.expect("no panic");
        assert!(found("spawn_local").own.live_bytes >= 10_000);
        kept
    });
    drop(kept);
}

async fn side_by_side_in_one_task() {
    let handle = |which: u8| {
        let _scope = match which {
            0 => scope!("first side"),
            _ => scope!("second side"),
        };
        current()
    };
    let (first, second) = tokio::join!(work(100, 20).in_scope(handle(0)), work(200, 10).in_scope(handle(1)));
    drop((first, second));
    assert_eq!(own("first side"), [22, 2200, 0, 22]);
    assert_eq!(own("second side"), [12, 2400, 0, 12]);

    tokio::select! {
        biased;
        () = holds(77).in_scope(handle(0)) => unreachable!("it waits for ever"),
        kept = work(300, 5).in_scope(handle(1)) => drop(kept),
    }
    assert_eq!(own("first side"), [23, 2277, 0, 23], "cancelled: dropped in its scope");
    assert_eq!(own("second side"), [19, 2400 + 7 * 300, 0, 19]);

    let many: FuturesUnordered<_> = (0..40_usize)
        .map(|index| work(10, index % 7).in_scope(handle((index % 2) as u8)))
        .collect();
    let kept: Vec<Vec<u8>> = many.collect().await;
    let blocks = |which: usize| {
        (0..40)
            .filter(|index| index % 2 == which)
            .map(|index| index as u64 % 7 + 2)
            .sum::<u64>()
    };
    assert_eq!(
        own("first side"),
        [23 + blocks(0), 2277 + 10 * blocks(0), 200, 23 + blocks(0) - 20]
    );
    assert_eq!(
        own("second side"),
        [19 + blocks(1), 4500 + 10 * blocks(1), 200, 19 + blocks(1) - 20]
    );
    drop(kept);
}

async fn cancelled_tasks_are_dropped_in_their_scope() {
    let handle = {
        let _scope = scope!("cancelled");
        current()
    };
    let started = Arc::new(Notify::new());
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let started = Arc::clone(&started);
            tokio::spawn(
                async move {
                    let _held = AllocatesWhenDropped(33);
                    let _own = bytes(1000);
                    started.notify_one();
                    std::future::pending::<()>().await;
                }
                .in_scope(handle.clone()),
            )
        })
        .collect();
    while own("cancelled")[0] < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for task in tasks {
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
    }
    assert_eq!(own("cancelled"), [100, 50 * 1033, 0, 100]);
}

const SCOPES: usize = 20;
const TASKS: usize = 10_000;

fn numbered(which: usize) -> ScopeHandle {
    macro_rules! one_of {
        ($($number:literal)*) => {
            match which {
                $($number => { let _scope = scope!(concat!("numbered ", $number)); current() })*
                _ => unreachable!("twenty scopes"),
            }
        };
    }
    one_of!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19)
}

async fn ten_thousand_tasks_over_twenty_scopes_are_exact() {
    let handles: Vec<ScopeHandle> = (0..SCOPES).map(numbered).collect();
    let handles = Arc::new(handles);
    let expected: Arc<[[AtomicU64; 2]; SCOPES]> = Arc::new([const { [const { AtomicU64::new(0) }; 2] }; SCOPES]);
    let tasks: Vec<_> = (0..TASKS)
        .map(|index| {
            let handle = handles[index % SCOPES].clone();
            let (handles, expected) = (Arc::clone(&handles), Arc::clone(&expected));
            tokio::spawn(
                async move {
                    let mut rng = Rng::new(index as u64);
                    let mut held: [Option<Vec<u8>>; 3] = [const { None }; 3];
                    for _ in 0..20 {
                        let (size, place) = (rng.size(3000), rng.below(3));
                        let charged = match rng.below(4) {
                            0 => {
                                YieldOnce::default().await;
                                continue;
                            }
                            1 => {
                                let other = rng.below(SCOPES);
                                held[place] = Some(handles[other].in_scope(|| bytes(size)));
                                other
                            }
                            2 => {
                                let other = rng.below(SCOPES);
                                let waits = async {
                                    YieldOnce::default().await;
                                    bytes(size)
                                };
                                held[place] = Some(waits.in_scope(handles[other].clone()).await);
                                other
                            }
                            _ => {
                                held[place] = Some(bytes(size));
                                index % SCOPES
                            }
                        };
                        expected[charged][0].fetch_add(1, Ordering::Relaxed);
                        expected[charged][1].fetch_add(size as u64, Ordering::Relaxed);
                    }
                }
                .in_scope(handle),
            )
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    for which in 0..SCOPES {
        let name = format!("numbered {which}");
        let [blocks, bytes] = expected[which].each_ref().map(|sum| sum.load(Ordering::Relaxed));
        assert_eq!(own(&name), [blocks, bytes, 0, blocks], "{name}");
    }
}

fn main() {
    every_poll_runs_in_the_scope_and_nothing_between_them();
    dropping_happens_in_the_scope();
    a_tracked_future_is_a_child_of_the_scope_it_is_carried_in();
    a_panic_in_a_poll_leaves_the_scope();
    the_mode_may_change_between_polls();
    manners();
    local_tasks_are_charged();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let all = tokio::spawn(async {
            every_way_to_spawn_is_charged().await;
            side_by_side_in_one_task().await;
            cancelled_tasks_are_dropped_in_their_scope().await;
            ten_thousand_tasks_over_twenty_scopes_are_exact().await;
        });
        tokio::time::timeout(Duration::from_secs(300), all)
            .await
            .expect("it ends in time")
            .expect("no panic");
    });
    drop(runtime);
    check_sums(&snapshot());
}
