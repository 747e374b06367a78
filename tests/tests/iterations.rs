//! What is seen of observed iterations, against what the programs do: every figure of a site, on one thread, across awaits, threads
//! and unfinished calls.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::{Barrier, mpsc};
use std::task::{Context, Poll, Waker};

use alloc_core::__private::ObserveAll;
use alloc_core::model::{LoopSite, LoopStats};
use alloc_core::{Snapshot, TrackingAllocator, iteration, iterations, track_items, track_memory};
use futures_util::{Stream, StreamExt};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn observed(name: &str) -> (Snapshot, LoopStats) {
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let node = snapshot
        .scopes
        .iter()
        .find(|scope| scope.name == name)
        .expect("the scope was entered");
    let stats = snapshot
        .loops
        .iter()
        .find(|stats| stats.scope == node.id)
        .expect("an iteration was observed")
        .clone();
    (snapshot, stats)
}

/// The only site whose blocks had this size in the end.
fn site(stats: &LoopStats, final_bytes: u64) -> &LoopSite {
    let mut found = stats
        .sites
        .iter()
        .filter(|site| site.final_bytes.iter().all(|&bytes| bytes == final_bytes) && !site.final_bytes.is_empty());
    let site = found
        .next()
        .unwrap_or_else(|| panic!("no site of {final_bytes}: {stats:#?}"));
    assert!(found.next().is_none(), "several sites of {final_bytes}: {stats:#?}");
    site
}

fn block(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(bytes))
}

#[test]
fn a_block_that_dies_in_its_iteration_is_confined_and_one_that_stays_is_not() {
    let _all = ObserveAll::enter();
    let mut kept = Vec::with_capacity(40);
    for _ in iterations!("confined", 0..40) {
        drop(block(100));
        kept.push(block(200));
    }
    let (snapshot, stats) = observed("confined");
    assert_eq!((stats.iterations, stats.observed, stats.missed_events), (40, 40, 0));
    let confined = site(&stats, 100);
    assert_eq!(
        (
            confined.present,
            confined.allocations,
            confined.bytes,
            confined.blocks,
            confined.confined
        ),
        (40, 40, 4000, 40, 40)
    );
    assert_eq!(
        (confined.one_live, confined.most_live, confined.temporaries.none),
        (40, 1, 40)
    );
    let retained = site(&stats, 200);
    assert_eq!((retained.present, retained.blocks, retained.confined), (40, 40, 0));
    let counters = snapshot.contexts[confined.context as usize].counters;
    assert_eq!(
        (counters.total_allocations, counters.total_bytes),
        (40, 4000),
        "an observed allocation has the context it always has"
    );
}

#[test]
fn the_context_is_the_same_whether_observed_or_not() {
    // Tables of hash maps carry their header behind, strings in front, and what grows is reallocated.
    for turn in iterations!("both", 0..400_u64) {
        let mut text = String::from("a");
        let mut set = HashSet::new();
        for at in 0..20 {
            text.push_str("0123456789abcdef");
            set.insert(turn + at);
        }
        black_box((text, set));
    }
    let (snapshot, stats) = observed("both");
    assert!((64..400).contains(&stats.observed), "{}", stats.observed);
    let own: Vec<_> = snapshot
        .contexts
        .iter()
        .filter(|context| context.scope == stats.scope)
        .collect();
    for context in &own {
        let total = context.counters.total_allocations + context.counters.total_reallocations;
        assert_eq!(total % 400, 0, "as often in every iteration: {context:#?}");
    }
    assert!(own.len() >= 3, "{own:#?}");
}

