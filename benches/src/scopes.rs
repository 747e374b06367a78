//! Functions with and without `#[track_memory]`, for the price of entering and leaving, and of a poll.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use alloc_core::{current, scope, track_memory};

/// Does nothing, in a scope.
#[track_memory]
#[inline(never)]
pub fn tagged(value: u64) -> u64 {
    black_box(value)
}

/// Does nothing.
#[inline(never)]
pub fn untagged(value: u64) -> u64 {
    black_box(value)
}

/// Does nothing, in a scope in a scope.
#[track_memory]
#[inline(never)]
pub fn tagged_twice(value: u64) -> u64 {
    black_box(tagged(value))
}

/// Allocates and frees one block, in a scope.
#[track_memory]
#[inline(never)]
pub fn tagged_pair(value: u64) -> u64 {
    *black_box(Box::new(value))
}

/// Allocates and frees one block.
#[inline(never)]
pub fn untagged_pair(value: u64) -> u64 {
    *black_box(Box::new(value))
}

/// Allocates and frees one block, in an iteration.
#[track_memory(request)]
#[inline(never)]
pub fn iteration_pair(value: u64) -> u64 {
    *black_box(Box::new(value))
}

/// Calls [`iteration_pair`] so often; returns the sum of `0..calls`.
#[must_use]
pub fn iterate_pair(calls: u64) -> u64 {
    (0..calls).map(iteration_pair).sum()
}

/// Calls [`tagged_pair`] or [`untagged_pair`] so often; returns the sum of `0..calls`.
#[must_use]
pub fn call_pair(is_tagged: bool, calls: u64) -> u64 {
    if is_tagged {
        (0..calls).map(tagged_pair).sum()
    } else {
        (0..calls).map(untagged_pair).sum()
    }
}

/// Calls [`tagged_twice`] so often; returns the sum of `0..calls`.
#[must_use]
pub fn call_nested(calls: u64) -> u64 {
    (0..calls).map(tagged_twice).sum()
}

/// Calls [`tagged`] or [`untagged`] so often; returns the sum of `0..calls`.
#[must_use]
pub fn call(is_tagged: bool, calls: u64) -> u64 {
    if is_tagged {
        (0..calls).map(tagged).sum()
    } else {
        (0..calls).map(untagged).sum()
    }
}

/// Calls [`untagged`] so often, each time in a scope that was carried here; returns the sum of `0..calls`.
#[must_use]
pub fn call_carried(calls: u64) -> u64 {
    let handle = {
        let _scope = scope!("carried");
        current()
    };
    (0..calls).map(handle.wrap(untagged)).sum()
}

struct PendingFor(u64);

impl Future for PendingFor {
    type Output = u64;
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        if self.0 == 0 {
            return Poll::Ready(7);
        }
        self.0 -= 1;
        Poll::Pending
    }
}

#[track_memory]
async fn tagged_future(polls: u64) -> u64 {
    PendingFor(polls).await
}

async fn untagged_future(polls: u64) -> u64 {
    PendingFor(polls).await
}

/// Polls an async function, with the attribute or without, until it is ready after so many polls; returns their number.
#[must_use]
pub fn poll(is_tagged: bool, polls: u64) -> u64 {
    if is_tagged {
        poll_to_end(std::pin::pin!(tagged_future(polls)))
    } else {
        poll_to_end(std::pin::pin!(untagged_future(polls)))
    }
}

#[inline(never)]
fn poll_to_end(mut future: Pin<&mut impl Future<Output = u64>>) -> u64 {
    let mut context = Context::from_waker(Waker::noop());
    let mut pending = 0;
    loop {
        match black_box(future.as_mut()).poll(&mut context) {
            Poll::Pending => pending += 1,
            Poll::Ready(value) => {
                assert_eq!(value, 7, "the future returns what it should");
                return pending;
            }
        }
    }
}
