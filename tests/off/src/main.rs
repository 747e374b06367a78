//! A program that is built without the feature `tracking`: its marks leave no trace, its allocations are counted.
//!
//! Run by `tests/tracking_off.rs`; ends with an error when a mark did anything. Built together with packages that want the
//! feature it has the feature, and says so.
#![deny(warnings)]

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;

use alloc_core::{Snapshot, TrackingAllocator, observe_contents, scope, track_memory, tracked};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[track_memory(name = "sync", loops)]
fn sync(turns: usize) -> Vec<Vec<u8>> {
    let _scope = scope!("block");
    let mut all = Vec::with_capacity(turns);
    for n in 0..turns {
        all.push(black_box(Vec::with_capacity(n + 1)));
    }
    all
}

#[track_memory(request)]
async fn wait(big: [u64; 100]) -> u64 {
    std::future::ready(()).await;
    big.iter().sum()
}

async fn wait_plainly(big: [u64; 100]) -> u64 {
    std::future::ready(()).await;
    big.iter().sum()
}

struct Marked(RefCell<u32>);

#[track_memory]
impl Marked {
    fn add(&self) -> u32 {
        *self.0.borrow_mut() += 1;
        *self.0.borrow()
    }

    #[track_memory(skip)]
    const fn skipped() -> u32 {
        3
    }
}

fn main() -> ExitCode {
    let add = tracked!(|n: u32| n + Marked(RefCell::new(0)).add());
    let kept = sync(10);
    let _anonymous = scope!();
    observe_contents!(&kept);
    observe_contents!("kept", &kept);
    assert_eq!((add(1), kept.len(), Marked::skipped()), (2, 10, 3));
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let named: Vec<_> = snapshot
        .scopes
        .iter()
        .filter(|scope| !scope.file.is_empty())
        .map(|scope| &scope.name)
        .collect();
    let contents = &snapshot.contents;
    let sizes = (size_of_val(&wait([0; 100])), size_of_val(&wait_plainly([0; 100])));
    if !named.is_empty() || !contents.is_empty() || sizes.0 != sizes.1 {
        eprintln!(
            "built with the feature `tracking`: scopes {named:?}, contents {contents:?}, a future of {} bytes for {}",
            sizes.0, sizes.1
        );
        return ExitCode::FAILURE;
    }
    assert!(snapshot.totals.total_allocations >= 11, "allocations are counted");
    println!("no scopes, {} allocations", snapshot.totals.total_allocations);
    ExitCode::SUCCESS
}
