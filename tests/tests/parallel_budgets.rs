//! 200 tests with exact budgets under the ordinary test harness, half of them with noise on other threads.
//!
//! `ci/budgets` runs it many times over: not one run may fail.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use alloc_core::{ScopeHandle, TrackingAllocator, allocation_test, assert_budget, current, scope};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn work(n: usize) -> Vec<Vec<u8>> {
    let _scope = scope!("work");
    let mut kept = Vec::with_capacity(n);
    for size in 1..=n {
        drop(black_box(vec![0_u8; 2 * size]));
        kept.push(black_box(vec![0_u8; size]));
    }
    kept
}

/// Asserts every figure of `work(n)`, exactly.
fn check(n: usize) {
    let list = (n * size_of::<Vec<u8>>()) as u64;
    let kept = (n * (n + 1) / 2) as u64;
    let most = kept + n as u64;
    let result = assert_budget!(
        work(n),
        allocations == 2 * n + 1,
        reallocations == 0,
        frees == n,
        bytes == 3 * kept + list,
        copied == 0,
        peak == list + most,
        retained == kept + list,
    );
    assert_budget!(drop(result), allocations == 0, frees == n + 1);
}

/// Hands a handle to another thread, and waits until it is done with it.
#[derive(Default)]
struct Desk {
    state: Mutex<(Option<ScopeHandle>, bool, bool)>,
    changed: Condvar,
}

impl Desk {
    fn change<R>(&self, change: impl Fn(&mut (Option<ScopeHandle>, bool, bool)) -> Option<R>) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = change(&mut state) {
                self.changed.notify_all();
                return result;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    fn exchange(&self, handle: ScopeHandle) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (Some(handle), true, false);
        self.changed.notify_all();
        self.change(|(_, is_busy, _)| (!*is_busy).then_some(()));
    }
    fn take(&self) -> Option<ScopeHandle> {
        self.change(|(handle, _, is_closed)| match handle.take() {
            Some(handle) => Some(Some(handle)),
            None => is_closed.then_some(None),
        })
    }
    fn put(&self, handle: Option<ScopeHandle>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (handle, false, false);
        self.changed.notify_all();
    }
    fn close(&self) {
        self.change(|(_, _, is_closed)| {
            *is_closed = true;
            Some(())
        });
    }
}

/// The same while two other threads allocate in scopes and measure, and while one that carries the handle works.
fn check_with_noise(n: usize) {
    let stop = AtomicBool::new(false);
    // Not a channel: std's allocate when they first have to wait, which is a matter of chance.
    let desk = Desk::default();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(black_box(work(3)));
                    assert_budget!(drop(black_box(vec![0_u8; 99])), allocations == 1, bytes == 99);
                }
            });
        }
        struct Stop<'a>(&'a AtomicBool, &'a Desk);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
                self.1.close();
            }
        }
        let _stop = Stop(&stop, &desk);
        for _ in 0..3 {
            check(n);
        }
        threads.spawn(|| {
            while let Some(handle) = desk.take() {
                handle.in_scope(|| drop(work(4)));
                drop(handle);
                desk.put(None);
            }
        });
        for _ in 0..3 {
            assert_budget!(
                desk.exchange(current()),
                allocations == 9,
                frees == 9,
                bytes == 126,
                retained == 0
            );
        }
    });
}

macro_rules! tests {
    ($($ten:ident)*) => { $(
        mod $ten {
            use super::*;
            tests!(one $ten: t0 0, t1 1, t2 2, t3 3, t4 4, t5 5, t6 6, t7 7, t8 8, t9 9);
        }
    )* };
    (one $ten:ident: $($name:ident $n:expr),*) => { $(
        #[test]
        fn $name() {
            if $n % 2 == 0 {
                check($n + 1);
            } else {
                check_with_noise($n);
            }
        }
    )* };
}

tests!(a b c d e f g h i j k l m n o p q r s);

mod attribute {
    use super::*;

    macro_rules! attributes {
        ($($name:ident)*) => { $(
            #[allocation_test(allocations == 7, frees == 7, bytes == 18 + 72, peak == 81, retained == 0)]
            fn $name() {
                drop(work(3));
            }
        )* };
    }

    attributes!(t0 t1 t2 t3 t4 t5 t6 t7 t8 t9);
}