#[test]
fn growth_is_one_block_whether_by_reallocation_or_by_a_larger_table() {
    let _all = ObserveAll::enter();
    for _ in iterations!("growth", 0..30) {
        let mut list = Vec::new();
        for at in 0..100_u64 {
            list.push(black_box(at));
        }
        drop(list);
        let mut map = HashMap::new();
        for at in 0..100_u64 {
            map.insert(at, [at; 3]);
        }
        drop(black_box(map));
    }
    let (_, stats) = observed("growth");
    // 4 to 128 elements of 8 bytes.
    let list = site(&stats, 1024);
    assert_eq!(
        (list.blocks, list.grown, list.growths, list.confined),
        (30, 30, 150, 30)
    );
    assert_eq!(
        (list.bytes, list.one_live),
        (30 * (32 + 64 + 128 + 256 + 512 + 1024), 30)
    );
    // 4, 8, 16, ... 128 buckets of 32 bytes, one byte for each, and 16 more.
    let map = site(&stats, 128 * 33 + 16);
    assert_eq!((map.blocks, map.grown, map.growths), (30, 30, 150));
    assert_eq!(
        (map.allocations, map.confined, map.one_live, map.most_live),
        (30, 30, 30, 1)
    );
    let old: u64 = [4, 8, 16, 32, 64].map(|buckets| buckets * 33 + 16).iter().sum();
    assert_eq!(map.copied_bytes, 30 * old);
}

#[test]
fn what_a_collection_owns_dies_before_it() {
    let _all = ObserveAll::enter();
    for _ in iterations!("nested", 0..30) {
        let mut outer: Vec<Vec<u8>> = Vec::with_capacity(11);
        for _ in 0..11 {
            outer.push(block(50));
        }
        black_box(&outer);
    }
    let (_, stats) = observed("nested");
    let (outer, inner) = (site(&stats, 11 * 24), site(&stats, 50));
    assert_eq!((inner.blocks, inner.most_live, inner.few_live), (330, 11, 0));
    assert_eq!((outer.one_live, outer.freed_before.len()), (30, 0));
    let [before] = inner.freed_before.as_slice() else {
        panic!("{inner:#?}")
    };
    assert_eq!((before.context, before.blocks), (outer.context, 330));
}

#[test]
fn a_block_that_another_thread_frees_is_not_confined() {
    let _all = ObserveAll::enter();
    let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(1);
    let consumer = std::thread::spawn(move || receiver.into_iter().map(|block| block.capacity()).sum::<usize>());
    for _ in 0..30 {
        let _iteration = iteration!("sent");
        sender.send(block(300)).expect("the consumer runs");
    }
    drop(sender);
    assert_eq!(consumer.join().expect("it ends"), 9000);
    let (_, stats) = observed("sent");
    assert_eq!((site(&stats, 300).blocks, site(&stats, 300).confined), (30, 0));
}

/// Ready at the second poll.
struct Once(bool);

