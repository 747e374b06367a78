//! Everything the tracker does, in one program without the test harness, to be run under sanitizers and Valgrind (`ci/sanitizers`).
//!
//! Threads come and go, free each other's blocks, enter scopes, poll futures that other threads began, while snapshots are taken and
//! reported. At the end nothing may be alive that was not at the beginning. Prints one line; the argument says how many rounds.

use std::alloc::{GlobalAlloc, Layout};
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use alloc_core::findings::{Findings, Options};
use alloc_core::{Mode, Snapshot, SnapshotDiff, TrackingAllocator, scope, set_mode, track_memory};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const THREADS: usize = 4;

/// Stacks of different depths: some are remembered, some are new.
#[inline(never)]
fn deeper(levels: usize, size: usize) -> Vec<u8> {
    let block = if levels == 0 {
        vec![1; size]
    } else {
        deeper(levels - 1, size)
    };
    black_box(block)
}

#[track_memory(request)]
fn request(number: usize) -> String {
    let mut text = String::new();
    for word in 0..8 {
        text.push_str(&format!("{number}-{word} "));
    }
    text
}

/// Pending once, with something allocated before and after.
struct TwoPolls(Option<Vec<u8>>);

impl Future for TwoPolls {
    type Output = usize;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        match self.0.take() {
            None => {
                self.0 = Some(black_box(vec![7; 300]));
                Poll::Pending
            }
            Some(kept) => Poll::Ready(kept.len() + black_box(vec![1_u8; 20]).len()),
        }
    }
}

#[track_memory]
async fn two_polls() -> usize {
    TwoPolls(None).await
}

type Waiting = Arc<Mutex<Vec<Pin<Box<dyn Future<Output = usize> + Send>>>>>;

/// Layouts of every alignment up to a page, all four methods.
fn aligned(seed: usize) {
    for shift in 0..13 {
        let layout = Layout::from_size_align(seed % 700 + 1, 1 << shift).expect("a small layout");
        // SAFETY: the size is not 0; each block is used for its size and freed once, for the layout it has then.
        unsafe {
            let block = ALLOC.alloc_zeroed(layout);
            assert!(!block.is_null() && block.addr().is_multiple_of(1 << shift) && *block == 0);
            block.write_bytes(0xa5, layout.size());
            let larger = ALLOC.realloc(block, layout, layout.size() * 2);
            assert_eq!(*larger, 0xa5);
            ALLOC.dealloc(larger, Layout::from_size_align_unchecked(layout.size() * 2, 1 << shift));
        }
    }
}

fn life(seed: usize, to: &[Sender<Vec<u8>>], from: &Receiver<Vec<u8>>, waiting: &Waiting) {
    let mut context = Context::from_waker(Waker::noop());
    for step in 0..20 {
        let _scope = scope!("step");
        let block = deeper((seed + step) % 40, 10 + seed * step % 3000);
        let _ = to[(seed + step) % to.len()].send(block);
        while let Ok(block) = from.try_recv() {
            drop(block);
        }
        drop(black_box(request(step)));
        aligned(seed + step);
        let mut future: Pin<Box<dyn Future<Output = usize> + Send>> = Box::pin(two_polls());
        assert!(future.as_mut().poll(&mut context).is_pending());
        // Only tried: what a lock does when it has to wait is in the standard library, which sanitizers cannot see into.
        let other = match waiting.try_lock() {
            Ok(mut waiting) => {
                waiting.push(future);
                if waiting.len() > THREADS { waiting.pop() } else { None }
            }
            Err(_) => Some(future),
        };
        if let Some(mut other) = other {
            assert_eq!(other.as_mut().poll(&mut context), Poll::Ready(320));
        }
    }
}

fn round(number: usize) {
    let waiting = Waiting::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            // At least once: on a busy machine the others may be done before this thread has its first turn.
            loop {
                let before = Snapshot::take().expect("the allocator is installed");
                let after = Snapshot::take().expect("as above");
                black_box(SnapshotDiff::between(&before, &after));
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    });
    let (to, from): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let threads: Vec<_> = from
        .into_iter()
        .enumerate()
        .map(|(at, from)| {
            let (to, waiting) = (to.clone(), Arc::clone(&waiting));
            thread::spawn(move || life(number * THREADS + at, &to, &from, &waiting))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    is_over.store(true, Ordering::Relaxed);
    reader.join().expect("the reader does not panic");
}

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .map_or(3, |text| text.parse().expect("the argument is a number of rounds"));
    round(0);
    let before = Snapshot::take().expect("the allocator is installed");
    for number in 1..=rounds {
        set_mode([Mode::Exact, Mode::Scopes][number % 2]);
        round(number);
    }
    set_mode(Mode::Exact);
    let mut after = Snapshot::take().expect("as above");
    let change = after.totals.live_bytes.abs_diff(before.totals.live_bytes);
    assert!(change < 4096, "{change} bytes are left of what was freed");
    let allocations = after.totals.total_allocations;
    after.resolve();
    assert!(after.report().to_string().contains("step"));
    black_box(Findings::of(&after, &Options::default()).to_json());
    println!(
        "{rounds} rounds, {allocations} allocations, {} bytes more alive than before",
        change
    );
}
