//! Measurements under the ordinary test harness, in parallel: exact, whatever the neighbours do.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use alloc_core::budget::{Profile, Usage, benchmark, measure, measure_async, measure_process};
use alloc_core::{TrackingAllocator, scope, track_memory};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn measured<R>(work: impl FnOnce() -> R) -> (R, Usage) {
    measure(work).expect("the tracker is installed and on")
}

#[test]
fn every_figure_is_that_of_the_closure() {
    let kept = black_box(vec![1_u8; 10]);
    let (result, usage) = measured(|| {
        let mut grown: Vec<u8> = black_box(Vec::with_capacity(100));
        grown.resize(100, 1);
        grown.reserve_exact(900);
        let scratch = black_box(vec![0_u8; 5000]);
        drop(scratch);
        drop(kept);
        black_box(Box::new([0_u8; 24]));
        grown
    });
    assert_eq!(
        (usage.allocations, usage.reallocations, usage.frees, usage.bytes),
        (3, 1, 3, 100 + 1000 + 5000 + 24)
    );
    assert_eq!(usage.peak_bytes, 6000);
    assert_eq!(usage.retained_bytes, 1000);
    assert!(usage.copied_bytes == 0 || usage.copied_bytes == 100);
    assert!(usage.is_peak_exact && usage.is_retained_exact);
    drop(result);
}

#[test]
fn nothing_is_nothing() {
    for _ in 0..1000 {
        let ((), usage) = measured(|| ());
        assert_eq!(
            (usage.allocations, usage.bytes, usage.frees, usage.peak_bytes),
            (0, 0, 0, 0)
        );
        assert_eq!(usage.retained_bytes, 0);
    }
}

#[test]
fn measurements_inside_are_independent_and_part_of_the_outer_one() {
    let ((inner, kept), outer) = measured(|| {
        let first = black_box(vec![0_u8; 100]);
        let (kept, inner) = measured(|| black_box(vec![0_u8; 10]));
        drop(first);
        (inner, kept)
    });
    assert_eq!(
        (inner.allocations, inner.bytes, inner.peak_bytes, inner.retained_bytes),
        (1, 10, 10, 10)
    );
    assert_eq!(
        (outer.allocations, outer.bytes, outer.peak_bytes, outer.retained_bytes),
        (2, 110, 110, 10)
    );
    assert_eq!((inner.frees, outer.frees), (0, 1));
    drop(kept);
}

#[track_memory]
fn tracked(size: usize) -> Vec<u8> {
    black_box(vec![0; size])
}

#[test]
fn scopes_inside_change_nothing() {
    let (kept, usage) = measured(|| {
        let _scope = scope!("around");
        let kept: Vec<Vec<u8>> = black_box((0..10).map(tracked).collect());
        drop(tracked(1000));
        kept
    });
    // `vec![0; 0]` is none.
    assert_eq!(usage.allocations, 11);
    assert_eq!(usage.retained_bytes, 45 + 10 * size_of::<Vec<u8>>() as u64);
    drop(kept);
}

