//! A recursion without end, with tracking on: the program must end as every Rust program does then, with a message and `SIGABRT`, and
//! neither hang nor end silently. Argument: `main` or `thread`, the thread that overflows.

use std::hint::black_box;

use alloc_core::{TrackingAllocator, scope};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is what is tried")]
fn deeper(depth: usize) -> usize {
    // A scope now and then: those inside their own kind are parts of the call around.
    let _scope = depth.is_multiple_of(3).then(|| scope!("recursion"));
    let held = black_box(vec![1_u8; depth % 100 + 1]);
    let mut grown = Vec::with_capacity(1);
    grown.extend_from_slice(&held);
    black_box(&grown);
    deeper(depth + 1) + held.len()
}

fn main() {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("main") => deeper(0),
        Some("thread") => std::thread::Builder::new()
            .stack_size(1 << 20)
            .name("deep".to_owned())
            .spawn(|| deeper(0))
            .expect("a thread")
            .join()
            .expect("no panic"),
        other => panic!("{other:?} is none of main, thread"),
    };
    println!("came back from a recursion without end: {outcome}");
}
