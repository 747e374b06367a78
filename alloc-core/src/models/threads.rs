//! Lives of threads against snapshots: they begin, record in scopes, free each other's blocks and end, while tables are read.
#![forbid(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::sync::LazyLock;

use super::checker::{Exchanges, all_executions, interleavings, thread as boxed};
use super::{Fault, allocate, alone, count, free};
use crate::control::{Reading, Sum, read_tables};
use crate::record::atomic::{AtomicU32, AtomicUsize, Ordering, spin_loop};
use crate::record::counters::Row;
use crate::record::enter::enter;
use crate::record::scope::ScopeSite;
use crate::record::thread;

static OUTER: ScopeSite = ScopeSite::new("outer", "model.rs", 1);
static INNER: ScopeSite = ScopeSite::request("inner", "model.rs", 2);
/// A block on its way from one thread to another.
static POST: AtomicUsize = AtomicUsize::new(0);
const SIZE: usize = 100;

/// Sums over all contexts: allocations, bytes granted, frees, bytes released.
fn totals(reading: &Reading) -> [u64; 4] {
    reading.sums.iter().fold([0; 4], |[a, b, c, d], sum| {
        [
            a + sum.allocations,
            b + sum.granted_bytes,
            c + sum.frees,
            d + sum.released_bytes,
        ]
    })
}

/// No context holds less than nothing.
fn check(reading: &Reading) {
    let signed = |sum: &Sum| {
        let blocks = (sum.allocations + sum.reallocations).wrapping_sub(sum.frees + sum.handed_over) as i64;
        (blocks, sum.granted_bytes.wrapping_sub(sum.released_bytes) as i64)
    };
    for sum in &reading.sums {
        let (blocks, bytes) = signed(sum);
        assert!(
            blocks >= 0 && bytes >= 0,
            "wrong: less than nothing is alive: {blocks} blocks, {bytes} bytes"
        );
    }
}

/// What was recorded before the model began: totals and peak.
fn before() -> ([u64; 4], u64) {
    let reading = read_tables();
    (totals(&reading), reading.peak_bytes)
}

