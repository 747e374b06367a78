//! `deny_allocations` and allocations that fail on purpose.

use std::hint::black_box;

use alloc_core::budget::{OnDenied, deny_allocations, fail_allocation, fail_allocations_from, measure, permit};
use alloc_core::{Snapshot, TrackingAllocator, current, scope};
use allocscope_tests::panic_text;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const CHILD: &str = "DENY_CHILD";

fn message(work: impl FnOnce()) -> String {
    panic_text(work).expect("something was denied")
}

#[test]
fn what_is_denied_is_counted_and_granted() {
    let mut list = black_box(Vec::with_capacity(4));
    let guard = deny_allocations(OnDenied::Count).expect("installed");
    list.push(1_u64);
    assert_eq!(guard.denied(), 0);
    let block = black_box(vec![7_u8; 100]);
    list.reserve(100);
    assert_eq!(guard.denied(), 2);
    drop(block);
    assert_eq!(guard.denied(), 2, "frees are not denied");
    permit(|| drop(black_box(vec![0_u8; 10])));
    assert_eq!(guard.denied(), 2);
    {
        let inner = deny_allocations(OnDenied::Count).expect("installed").and_frees();
        drop(black_box(vec![0_u8; 10]));
        assert_eq!(inner.denied(), 2);
    }
    assert_eq!(guard.denied(), 2, "a guard inside has its own count");
    drop(black_box(Box::new(1)));
    assert_eq!(guard.denied(), 3);
    drop(guard);
    assert_eq!(list[0], 1);
}

#[test]
fn the_panic_names_the_first_offender() {
    let text = message(|| {
        let _guard = deny_allocations(OnDenied::Panic).expect("installed");
        drop(black_box(vec![7_u8; 123]));
        drop(black_box(vec![7_u8; 456]));
    });
    assert!(
        text.starts_with("2 events where allocations are denied; the first, of 123 bytes:\n  "),
        "{text}"
    );
    assert!(text.contains("deny_and_fail.rs:47"), "{text}");
}

#[test]
fn a_panic_inside_stays_the_only_one() {
    let text = message(|| {
        let _guard = deny_allocations(OnDenied::Panic).expect("installed");
        drop(black_box(vec![7_u8; 123]));
        std::panic::panic_any(String::from("its own"));
    });
    assert_eq!(text, "its own");
    // The thread is as it was.
    assert_eq!(
        measure(|| drop(black_box(vec![0_u8; 5])))
            .expect("installed")
            .1
            .allocations,
        1
    );
}

#[test]
fn other_threads_are_not_concerned() {
    let guard = deny_allocations(OnDenied::Count).expect("installed");
    let handle = permit(|| std::thread::spawn(|| drop(black_box(vec![0_u8; 1000]))));
    permit(|| handle.join()).expect("no panic");
    assert_eq!(guard.denied(), 0);
}

#[test]
fn figures_are_the_same_with_and_without_a_guard() {
    fn work() -> Vec<u8> {
        let _scope = scope!("watched");
        let mut grown = Vec::with_capacity(10);
        grown.resize(10, 1_u8);
        grown.reserve_exact(500);
        drop(black_box(vec![0_u64; 9]));
        black_box(grown)
    }
    let (kept, plain) = measure(work).expect("installed");
    drop(kept);
    let guard = deny_allocations(OnDenied::Count).expect("installed");
    let (kept, watched) = measure(work).expect("installed");
    assert_eq!(guard.denied(), 3);
    drop(guard);
    let figures = |usage: &alloc_core::budget::Usage| {
        let events = [usage.allocations, usage.reallocations, usage.frees];
        (events, usage.bytes, usage.peak_bytes, usage.retained_bytes)
    };
    assert_eq!(figures(&plain), figures(&watched));
    let sites = |usage: &alloc_core::budget::Usage| {
        let mut sites: Vec<_> = usage
            .sites()
            .into_iter()
            .map(|site| (site.line, site.bytes, site.reallocations))
            .collect();
        sites.sort_unstable();
        sites
    };
    assert_eq!(sites(&plain), sites(&watched));
    drop(kept);
}

#[test]
fn the_nth_request_fails_and_no_other() {
    let mut granted = Vec::with_capacity(10);
    let guard = fail_allocation(3).expect("installed");
    for _ in 0..6 {
        let mut list: Vec<u8> = Vec::new();
        granted.push(list.try_reserve_exact(100).is_ok());
        black_box(&list);
    }
    assert_eq!(guard.failed(), 1);
    drop(guard);
    assert_eq!(granted, [true, true, false, true, true, true]);
}

#[test]
fn reallocations_fail_and_leave_the_block_as_it_was() {
    let mut list = black_box(vec![1_u8, 2, 3]);
    let (result, usage) = measure(|| {
        let _guard = fail_allocation(1).expect("installed");
        list.try_reserve_exact(1000)
    })
    .expect("installed");
    assert!(result.is_err());
    assert_eq!((usage.allocations, usage.reallocations, usage.bytes), (0, 0, 0));
    assert_eq!(list, [1, 2, 3]);
    list.try_reserve_exact(1000).expect("the guard is gone");
}

#[test]
fn all_from_the_nth_on_fail_until_the_guard_is_dropped() {
    let mut granted = Vec::with_capacity(10);
    let guard = fail_allocations_from(2).expect("installed");
    for _ in 0..4 {
        granted.push(Vec::<u8>::new().try_reserve(100).is_ok());
    }
    assert_eq!(guard.failed(), 3);
    drop(guard);
    granted.push(Vec::<u8>::new().try_reserve(100).is_ok());
    assert_eq!(granted, [true, false, false, false, true]);
}

