//! A thread vanishes at each of its accesses, one after the other, as in the child of a fork. Whatever was half done stays half done for
//! ever, and no other thread may wait for it.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use super::checker::PlainMemory;
use super::{allocate, alone, free};
use crate::control::read_tables;
use crate::record::atomic::model::{self, Access, Model};
use crate::record::enter::enter;
use crate::record::scope::ScopeSite;
use crate::record::{context, thread};

/// Accesses of a thread that would wait for ever.
const FOR_EVER: usize = 2_000_000;

struct Vanished;

/// Plain memory, in which the running thread has so many accesses left.
struct Memory {
    values: PlainMemory,
    thread: Cell<usize>,
    left: Cell<usize>,
    vanishes: Cell<bool>,
}

impl Memory {
    fn count(&self) -> bool {
        if self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            return true;
        }
        assert!(self.vanishes.get(), "a thread waits for one that does not exist");
        // What runs while the stack is unwound would not run in a child: it changes nothing.
        if !std::thread::panicking() {
            resume_unwind(Box::new(Vanished));
        }
        false
    }
}

impl Model for Memory {
    fn access(&self, address: usize, initial: u64, access: Access) -> u64 {
        let counts = self.count();
        self.values.access(address, initial, access, counts)
    }
    fn fence(&self, _: Ordering) {}
    fn zero_bytes(&self, start: usize, bytes: usize) {
        if self.count() {
            self.values.zero_bytes(start, bytes);
        }
    }
    fn pause(&self) {
        self.count();
    }
    fn thread(&self) -> usize {
        self.thread.get()
    }
}

static SCOPE: ScopeSite = ScopeSite::request("lost", "model.rs", 1);
static OTHER: ScopeSite = ScopeSite::new("other", "model.rs", 2);

fn intern(hash: u64) -> u32 {
    context::intern(1, hash, 0, 1, [0x5000].into_iter()).unwrap().0
}

/// All that waits for others anywhere: a new stack, a new scope, a thread's first event, its end, a snapshot.
fn everything() {
    // Not left by unwinding: that is no part of a child either, and would try for ever.
    let guard = ManuallyDrop::new(enter(&SCOPE));
    let block = allocate(64);
    assert_ne!(intern(900), 0);
    drop(ManuallyDrop::into_inner(guard));
    let guard = ManuallyDrop::new(enter(&OTHER));
    free(block, 64);
    drop(ManuallyDrop::into_inner(guard));
    free(allocate(32), 32);
    thread::end_current();
    let _ = read_tables();
}

/// One thread does `first` and vanishes at its n-th access, for every n; then the process forks and others do everything.
fn vanish_everywhere(first: fn()) -> usize {
    let _alone = alone();
    let memory: &'static Memory = Box::leak(Box::new(Memory {
        values: PlainMemory::default(),
        thread: Cell::new(1),
        left: Cell::new(0),
        vanishes: Cell::new(true),
    }));
    for accesses in 0.. {
        memory.values.clear();
        memory.thread.set(1);
        memory.left.set(accesses);
        memory.vanishes.set(true);
        let is_over = model::run(memory, || catch_unwind(AssertUnwindSafe(first))).map_err(|payload| {
            if !payload.is::<Vanished>() {
                resume_unwind(payload);
            }
        });
        memory.vanishes.set(false);
        memory.left.set(FOR_EVER);
        model::run(memory, || {
            memory.thread.set(2);
            thread::forked();
            everything();
            memory.thread.set(3);
            everything();
        });
        if is_over.is_ok() {
            return accesses;
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn nobody_waits_for_a_thread_that_is_lost() {
    let accesses = vanish_everywhere(everything);
    assert!(
        accesses > 500,
        "the thread has done next to nothing: {accesses} accesses"
    );
    println!("a thread was lost at each of {accesses} accesses");
}

#[test]
#[should_panic(expected = "a thread waits for one that does not exist")]
fn waiting_for_a_lost_thread_is_found_out() {
    static DONE: crate::record::atomic::AtomicU32 = crate::record::atomic::AtomicU32::new(0);
    fn wait_or_do() {
        if DONE.swap(1, Ordering::AcqRel) == 1 {
            while DONE.load(Ordering::Acquire) != 2 {
                crate::record::atomic::spin_loop();
            }
        }
        DONE.store(2, Ordering::Release);
    }
    let _alone = alone();
    let memory: &'static Memory = Box::leak(Box::new(Memory {
        values: PlainMemory::default(),
        thread: Cell::new(1),
        left: Cell::new(1),
        vanishes: Cell::new(true),
    }));
    assert!(model::run(memory, || catch_unwind(wait_or_do)).is_err());
    memory.vanishes.set(false);
    memory.left.set(1000);
    model::run(memory, wait_or_do);
}