impl Future for Once {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

fn poll(future: Pin<&mut (impl Future<Output = ()> + ?Sized)>) -> Poll<()> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[track_memory(name = "handler", request)]
async fn handler() {
    Once(false).await;
    let across = block(400);
    drop(block(500));
    Once(false).await;
    drop(across);
    drop(block(600));
}

#[test]
fn an_async_iteration_is_followed_across_its_polls_and_threads() {
    for round in 0..40 {
        let mut first = Box::pin(handler());
        let mut second = Box::pin(handler());
        // Both in flight at once, and the first goes on elsewhere.
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        let first = std::thread::spawn(move || {
            assert!(poll(first.as_mut()).is_ready());
        });
        first.join().expect("it ends");
        if round % 2 == 0 {
            assert!(poll(second.as_mut()).is_ready());
        }
    }
    let (_, stats) = observed("handler");
    assert_eq!(stats.iterations, 80);
    assert!(stats.observed >= 40, "{}", stats.observed);
    assert_eq!(stats.suspended, stats.observed);
    // The two are polled on different lines: one site each.
    let in_all = |bytes: u64, of: fn(&LoopSite) -> u64| {
        let sites = stats.sites.iter().filter(|site| site.final_bytes.contains(&bytes));
        sites.map(of).sum::<u64>()
    };
    assert_eq!(
        (in_all(400, |site| site.present), in_all(400, |site| site.blocks)),
        (stats.observed, stats.observed)
    );
    assert_eq!(
        in_all(400, |site| site.confined),
        stats.observed,
        "freed on the thread that runs the iteration"
    );
    assert_eq!(in_all(400, |site| site.crossed_await), stats.observed);
    assert_eq!(in_all(400, |site| site.crossed_threads), stats.moved);
    assert_eq!(
        (
            in_all(500, |site| site.crossed_await),
            in_all(500, |site| site.confined)
        ),
        (0, stats.observed)
    );
    assert!(stats.moved > 0 && in_all(600, |site| site.present) <= stats.observed);
}

#[track_memory(name = "server", request)]
fn server(depth: u32) {
    drop(block(700));
    if depth > 0 {
        server(depth - 1);
    }
    for _ in iterations!("inner", 0..3) {
        drop(block(800));
    }
}

#[test]
fn recursion_is_one_iteration_and_loops_inside_are_observed_for_both() {
    let _all = ObserveAll::enter();
    for _ in 0..30 {
        server(2);
    }
    let (_, server) = observed("server");
    assert_eq!((server.iterations, server.observed), (30, 30));
    // One site for each depth of the recursion: the call stacks differ.
    let in_all = |stats: &LoopStats, bytes: u64| {
        let sites = stats.sites.iter().filter(|site| site.final_bytes.contains(&bytes));
        sites
            .map(|site| (site.allocations, site.confined))
            .fold((0, 0), |sum, site| (sum.0 + site.0, sum.1 + site.1))
    };
    assert_eq!(in_all(&server, 700), (90, 90));
    assert_eq!(in_all(&server, 800), (270, 270));
    let (_, inner) = observed("inner");
    assert_eq!((inner.observed, in_all(&inner, 800)), (270, (270, 270)));
    assert!(
        inner.sites.iter().all(|site| site.one_live == site.present),
        "{inner:#?}"
    );
}

#[track_memory(name = "calls itself", request)]
fn nested(depth: u32, inside: &dyn Fn()) {
    drop(block(1600));
    match depth {
        0 => inside(),
        _ => nested(depth - 1, inside),
    }
}

#[test]
fn what_runs_is_counted_once_however_deep_it_is() {
    let _all = ObserveAll::enter();
    let iterations = || observed("calls itself").1.iterations;
    for _ in 0..5 {
        nested(2, &|| ());
    }
    assert_eq!(iterations(), 5);
    let both = Barrier::new(2);
    let seen = Cell::new(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            nested(1, &|| {
                both.wait();
                both.wait();
            });
        });
        both.wait();
        nested(3, &|| seen.set(iterations()));
        both.wait();
    });
    assert_eq!((seen.get(), iterations()), (7, 7), "two of them still ran");
}

#[track_memory(name = "waits", request)]
async fn waits(depth: u32) {
    drop(block(1700));
    if depth > 0 {
        Box::pin(waits(depth - 1)).await;
    }
    Once(false).await;
}

#[test]
fn an_async_iteration_is_counted_when_it_ends() {
    let _all = ObserveAll::enter();
    let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(waits(2))).collect();
    for _ in 0..3 {
        waiting
            .iter_mut()
            .for_each(|call| assert!(poll(call.as_mut()).is_pending()));
    }
    for mut call in waiting.drain(..4) {
        assert!(poll(call.as_mut()).is_ready());
    }
    let (snapshot, stats) = observed("waits");
    assert_eq!((stats.iterations, stats.observed), (4, 4));
    let node = snapshot.scopes.iter().find(|node| node.id == stats.scope);
    assert_eq!(node.map(|node| node.calls.entered), Some(30));
}

#[test]
fn unfinished_and_forgotten_iterations_leave_room_for_others() {
    // More than can be observed at once, none of which ever ends.
    let mut waiting: Vec<_> = (0..200).map(|_| Box::pin(stuck(true))).collect();
    for future in &mut waiting {
        assert!(poll(future.as_mut()).is_pending());
    }
    for future in waiting.drain(..100) {
        std::mem::forget(future);
    }
    for _ in 0..20_000 {
        assert!(poll(pin!(stuck(false))).is_ready());
    }
    let (_, stats) = observed("stuck");
    assert!(stats.observed > 64, "{}", stats.observed);
    assert_eq!(site(&stats, 900).blocks, stats.observed);
    drop(waiting);
    assert_eq!(observed("stuck").1.missed_events, 0);
}

#[track_memory(name = "stuck", request)]
async fn stuck(waits: bool) {
    let held = block(900);
    if waits {
        std::future::pending::<()>().await;
    }
    drop(held);
}

