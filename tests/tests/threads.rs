//! Threads at their edges: the first and the last thing a thread does, thousands of short ones, hundreds at once, and forks.
//!
//! The program runs itself again for every part, because each wants exact counts of the whole process. Raw `pthread`s are used where
//! nothing may run on the thread but the operation that is tested.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use alloc_core::{TrackingAllocator, scope};
use allocscope_tests::{check_sums, growth, node, run_again, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).expect("small")
}

fn allocate(size: usize) -> *mut u8 {
    // SAFETY: the layout is not empty.
    let block = unsafe { ALLOC.alloc(layout(size)) };
    assert!(!block.is_null());
    black_box(block)
}

fn free(block: *mut u8, size: usize) {
    // SAFETY: the block was granted with this layout and is not used again.
    unsafe { ALLOC.dealloc(block, layout(size)) };
}

/// Runs `body` on a thread on which nothing else runs.
fn on_bare_thread(body: fn()) {
    extern "C" fn start(body: *mut c_void) -> *mut c_void {
        // SAFETY: `on_bare_thread` passes a pointer to a function pointer that it keeps until the thread has ended.
        let body = unsafe { *body.cast::<fn()>() };
        body();
        ptr::null_mut()
    }
    let mut thread = 0;
    let mut body = body;
    // SAFETY: `body` outlives the thread, which is joined below.
    let started = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), start, (&raw mut body).cast()) };
    assert_eq!(started, 0);
    // SAFETY: started above, and joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

// The first thing a thread does.

static BLOCK: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

