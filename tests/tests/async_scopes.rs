//! Scopes of async functions on a multi-thread runtime: figures of calls that wait, move between threads, are dropped half-run, and
//! whose blocks other tasks free in the meantime.
//!
//! A program without the test harness, each part with scopes of its own. The exact cases poll by hand, so that it is known
//! which thread runs which poll; the rest runs on Tokio. What the macro expands to is tested in the `macro_*` files.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::task::Poll;
use std::thread::ThreadId;
use std::time::Duration;

use alloc_core::model::CallStats;
use alloc_core::{Mode, TrackingAllocator, set_mode, track_memory};
use allocscope_tests::{Rng, YieldOnce, bytes, check_sums, node, nodes, number_from_env, poll, snapshot};
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn calls(name: &str) -> CallStats {
    node(&snapshot(), name).calls
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn finish<T>(mut task: Task<T>) -> T {
    loop {
        if let Poll::Ready(value) = poll(task.as_mut()) {
            return value;
        }
    }
}

// Exact cases, polled by hand.

#[track_memory(name = "moved by hand")]
async fn moved_by_hand() -> Vec<u8> {
    let first = bytes(100);
    YieldOnce::default().await;
    let second = bytes(30);
    drop(first);
    YieldOnce::default().await;
    drop(bytes(50));
    second
}

fn a_call_that_changes_threads_is_one_call() {
    for _ in 0..10 {
        let mut task: Task<Vec<u8>> = Box::pin(moved_by_hand());
        assert!(poll(task.as_mut()).is_pending());
        let kept = std::thread::spawn(move || {
            assert!(poll(task.as_mut()).is_pending());
            task
        });
        let task = kept.join().expect("no panic");
        let kept = std::thread::spawn(move || finish(task)).join().expect("no panic");
        drop(kept);
    }
    let node = node(&snapshot(), "moved by hand").clone();
    let calls = node.calls;
    assert_eq!(
        (calls.entered, calls.completed, calls.allocations, calls.bytes),
        (10, 10, 30, 1800)
    );
    assert_eq!((calls.max_peak_bytes, calls.sum_peak_bytes), (130, 1300));
    assert_eq!(
        (calls.retained_bytes, calls.max_retained_bytes, calls.upper_bound_calls),
        (300, 30, 0)
    );
    assert_eq!((node.own.live_bytes, node.own.total_frees), (0, 30));
}

static GIVEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn give(buffer: Vec<u8>) {
    GIVEN.lock().expect("no panic").push(buffer);
}

fn free_given() {
    GIVEN.lock().expect("no panic").clear();
}

#[track_memory(name = "gives away")]
async fn gives_away(rounds: usize) -> Vec<u8> {
    for _ in 0..rounds {
        give(bytes(100));
        YieldOnce::default().await;
    }
    bytes(60)
}

#[track_memory(name = "gives from within")]
async fn gives_from_within(rounds: usize) {
    let _own = bytes(7);
    for _ in 0..rounds {
        gives_and_waits().await;
    }
}

#[track_memory(name = "gives and waits")]
async fn gives_and_waits() {
    give(bytes(100));
    YieldOnce::default().await;
}

fn what_others_free_while_a_call_waits_is_subtracted() {
    GIVEN.lock().expect("no panic").reserve(8);
    for is_own_thread in [true, false] {
        let mut task: Task<Vec<u8>> = Box::pin(gives_away(50));
        for _ in 0..50 {
            assert!(poll(task.as_mut()).is_pending());
            if is_own_thread {
                free_given();
            } else {
                std::thread::spawn(free_given).join().expect("no panic");
            }
        }
        drop(finish(task));
        let calls = calls("gives away");
        assert_eq!(
            (calls.max_peak_bytes, calls.max_retained_bytes, calls.upper_bound_calls),
            (100, 60, 0)
        );
    }
    let mut task: Task<()> = Box::pin(gives_from_within(50));
    while poll(task.as_mut()).is_pending() {
        std::thread::spawn(free_given).join().expect("no panic");
    }
    let within = calls("gives and waits");
    assert_eq!(
        (within.completed, within.max_peak_bytes, within.retained_bytes),
        (50, 100, 0)
    );
    let around = calls("gives from within");
    assert_eq!(
        (around.completed, around.max_peak_bytes, around.retained_bytes),
        (1, 107, 0),
        "what was freed while the nested call waited was freed for the calls around it, too"
    );
}

#[track_memory(name = "half run")]
async fn half_run(size: usize) {
    let _held = bytes(size);
    for _ in 0..10 {
        YieldOnce::default().await;
    }
}

fn a_future_dropped_half_run_ends_its_call() {
    drop(half_run(1));
    for elsewhere in [false, true] {
        let mut task: Task<()> = Box::pin(half_run(80));
        assert!(poll(task.as_mut()).is_pending() && poll(task.as_mut()).is_pending());
        if elsewhere {
            std::thread::spawn(move || drop(task)).join().expect("no panic");
        } else {
            drop(task);
        }
    }
    let node = node(&snapshot(), "half run").clone();
    let calls = node.calls;
    assert_eq!(
        (calls.entered, calls.completed),
        (2, 2),
        "one was never polled, so it never ran"
    );
    assert_eq!((calls.bytes, calls.sum_peak_bytes, calls.retained_bytes), (160, 160, 0));
    assert_eq!((node.own.live_bytes, node.own.total_frees), (0, 2));
}

#[track_memory(name = "joins")]
async fn joins() {
    tokio::join!(part(10), part(20), part(30));
}

#[track_memory(name = "part")]
async fn part(size: usize) {
    let _held = bytes(size);
    YieldOnce::default().await;
}

#[track_memory(name = "selects")]
async fn selects() {
    tokio::select! {
        biased;
        () = waits_long(500) => unreachable!("it takes longer"),
        () = part_of_select(40) => {}
    }
    drop(bytes(100));
}

#[track_memory(name = "waits long")]
async fn waits_long(size: usize) {
    let _held = bytes(size);
    std::future::pending::<()>().await;
}

#[track_memory(name = "part of select")]
async fn part_of_select(size: usize) {
    let _held = bytes(size);
    YieldOnce::default().await;
}

fn futures_run_side_by_side_are_calls_of_their_own() {
    finish(Box::pin(joins()) as Task<()>);
    let (joins, part) = (calls("joins"), calls("part"));
    assert_eq!((part.entered, part.completed, part.bytes), (3, 3, 60));
    assert_eq!((part.sum_peak_bytes, part.max_peak_bytes), (60, 30));
    assert_eq!(
        (joins.completed, joins.allocations, joins.bytes, joins.max_peak_bytes),
        (1, 3, 60, 60)
    );

    finish(Box::pin(selects()) as Task<()>);
    let (selects, long) = (calls("selects"), calls("waits long"));
    assert_eq!(
        (long.entered, long.completed, long.max_peak_bytes, long.retained_bytes),
        (1, 1, 500, 0)
    );
    assert_eq!((selects.allocations, selects.bytes), (3, 640));
    assert_eq!((selects.max_peak_bytes, selects.retained_bytes), (540, 0));
    let after = snapshot();
    for name in ["joins", "part", "selects", "waits long", "part of select"] {
        assert_eq!(node(&after, name).own.live_bytes, 0, "{name}");
    }
}

#[track_memory(name = "switched between polls")]
async fn switched_between_polls() -> (Vec<u8>, Vec<u8>) {
    let first = bytes(100);
    YieldOnce::default().await;
    let unseen = bytes(1000);
    drop(bytes(2000));
    YieldOnce::default().await;
    drop(first);
    (unseen, bytes(10))
}

fn mode_switches_between_polls_are_survived() {
    let mut task: Task<_> = Box::pin(switched_between_polls());
    assert!(poll(task.as_mut()).is_pending());
    set_mode(Mode::Off);
    assert!(poll(task.as_mut()).is_pending());
    set_mode(Mode::Scopes);
    let kept = finish(task);
    set_mode(Mode::Exact);
    let calls = calls("switched between polls");
    assert_eq!(
        (calls.entered, calls.completed, calls.allocations, calls.bytes),
        (1, 1, 2, 110)
    );
    assert_eq!((calls.max_peak_bytes, calls.retained_bytes), (100, 10));
    drop(kept);
}

// On Tokio.

static EXECUTED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static MIGRATIONS: AtomicU64 = AtomicU64::new(0);

/// Allocates, holds, waits and calls; adds up what this very call executes.
#[track_memory(name = "random walk")]
async fn random_walk(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut held: [Option<Vec<u8>>; 4] = [const { None }; 4];
    let (mut allocations, mut granted) = (0, 0);
    let mut last: ThreadId = std::thread::current().id();
    for _ in 0..40 {
        let size = rng.size(2000);
        match rng.below(4) {
            0 => YieldOnce::default().await,
            1 => {
                sync_part(size);
                allocations += 2;
                granted += 2 * size as u64;
            }
            _ => {
                held[rng.below(4)] = Some(bytes(size));
                allocations += 1;
                granted += size as u64;
            }
        }
        let now = std::thread::current().id();
        MIGRATIONS.fetch_add(u64::from(now != last), Ordering::Relaxed);
        last = now;
    }
    let kept = bytes(17);
    for (sum, amount) in EXECUTED.iter().zip([1, allocations + 1, granted + 17]) {
        sum.fetch_add(amount, Ordering::Relaxed);
    }
    kept
}

#[track_memory(name = "sync part")]
fn sync_part(size: usize) {
    let _held = bytes(size);
    drop(bytes(size));
}

async fn calls_add_up_to_what_was_executed() {
    let tasks: Vec<_> = (0..2000).map(|seed| tokio::spawn(random_walk(seed))).collect();
    for task in tasks {
        drop(task.await.expect("no panic"));
    }
    let after = snapshot();
    let walk = node(&after, "random walk");
    let calls = &walk.calls;
    let counted = [calls.completed, calls.allocations, calls.bytes];
    assert_eq!(counted, EXECUTED.each_ref().map(|sum| sum.load(Ordering::Relaxed)));
    assert_eq!((calls.entered, calls.upper_bound_calls), (2000, 0));
    assert_eq!((calls.retained_bytes, calls.max_retained_bytes), (17 * 2000, 17));
    assert!(
        calls.max_peak_bytes <= 6 * 2000,
        "four held, two in the sync part: {calls:?}"
    );
    assert_eq!(
        (walk.inclusive.live_bytes, walk.inclusive.total_bytes),
        (0, calls.bytes)
    );
    let part = node(&after, "sync part");
    assert_eq!(part.parent, Some(walk.id));
    assert_eq!(
        (part.calls.retained_bytes, part.calls.entered),
        (0, part.calls.completed)
    );
    println!(
        "2000 calls changed threads {} times",
        MIGRATIONS.load(Ordering::Relaxed)
    );
}

const WAITING: usize = 16;
const MESSAGE: usize = 1000;
/// The most that a handler may hold at rest: messages that wait in the channel, and the channel's own blocks.
const FLAT: u64 = 32 << 10;
/// What other threads free while the handler runs is subtracted at its next poll, and the runtime ends a poll after 128 messages.
const FLAT_PEAK: u64 = FLAT + 128 * MESSAGE as u64;
/// Scope peaks may be off by 64 KiB for every thread: the four workers, and the one that waits.
const FLAT_SCOPE_PEAK: u64 = FLAT + 5 * (64 << 10);

#[track_memory(name = "handler")]
async fn handler(messages: usize, to: mpsc::Sender<Vec<u8>>) {
    for _ in 0..messages {
        to.send(bytes(MESSAGE)).await.expect("the receiver listens");
    }
}

#[track_memory(name = "handler that reads")]
async fn handler_that_reads(messages: usize, to: mpsc::Sender<Vec<u8>>) {
    let _own = bytes(100);
    for _ in 0..messages {
        let message = read_message().await;
        to.send(message).await.expect("the receiver listens");
    }
}

#[track_memory(name = "read message")]
async fn read_message() -> Vec<u8> {
    let message = bytes(MESSAGE);
    YieldOnce::default().await;
    message
}

#[track_memory(name = "handler that asks")]
async fn handler_that_asks(messages: usize, to: mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>) {
    let _own = bytes(100);
    for _ in 0..messages {
        ask(&to).await;
    }
}

/// Its buffer is freed by another task while it waits for the answer.
#[track_memory(name = "ask")]
async fn ask(to: &mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>) {
    let (answer, answered) = oneshot::channel();
    to.send((bytes(MESSAGE), answer)).await.expect("the receiver listens");
    answered.await.expect("the receiver answers");
}

/// Frees what it is given; looks at the handler's live bytes once, half-way.
async fn sink(mut from: mpsc::Receiver<Vec<u8>>, messages: usize, handler: [&str; 2]) {
    let mut received = 0;
    while let Some(message) = from.recv().await {
        drop(message);
        received += 1;
        if received == messages / 2 {
            check_live(handler);
        }
    }
    assert_eq!(received, messages);
}

fn check_live(handler: [&str; 2]) {
    let now = snapshot();
    for name in handler {
        for node in nodes(&now, name) {
            assert!(
                node.own.live_bytes <= FLAT,
                "{name} holds {} half-way",
                node.own.live_bytes
            );
            assert!(
                node.peak_bytes <= FLAT_SCOPE_PEAK,
                "{name}: overall peak {}",
                node.peak_bytes
            );
        }
    }
}

fn check_flat(name: &str, messages: usize, is_bounded_by_messages: bool) {
    let after = snapshot();
    let node = node(&after, name);
    let calls = &node.calls;
    assert_eq!((calls.entered, calls.completed), (1, 1), "{name}");
    assert!(calls.bytes >= (messages * MESSAGE) as u64, "{name}: {calls:?}");
    assert!(calls.max_peak_bytes <= FLAT_PEAK, "{name} is not flat: {calls:?}");
    let most_retained = if is_bounded_by_messages {
        (WAITING + 2) * MESSAGE + 4096
    } else {
        4096
    };
    assert!(calls.max_retained_bytes <= most_retained as u64, "{name}: {calls:?}");
    assert_eq!(calls.upper_bound_calls, 0, "{name}: {calls:?}");
    assert!(
        node.inclusive.live_bytes <= 8192,
        "{name} still holds {:?}",
        node.inclusive
    );
}

async fn connection_handlers_stay_flat(messages: usize) {
    let (to, from) = mpsc::channel(WAITING);
    let sender = tokio::spawn(handler(messages, to));
    sink(from, messages, ["handler", "-"]).await;
    sender.await.expect("no panic");
    check_flat("handler", messages, true);

    let (to, from) = mpsc::channel(WAITING);
    let sender = tokio::spawn(handler_that_reads(messages, to));
    sink(from, messages, ["handler that reads", "read message"]).await;
    sender.await.expect("no panic");
    check_flat("handler that reads", messages, true);
    let read = calls("read message");
    assert_eq!(read.completed, messages as u64);
    assert_eq!(
        read.retained_bytes,
        (messages * MESSAGE) as u64,
        "each message outlives the call that read it"
    );
    assert_eq!(
        (read.max_peak_bytes, read.max_retained_bytes),
        (MESSAGE as u64, MESSAGE as u64)
    );

    let (to, mut from) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(WAITING);
    let sender = tokio::spawn(handler_that_asks(messages, to));
    let mut received = 0;
    while let Some((message, answer)) = from.recv().await {
        drop(message);
        answer.send(()).expect("it waits");
        received += 1;
        if received == messages / 2 {
            check_live(["handler that asks", "ask"]);
        }
    }
    sender.await.expect("no panic");
    check_flat("handler that asks", messages, false);
}

/// Lets another thread free what is given away, while the caller goes on with its call: nothing is allocated for it.
fn have_freed(helper: &[Barrier; 2]) {
    helper.iter().for_each(|step| {
        step.wait();
    });
}

#[track_memory(name = "freed by a helper")]
fn freed_by_a_helper(helper: &[Barrier; 2]) {
    give(bytes(1000));
    have_freed(helper);
}

#[track_memory(name = "lends")]
async fn lends(helper: &[Barrier; 2]) {
    drop(bytes(10));
    freed_by_a_helper(helper);
    YieldOnce::default().await;
}

#[track_memory(name = "holds more later")]
async fn holds_more_later() {
    let first = bytes(100);
    YieldOnce::default().await;
    drop((first, bytes(500)));
}

#[track_memory(name = "ends inside")]
async fn ends_inside() {
    let held = bytes(50);
    YieldOnce::default().await;
    drop(held);
}

#[track_memory(name = "waits longer")]
async fn waits_longer() {
    let first = bytes(100);
    ends_inside().await;
    YieldOnce::default().await;
    drop((first, bytes(500)));
}

/// A call that has ended leaves nothing behind in the record that the next call gets.
fn a_record_is_as_good_as_new_for_the_next_call() {
    let helper = [Barrier::new(2), Barrier::new(2)];
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..21 {
                helper[0].wait();
                free_given();
                helper[1].wait();
            }
        });
        let mut lending = Box::pin(lends(&helper));
        for _ in 0..20 {
            while poll(lending.as_mut()).is_pending() {}
            lending.set(lends(&helper));
        }
        finish(Box::pin(holds_more_later()));
        assert_eq!(calls("holds more later").max_peak_bytes, 600);

        let mut waiting: Task<()> = Box::pin(waits_longer());
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(poll(waiting.as_mut()).is_pending());
        freed_by_a_helper(&helper);
        finish(waiting);
        assert_eq!(calls("waits longer").max_peak_bytes, 600);
    });
}

fn main() {
    a_call_that_changes_threads_is_one_call();
    futures_run_side_by_side_are_calls_of_their_own();
    a_future_dropped_half_run_ends_its_call();
    mode_switches_between_polls_are_survived();
    what_others_free_while_a_call_waits_is_subtracted();
    a_record_is_as_good_as_new_for_the_next_call();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("a runtime");
    let messages = number_from_env("ALLOCSCOPE_TEST_MESSAGES", 100_000) as usize;
    runtime.block_on(async {
        // The work runs in a task: the runtime's threads, not this one, are to be seen.
        let all = tokio::spawn(async move {
            calls_add_up_to_what_was_executed().await;
            connection_handlers_stay_flat(messages).await;
        });
        tokio::time::timeout(Duration::from_secs(300), all)
            .await
            .expect("it ends in time")
            .expect("no panic");
    });
    drop(runtime);
    check_sums(&snapshot());
}
