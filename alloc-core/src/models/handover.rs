//! Observed iterations that wait between polls: handed from thread to thread, and taken away for other calls, since there are fewer
//! observations than calls. Each is one call's at a time, so what it says is what one call did.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::checker::{interleavings, thread as boxed};
use super::{Fault, Part, allocate, alone, count, free};
use crate::record::observe::{self, ObserveAll};
use crate::record::poll::{CallState, enter_poll};
use crate::record::scope::ScopeSite;
use crate::record::thread;

static REQUEST: ScopeSite = ScopeSite::request("polled", "model.rs", 1);
const SIZE: usize = 100;
const CALLS: usize = 4;
/// Each allocates a block and frees it.
const POLLS: u64 = 3;

/// Calls between two polls and how many they have had, for whichever thread is next. No thread is interrupted while it holds the lock.
static CALLS_WAITING: Mutex<VecDeque<(CallState, u64)>> = Mutex::new(VecDeque::new());

fn waiting<R>(change: impl FnOnce(&mut VecDeque<(CallState, u64)>) -> R) -> R {
    change(&mut CALLS_WAITING.lock().unwrap_or_else(PoisonError::into_inner))
}

fn poll(times: usize) {
    let all = ObserveAll::enter();
    for _ in 0..times {
        let Some((mut call, polls)) = waiting(VecDeque::pop_front) else {
            break;
        };
        let mut guard = enter_poll(&REQUEST, &mut call);
        free(allocate(SIZE), SIZE);
        let is_last = polls + 1 == POLLS;
        if is_last {
            guard.is_last();
        }
        drop(guard);
        if !is_last {
            waiting(|calls| calls.push_back((call, polls + 1)));
        }
    }
    drop(all);
}

fn handed_over(fault: Fault, count: usize) {
    let _alone = alone();
    let polled = |times| {
        boxed(move || {
            poll(times);
            thread::end_current();
        })
    };
    interleavings(
        fault,
        count,
        move || {
            waiting(|calls| {
                calls.clear();
                calls.extend((0..CALLS).map(|_| (CallState::NEW, 0)));
            });
            vec![polled(4), polled(4), polled(4)]
        },
        || {
            poll(CALLS * POLLS as usize);
            assert!(waiting(|calls| calls.is_empty()));
            let mut present = 0;
            for row in observe::rows().filter(|row| row.node() != 0) {
                assert_eq!(
                    row.allocations.get(),
                    row.present.get() * POLLS,
                    "wrong: an observation says what two calls did, or a part of one"
                );
                present += row.present.get();
            }
            assert!(
                (1..=CALLS as u64).contains(&present),
                "wrong: {present} calls were observed"
            );
        },
    );
}

#[test]
fn an_observation_is_one_calls_at_a_time() {
    handed_over(Fault::None, count(200));
}

#[test]
// Wrong figures, or a list of observations without an end.
#[should_panic]
fn observations_lent_in_two_steps_are_found_out() {
    let (start, bytes) = observe::memory();
    handed_over(Fault::TornIn(Part(start, bytes)), 4000);
}