fn every_operation_can_be_a_threads_first() {
    type Case = (&'static str, fn(), [i64; 7]);
    let cases: [Case; 7] = [
        (
            "alloc",
            || BLOCK.store(allocate(100), Ordering::Relaxed),
            [1, 0, 0, 100, 0, 1, 100],
        ),
        (
            "realloc",
            || {
                // SAFETY: the block of the case before.
                let moved = unsafe { ALLOC.realloc(BLOCK.load(Ordering::Relaxed), layout(100), 300) };
                assert!(!moved.is_null());
                BLOCK.store(moved, Ordering::Relaxed);
            },
            [0, 1, 0, 300, 100, 0, 200],
        ),
        (
            "dealloc",
            || free(BLOCK.load(Ordering::Relaxed), 300),
            [0, 0, 1, 0, 300, -1, -300],
        ),
        (
            "alloc_zeroed",
            || {
                // SAFETY: the layout is not empty.
                let block = unsafe { ALLOC.alloc_zeroed(layout(64)) };
                // SAFETY: granted with 64 bytes, and zeroed.
                let bytes = unsafe { std::slice::from_raw_parts(block, 64) };
                assert!(bytes.iter().all(|&byte| byte == 0));
                free(block, 64);
            },
            [1, 0, 1, 64, 64, 0, 0],
        ),
        (
            "scope",
            || {
                let _scope = scope!("first thing");
                free(allocate(10), 10);
            },
            [1, 0, 1, 10, 10, 0, 0],
        ),
        ("snapshot", || drop(snapshot()), [0; 7]),
        ("nothing", || {}, [0; 7]),
    ];
    for (name, body, expected) in cases {
        let before = snapshot();
        on_bare_thread(body);
        let after = snapshot();
        assert_eq!(growth(&before, &after), expected, "{name} as a thread's first");
        check_sums(&after);
    }
    let scope = node(&snapshot(), "first thing").clone();
    assert_eq!((scope.calls.completed, scope.own.total_bytes), (1, 10));
}

// The last thing a thread does.

/// Allocates in its destructor.
struct Last(Vec<u8>);

impl Drop for Last {
    fn drop(&mut self) {
        let _scope = scope!("thread-local destructor");
        self.0 = black_box(Vec::with_capacity(50));
        let grown: Vec<u8> = black_box(Vec::with_capacity(70));
        drop(grown);
    }
}

thread_local! {
    static EARLY: RefCell<Option<Last>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<Last>> = const { RefCell::new(None) };
}

static KEY: AtomicU32 = AtomicU32::new(0);

/// A `pthread` key's destructor, made after the tracker's own: it runs when the tracker has forgotten the thread.
unsafe extern "C" fn very_last(block: *mut c_void) {
    free(block.cast(), 33);
    let _scope = scope!("after the end");
    let second = allocate(44);
    // SAFETY: granted above with this layout.
    let second = unsafe { ALLOC.realloc(second, layout(44), 55) };
    assert!(!second.is_null());
    free(second, 55);
    BLOCK.store(allocate(66), Ordering::Relaxed);
}

fn what_destructors_of_a_thread_allocate_is_counted() {
    // Whatever the first thread of a process prepares is prepared before anything is counted.
    std::thread::spawn(|| EARLY.with_borrow_mut(|place| *place = Some(Last(Vec::new()))))
        .join()
        .expect("no panic");
    let before = snapshot();
    let calls = node(&before, "thread-local destructor").calls.completed;
    for _ in 0..50 {
        std::thread::spawn(|| {
            EARLY.with_borrow_mut(|place| *place = Some(Last(Vec::with_capacity(5))));
            free(allocate(1), 1);
            LATE.with_borrow_mut(|place| *place = Some(Last(Vec::with_capacity(6))));
        })
        .join()
        .expect("no panic");
    }
    let after = snapshot();
    check_sums(&after);
    let scope = node(&after, "thread-local destructor");
    assert_eq!(scope.calls.completed - calls, 100);
    assert_eq!((scope.own.total_allocations, scope.own.total_bytes), (202, 202 * 60));
    assert_eq!(
        (scope.own.live_blocks, scope.own.live_bytes),
        (0, 0),
        "what replaced a field was dropped after it"
    );
    assert_eq!(growth(&before, &after)[5..], [0, 0], "nothing is left of the threads");

    let mut key = 0;
    // SAFETY: the destructor fits what is stored under the key.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(very_last)) }, 0);
    KEY.store(key, Ordering::Relaxed);
    let before = snapshot();
    for _ in 0..50 {
        on_bare_thread(|| {
            // SAFETY: the key exists; the block is freed by its destructor.
            unsafe { libc::pthread_setspecific(KEY.load(Ordering::Relaxed), allocate(33).cast()) };
        });
        free(BLOCK.load(Ordering::Relaxed), 66);
    }
    let after = snapshot();
    check_sums(&after);
    let expected = [3, 1, 3, 33 + 44 + 55 + 66, 33 + 44 + 55 + 66, 0, 0].map(|one| 50 * one);
    assert_eq!(growth(&before, &after), expected, "after the tracker forgot the thread");
}

// Many threads.

fn short_threads_leave_no_memory_behind() {
    const THREADS: u64 = 20_000;
    const SPAWNERS: u64 = 4;
    let run = |count: u64| {
        std::thread::scope(|threads| {
            for _ in 0..SPAWNERS {
                threads.spawn(move || {
                    for _ in 0..count / SPAWNERS {
                        let work = || {
                            let _scope = scope!("short thread");
                            drop(black_box(vec![1_u8; 100]));
                            EARLY.with_borrow_mut(|place| *place = Some(Last(Vec::new())));
                        };
                        std::thread::Builder::new()
                            .stack_size(64 << 10)
                            .spawn(work)
                            .expect("a thread")
                            .join()
                            .expect("no panic");
                    }
                });
            }
        });
    };
    run(THREADS / 10);
    let early = snapshot().tracker.tracker_bytes;
    run(THREADS - 2 * (THREADS / 10));
    // Whoever takes a snapshot keeps the tracker from emptying the states of ended threads: new threads go on with them.
    let is_done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                check_sums(&snapshot());
            }
        });
        run(THREADS / 10);
        is_done.store(true, Ordering::Relaxed);
    });
    let after = snapshot();
    check_sums(&after);
    let grown = after.tracker.tracker_bytes - early;
    assert!(
        grown <= 1 << 20,
        "the tracker grew by {grown} bytes over 18,000 threads"
    );
    assert!(
        after.tracker.tracker_bytes <= 8 << 20,
        "the tracker holds {}",
        after.tracker.tracker_bytes
    );
    assert!(after.tracker.threads >= THREADS);
    let scope = node(&after, "short thread");
    assert_eq!((scope.calls.entered, scope.calls.completed), (THREADS, THREADS));
    assert_eq!(
        (scope.own.total_allocations, scope.own.total_bytes),
        (THREADS, 100 * THREADS)
    );
    assert_eq!((scope.own.total_frees, scope.own.live_bytes), (THREADS, 0));
    let destructor = node(&after, "thread-local destructor");
    assert_eq!(
        (destructor.own.total_allocations, destructor.own.total_frees),
        (2 * THREADS, 2 * THREADS)
    );
    println!(
        "{THREADS} threads: the tracker holds {} KiB",
        after.tracker.tracker_bytes >> 10
    );
}

fn three_hundred_threads_at_once_are_exact() {
    const THREADS: usize = 300;
    let barrier = Barrier::new(THREADS + 1);
    std::thread::scope(|threads| {
        for index in 0..THREADS {
            let barrier = &barrier;
            let work = move || {
                let held = {
                    let _scope = scope!("one of many");
                    for size in 1..50 {
                        drop(black_box(vec![1_u8; size]));
                    }
                    black_box(vec![1_u8; 1000 + index])
                };
                barrier.wait();
                barrier.wait();
                drop(held);
            };
            std::thread::Builder::new()
                .stack_size(128 << 10)
                .spawn_scoped(threads, work)
                .expect("a thread");
        }
        barrier.wait();
        let now = snapshot();
        check_sums(&now);
        let scope = node(&now, "one of many");
        let held: u64 = (0..THREADS as u64).map(|index| 1000 + index).sum();
        assert_eq!(scope.own.live_bytes, held);
        assert_eq!(scope.own.total_bytes, held + THREADS as u64 * 49 * 50 / 2);
        assert_eq!(scope.calls.retained_bytes, held);
        assert!(
            now.tracker.tracker_bytes <= 48 << 20,
            "the tracker holds {}",
            now.tracker.tracker_bytes
        );
        println!(
            "{THREADS} threads at once: the tracker holds {} KiB",
            now.tracker.tracker_bytes >> 10
        );
        barrier.wait();
    });
    let after = snapshot();
    assert_eq!(node(&after, "one of many").own.live_bytes, 0);
}