#[test]
fn each_item_of_a_stream_is_an_iteration_and_its_end_is_none() {
    let mut kept = Vec::with_capacity(200);
    for _ in 0..50 {
        let items = futures_util::stream::iter(0..3).then(|item| async move {
            drop(block(1200));
            Once(false).await;
            (item, block(1300))
        });
        let mut items = pin!(track_items!("items", items));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match items.as_mut().poll_next(&mut context) {
                Poll::Ready(Some(item)) => kept.push(item),
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
    }
    let (_, stats) = observed("items");
    assert_eq!((kept.len(), stats.iterations), (150, 200));
    assert!((40..150).contains(&stats.observed), "{}", stats.observed);
    let (built, given) = (site(&stats, 1200), site(&stats, 1300));
    assert_eq!((built.present, built.confined), (stats.observed, stats.observed));
    assert_eq!((given.present, given.confined), (stats.observed, 0));
}

#[track_memory(name = "overlapping", request)]
async fn overlapping() {
    let held = block(1100);
    Once(false).await;
    drop(held);
    Once(false).await;
}

#[test]
fn iterations_that_overlap_are_observed_like_others() {
    for at_once in [1, 16, 200] {
        let mut flying: Vec<_> = (0..at_once).map(|_| Box::pin(overlapping())).collect();
        for _ in 0..400 {
            flying.retain_mut(|call| poll(call.as_mut()).is_pending());
            if flying.is_empty() {
                flying.extend((0..at_once).map(|_| Box::pin(overlapping())));
            }
        }
        for mut call in flying {
            while poll(call.as_mut()).is_pending() {}
        }
    }
    let (_, stats) = observed("overlapping");
    let calls = 400 / 3 * (1 + 16 + 200);
    assert!(
        (calls - 500..calls + 500).contains(&stats.iterations),
        "{}",
        stats.iterations
    );
    // All of the first ones, then one in 16 where they do not all begin at once, and at least one of each lot where they do.
    assert!((250..700).contains(&stats.observed), "{}", stats.observed);
    let held = site(&stats, 1100);
    assert_eq!((held.confined, held.crossed_await), (stats.observed, stats.observed));
}

#[test]
fn an_iteration_with_many_blocks_has_room_for_what_comes_after() {
    let _all = ObserveAll::enter();
    for _ in iterations!("large", 0..2) {
        let blocks: Vec<Vec<u8>> = (0..5000).map(|_| block(40)).collect();
        let after = block(1000);
        black_box((blocks, after));
    }
    let (_, stats) = observed("large");
    assert_eq!(stats.missed_events, 0);
    let (many, after) = (site(&stats, 40), site(&stats, 1000));
    assert_eq!((many.allocations, many.bytes), (10_000, 400_000));
    // Of so many that live at once, enough are followed.
    assert_eq!((many.blocks, many.confined, many.most_live), (512, 512, 256));
    assert_eq!((after.blocks, after.confined), (2, 2));
}

#[test]
fn a_thread_for_each_request_is_observed_no_more_often_than_others() {
    for _ in 0..1500 {
        std::thread::spawn(short).join().expect("it ends");
    }
    let (_, stats) = observed("short");
    assert_eq!(stats.iterations, 1500);
    assert!((64..400).contains(&stats.observed), "{}", stats.observed);
}

#[track_memory(name = "short", request)]
fn short() {
    drop(block(1400));
}

#[test]
fn threads_that_idle_in_a_window_keep_no_iteration_from_being_observed() {
    let (go_on, parked) = std::sync::mpsc::channel::<()>();
    let parked = std::sync::Mutex::new(parked);
    let begun = std::sync::Barrier::new(61);
    std::thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| {
                // Past where the first window opens.
                drop(block(1 << 20));
                drop(block(10));
                begun.wait();
                let _ = parked.lock().map(|parked| parked.recv());
            });
        }
        begun.wait();
        let _all = ObserveAll::enter();
        for _ in iterations!("beside idle threads", 0..40) {
            drop(block(1500));
        }
        drop(go_on);
    });
    let (_, stats) = observed("beside idle threads");
    assert_eq!((stats.observed, site(&stats, 1500).confined), (40, 40));
}