/// Allocates in a scope, leaves the block for another thread and frees what was left for it.
fn live<const N: usize>(scopes: [&'static ScopeSite; N]) {
    for scope in scopes {
        let guard = enter(scope);
        let other = POST.swap(allocate(SIZE), Ordering::AcqRel);
        if other != 0 {
            free(other, SIZE);
        }
        drop(guard);
    }
    thread::end_current();
}

fn read_twice() {
    let first = read_tables();
    check(&first);
    let second = read_tables();
    check(&second);
    let grown = totals(&first)
        .iter()
        .zip(totals(&second))
        .all(|(first, second)| *first <= second);
    assert!(grown, "wrong: totals went back");
}

/// Every event of so many allocations was counted, once.
fn all_is_counted((before, peak): ([u64; 4], u64), allocations: u64) {
    let last = POST.load(Ordering::Acquire);
    if last != 0 {
        free(last, SIZE);
    }
    let reading = read_tables();
    check(&reading);
    let bytes = allocations * SIZE as u64;
    let expected: Vec<u64> = before
        .iter()
        .zip([allocations, bytes, allocations, bytes])
        .map(|(a, b)| a + b)
        .collect();
    assert_eq!(
        totals(&reading).as_slice(),
        expected.as_slice(),
        "wrong: events were lost or counted twice"
    );
    assert!(
        (SIZE as u64..=peak + bytes).contains(&reading.peak_bytes) || allocations == 0,
        "wrong: peak {}",
        reading.peak_bytes
    );
    for node in &reading.nodes {
        assert!(
            node.peak_bytes <= peak + bytes,
            "wrong: a scope held more than there was"
        );
        assert_eq!(node.calls.upper_bound_calls, 0);
    }
    let calls: Vec<_> = reading
        .nodes
        .iter()
        .filter(|node| node.name == "inner" || node.name == "outer")
        .collect();
    assert_eq!(
        calls.iter().map(|node| node.calls.completed).sum::<u64>(),
        allocations,
        "wrong: calls were lost"
    );
}

fn lives(fault: Fault, count: usize) {
    let _alone = alone();
    let before = before();
    interleavings(
        fault,
        count,
        || {
            vec![
                boxed(|| live([&OUTER, &INNER])),
                boxed(|| live([&INNER, &INNER])),
                boxed(read_twice),
                boxed(|| live([&INNER])),
            ]
        },
        move || all_is_counted(before, 5),
    );
}

#[test]
fn events_of_threads_that_come_and_go_are_counted_once() {
    lives(Fault::None, count(200));
}

#[test]
#[ignore = "run by `tables_changed_in_two_steps_are_found_out`, in a process of its own"]
fn tables_changed_in_two_steps() {
    lives(Fault::Torn, 2000);
}

/// Wrong figures, a lock that is never free again, or, when two threads have one state, anything: so not in this process.
#[test]
fn tables_changed_in_two_steps_are_found_out() {
    let program = std::env::current_exe().expect("a test knows its program");
    let output = std::process::Command::new(program)
        .args([
            "--exact",
            "models::threads::tables_changed_in_two_steps",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .expect("the program starts");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "not found out");
    // By a signal when "anything" was a crash.
    let is_crash = output.status.signal().is_some();
    assert!(is_crash || messages.contains("panicked"), "{messages}");
}

pub(super) static STAGE: AtomicU32 = AtomicU32::new(0);

pub(super) fn wait_for(stage: u32) {
    while STAGE.load(Ordering::Acquire) < stage {
        spin_loop();
    }
}

/// The registry is held from stage 1 on, on which a thread can end; it is asked to fold at stage 2.
pub(super) fn fold_when_one_has_ended() {
    let registry = thread::Registry::lock();
    STAGE.store(1, Ordering::Release);
    wait_for(2);
    registry.fold_ended();
}

/// Whoever folds a state leaves it to others at the same time.
pub(super) const UNCLAIMED: Fault = Fault::Unclaimed {
    from: thread::ENDED as u64,
    to: thread::FOLDED as u64,
};

/// A thread has ended while another one held the registry, which now folds its state, while a third begins and may go on with it as it is.
fn folded_or_taken_over(fault: Fault, count: usize) -> Exchanges {
    let _alone = alone();
    let before = before();
    interleavings(
        fault,
        count,
        || {
            vec![
                boxed(fold_when_one_has_ended),
                boxed(|| {
                    wait_for(1);
                    live([&OUTER]);
                    STAGE.store(2, Ordering::Release);
                }),
                boxed(|| {
                    wait_for(2);
                    live([&INNER, &INNER]);
                }),
            ]
        },
        move || all_is_counted(before, 3),
    )
}

#[test]
fn an_ended_state_is_folded_or_taken_over() {
    let exchanges = folded_or_taken_over(Fault::None, count(200));
    for (to, what) in [(thread::FOLDED, "folded"), (thread::LIVE, "taken over as they were")] {
        let change = (thread::ENDED.into(), to.into());
        let times = exchanges.get(&change).copied().unwrap_or(0);
        println!("ended states {what}: {times}");
        assert!(times > 50, "{times} ended states were {what}");
    }
}

#[test]
#[should_panic(expected = "wrong")]
fn folding_a_state_that_was_not_claimed_is_found_out() {
    folded_or_taken_over(UNCLAIMED, 2000);
}

/// One thread grants large blocks, one at a time, and another frees them, while a third asks what the peak was.
#[test]
fn two_blocks_after_each_other_are_no_peak_of_both() {
    const LARGE: usize = 1 << 20;
    let _alone = alone();
    let (_, peak) = before();
    interleavings(
        Fault::None,
        count(200),
        move || {
            vec![
                boxed(|| {
                    for _ in 0..2 {
                        POST.store(allocate(LARGE), Ordering::Release);
                        while POST.load(Ordering::Acquire) != 0 {
                            spin_loop();
                        }
                    }
                }),
                boxed(|| {
                    for _ in 0..2 {
                        while POST.load(Ordering::Acquire) == 0 {
                            spin_loop();
                        }
                        free(POST.load(Ordering::Acquire), LARGE);
                        POST.store(0, Ordering::Release);
                    }
                    thread::end_current();
                }),
                boxed(move || {
                    for _ in 0..2 {
                        let seen = read_tables().peak_bytes;
                        assert!(seen <= peak + LARGE as u64, "wrong: peak {seen}");
                    }
                }),
            ]
        },
        || {},
    );
}

static ROWS: LazyLock<[Row; 2]> = LazyLock::new(Default::default);

/// One thread grants a block and gives it to another, which frees it, while a third adds up their rows. All executions on weak memory.
fn handed_over(fault: Fault) {
    let _alone = alone();
    LazyLock::force(&ROWS);
    all_executions(
        fault,
        3,
        || {
            vec![
                boxed(|| {
                    ROWS[0].granted_bytes.add(9);
                    POST.store(1, Ordering::Release);
                }),
                boxed(|| {
                    if POST.load(Ordering::Acquire) == 1 {
                        ROWS[1].released_bytes.add(9);
                    }
                }),
                boxed(|| {
                    let mut sum = Sum::default();
                    ROWS.iter().for_each(|row| sum.add_free_side(row));
                    ROWS.iter().for_each(|row| sum.add_allocation_side(row));
                    assert!(
                        sum.granted_bytes >= sum.released_bytes,
                        "wrong: less than nothing is alive"
                    );
                }),
            ]
        },
        || {},
    );
}

#[test]
fn a_free_is_never_seen_before_its_allocation() {
    handed_over(Fault::None);
}

#[test]
#[should_panic(expected = "wrong")]
fn counters_without_orderings_are_found_out() {
    handed_over(Fault::Unordered);
}

/// A call ends while another thread frees what it has allocated, and a snapshot ends an epoch.
fn calls(fault: Fault, count: usize) {
    let _alone = alone();
    interleavings(
        fault,
        count,
        || {
            vec![
                boxed(|| {
                    let outer = enter(&OUTER);
                    let inner = enter(&INNER);
                    POST.store(allocate(SIZE), Ordering::Release);
                    STAGE.store(1, Ordering::Release);
                    let kept = allocate(7);
                    drop(inner);
                    drop(outer);
                    free(kept, 7);
                    thread::end_current();
                }),
                boxed(|| {
                    wait_for(1);
                    free(POST.swap(0, Ordering::AcqRel), SIZE);
                    thread::end_current();
                }),
                boxed(|| check(&read_tables())),
            ]
        },
        || {
            let reading = read_tables();
            check(&reading);
            let retained = |name: &str| {
                let node = reading.nodes.iter().find(|node| node.name == name).unwrap();
                assert_eq!((node.calls.completed, node.calls.upper_bound_calls), (1, 0));
                node.calls.retained_bytes
            };
            let (inner, outer) = (retained("inner"), retained("outer"));
            assert!(
                [7, 107].contains(&inner) && [7, 107].contains(&outer),
                "wrong: {inner} and {outer} bytes retained"
            );
            assert!(outer <= inner, "wrong: what was freed is alive again");
        },
    );
}

#[test]
fn a_call_that_ends_knows_what_others_freed() {
    calls(Fault::None, count(200));
}

/// Two threads free at once what a call of a third has allocated; then the call ends.
fn freed_by_two(fault: Fault, count: usize) {
    static BLOCKS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    static FREED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let free_one = |place: usize| {
        wait_for(1);
        free(BLOCKS[place].load(Ordering::Acquire), SIZE);
        FREED[place].store(1, Ordering::Release);
    };
    let _alone = alone();
    interleavings(
        fault,
        count,
        move || {
            vec![
                boxed(|| {
                    let inner = enter(&INNER);
                    for block in &BLOCKS {
                        block.store(allocate(SIZE), Ordering::Release);
                    }
                    STAGE.store(1, Ordering::Release);
                    while FREED.iter().any(|freed| freed.load(Ordering::Acquire) == 0) {
                        spin_loop();
                    }
                    drop(inner);
                }),
                boxed(move || free_one(0)),
                boxed(move || free_one(1)),
            ]
        },
        || {
            let reading = read_tables();
            let node = reading.nodes.iter().find(|node| node.name == "inner").unwrap();
            assert_eq!(node.calls.retained_bytes, 0, "wrong: what was freed is alive");
        },
    );
}

#[test]
fn a_call_whose_blocks_two_others_freed_retains_nothing() {
    freed_by_two(Fault::None, count(200));
}

#[test]
// Wrong figures, or a lock that is never free again.
#[should_panic]
fn tallies_changed_in_two_steps_are_found_out() {
    freed_by_two(Fault::Torn, 2000);
}