// Fork.

static STOP: AtomicBool = AtomicBool::new(false);

fn children_of_a_fork_go_on_counting() {
    const FORKS: usize = 300;
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let mut depth = 0;
                while !STOP.load(Ordering::Relaxed) {
                    depth = (depth + 1) % 20;
                    let _scope = scope!("beside the fork");
                    allocate_deep(depth);
                }
            });
        }
        // Threads that begin and end, so that the lists of the tracker are being changed, too.
        threads.spawn(|| {
            while !STOP.load(Ordering::Relaxed) {
                std::thread::spawn(|| allocate_deep(3)).join().expect("no panic");
            }
        });
        for turn in 0..FORKS {
            // SAFETY: the child runs `child` and ends with `_exit`.
            let process = unsafe { libc::fork() };
            assert!(process >= 0, "fork {turn}");
            if process == 0 {
                child();
            }
            let mut status = 0;
            // SAFETY: the child was started above.
            assert_eq!(unsafe { libc::waitpid(process, &raw mut status, 0) }, process);
            assert_eq!(status, 0, "fork {turn}: the child failed (an alarm means that it hung)");
        }
        STOP.store(true, Ordering::Relaxed);
    });
    check_sums(&snapshot());
}

fn allocate_deep(depth: usize) {
    if depth > 0 {
        let _held = black_box(vec![1_u8; 10 * depth]);
        allocate_deep(black_box(depth - 1));
    }
}

fn child() -> ! {
    let outcome = std::panic::catch_unwind(|| {
        // SAFETY: always allowed. A child that hangs is ended, and the parent sees it.
        unsafe { libc::alarm(20) };
        let before = snapshot();
        for size in 1..200 {
            let _scope = scope!("in the child");
            drop(black_box(vec![1_u8; size]));
            allocate_deep(size % 10);
        }
        let beside = std::thread::spawn(|| drop(black_box(vec![1_u8; 77])));
        beside.join().expect("no panic");
        let after = snapshot();
        let scope = node(&after, "in the child");
        assert_eq!((scope.calls.completed, scope.own.live_bytes), (199, 0));
        assert!(after.totals.total_allocations > before.totals.total_allocations);
    });
    // SAFETY: ends the child without the destructors of what it shares with the parent.
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

/// While true, a fork takes a tenth of a second between the tracker's hooks.
static FORKS_ARE_SLOW: AtomicBool = AtomicBool::new(false);

extern "C" fn slow_down() {
    if FORKS_ARE_SLOW.load(Ordering::Relaxed) {
        // SAFETY: has no precondition.
        unsafe { libc::usleep(100_000) };
    }
}

extern "C" fn before_the_tracker() {
    // SAFETY: a plain function that lives as long as the program.
    unsafe { libc::pthread_atfork(Some(slow_down), None, None) };
}

/// Runs before the first allocation, at which the tracker sets its own hooks: hooks before a fork run last in, first out.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static BEFORE_THE_TRACKER: extern "C" fn() = before_the_tracker;

/// Two threads fork at once. (A C library that keeps its lock while it runs the hooks makes one wait for the other.)
fn forks_at_once_leave_nothing_locked() {
    FORKS_ARE_SLOW.store(true, Ordering::Relaxed);
    std::thread::scope(|threads| {
        for late in [0, 20_000] {
            threads.spawn(move || {
                // SAFETY: has no precondition.
                unsafe { libc::usleep(late) };
                // SAFETY: the child does nothing but end.
                let process = unsafe { libc::fork() };
                if process == 0 {
                    // SAFETY: ends the child without the destructors of what it shares with the parent.
                    unsafe { libc::_exit(0) };
                }
                // SAFETY: waits for the child just made; its status is not asked for.
                let ended = unsafe { libc::waitpid(process, ptr::null_mut(), 0) };
                assert_eq!(ended, process);
            });
        }
    });
    // SAFETY: has no precondition; the signal's default is to end the process, which is what a hang should do.
    unsafe { libc::alarm(20) };
    let _ = snapshot();
}

fn main() {
    match std::env::var("ALLOCSCOPE_TEST_PART").as_deref() {
        Ok("first") => every_operation_can_be_a_threads_first(),
        Ok("last") => what_destructors_of_a_thread_allocate_is_counted(),
        Ok("short") => short_threads_leave_no_memory_behind(),
        Ok("many") => three_hundred_threads_at_once_are_exact(),
        Ok("fork") => children_of_a_fork_go_on_counting(),
        Ok("forks") => forks_at_once_leave_nothing_locked(),
        _ => {
            for part in ["first", "last", "short", "many", "fork", "forks"] {
                run_again(&[("ALLOCSCOPE_TEST_PART", part)]);
                println!("{part}: well");
            }
        }
    }
}
