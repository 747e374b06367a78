//! Reports and logs inside each other: a writer that allocates, logs and takes snapshots while a report is printed into it; a report
//! printed while standard output is locked, in a scope, on many threads; a value whose `Debug` takes a snapshot.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Mutex;

use alloc_core::{Mode, TrackingAllocator, findings, scope};
use allocscope_hard::{growth, times};
use allocscope_tests::{check_sums, node, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// A logger with a buffer and a lock, as they all have one. It reports on itself when its buffer is full.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

fn log(line: &str) {
    let is_full = {
        let mut lines = LOG.lock().expect("no thread failed");
        lines.push(format!("{:?} {line}", std::thread::current().id()));
        lines.len() > 200
    };
    if is_full {
        let text = snapshot().report().to_string();
        let mut lines = LOG.lock().expect("no thread failed");
        lines.clear();
        lines.push(text);
    }
}

/// Allocates, logs, and takes a snapshot for what is written to it, itself included once.
struct Nosy {
    text: String,
    pieces: usize,
}

impl fmt::Write for Nosy {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let _scope = scope!("writer");
        self.text.push_str(piece);
        self.pieces += 1;
        if self.pieces.is_multiple_of(16) {
            log(piece);
        }
        if self.pieces.is_multiple_of(64) && DEPTH.get() == 0 {
            DEPTH.set(1);
            let mut inner = Nosy {
                text: String::new(),
                pieces: 0,
            };
            write!(inner, "{}", snapshot().report())?;
            check_sums(&snapshot());
            DEPTH.set(0);
        }
        Ok(())
    }
}

/// Its `Debug` takes a snapshot and prints that.
struct Introspective;

impl fmt::Debug for Introspective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = snapshot();
        write!(f, "{} live in {}", now.totals.live_blocks, now.report())
    }
}

fn main() {
    let threads = 3;
    let run = || {
        for turn in 0..times(3, 100) {
            let _scope = scope!("reports");
            let kept = black_box(vec![1_u8; 100]);
            let mut now = snapshot();
            if turn == 0 {
                now.resolve();
            }
            let mut nosy = Nosy {
                text: String::new(),
                pieces: 0,
            };
            write!(nosy, "{}", now.report()).expect("it takes everything");
            assert!(nosy.text.len() > 100 && nosy.pieces > 0);
            let mut out = std::io::stdout().lock();
            // While this thread has the lock of standard output.
            write!(out, "{:?}", Introspective).expect("somebody listens");
            if turn == 1 {
                let found = findings().expect("the allocator is installed");
                writeln!(out, "{found}").expect("somebody listens");
            }
            drop(out);
            log(&format!("{turn}: {}", now.to_json().map_or(0, |text| text.len())));
            drop(kept);
        }
    };
    std::thread::scope(|spawner| {
        let running: Vec<_> = (0..threads).map(|_| spawner.spawn(run)).collect();
        running.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    LOG.lock().expect("no thread failed").clear();
    let after = snapshot();
    check_sums(&after);
    if alloc_core::mode() != Mode::Off {
        let calls = node(&after, "reports").calls.completed;
        assert_eq!(calls, threads * times(3, 100) as u64);
    }
    // A report alone leaves nothing behind; the text is the program's own.
    let before = snapshot();
    drop(black_box(snapshot().report().to_string()));
    assert_eq!(growth(&before, &snapshot())[5..], [0, 0]);
}
