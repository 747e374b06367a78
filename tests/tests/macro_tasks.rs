//! Ten thousand tasks over twenty scopes on a multi-thread runtime: the figures of every scope are exact.
//!
//! Every task waits in several places, so it is polled by whatever thread is free; half of the scopes count the turns of
//! their loop, each tenth task is thrown away half-run, and `select!` and `join!` run
//! scopes inside scopes. How a single call's figures come about is tested in `async_scopes.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloc_core::{ScopeKind, TrackingAllocator, track_memory, tracked};
use allocscope_tests::{YieldOnce, bytes, check_sums, node, nodes, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const TASKS: usize = 10_000;
const SCOPES: usize = 20;
const TURNS: usize = 5;
const TURN_BYTES: usize = 24;

/// Never comes back if the task is to be thrown away; says that it got here.
async fn stop_here(is_stopped: bool, stopped: &AtomicUsize) {
    if is_stopped {
        stopped.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
}

type Task = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;
type Start = fn(bool, Arc<AtomicUsize>) -> Task;

/// Async functions that grant `size`, then `TURN_BYTES` in each turn, then `size + 1`, which they return.
macro_rules! scopes {
    ($($(#[$attr:meta])* $name:ident $size:literal)*) => {
        $(
            $(#[$attr])*
            async fn $name(is_stopped: bool, stopped: Arc<AtomicUsize>) -> Vec<u8> {
                let first = bytes($size);
                YieldOnce::default().await;
                for _ in 0..TURNS {
                    let buffer = bytes(TURN_BYTES);
                    YieldOnce::default().await;
                    drop(buffer);
                }
                stop_here(is_stopped, &stopped).await;
                drop(first);
                bytes($size + 1)
            }
        )*
        const STARTS: [(&str, usize, Start); SCOPES] = [
            $((stringify!($name), $size, |is_stopped, stopped| Box::pin($name(is_stopped, stopped)))),*
        ];
    };
}
scopes! {
    #[track_memory] s00 100 #[track_memory] s01 101 #[track_memory] s02 102 #[track_memory] s03 103 #[track_memory] s04 104
    #[track_memory] s05 105 #[track_memory] s06 106 #[track_memory] s07 107 #[track_memory] s08 108 #[track_memory] s09 109
    #[track_memory(loops, request)] s10 110 #[track_memory(loops)] s11 111 #[track_memory(loops)] s12 112
    #[track_memory(loops)] s13 113 #[track_memory(loops)] s14 114 #[track_memory(loops)] s15 115 #[track_memory(loops)] s16 116
    #[track_memory(loops)] s17 117 #[track_memory(loops)] s18 118 #[track_memory(loops)] s19 119
}

#[track_memory]
async fn joins() -> usize {
    let parts = async { tokio::join!(part(), part(), tracked!(name = "block", async { bytes(7).capacity() })) };
    let (a, b, c) = parts.await;
    tokio::select! {
        biased;
        () = std::future::pending() => unreachable!(),
        n = part() => a + b + c + n,
    }
}

#[track_memory]
fn part() -> impl Future<Output = usize> + Send {
    let before = bytes(10);
    async move {
        YieldOnce::default().await;
        before.capacity() + bytes(20).capacity()
    }
}

#[test]
fn totals_of_every_scope_are_exact() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build();
    let runtime = runtime.expect("threads can be started");
    let stopped = Arc::new(AtomicUsize::new(0));
    let kept: Vec<Vec<u8>> = runtime.block_on(async {
        let mut running = Vec::with_capacity(TASKS);
        let mut thrown_away = Vec::with_capacity(TASKS / 10);
        for task in 0..TASKS {
            let is_stopped = (task / SCOPES).is_multiple_of(10);
            let (_, _, start) = STARTS[task % SCOPES];
            let handle = tokio::spawn(start(is_stopped, Arc::clone(&stopped)));
            if is_stopped { &mut thrown_away } else { &mut running }.push(handle);
        }
        let mut kept = Vec::with_capacity(TASKS);
        for task in running {
            kept.push(task.await.expect("no panic"));
        }
        while stopped.load(Ordering::Relaxed) < thrown_away.len() {
            tokio::task::yield_now().await;
        }
        for task in thrown_away {
            task.abort();
            assert!(task.await.expect_err("it never ends").is_cancelled());
        }
        let joined: Vec<_> = (0..100).map(|_| tokio::spawn(joins())).collect();
        for task in joined {
            assert_eq!(task.await.expect("no panic"), 97);
        }
        kept
    });
    drop(runtime);
    let snapshot = snapshot();
    check_sums(&snapshot);

    let (all, ended) = ((TASKS / SCOPES) as u64, (TASKS / SCOPES * 9 / 10) as u64);
    let (turns, turn_bytes) = (TURNS as u64, TURN_BYTES as u64);
    assert_eq!(kept.len() as u64, ended * SCOPES as u64);
    for (at, (name, size, _)) in STARTS.into_iter().enumerate() {
        let full = format!("macro_tasks::{name}");
        let node = node(&snapshot, &full);
        let size = size as u64;
        let (allocations, granted) = (
            all * (1 + turns) + ended,
            all * (size + turns * turn_bytes) + ended * (size + 1),
        );
        let inclusive = &node.inclusive;
        assert_eq!(
            (inclusive.total_allocations, inclusive.total_bytes),
            (allocations, granted),
            "{name}"
        );
        assert_eq!(
            (inclusive.live_blocks, inclusive.live_bytes),
            (ended, ended * (size + 1)),
            "{name}"
        );
        let calls = &node.calls;
        assert_eq!(
            (calls.entered, calls.completed, calls.upper_bound_calls),
            (all, all, 0),
            "{name}"
        );
        assert_eq!((calls.allocations, calls.bytes), (allocations, granted), "{name}");
        assert_eq!(
            (calls.max_allocations, calls.max_bytes),
            (2 + turns, 2 * size + 1 + turns * turn_bytes),
            "{name}"
        );
        assert_eq!(calls.max_peak_bytes, (size + turn_bytes).max(size + 1), "{name}");
        assert_eq!(
            (calls.retained_bytes, calls.max_retained_bytes),
            (ended * (size + 1), size + 1),
            "{name}"
        );

        let prefix = format!("{full}::for@");
        let mut loops = snapshot.scopes.iter().filter(|node| node.name.starts_with(&prefix));
        if at < 10 {
            assert!(loops.next().is_none(), "{name} has no instrumented loop");
            assert_eq!(node.own.total_bytes, granted, "{name}");
            continue;
        }
        let turn = loops.next().expect("the loop is a scope");
        assert!(loops.next().is_none(), "its turns are one scope");
        let kind = if at == 10 {
            ScopeKind::Request
        } else {
            ScopeKind::Function
        };
        assert_eq!(
            (node.kind, turn.kind, turn.parent),
            (kind, ScopeKind::Loop, Some(node.id)),
            "{name}"
        );
        let calls = &turn.calls;
        assert_eq!((calls.entered, calls.completed), (all * turns, all * turns), "{name}");
        assert_eq!(
            (calls.allocations, calls.bytes),
            (all * turns, all * turns * turn_bytes),
            "{name}"
        );
        assert_eq!((calls.max_peak_bytes, calls.retained_bytes), (turn_bytes, 0), "{name}");
        assert_eq!(
            (turn.own.total_bytes, turn.own.live_bytes),
            (all * turns * turn_bytes, 0),
            "{name}"
        );
    }

    let joins = node(&snapshot, "macro_tasks::joins");
    assert_eq!((joins.calls.completed, joins.inclusive.live_bytes), (100, 0));
    assert_eq!(
        (joins.own.total_allocations, joins.inclusive.total_bytes),
        (0, 100 * (3 * 30 + 7))
    );
    let mut parts = nodes(&snapshot, "macro_tasks::part");
    let part = parts.next().expect("it ran");
    assert!(
        parts.next().is_none() && part.parent == Some(joins.id),
        "it ran inside the other"
    );
    assert_eq!(
        (part.calls.completed, part.calls.allocations, part.calls.bytes),
        (300, 600, 9000)
    );
    assert_eq!((part.calls.max_peak_bytes, part.calls.retained_bytes), (30, 0));
    assert_eq!(node(&snapshot, "block").calls.bytes, 700);
    drop(kept);
}
