//! A signal handler interrupts a thread at each of its accesses, one after the other, allocates and enters a scope of its own. What the thread does
//! has its own figures then, give or take those of the handler, and what it does afterwards exactly its own.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::checker::PlainMemory;
use super::{allocate, alone, free};
use crate::control::{Reading, read_tables};
use crate::record::atomic::model::{self, Access, Model};
use crate::record::enter::enter;
use crate::record::poll::{CallState, enter_poll};
use crate::record::scope::ScopeSite;
use crate::record::thread::{self, ThreadState};

/// Plain memory, in which the thread is interrupted after so many accesses.
struct Memory {
    values: PlainMemory,
    left: Cell<usize>,
    handler: Cell<Option<fn()>>,
    /// Planted: the handler does not see that the thread is occupied.
    is_blind: bool,
    /// What it does not see: the address of an atomic.
    unseen: Cell<usize>,
}

impl Memory {
    fn count(&self) {
        match self.left.get() {
            // Taken: it is not interrupted itself.
            0 => {
                if let Some(handler) = self.handler.take() {
                    let occupied = thread::current().map_or(0, ThreadState::occupied_address);
                    self.unseen.set(if self.is_blind { occupied } else { 0 });
                    handler();
                    self.unseen.set(0);
                }
            }
            left => self.left.set(left - 1),
        }
    }
}

impl Model for Memory {
    fn access(&self, address: usize, initial: u64, access: Access) -> u64 {
        self.count();
        let before = self.values.access(address, initial, access, true);
        if address == self.unseen.get() { 0 } else { before }
    }
    fn fence(&self, _: Ordering) {}
    fn zero_bytes(&self, start: usize, bytes: usize) {
        self.values.zero_bytes(start, bytes);
    }
    fn pause(&self) {}
    fn thread(&self) -> usize {
        1
    }
}

const NAMES: [&str; 3] = [
    "interrupted outside",
    "interrupted inside",
    "interrupted while it waits",
];
static OUTER: ScopeSite = ScopeSite::new(NAMES[0], "model.rs", 1);
static INNER: ScopeSite = ScopeSite::new(NAMES[1], "model.rs", 2);
static WAITS: ScopeSite = ScopeSite::new(NAMES[2], "model.rs", 3);
static HANDLER: ScopeSite = ScopeSite::new("handler", "model.rs", 4);
/// What a handler grants.
const HANDLED: u64 = 1000;

fn handle() {
    let guard = enter(&HANDLER);
    free(allocate(HANDLED as usize), HANDLED as usize);
    drop(guard);
}

fn only_allocate() {
    free(allocate(HANDLED as usize), HANDLED as usize);
}

/// Calls with and without events, inside each other and of one scope, and an async one that waits twice.
fn work() {
    let outer = enter(&OUTER);
    let held = allocate(100);
    for _ in 0..2 {
        let inner = enter(&INNER);
        free(allocate(10), 10);
        drop(inner);
        drop(enter(&INNER));
    }
    let part = enter(&OUTER);
    free(allocate(20), 20);
    drop(part);
    free(held, 100);
    drop(outer);

    let mut call = CallState::NEW;
    let poll = enter_poll(&WAITS, &mut call);
    let held = allocate(50);
    drop(poll);
    drop(enter_poll(&WAITS, &mut call));
    let mut poll = enter_poll(&WAITS, &mut call);
    free(allocate(500), 500);
    free(held, 50);
    poll.is_last();
    drop(poll);
}

/// Of each call's scope: calls, allocations, bytes, peaks, what they retained, and how many figures are upper bounds.
fn calls(reading: &Reading) -> Vec<[u64; 6]> {
    let named = |name| reading.nodes.iter().find(|node| node.name == name);
    NAMES
        .iter()
        .map(|&name| {
            named(name).map_or([0; 6], |node| {
                let calls = node.calls;
                [
                    calls.completed,
                    calls.allocations,
                    calls.bytes,
                    calls.sum_peak_bytes,
                    calls.retained_bytes,
                    calls.upper_bound_calls,
                ]
            })
        })
        .collect()
}

/// Blocks and bytes that are alive.
fn live(reading: &Reading) -> (u64, u64) {
    reading.sums.iter().fold((0, 0), |(blocks, bytes), sum| {
        (
            blocks.wrapping_add(sum.allocations).wrapping_sub(sum.frees),
            bytes.wrapping_add(sum.granted_bytes).wrapping_sub(sum.released_bytes),
        )
    })
}

fn more(before: &[[u64; 6]], after: &[[u64; 6]]) -> Vec<[u64; 6]> {
    let rows = before.iter().zip(after);
    rows.map(|(before, after)| std::array::from_fn(|figure| after[figure].wrapping_sub(before[figure])))
        .collect()
}

/// Interrupts `work` by `handler` at its n-th access, for every n; says how many there are.
fn interrupt_everywhere(handler: fn(), is_blind: bool) -> usize {
    let _alone = alone();
    let at_rest = live(&read_tables());
    let memory: &'static Memory = Box::leak(Box::new(Memory {
        values: PlainMemory::default(),
        left: Cell::new(0),
        handler: Cell::new(None),
        is_blind,
        unseen: Cell::new(0),
    }));
    let run = |accesses| {
        memory.values.clear();
        memory.left.set(accesses);
        memory.handler.set(Some(handler));
        model::run(memory, || {
            work();
            let is_over = memory.handler.take().is_some();
            let interrupted = read_tables();
            work();
            let after = read_tables();
            assert_eq!(
                (live(&interrupted), live(&after)),
                (at_rest, at_rest),
                "at access {accesses}"
            );
            let first = calls(&interrupted);
            let second = more(&first, &calls(&after));
            (is_over, first, second)
        })
    };
    let (_, expected, again) = run(usize::MAX);
    assert_eq!(expected, again, "a run is like the other");
    for accesses in 0.. {
        let (is_over, first, second) = run(accesses);
        for (first, expected) in first.iter().zip(&expected) {
            let [completed, allocations, bytes, peaks, retained, upper_bounds] = *first;
            assert_eq!(
                [completed, retained, upper_bounds],
                [expected[0], 0, 0],
                "wrong at access {accesses}: {first:?} instead of {expected:?}"
            );
            // The handler may be a part of the call, and of those inside and around.
            for (figure, expected, most) in [
                (allocations, expected[1], 1),
                (bytes, expected[2], HANDLED),
                (peaks, expected[3], HANDLED),
            ] {
                assert!(
                    (expected..=expected + most).contains(&figure),
                    "wrong at access {accesses}: {first:?}"
                );
            }
        }
        assert_eq!(second, expected, "wrong after access {accesses}");
        if is_over {
            return accesses;
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_handler_that_enters_scopes_harms_no_figure() {
    let accesses = interrupt_everywhere(handle, false);
    assert!(accesses > 500, "only {accesses} accesses");
    println!("a thread was interrupted at each of {accesses} accesses");
}

#[test]
fn a_handler_that_allocates_harms_no_figure() {
    interrupt_everywhere(only_allocate, false);
}

#[test]
#[should_panic(expected = "access")]
fn calls_that_are_not_left_as_one_event_are_found_out() {
    interrupt_everywhere(handle, true);
}

#[test]
#[should_panic(expected = "access")]
fn calls_that_are_not_entered_as_one_event_are_found_out() {
    interrupt_everywhere(only_allocate, true);
}
