//! Coroutines with stacks of their own: allocations on them are counted exactly, with one address and a mark instead of a stack; those
//! dropped half-way unwind; scopes may be open while they are suspended, and the figures still add up.

use std::hint::black_box;

use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_hard::{allocate_deep, growth, in_this_mode, times};
use allocscope_tests::{check_sums, nodes, snapshot};
use corosensei::{Coroutine, CoroutineResult};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

type Generator = Coroutine<usize, Vec<u8>, usize>;

/// Yields `turns` blocks, and allocates below itself before each.
fn generator(turns: usize) -> Generator {
    Coroutine::new(move |yielder, mut size: usize| {
        let held = black_box(vec![1_u8; 11]);
        for _ in 0..turns {
            let block = {
                let _scope = scope!("on the coroutine");
                allocate_deep(2);
                black_box(vec![1_u8; size])
            };
            size = yielder.suspend(block);
        }
        held.len()
    })
}

fn counted_exactly(coroutines: usize) {
    const TURNS: usize = 10;
    let mut all: Vec<Generator> = (0..coroutines).map(|_| generator(TURNS)).collect();
    let mut blocks = Vec::with_capacity(coroutines * TURNS);
    let before = snapshot();
    for turn in 0..TURNS {
        for coroutine in &mut all {
            // Half of the calls come from a scope, half from none.
            let _scope = (turn % 2 == 0).then(|| scope!("resumes"));
            match coroutine.resume(turn + 1) {
                CoroutineResult::Yield(block) => blocks.push(block),
                CoroutineResult::Return(_) => unreachable!("it has more turns"),
            }
        }
    }
    let after = snapshot();
    check_sums(&after);
    let (count, turns) = (coroutines as i64, TURNS as i64);
    let kept = count * turns * (turns + 1) / 2 + 11 * count;
    let deep = 30 * count * turns;
    let blocks_kept = count * turns + count;
    let requests = count + 3 * count * turns;
    let expected = [requests, 0, 2 * count * turns, kept + deep, deep, blocks_kept, kept];
    assert_eq!(growth(&before, &after), in_this_mode(expected));
    if alloc_core::mode() == Mode::Exact {
        assert!(
            after.tracker.foreign_stacks > 0,
            "these stacks are not the thread's own"
        );
    }
    // Half of them are dropped where they are: their stacks unwind.
    all.truncate(coroutines / 2);
    for coroutine in &mut all {
        assert!(matches!(coroutine.resume(1), CoroutineResult::Return(11)));
    }
    blocks.clear();
    let last = snapshot();
    check_sums(&last);
    let freed = growth(&after, &last);
    assert_eq!(
        freed[6],
        in_this_mode([0, 0, 0, 0, 0, 0, -kept])[6],
        "all that they held is freed"
    );
}

/// LIMIT of scopes: they follow the thread's stack, so of coroutines that are suspended inside a scope the scopes may be left early.
/// Nothing is lost but the attribution.
fn suspended_inside_a_scope() {
    let make = |name: bool| {
        Coroutine::new(move |yielder, (): ()| {
            for turn in 0..50 {
                let _scope = if name { scope!("one") } else { scope!("other") };
                let held = black_box(vec![1_u8; turn + 1]);
                yielder.suspend(());
                drop(held);
                drop(black_box(vec![1_u8; 5]));
            }
        })
    };
    let before = snapshot();
    let mut all: Vec<Coroutine<(), (), ()>> = (0..6).map(|index| make(index % 2 == 0)).collect();
    let mut random = allocscope_tests::Rng::new(7);
    while !all.is_empty() {
        let index = random.below(all.len());
        let _scope = random.chance(50).then(|| scope!("scheduler"));
        if let CoroutineResult::Return(()) = all[index].resume(()) {
            drop(all.swap_remove(index));
        }
    }
    drop(all);
    let after = snapshot();
    check_sums(&after);
    assert_eq!(growth(&before, &after)[5..], [0, 0], "nothing is left");
    if alloc_core::mode() != Mode::Off {
        let entered: u64 = ["one", "other"]
            .iter()
            .flat_map(|name| nodes(&after, name))
            .map(|node| node.calls.entered)
            .sum();
        assert_eq!(entered, 300, "every entry is counted");
        // A thread that went through this is in no scope any more.
        let here = snapshot();
        drop(black_box(vec![1_u8; 77]));
        let there = snapshot();
        let own = |snapshot: &alloc_core::Snapshot| snapshot.scopes[0].own.total_bytes;
        assert_eq!(own(&there) - own(&here), 77, "the thread is back outside all scopes");
    }
}

/// A coroutine that goes from thread to thread, in no scope while it is suspended.
fn from_thread_to_thread(turns: usize) {
    // The crate's coroutines stay on their thread; what is moved here owns all that it touches, and no thread-local lives across.
    struct Moved(Generator);
    // SAFETY: the body keeps nothing of a thread across a suspension: blocks and numbers only.
    unsafe impl Send for Moved {}
    let before = snapshot();
    let mut moved = Moved(generator(turns));
    for _ in 0..turns {
        moved = std::thread::spawn(move || {
            let mut moved = moved;
            assert!(matches!({ &mut moved }.0.resume(50), CoroutineResult::Yield(block) if block.len() == 50));
            moved
        })
        .join()
        .expect("no panic");
    }
    drop(moved);
    let after = snapshot();
    check_sums(&after);
    assert_eq!(growth(&before, &after)[5..], [0, 0], "nothing is left");
}

fn main() {
    counted_exactly(times(50, 500));
    suspended_inside_a_scope();
    from_thread_to_thread(times(20, 1000));
}
