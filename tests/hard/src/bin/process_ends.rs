//! The first and the last things a process does: allocations before `main`, in destructors of the main thread, in `atexit` handlers, and
//! every way to end: returning, `exit` while others allocate, `abort`, panics in scopes, a panic while panicking.
//!
//! The argument says how to end; `tests/places.rs` knows what the status must be.

use std::cell::RefCell;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use alloc_core::{Mode, TrackingAllocator, scope};
use allocscope_hard::{allocate, allocate_deep, free, growth, in_this_mode};
use allocscope_tests::{check_sums, node, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Allocated before `main`, freed by the very last handler.
static EARLY: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// What has run at the end, a bit each.
static ENDED: AtomicU32 = AtomicU32::new(0);

const LATE_HANDLER: u32 = 1;
const DESTRUCTOR: u32 = 2;
const OTHERS_GO_ON: u32 = 4;

extern "C" fn before_main() {
    // SAFETY: a plain function that lives as long as the program. The tracker has not been used: this handler runs after its own.
    unsafe { libc::atexit(very_last) };
    // LIMIT: scopes are entered from the first allocation of the process on, because only that tells which allocator the program has.
    allocate_deep(1);
    let _scope = scope!("before main");
    allocate_deep(3);
    EARLY.store(allocate(&ALLOC, 1234), Ordering::Relaxed);
}

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// Ends the process as a failure, whatever it was about to end with. Nothing may unwind out of a handler.
fn fail(text: &str) -> ! {
    eprintln!("{text}");
    // SAFETY: has no precondition.
    unsafe { libc::_exit(99) }
}

extern "C" fn very_last() {
    let outcome = std::panic::catch_unwind(|| {
        let before = snapshot();
        {
            let _scope = scope!("very last");
            allocate_deep(3);
        }
        // SAFETY: allocated before `main` with this size.
        unsafe { free(&ALLOC, EARLY.load(Ordering::Relaxed), 1234) };
        let after = snapshot();
        let expected = [3, 0, 4, 60, 60 + 1234, -1, -1234];
        // Unless other threads go on meanwhile.
        if ENDED.load(Ordering::Relaxed) & OTHERS_GO_ON == 0 {
            assert_eq!(growth(&before, &after), in_this_mode(expected), "in the last handler");
        }
        check_sums(&after);
    });
    if outcome.is_err() {
        fail("the last handler failed");
    }
    let ended = ENDED.load(Ordering::Relaxed);
    if ended & LATE_HANDLER == 0 {
        fail("the other handler did not run");
    }
    println!("the last handler has run");
}

extern "C" fn late_handler() {
    let outcome = std::panic::catch_unwind(|| {
        let _scope = scope!("late handler");
        allocate_deep(5);
        let mut now = snapshot();
        now.resolve();
        assert!(now.report().to_string().len() > 100);
    });
    if outcome.is_err() {
        fail("a handler failed");
    }
    ENDED.fetch_or(LATE_HANDLER, Ordering::Relaxed);
}

/// Allocates, and takes a snapshot, when the main thread's thread-locals are dropped.
struct Last(Vec<u8>);

impl Drop for Last {
    fn drop(&mut self) {
        let _scope = scope!("last destructor");
        self.0 = black_box(Vec::with_capacity(100));
        drop(black_box(snapshot().report().to_string()));
        ENDED.fetch_or(DESTRUCTOR, Ordering::Relaxed);
    }
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

fn panics_in_scopes() {
    std::panic::set_hook(Box::new(|_| {
        // What a hook does: format, print, take a look at the memory.
        let text = format!("{:?}", std::thread::current().name());
        let now = snapshot();
        assert!(!text.is_empty() && now.totals.live_bytes <= now.totals.total_bytes);
    }));
    let once = |depth: usize| {
        let outcome = std::panic::catch_unwind(|| {
            let _outer = scope!("panics");
            let _held = black_box(vec![1_u8; 10]);
            {
                let _inner = scope!("inside");
                let _held = black_box(vec![1_u8; 20]);
                nested_panic(depth);
            }
        });
        assert!(outcome.is_err());
    };
    once(0);
    let before = snapshot();
    for turn in 0..200 {
        once(turn % 20);
    }
    let after = snapshot();
    check_sums(&after);
    assert_eq!(growth(&before, &after)[5..], [0, 0], "what unwound was freed");
    if alloc_core::mode() != Mode::Off {
        for name in ["panics", "inside"] {
            let calls = &node(&after, name).calls;
            assert_eq!((calls.entered, calls.completed), (201, 201), "{name}");
        }
    }
    let _ = std::panic::take_hook();
}

fn nested_panic(depth: usize) {
    let _held = black_box(vec![1_u8; 30]);
    if depth == 0 {
        // Without `catch_unwind`'s help: the scope is left by the unwinding.
        let _scope = scope!("innermost");
        panic!("on purpose");
    }
    nested_panic(depth - 1);
}

struct PanicsWhenDropped(#[expect(dead_code, reason = "held until the drop")] Vec<u8>);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        let _scope = scope!("second panic");
        panic!("while panicking {:?}", black_box(vec![1, 2, 3]));
    }
}

fn main() {
    // SAFETY: a plain function that lives as long as the program.
    unsafe { libc::atexit(late_handler) };
    LAST.with_borrow_mut(|place| *place = Some(Last(Vec::new())));
    let now = snapshot();
    check_sums(&now);
    if alloc_core::mode() != Mode::Off {
        let own = &node(&now, "before main").own;
        assert_eq!((own.total_allocations, own.live_blocks, own.live_bytes), (4, 1, 1234));
    }
    match std::env::args().nth(1).as_deref() {
        Some("return") => {}
        Some("exit") => {
            // Others go on while the handlers run.
            ENDED.fetch_or(OTHERS_GO_ON, Ordering::Relaxed);
            for _ in 0..4 {
                std::thread::spawn(|| {
                    loop {
                        let _scope = scope!("until the end");
                        allocate_deep(10);
                        std::thread::spawn(|| allocate_deep(2)).join().expect("no panic");
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            std::process::exit(7);
        }
        Some("abort") => {
            let _scope = scope!("aborts");
            let _held = black_box(vec![1_u8; 10]);
            std::process::abort();
        }
        Some("caught") => panics_in_scopes(),
        Some("panic") => {
            let _scope = scope!("panics");
            nested_panic(10);
        }
        Some("panic_twice") => {
            let _scope = scope!("panics twice");
            let _held = PanicsWhenDropped(vec![1; 10]);
            nested_panic(10);
        }
        other => fail(&format!(
            "{other:?} is no way to end: return, exit, abort, caught, panic or panic_twice"
        )),
    }
}