#[test]
fn only_requests_in_the_scope_are_counted() {
    let inside = || {
        let _scope = scope!("fragile");
        let _deeper = scope!("deeper");
        Vec::<u8>::new().try_reserve(100).is_ok()
    };
    assert!(inside());
    let guard = fail_allocation(2)
        .expect("installed")
        .in_scope("fragile")
        .expect("it was entered");
    let outside = || Vec::<u8>::new().try_reserve(100).is_ok();
    assert_eq!(
        [outside(), inside(), outside(), inside(), inside()],
        [true, true, true, false, true]
    );
    assert_eq!(guard.failed(), 1);
    drop(guard);
    let error = fail_allocation(1)
        .expect("installed")
        .in_scope("nowhere")
        .expect_err("no such scope");
    assert!(
        error.to_string().contains("\"nowhere\": it was not entered yet"),
        "{error}"
    );
    assert!(outside(), "the guard went with the error");
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    // Reassigned: the new guard is made before the old one is dropped.
    let mut guard = fail_allocations_from(1000).expect("installed and on");
    assert_eq!(guard.failed(), 0);
    guard = fail_allocations_from(1).expect("installed and on");
    let is_refused = Vec::<u8>::new().try_reserve(10).is_err();
    let failed = guard.failed();
    drop(guard);
    let later = (0..2000).filter(|_| black_box(Vec::<u8>::new()).try_reserve(10).is_err());
    let later = later.count();
    assert_eq!((is_refused, failed, later), (true, 1, 0));
    // Were the first guard put back by the second, the last line would end the process.
    let first = deny_allocations(OnDenied::Abort).expect("installed and on");
    let second = deny_allocations(OnDenied::Count).expect("installed and on");
    drop(black_box(vec![0_u8; 10]));
    let of_first = first.denied();
    drop(first);
    drop(black_box(vec![0_u8; 10]));
    let of_second = second.denied();
    drop(second);
    drop(black_box(vec![0_u8; 10]));
    assert_eq!((of_first, of_second), (0, 2));
    // Too many are refused.
    let (guards, refused) = std::thread::spawn(|| {
        let mut guards = Vec::with_capacity(20);
        loop {
            match deny_allocations(OnDenied::Count) {
                Ok(guard) => guards.push(guard),
                Err(error) => break (guards.len(), error.to_string()),
            }
        }
    })
    .join()
    .expect("no panic");
    assert_eq!(guards, 8);
    assert!(refused.contains("8 guards of this kind"), "{refused}");
}

#[test]
fn a_forgotten_guard_ends_with_its_thread() {
    std::thread::spawn(|| std::mem::forget(fail_allocations_from(50).expect("installed and on")))
        .join()
        .expect("no panic");
    // One of these gets the state of the thread that has ended.
    for _ in 0..20 {
        let failed = std::thread::spawn(|| {
            drop(deny_allocations(OnDenied::Count).expect("installed and on"));
            let failed = (0..100).filter(|_| black_box(Vec::<u8>::new()).try_reserve(10).is_err());
            failed.count()
        });
        assert_eq!(failed.join().expect("no panic"), 0);
    }
}

#[test]
fn what_the_tracker_frees_of_its_own_is_not_denied() {
    let (denied, _) = measure(|| {
        let handle = current();
        std::thread::scope(|threads| {
            let carried = threads.spawn(|| {
                let guard = deny_allocations(OnDenied::Count).expect("installed and on").and_frees();
                handle.in_scope(|| ());
                guard.denied()
            });
            carried.join().expect("no panic")
        })
    })
    .expect("installed and on");
    assert_eq!(denied, 0);
}

#[test]
fn all_scopes_of_a_name_are_meant() {
    let granted = || Vec::<u8>::new().try_reserve(100).is_ok();
    let here = || {
        let _scope = scope!("of two places");
        granted()
    };
    let there = || {
        let _around = scope!("around");
        let _scope = scope!("of two places");
        granted()
    };
    let later = || {
        let _scope = scope!("of two places");
        let _deeper = scope!("deeper");
        granted()
    };
    assert!(here() && there());
    let guard = fail_allocation(4)
        .expect("installed and on")
        .in_scope("of two places")
        .expect("it was entered");
    // The last place is entered for the first time, and its request is the fourth that counts.
    let all = [here(), granted(), there(), there(), later(), here()];
    assert_eq!(all, [true, true, true, true, false, true]);
    assert_eq!(guard.failed(), 1);
}

#[test]
fn snapshots_work_while_requests_fail() {
    let guard = fail_allocations_from(1).expect("installed");
    let snapshot = Snapshot::take();
    assert_eq!(guard.failed(), 0);
    drop(guard);
    assert!(snapshot.is_ok());
}

#[test]
fn abort_ends_the_process_with_the_stack() {
    if std::env::var_os(CHILD).is_some() {
        let _guard = deny_allocations(OnDenied::Abort).expect("installed");
        drop(black_box(vec![0_u8; 321]));
        // Not reached.
        std::process::exit(0);
    }
    let output = std::process::Command::new(std::env::current_exe().expect("it has a path"))
        .args(["abort_ends_the_process_with_the_stack", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("allocscope: 1 event where allocations are denied; the first, of 321 bytes:\n  "),
        "{text}"
    );
    assert!(text.contains("deny_and_fail.rs:"), "{text}");
}
