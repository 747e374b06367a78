//! Does the tracker name the line that rebuilds the set, and do the fixes cost what they should?
//!
//! One test in this process: it counts, and other tests would be counted with it.
#![forbid(unsafe_code)]

use std::time::Duration;

use alloc_core::{SnapshotDiff, TrackingAllocator};
use allocscope_examples::{
    demo::{self, Run, Settings},
    fraud::{Variant, rebuild},
    load::CLIENT_SCOPE,
    observe::{LineCost, ScopeFigures, in_this_package},
    store::Store,
};

#[global_allocator]
static ALLOCATOR: TrackingAllocator = TrackingAllocator::new();

const USERS: u64 = 2_000;
const REQUESTS: u64 = 40;

fn settings() -> Settings {
    Settings {
        requests: Some(REQUESTS as usize),
        connections: 4,
        users: USERS,
        expiry: Duration::from_secs(300),
        expiries: 1,
        false_positives: 0.01,
    }
}

async fn run(variant: Variant, store: &Store) -> Run {
    let mut run = demo::run(variant, store, &settings(), |_| {}).await.unwrap();
    for snapshot in [&mut run.after, &mut run.moment_a, &mut run.moment_b] {
        snapshot.resolve();
    }
    assert_eq!(run.outcome.answers, REQUESTS);
    assert_eq!(
        run.per_request.calls, REQUESTS,
        "{variant}: one call of the handler for each request"
    );
    run
}

#[test]
fn the_rebuilding_line_is_named_and_the_fixes_are_cheap() {
    let store = demo::store(&settings()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let rebuilt = run(Variant::Rebuild, &store).await;
        the_line_is_named(&rebuilt);
        the_reports_name_it_too(&rebuilt);

        // Per request, handler and check together: the answer and, for `store`, a read transaction.
        for (variant, most_allocations, most_bytes) in [
            (Variant::Set, 4.0, 512.0),
            (Variant::Bloom, 4.0, 512.0),
            (Variant::Store, 64.0, 16_384.0),
        ] {
            let fixed = run(variant, &store).await.per_request;
            assert!(
                fixed.allocations <= most_allocations,
                "{variant}: {} allocations per request",
                fixed.allocations
            );
            assert!(
                fixed.bytes <= most_bytes,
                "{variant}: {} bytes per request",
                fixed.bytes
            );
            assert!(
                rebuilt.per_request.bytes > 10.0 * fixed.bytes,
                "{variant} is no better than rebuilding"
            );
        }
    });
}

fn the_line_is_named(run: &Run) {
    let lines = LineCost::lines(&run.after, Variant::Rebuild.scope(), in_this_package);
    let hottest = lines.first().expect("the check allocates");
    let rebuild_line = rebuild::rebuild_line().expect("the line is in the file");
    assert_eq!(
        (hottest.file.as_str(), hottest.line),
        ("examples/src/fraud/rebuild.rs", rebuild_line),
        "{lines:#?}"
    );

    // The line runs once for each hit: a String per user, and a table for all of them.
    let hits = run.paths.unwrap().hits;
    assert!(
        hottest.allocations >= hits * USERS,
        "{} allocations in {hits} hits",
        hottest.allocations
    );
    assert!(
        hottest.allocations <= hits * (USERS + 40),
        "{} allocations in {hits} hits",
        hottest.allocations
    );

    // What each request is said to cost is about what the line costs: the client in this process is not in it.
    assert!(run.per_request.allocations >= USERS as f64);
    assert!(
        run.per_request.allocations <= 2.0 * USERS as f64 + 400.0,
        "{}",
        run.per_request.allocations
    );
    let client = ScopeFigures::of(&run.after, CLIENT_SCOPE);
    assert!(client.allocations > REQUESTS, "the client is counted, apart");

    // Everything is freed when the request ends.
    let check = run.check();
    assert_eq!(hottest.live_bytes, 0, "no set is alive after the service has stopped");
    // A commit may have started a thread of the blocking pool, which lives on.
    assert!(
        check.live_bytes < 4_096,
        "{} bytes of the check are alive",
        check.live_bytes
    );
    assert!(
        check.call_peak_bytes as f64 >= USERS as f64 * 21.0,
        "a call held the ids of all users at once"
    );
}

fn the_reports_name_it_too(run: &Run) {
    let place = format!("fraud/rebuild.rs:{}", rebuild::rebuild_line().unwrap());
    let report = run.after.report().to_string();
    assert!(report.contains(&place), "{place} is not in\n{report}");
    let diff = SnapshotDiff::between(&run.moment_a, &run.moment_b);
    let text = diff.report().to_string();
    assert!(text.contains(&place), "{place} is not in\n{text}");
    for line in report.lines().chain(text.lines()) {
        assert!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
}
