//! The attribute against the real runtime: a snapshot shows each marked function under its name, with its calls and what
//! they granted.
//!
//! One test, because the allocator sees the whole process. How the expansion behaves is tested in the other `macro_*`
//! files; what the scopes themselves promise has tests of its own.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll};

use alloc_core::{TrackingAllocator, track_memory};
use allocscope_tests::{node, poll, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[track_memory]
fn makes(size: usize) -> Vec<u8> {
    let kept = black_box(vec![1; size]);
    drop(black_box(vec![2_u8; 2 * size]));
    kept
}

/// The argument grows in the call and dies in it, so the call retains nothing.
#[track_memory(name = "fills its argument")]
fn fills(mut buffer: Vec<u8>) -> usize {
    buffer.extend_from_slice(&[0; 1000]);
    black_box(&buffer).len()
}

struct Waits(u32);

impl Future for Waits {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        Poll::Pending
    }
}

#[async_trait::async_trait]
trait Service {
    async fn call(&self, waits: u32) -> Vec<u8>;
}

struct Echo;

#[async_trait::async_trait]
impl Service for Echo {
    #[track_memory(name = "rewritten")]
    async fn call(&self, waits: u32) -> Vec<u8> {
        asynchronous(waits).await
    }
}

#[track_memory]
async fn asynchronous(waits: u32) -> Vec<u8> {
    let mut kept = black_box(Vec::with_capacity(10));
    Waits(waits).await;
    kept.extend_from_slice(black_box(&[1; 20]));
    kept
}

#[test]
fn snapshot_shows_marked_functions_under_their_names() {
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(10);
    for size in [10, 20, 30] {
        kept.push(makes(size));
    }
    assert_eq!(fills(Vec::new()), 1000);
    let service: &dyn Service = &Echo;
    let mut future = pin!(service.call(3));
    for _ in 0..3 {
        // Between polls the scope is left: this belongs to none of them.
        drop(black_box(vec![0_u8; 7]));
        assert!(poll(future.as_mut()).is_pending());
    }
    let Poll::Ready(bytes) = poll(future.as_mut()) else {
        panic!("the fourth poll ends it")
    };
    kept.push(bytes);

    let after = snapshot();
    let makes = node(&after, "macro_runtime::makes");
    assert_eq!((makes.calls.entered, makes.calls.completed), (3, 3));
    assert_eq!((makes.own.total_allocations, makes.own.total_bytes), (6, 180));
    assert_eq!((makes.own.live_blocks, makes.own.live_bytes), (3, 60));
    assert!(makes.file.ends_with("macro_runtime.rs") && makes.line > 0);

    let fills = node(&after, "fills its argument");
    assert_eq!(
        (fills.calls.completed, fills.own.total_bytes, fills.own.live_bytes),
        (1, 1000, 0)
    );
    assert_eq!(fills.calls.retained_bytes, 0, "the argument died inside the call");

    let inner = node(&after, "macro_runtime::asynchronous");
    assert_eq!(
        (inner.calls.entered, inner.calls.completed),
        (1, 1),
        "four polls are one call"
    );
    assert_eq!((inner.own.total_allocations, inner.own.total_reallocations), (1, 1));
    assert_eq!((inner.own.total_bytes, inner.own.live_bytes), (30, 20));
    let outer = node(&after, "rewritten");
    assert_eq!(inner.parent, Some(outer.id), "the path of scopes is kept over polls");
    assert_eq!((outer.own.total_allocations, outer.inclusive.total_bytes), (0, 30));
    drop(kept);
}
