//! The index and the table of contexts: what is found is complete, and nobody uses an id that names nothing.

use super::checker::{all_executions, interleavings, thread};
use super::{Fault, alone};
use crate::ids::ContextId;
use crate::record::arena;
use crate::record::atomic::{AtomicU32, Ordering};
use crate::record::context;
use crate::record::index::{Index, Lazy, Place};

static INDEX: Index = Index::new();
/// What the ids of `INDEX` name.
static NAMED: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];

fn named(id: u32) -> u32 {
    NAMED[id as usize].load(Ordering::Relaxed)
}

/// Looks for `key`, and puts `id` in if it is not there; what is there afterwards must be complete.
fn find_or_insert(hash: u64, key: u32, id: u32) {
    let is_equal = |id| {
        assert_ne!(named(id), 0, "wrong: an id was seen before what it names");
        named(id) == key
    };
    let found = INDEX.find(hash, is_equal).or_else(|| {
        NAMED[id as usize].store(key, Ordering::Relaxed);
        match INDEX.insert(hash, id, is_equal) {
            Place::Inserted => Some(id),
            Place::Found(other) => Some(other),
            Place::Full => None,
        }
    });
    assert_eq!(found.map(named), Some(key), "wrong: another key");
}

fn index_is_complete(fault: Fault) {
    let _alone = alone();
    // Two keys with one hash, and one of them from two threads.
    let hash = 5 << 40;
    all_executions(
        fault,
        3,
        move || {
            vec![
                thread(move || find_or_insert(hash, 10, 1)),
                thread(move || {
                    find_or_insert(hash, 10, 2);
                    find_or_insert(hash, 20, 3);
                }),
            ]
        },
        move || {
            for key in [10, 20] {
                assert!(
                    INDEX.find(hash, |id| named(id) == key).is_some(),
                    "wrong: a key was lost"
                );
            }
        },
    );
}

#[test]
fn what_the_index_finds_is_complete() {
    index_is_complete(Fault::None);
}

#[test]
#[should_panic(expected = "wrong")]
fn an_index_without_orderings_is_found_out() {
    index_is_complete(Fault::Unordered);
}

#[test]
#[should_panic(expected = "wrong")]
fn an_index_that_inserts_in_two_steps_is_found_out() {
    index_is_complete(Fault::Torn);
}

static TABLE: Lazy<AtomicU32> = Lazy::new();
static SEEN: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

fn lazy_is_one(fault: Fault) {
    let _alone = alone();
    let make = |number: usize| {
        // SAFETY: zero is a valid AtomicU32.
        let table = unsafe { TABLE.get_or_make(1) }.unwrap();
        SEEN[number].store(arena::place_of(table.cast()), Ordering::Relaxed);
    };
    all_executions(
        fault,
        3,
        move || vec![thread(move || make(0)), thread(move || make(1))],
        || {
            let [first, second] = [0, 1].map(|number: usize| SEEN[number].load(Ordering::Relaxed));
            assert_eq!(first, second, "wrong: two tables");
        },
    );
}

#[test]
fn a_lazy_table_is_the_same_for_all() {
    lazy_is_one(Fault::None);
}

#[test]
#[should_panic(expected = "wrong")]
fn a_lazy_table_made_in_two_steps_is_found_out() {
    lazy_is_one(Fault::Torn);
}

static GIVEN: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

/// Interns a stack and keeps the id that came out.
fn intern(place: usize, hash: u64) {
    let frames = [0x1000 + hash as usize, 0x2000];
    let context = context::intern(1, hash, 0, frames.len(), frames.into_iter()).unwrap();
    let info = context::info(context).unwrap();
    assert_eq!(info.node(), 1, "wrong: a context without its node");
    assert!(
        info.frames().iter().map(|frame| frame.address()).eq(frames),
        "wrong: a context with the frames of another"
    );
    GIVEN[place].store(context.0, Ordering::Release);
}

/// Every id that can be seen names nothing yet, or is complete.
fn read_contexts() {
    for id in 1..context::count() {
        if let Some(info) = context::info(ContextId(id))
            && info.node() != 0
        {
            let frames: Vec<usize> = info.frames().iter().map(|frame| frame.address()).collect();
            assert!(
                frames.is_empty() || frames[1] == 0x2000,
                "wrong: a context with half of its frames"
            );
        }
    }
}

fn given(place: usize) -> u32 {
    GIVEN[place].load(Ordering::Relaxed)
}

fn contexts_are_complete(fault: Fault) {
    let _alone = alone();
    all_executions(
        fault,
        2,
        || vec![thread(|| intern(0, 77)), thread(|| intern(1, 77))],
        read_contexts,
    );
}

#[test]
fn a_context_made_by_two_threads_is_complete_for_both() {
    contexts_are_complete(Fault::None);
}

#[test]
#[should_panic(expected = "wrong")]
fn a_context_published_without_orderings_is_found_out() {
    contexts_are_complete(Fault::Unordered);
}

fn stacks_are_told_apart(fault: Fault, count: usize) {
    let _alone = alone();
    interleavings(
        fault,
        count,
        || {
            vec![
                thread(|| {
                    intern(0, 501);
                    intern(2, 502);
                }),
                thread(|| {
                    intern(3, 502);
                    intern(1, 501);
                }),
                thread(read_contexts),
            ]
        },
        || {
            let frames = |id: u32| context::info(ContextId(id)).unwrap().frames();
            let is_equal = |id: u32, other: u32| frames(id).iter().eq(frames(other).iter());
            assert_ne!(given(0), given(2), "wrong: one id for two stacks");
            assert!(!is_equal(given(0), given(2)), "wrong: the frames of another");
            assert_ne!(given(1), given(3), "wrong: one id for two stacks");
        },
    );
}

#[test]
fn stacks_that_threads_meet_at_once_are_told_apart() {
    stacks_are_told_apart(Fault::None, super::count(1000));
}

#[test]
#[should_panic(expected = "wrong")]
fn ids_that_are_reserved_in_two_steps_are_found_out() {
    stacks_are_told_apart(Fault::Torn, 4000);
}
