//! How blocks grew: threads grow their own blocks and each other's, and end, while another thread reads.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU64;

use super::checker::{interleavings, thread as boxed};
use super::threads::{STAGE, UNCLAIMED, fold_when_one_has_ended, wait_for};
use super::{Fault, allocate, alone, count, free, resize};
use crate::control::{Reading, read_tables};
use crate::record::atomic::{AtomicUsize, Ordering};
use crate::record::enter::enter;
use crate::record::scope::ScopeSite;
use crate::record::thread;

static FIRST: ScopeSite = ScopeSite::new("grows first", "model.rs", 1);
static SECOND: ScopeSite = ScopeSite::new("grows second", "model.rs", 2);
/// A block that has grown once, on its way from one thread to another.
static POST: AtomicUsize = AtomicUsize::new(0);
/// Blocks that have begun to grow to `LARGE`; no part of the model.
static BEGUN: AtomicU64 = AtomicU64::new(0);
const SMALL: usize = 16;
const MIDDLE: usize = 100;
const LARGE: usize = 400;

/// Grows a block, leaves it for another thread and grows what was left for it.
fn live<const N: usize>(scopes: [&'static ScopeSite; N]) {
    for scope in scopes {
        let guard = enter(scope);
        let block = resize(allocate(SMALL), SMALL, MIDDLE);
        let other = POST.swap(block, Ordering::AcqRel);
        if other != 0 {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            free(resize(other, MIDDLE, LARGE), LARGE);
        }
        drop(guard);
    }
    thread::end_current();
}

/// Blocks that grew to the size and no further.
fn ended(reading: &Reading, size: usize) -> u64 {
    let classes = reading.growth.all().flat_map(|growth| &growth.ended);
    classes
        .filter(|class| class.bytes == size as u64)
        .map(|class| class.blocks)
        .sum()
}

fn growing(fault: Fault, count: usize) {
    let _alone = alone();
    interleavings(
        fault,
        count,
        || {
            BEGUN.store(0, Ordering::Relaxed);
            vec![
                boxed(|| {
                    fold_when_one_has_ended();
                    let seen = ended(&read_tables(), LARGE);
                    assert!(
                        seen <= BEGUN.load(Ordering::Relaxed),
                        "wrong: blocks that grew were seen twice"
                    );
                }),
                boxed(|| {
                    wait_for(1);
                    live([&FIRST]);
                    STAGE.store(2, Ordering::Release);
                }),
                boxed(|| {
                    wait_for(2);
                    live([&FIRST, &SECOND]);
                }),
                boxed(|| live([&SECOND])),
            ]
        },
        || {
            let last = POST.swap(0, Ordering::AcqRel);
            free(last, MIDDLE);
            let reading = read_tables();
            let grown = [MIDDLE, LARGE].map(|size| ended(&reading, size));
            assert_eq!(grown, [1, 3], "wrong: blocks that grew were lost or counted twice");
        },
    );
}

#[test]
fn every_block_that_grew_has_one_last_size() {
    growing(Fault::None, count(200));
}

#[test]
#[should_panic(expected = "wrong")]
fn growth_folded_from_a_state_that_was_not_claimed_is_found_out() {
    growing(UNCLAIMED, 2000);
}
