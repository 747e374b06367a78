//! What `docs/trust.md` says of limits, done: blocks freed on the wrong side of a border, blocks as leak checkers see them, a stack
//! through C. `tests/known_limits.rs` runs it and compares with the document's words.
//!
//! Argument: what to do.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use alloc_core::{Mode, TrackingAllocator, set_mode};
use allocscope_hard::allocate;
use allocscope_tests::snapshot;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// What a leak checker finds at the end: reachable, as a program's globals are.
static KEPT: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static KEPT_ALIGNED: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

fn aligned(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, 16).expect("small");
    // SAFETY: the layout is not empty.
    black_box(unsafe { ALLOC.alloc(layout) })
}

fn freed_by_c(block: *mut u8) {
    let before = snapshot().totals;
    // SAFETY: none; this is what is tried. The C library ends the program where the address is not the start of one of its blocks.
    unsafe { libc::free(block.cast::<c_void>()) };
    let after = snapshot().totals;
    println!("survived; frees counted: {}", after.total_frees - before.total_frees);
}

fn block_of_c_dropped_here(size: usize) {
    let before = snapshot();
    // SAFETY: an ordinary request.
    let block = unsafe { libc::malloc(size) }.cast::<u8>();
    // SAFETY: none for our allocator; with `System`, which calls `free`, it would work by chance.
    drop(unsafe { Vec::from_raw_parts(block, 0, size) });
    let after = snapshot();
    println!(
        "survived; frees counted: {}, of blocks that are not tracked: {}",
        after.totals.total_frees - before.totals.total_frees,
        after.tracker.untracked_frees - before.tracker.untracked_frees
    );
}

/// An aligned block of C's, behind which lies `header`.
fn aligned_block_of_c_dropped_here(header: u64) {
    let before = snapshot();
    // SAFETY: an ordinary request.
    let block = unsafe { libc::malloc(104) }.cast::<u64>();
    // SAFETY: inside the block.
    unsafe { block.add(12).write(header) };
    // SAFETY: as above.
    drop(unsafe { Vec::<u128>::from_raw_parts(block.cast(), 0, 6) });
    let (before, after) = (before.tracker, snapshot().tracker);
    println!(
        "survived; blocks that are not tracked: {}, corrupt headers: {}",
        after.untracked_frees - before.untracked_frees,
        after.corrupt_headers - before.corrupt_headers
    );
}

extern "C" fn called_from_c() {
    KEPT.store(allocate(&ALLOC, 4321), Ordering::Relaxed);
}

#[inline(never)]
fn outermost_function_of_ours(library: &std::ffi::OsStr) {
    let name = std::ffi::CString::new(library.as_bytes()).expect("a path has no null byte");
    // SAFETY: the library of this test may be loaded.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{name:?} cannot be loaded");
    // SAFETY: the library is loaded, the name terminated.
    let call_back = unsafe { libc::dlsym(library, c"call_back".as_ptr()) };
    assert!(!call_back.is_null());
    // SAFETY: it is such a function in this library.
    let call_back: extern "C" fn(extern "C" fn()) = unsafe { transmute(call_back) };
    call_back(called_from_c);
    black_box(());
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next().unwrap_or_default();
    match what.to_str() {
        Some("our block, free") => freed_by_c(allocate(&ALLOC, 100)),
        Some("our aligned block, free") => freed_by_c(aligned(100)),
        Some("our untracked block, free") => {
            set_mode(Mode::Off);
            let block = allocate(&ALLOC, 100);
            set_mode(Mode::Exact);
            freed_by_c(block);
        }
        Some("block of C, drop") => block_of_c_dropped_here(100),
        Some("aligned block of C, zeroes behind it") => aligned_block_of_c_dropped_here(0),
        Some("aligned block of C, rubbish behind it") => aligned_block_of_c_dropped_here(u64::MAX),
        Some("reachable") => {
            KEPT.store(allocate(&ALLOC, 1111), Ordering::Relaxed);
            KEPT_ALIGNED.store(aligned(2222), Ordering::Relaxed);
        }
        Some("lost") => {
            black_box(allocate(&ALLOC, 1111));
        }
        Some("stack through C") => {
            outermost_function_of_ours(&arguments.next().expect("the path of a library"));
            let mut now = snapshot();
            now.resolve();
            let context = now.contexts.iter().find(|context| context.counters.live_bytes == 4321);
            let stack = context
                .and_then(|context| now.stacks.get(context.stack? as usize))
                .expect("a stack");
            let has = |name: &str| {
                let mut symbols = stack
                    .frames
                    .iter()
                    .flat_map(|&frame| &now.frames[frame as usize].symbols);
                symbols.any(|symbol| symbol.function.contains(name))
            };
            println!(
                "truncated {}, callback {}, outermost {}; {} of {} contexts truncated",
                stack.truncated,
                has("called_from_c"),
                has("outermost_function_of_ours"),
                now.tracker.truncated_stacks,
                now.contexts.len()
            );
        }
        _ => panic!("{what:?} is nothing that this program does: see its source"),
    }
}
