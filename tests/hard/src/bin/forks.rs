//! Forks while other threads allocate, begin, end, and take snapshots; each child goes on for a while, and counts exactly.
//!
//! Many children live at once. A child that hangs is ended by its alarm, and the parent sees that. Arguments, if any: how many children, and
//! how many milliseconds each is to live.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_hard::{allocate_deep, growth, in_this_mode, times};
use allocscope_tests::{check_sums, node, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

static STOP: AtomicBool = AtomicBool::new(false);
/// A child that has not ended by then hangs: it may be one of many, on a busy machine.
const PATIENCE_SECONDS: u32 = 120;
const ALIVE_AT_ONCE: usize = 12;

fn until_stopped(mut work: impl FnMut()) {
    while !STOP.load(Ordering::Relaxed) {
        work();
    }
}

/// A thread that the C library starts: what Rust's own does before it begins takes a lock, which another thread may have held at the fork.
fn bare_thread() {
    extern "C" fn start(_: *mut c_void) -> *mut c_void {
        allocate_deep(10);
        ptr::null_mut()
    }
    let mut thread = 0;
    // SAFETY: the place can be written; `start` needs no argument.
    let started = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), start, ptr::null_mut()) };
    assert_eq!(started, 0);
    // SAFETY: started above, and joined once.
    let joined = unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    assert_eq!(joined, 0);
}

fn child(number: usize, life: Duration) -> ! {
    let outcome = std::panic::catch_unwind(|| {
        // SAFETY: always allowed.
        unsafe { libc::alarm(PATIENCE_SECONDS) };
        let end = Instant::now() + life;
        let mut rounds = 0;
        loop {
            // No other thread exists here, so every figure is exact.
            let before = snapshot();
            for size in 1..200 {
                let _scope = scope!("in the child");
                drop(black_box(vec![1_u8; size]));
                allocate_deep(3);
            }
            let after = snapshot();
            check_sums(&after);
            let bytes = (1..200).sum::<i64>() + 199 * 60;
            let expected = [199 * 4, 0, 199 * 4, bytes, bytes, 0, 0];
            assert_eq!(growth(&before, &after), in_this_mode(expected), "round {rounds}");
            bare_thread();
            rounds += 1;
            if Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut last = snapshot();
        if alloc_core::mode() != Mode::Off {
            let scope = node(&last, "in the child");
            assert_eq!((scope.calls.completed, scope.own.live_bytes), (199 * rounds, 0));
        }
        if number.is_multiple_of(20) {
            last.resolve();
            assert!(last.report().to_string().len() > 100);
        }
    });
    // SAFETY: ends the child without the destructors of what it shares with the parent.
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

fn wait_for_one(alive: &mut usize) {
    let mut status = 0;
    // SAFETY: `status` can be written; this program has no children but those it forks.
    let ended = unsafe { libc::wait(&raw mut status) };
    assert!(ended > 0, "a child is there to wait for");
    *alive -= 1;
    if status != 0 {
        // Not by a panic, which would wait for the threads for ever.
        eprintln!("child {ended} failed, or hung (status 14: its alarm): status {status}");
        std::process::exit(1);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let forks = arguments.next().unwrap_or_else(|| times(24, 1000));
    let life = arguments.next().unwrap_or_else(|| times(200, 2000));
    let life = Duration::from_millis(life as u64);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut depth = 0;
                until_stopped(|| {
                    depth = (depth + 1) % 20;
                    let _scope = scope!("beside the fork");
                    allocate_deep(depth);
                });
            });
        }
        threads.spawn(|| until_stopped(|| std::thread::spawn(|| allocate_deep(3)).join().expect("no panic")));
        threads.spawn(|| until_stopped(|| check_sums(&snapshot())));
        let mut alive = 0;
        for number in 0..forks {
            if alive == ALIVE_AT_ONCE {
                wait_for_one(&mut alive);
            }
            // SAFETY: the child runs `child` and ends with `_exit`.
            let process = unsafe { libc::fork() };
            assert!(process >= 0, "fork {number}");
            if process == 0 {
                child(number, life);
            }
            alive += 1;
        }
        while alive > 0 {
            wait_for_one(&mut alive);
        }
        STOP.store(true, Ordering::Relaxed);
    });
    check_sums(&snapshot());
    println!("{forks} forks, each child alive for {life:?}");
}
