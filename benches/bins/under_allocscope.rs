//! The workloads over the tracking allocator, in the mode that `ALLOCSCOPE_MODE` names.

use std::hint::black_box;

use alloc_core::{Snapshot, SnapshotDiff, TrackingAllocator};
use allocscope_benches::child::{Counted, Under};
use allocscope_benches::clock::{Resident, timed};
use allocscope_benches::figures::Summary;
use allocscope_benches::scaling;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn main() {
    let under = Under {
        counted,
        around: |pass| pass(),
        own: read_side,
    };
    under.run();
}

fn counted() -> Option<Counted> {
    Snapshot::take().ok().map(|snapshot| sums(&snapshot))
}

fn sums(snapshot: &Snapshot) -> Counted {
    let frames_of = |stack: Option<u32>| {
        let stack = stack.and_then(|index| snapshot.stacks.get(index as usize));
        stack.map_or(0, |stack| stack.frames.len() as u64)
    };
    let frames = |context: &alloc_core::model::Context| {
        (context.counters.total_allocations + context.counters.total_reallocations) * frames_of(context.stack)
    };
    Counted {
        blocks: snapshot.totals.total_allocations + snapshot.totals.total_reallocations,
        bytes: snapshot.totals.total_bytes,
        frames: snapshot.contexts.iter().map(frames).sum(),
        contexts: snapshot.tracker.contexts,
        other: snapshot.tracker.other_allocations,
        tracker_bytes: snapshot.tracker.tracker_bytes,
    }
}

fn read_side(words: &[&str]) -> Option<Vec<u64>> {
    let number = |place: usize| words[place].parse::<usize>().expect("a number");
    match words[0] {
        "snapshot" => Some(snapshot(number(1), number(2), number(3))),
        "report" => Some(report(number(1))),
        _ => None,
    }
}

fn snapshot_now() -> Snapshot {
    Snapshot::take().expect("this program has the allocator installed")
}

/// With so many contexts on each of so many threads: CPU nanoseconds of a snapshot, and, after half as many more have come, of a diff
/// (medians of `times`); anonymous memory that the later snapshot and the diff took; and the contexts that the earlier snapshot has.
fn snapshot(contexts: usize, threads: usize, times: usize) -> Vec<u64> {
    let (_, answer) = scaling::contexts(contexts, threads, counted, |touch| {
        let median = |run: &dyn Fn() -> u64| Summary::of((0..times).map(|_| run() as f64)).median as u64;
        let before = snapshot_now();
        let snapshot_ns = median(&|| timed(|| black_box(snapshot_now())).0);
        touch();
        let resident = Resident::now().anonymous;
        let after = black_box(snapshot_now());
        let taken = Resident::now().anonymous.saturating_sub(resident);
        let resident = Resident::now().anonymous;
        let diff = black_box(SnapshotDiff::between(&before, &after));
        let compared = Resident::now().anonymous.saturating_sub(resident);
        drop(diff);
        vec![
            snapshot_ns,
            median(&|| timed(|| black_box(SnapshotDiff::between(&before, &after))).0),
            taken,
            compared,
            before.contexts.len() as u64,
        ]
    });
    answer
}

/// With allocations in so many functions: CPU nanoseconds of a snapshot's symbols and of its report as text, and the frames.
fn report(functions: usize) -> Vec<u64> {
    (0..functions).for_each(scaling::call);
    let mut snapshot = snapshot_now();
    let (resolved, ()) = timed(|| snapshot.resolve());
    let (written, text) = timed(|| snapshot.report().to_string());
    assert!(!text.is_empty(), "the report says something");
    vec![resolved, written, snapshot.frames.len() as u64]
}
