//! The workloads over `tracking-allocator`: a tracker that counts blocks and bytes of its group, as its documentation suggests.

use std::alloc::System;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use allocscope_benches::child::{self, Counted};
use tracking_allocator::{AllocationGroupId, AllocationGroupToken, AllocationRegistry, AllocationTracker, Allocator};

#[global_allocator]
static ALLOC: Allocator<System> = Allocator::system();

static BLOCKS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);

struct Counting;

impl AllocationTracker for Counting {
    fn allocated(&self, _: usize, size: usize, _: usize, _: AllocationGroupId) {
        BLOCKS.fetch_add(1, Relaxed);
        LIVE.fetch_add(size as u64, Relaxed);
    }

    fn deallocated(&self, _: usize, size: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {
        LIVE.fetch_sub(size as u64, Relaxed);
    }
}

fn main() {
    AllocationRegistry::set_global_tracker(Counting).expect("it is the first");
    AllocationRegistry::enable_tracking();
    let around = |pass: &mut dyn FnMut()| {
        thread_local! {
            static TOKEN: std::cell::RefCell<AllocationGroupToken> =
                std::cell::RefCell::new(AllocationGroupToken::register().expect("there is room for a group"));
        }
        TOKEN.with_borrow_mut(|token| {
            let _guard = token.enter();
            pass();
        });
    };
    child::main_around(around, || Some(Counted::blocks(BLOCKS.load(Relaxed))));
}
