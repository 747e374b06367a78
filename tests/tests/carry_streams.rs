//! Streams: as calls of a scope (`track_stream!`) and carried, polled by hand and through combinators.
//!
//! A program without the test harness, each part with scopes of its own.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use alloc_core::{CarryStream as _, TrackingAllocator, scope, track_stream};
use allocscope_tests::{bytes, check_sums, found, snapshot};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Yields blocks of 100 bytes, each after a pause, and begins anew after its end.
struct Blocks {
    left: usize,
    of: usize,
    has_paused: bool,
    held: Vec<u8>,
}

fn blocks(count: usize) -> Blocks {
    Blocks {
        left: count,
        of: count,
        has_paused: false,
        held: Vec::new(),
    }
}

impl Stream for Blocks {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.has_paused = !self.has_paused;
        if self.has_paused {
            self.held = bytes(50);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left == 0 {
            self.left = self.of;
            self.held = Vec::new();
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(bytes(100)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

fn poll<S: Stream>(stream: Pin<&mut S>) -> Poll<Option<S::Item>> {
    stream.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Some(value) = future.as_mut().now_or_never() {
            return value;
        }
    }
}

fn a_stream_is_one_call_up_to_its_end() {
    let mut stream = pin!(track_stream!("one call", blocks(3)));
    assert_eq!(stream.size_hint(), (3, Some(3)));
    let mut kept = Vec::with_capacity(3);
    for index in 0..3 {
        assert!(poll(stream.as_mut()).is_pending());
        drop(bytes(9999));
        let Poll::Ready(Some(block)) = poll(stream.as_mut()) else {
            unreachable!("block {index} follows the pause")
        };
        kept.push(block);
    }
    let calls = found("one call").calls;
    assert_eq!((calls.entered, calls.completed), (1, 0), "it has not ended");
    assert!(poll(stream.as_mut()).is_pending());
    assert!(matches!(poll(stream.as_mut()), Poll::Ready(None)));
    let calls = found("one call").calls;
    assert_eq!(
        (calls.entered, calls.completed, calls.allocations, calls.bytes),
        (1, 1, 7, 3 * 100 + 4 * 50)
    );
    assert_eq!((calls.retained_bytes, calls.max_peak_bytes), (300, 400));
    drop(kept);

    assert!(poll(stream.as_mut()).is_pending());
    let calls = found("one call").calls;
    assert_eq!(
        (calls.entered, calls.completed),
        (2, 1),
        "polled on, it is another call"
    );
}

fn a_stream_dropped_half_run_ends_its_call() {
    drop(track_stream!("never polled", blocks(2)));
    let mut stream = Box::pin(track_stream!("half run", blocks(2)));
    assert!(poll(stream.as_mut()).is_pending());
    let block = poll(stream.as_mut());
    let waits = std::thread::spawn(move || drop(stream));
    waits.join().expect("no panic");
    let node = found("half run");
    let calls = node.calls;
    assert_eq!(
        (calls.entered, calls.completed, calls.bytes, calls.retained_bytes),
        (1, 1, 150, 100)
    );
    drop(block);
    assert_eq!(found("half run").own.live_bytes, 0);
    let snapshot = snapshot();
    assert!(snapshot.scopes.iter().all(|node| node.name != "never polled"));
}

fn streams_without_a_name_are_named_by_their_place() {
    let total = finish(track_stream!(blocks(4)).fold(0, |sum, block| async move { sum + block.capacity() }));
    assert_eq!(total, 400);
    let snapshot = snapshot();
    let mut here = snapshot
        .scopes
        .iter()
        .filter(|node| node.name.contains("carry_streams.rs:"));
    assert_eq!(here.next().expect("it was polled").calls.bytes, 400 + 5 * 50);
}

fn a_carried_stream_is_polled_in_the_scope_it_was_made_in() {
    let stream = {
        let _scope = scope!("makes a stream");
        blocks(5).in_current_scope()
    };
    assert_eq!(stream.size_hint(), (5, Some(5)));
    let other = {
        let _scope = scope!("makes another");
        track_stream!("tracked and carried", blocks(2)).in_current_scope()
    };
    let both = stream::select(stream, other);
    let kept: Vec<Vec<u8>> = std::thread::spawn(|| {
        let _scope = scope!("drives them");
        let mut both = pin!(both);
        let mut kept = Vec::with_capacity(7);
        while let Some(block) = finish(both.next()) {
            kept.push(block);
        }
        kept
    })
    .join()
    .expect("no panic");
    assert_eq!(kept.len(), 7);
    let (made, another, tracked) = (
        found("makes a stream"),
        found("makes another"),
        found("tracked and carried"),
    );
    assert_eq!((made.own.total_allocations, made.own.live_bytes), (11, 500));
    assert_eq!(
        (another.own.total_allocations, another.inclusive.total_bytes),
        (0, 200 + 3 * 50)
    );
    assert_eq!(tracked.parent, Some(another.id));
    assert_eq!((tracked.calls.completed, tracked.calls.allocations), (1, 5));
    drop(kept);
}

fn main() {
    a_stream_is_one_call_up_to_its_end();
    a_stream_dropped_half_run_ends_its_call();
    streams_without_a_name_are_named_by_their_place();
    a_carried_stream_is_polled_in_the_scope_it_was_made_in();
    check_sums(&snapshot());
}