#[test]
fn neighbours_and_plain_threads_do_not_count() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(vec![0_u8; 777]);
                }
            });
        }
        for _ in 0..2000 {
            let (_, usage) = measured(|| drop(black_box(vec![0_u8; 64])));
            assert_eq!(
                (usage.allocations, usage.bytes, usage.frees, usage.peak_bytes),
                (1, 64, 1, 64)
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_block_that_another_thread_frees_is_not_retained() {
    let (_, usage) = measured(|| {
        let block = black_box(vec![0_u8; 100]);
        let thread = std::thread::spawn(move || drop(block));
        thread.join().expect("it only frees");
    });
    assert_eq!(usage.retained_bytes, 0);
}

#[test]
fn a_panic_inside_ends_the_measurement() {
    let (_, outer) = measured(|| {
        let caught = std::panic::catch_unwind(|| {
            let _ = measure(|| -> () { std::panic::resume_unwind(Box::new(1_u64)) });
        });
        assert!(caught.is_err());
        let ((), usage) = measured(|| drop(black_box(vec![0_u8; 7])));
        assert_eq!((usage.allocations, usage.bytes), (1, 7));
    });
    assert!(outer.bytes >= 15);
}

#[test]
fn sites_name_the_lines() {
    for _ in 0..3 {
        let (kept, usage) = measured(|| {
            let words: Vec<u64> = black_box((0..100).collect());
            let text = black_box("x".repeat(50));
            (words, text)
        });
        let sites = usage.sites();
        assert_eq!(sites.len(), 2, "{sites:#?}");
        assert_eq!(
            (sites[0].bytes, sites[0].allocations, sites[0].live_bytes),
            (800, 1, 800)
        );
        // Without optimisation the element's type is not in the names.
        assert!(
            sites[0]
                .collection
                .as_deref()
                .is_some_and(|kind| kind.starts_with("Vec")),
            "{sites:#?}"
        );
        assert!(sites[0].file.ends_with("budget_measure.rs"), "{sites:#?}");
        assert_eq!((sites[1].bytes, sites[1].line), (50, sites[0].line + 1));
        drop(kept);
    }
}

/// Waits one turn. Tokio's own `yield_now` allocates on the worker that meets it first.
async fn come_back() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if waited {
            return std::task::Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn async_work_counts_over_all_polls_and_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("two threads");
    for _ in 0..20 {
        let task = runtime.spawn(async {
            measure_async(async {
                let kept = black_box(vec![0_u8; 100]);
                for _ in 0..10 {
                    come_back().await;
                    drop(black_box(vec![0_u8; 1000]));
                }
                kept
            })
            .await
        });
        // Its neighbour on the same workers.
        let noise = runtime.spawn(async {
            for _ in 0..10 {
                drop(black_box(vec![0_u8; 3333]));
                come_back().await;
            }
        });
        let (kept, usage) = runtime.block_on(task).expect("no panic").expect("installed");
        runtime.block_on(noise).expect("no panic");
        assert_eq!((usage.allocations, usage.bytes), (11, 10_100));
        assert_eq!((usage.peak_bytes, usage.retained_bytes), (1100, 100));
        drop(kept);
    }
}

#[test]
fn a_profile_covers_what_is_between_its_ends() {
    let profile = Profile::start("load").expect("installed");
    let kept = black_box(vec![0_u8; 123]);
    assert_eq!(profile.name(), "load");
    let usage = profile.end().expect("nothing went wrong");
    assert_eq!((usage.allocations, usage.bytes, usage.retained_bytes), (1, 123, 123));
    drop(kept);
    // One that is dropped without its end does no harm.
    drop(Profile::start("unused").expect("installed"));
    assert_eq!(measured(|| ()).1.allocations, 0);
}

#[test]
fn a_scope_guard_dropped_in_the_wrong_place_is_refused() {
    let guard = scope!("outer");
    let error = measure(|| drop(guard))
        .map(|_| ())
        .expect_err("the scope around was left inside");
    assert!(error.is_not_measured());
    assert_eq!(
        error.to_string(),
        "failed to measure: its scope was left early, or scopes are nested too deeply; drop scope guards in reverse order"
    );
    assert_eq!(measured(|| ()).1.allocations, 0);
}

#[test]
fn a_benchmark_repeats() {
    let mut runs = 0;
    let found = benchmark("collect", 5, || {
        runs += 1;
        black_box(vec![0_u8; if runs == 3 { 1000 } else { 100 }])
    })
    .expect("installed");
    assert_eq!(runs, 6);
    assert_eq!((found.bytes.min, found.bytes.mean, found.bytes.median), (100, 280, 100));
    assert_eq!((found.allocations.min, found.allocations.mean), (1, 1));
    assert!(found.to_string().starts_with("collect: 5 runs\n"), "{found}");
    assert!(benchmark("none", 0, || ()).is_err());
}

#[test]
fn the_whole_process_is_asked_for_by_name() {
    let (_, usage) = measure_process(|| {
        let thread = std::thread::spawn(|| drop(black_box(vec![0_u8; 1 << 20])));
        thread.join().expect("no panic");
    })
    .expect("installed");
    assert!(usage.bytes >= 1 << 20 && usage.allocations >= 1 && usage.frees >= 1);
}

#[test]
fn many_usages_exhaust_the_sites_and_say_so() {
    // The neighbours need some, too: wait for the sentence, then give all back at once.
    let mut usages = Vec::new();
    let error = loop {
        match measure(|| ()) {
            Ok(((), usage)) => usages.push(usage),
            Err(error) => break error,
        }
        if usages.len() == 400 {
            return;
        }
    };
    panic!("{} were too many: {error}", usages.len());
}

#[test]
fn a_thread_at_its_very_end_is_refused() {
    struct Last(std::sync::mpsc::Sender<Result<u64, String>>);
    impl Drop for Last {
        fn drop(&mut self) {
            let found = measure(|| drop(black_box(vec![0_u8; 1000])));
            let found = found.map(|((), usage)| usage.bytes).map_err(|error| error.to_string());
            self.0.send(found).expect("somebody waits");
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let (found, from) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        LAST.set(Some(Last(found)));
        // What the tracker keeps for a measuring thread is made after it, so it is dropped before.
        measured(|| ());
    })
    .join()
    .expect("no panic");
    match from.recv().expect("the destructor has run") {
        Ok(bytes) => assert_eq!(bytes, 1000, "never less in silence"),
        Err(text) => assert!(text.contains("it is ending"), "{text}"),
    }
}
