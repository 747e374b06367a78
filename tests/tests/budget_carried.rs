//! Measurements of work that handles carry to threads, tasks and pools: all of it, and none of the neighbours'.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use alloc_core::budget::{Usage, measure, measure_async};
use alloc_core::carry::{self, CarryFuture};
use alloc_core::{TrackingAllocator, current, scope};
use rayon::prelude::*;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn measured<R>(work: impl FnOnce() -> R) -> (R, Usage) {
    measure(work).expect("the tracker is installed and on")
}

/// What a closure counts on this thread when it is run by itself.
fn figures(usage: &Usage) -> [u64; 4] {
    [usage.allocations, usage.bytes, usage.frees, usage.retained_bytes]
}

fn allocate(blocks: usize, size: usize) {
    for _ in 0..blocks {
        drop(black_box(vec![0_u8; size]));
    }
}

/// Runs `work` while two other threads allocate in scopes, and carry work themselves.
fn with_neighbours(work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let _scope = scope!("neighbour");
                while !stop.load(Ordering::Relaxed) {
                    allocate(10, 777);
                    let (_, usage) = measured(|| current().in_scope(|| allocate(3, 55)));
                    assert_eq!(usage.bytes, 165);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        work();
    });
}

/// Also when the work fails: else the neighbours would go on for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn threads_that_carry_a_handle_count_and_others_do_not() {
    let (jobs, from) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let (done, finished) = mpsc::channel();
    let pool = std::thread::spawn(move || {
        for job in from {
            job();
            done.send(()).expect("somebody waits");
        }
    });
    with_neighbours(|| {
        for _ in 0..200 {
            let (kept, usage) = measured(|| {
                let handle = current();
                let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
                let to = kept.clone();
                jobs.send(Box::new(move || {
                    handle.in_scope(|| {
                        allocate(5, 100);
                        *to.lock().expect("no panic") = vec![1_u8; 1000];
                        drop(to);
                    });
                    // Behind the handle: not counted.
                    allocate(7, 7);
                }))
                .expect("the pool lives");
                finished.recv().expect("the pool lives");
                kept
            });
            // The job's box, the channel's own blocks and the Arc are this thread's; those we cannot name exactly.
            assert!(usage.allocations >= 6 && usage.bytes >= 1500, "{usage:?}");
            assert!(usage.bytes < 10_000, "{usage:?}");
            drop(kept);
        }
    });
    drop(jobs);
    pool.join().expect("no panic");
}

#[test]
fn scoped_threads_are_counted_exactly() {
    with_neighbours(|| {
        for threads in [1, 2, 4] {
            // What starting threads costs, without any work in them.
            let start = |work: fn()| {
                measured(|| {
                    std::thread::scope(|scope| {
                        for _ in 0..threads {
                            let handle = current();
                            scope.spawn(move || handle.in_scope(work));
                        }
                    });
                })
                .1
            };
            let empty = start(|| ());
            let full = start(|| allocate(10, 100));
            assert_eq!(full.allocations - empty.allocations, 10 * threads);
            assert_eq!(full.bytes - empty.bytes, 1000 * threads);
            // Not the frees, nor what is retained: a scope ends before its threads have dropped what std keeps for them.
            assert!(
                !full.is_peak_exact && full.peak_bytes >= 100 && full.peak_bytes <= empty.peak_bytes + 100 * threads
            );
        }
    });
}

#[test]
fn what_carried_work_leaves_alive_is_retained_until_anybody_frees_it() {
    let (sender, receiver) = mpsc::channel();
    let (_, usage) = measured(|| {
        let handle = current();
        std::thread::spawn(move || {
            handle.in_scope(|| {
                sender
                    .send([vec![0_u8; 100], vec![0_u8; 20], vec![0_u8; 3]])
                    .expect("somebody waits");
            });
        })
        .join()
        .expect("no panic");
        let [kept, freed_here, freed_there] = receiver.recv().expect("it was sent");
        drop(freed_here);
        std::thread::spawn(move || drop(freed_there)).join().expect("no panic");
        drop(receiver);
        std::mem::forget(kept);
    });
    // Whatever threads and channels keep is freed by now, but for std's own lists; the forgotten hundred bytes are not.
    let (_, without) = measured(|| {
        std::thread::spawn(|| ()).join().expect("no panic");
        std::thread::spawn(|| ()).join().expect("no panic");
    });
    assert_eq!(
        usage.retained_bytes,
        100 + without.retained_bytes,
        "{usage:?} {without:?}"
    );
}

#[test]
fn nested_measurements_on_other_threads_are_part_of_the_outer_one_and_of_no_other() {
    let (inner, outer) = measured(|| {
        let handle = current();
        let other = measured(|| ()).1;
        assert_eq!(other.allocations, 0);
        std::thread::scope(|threads| {
            let thread = threads.spawn(|| {
                handle.in_scope(|| {
                    let (kept, inner) = measured(|| {
                        let inside = current();
                        std::thread::scope(|threads| threads.spawn(move || inside.in_scope(|| vec![0_u8; 31])).join())
                            .expect("no panic")
                    });
                    drop(kept);
                    allocate(1, 64);
                    inner
                })
            });
            thread.join().expect("no panic")
        })
    });
    assert!(
        inner.retained_bytes >= 31 && outer.bytes >= inner.bytes + 64,
        "{inner:?} {outer:?}"
    );
    assert!(outer.allocations > inner.allocations);
}

#[test]
fn work_entered_through_an_outer_handle_counts_outside() {
    let handle = current();
    let (_, usage) = measured(|| {
        allocate(1, 10);
        handle.in_scope(|| allocate(5, 100));
        allocate(1, 20);
    });
    assert_eq!(figures(&usage), [2, 30, 2, 0]);
    assert!(!usage.is_peak_exact && !usage.is_retained_exact);
    // One level up.
    let (inner, outer) = measured(|| {
        let handle = current();
        let (_, inner) = measured(|| {
            allocate(1, 10);
            handle.in_scope(|| allocate(5, 100));
        });
        inner
    });
    assert_eq!((figures(&inner), figures(&outer)), ([1, 10, 1, 0], [6, 510, 6, 0]));
    assert!(outer.is_retained_exact && !inner.is_retained_exact);
}

#[test]
fn the_same_threads_handle_changes_nothing() {
    let (_, usage) = measured(|| {
        allocate(1, 10);
        current().in_scope(|| {
            let _scope = scope!("inside");
            current().in_scope(|| allocate(2, 100));
        });
    });
    assert_eq!(figures(&usage), [3, 210, 3, 0]);
    assert!(usage.is_peak_exact);
    assert_eq!(usage.peak_bytes, 100);
}

#[test]
fn rayon_work_is_counted_wherever_it_is_stolen() {
    with_neighbours(|| {
        std::thread::scope(|threads| {
            for size in [100_usize, 200, 300] {
                threads.spawn(move || {
                    // Starting a job in the pool allocates now and then; the work itself is exact.
                    for _ in 0..50 {
                        let (kept, usage) = measured(|| {
                            let handle = current();
                            let work = handle.wrap(move |n: usize| {
                                let (kept, inner) = measured(|| black_box(vec![0_u8; size + n % 2]));
                                assert_eq!(inner.allocations, 1);
                                assert_eq!(inner.bytes, (size + n % 2) as u64);
                                kept
                            });
                            (0..64).into_par_iter().map(work).collect::<Vec<_>>()
                        });
                        let vectors: u64 = kept.iter().map(|kept| kept.len() as u64).sum();
                        assert_eq!(vectors, 64 * size as u64 + 32);
                        let outside = usage.bytes - vectors;
                        let list = 64 * size_of::<Vec<u8>>() as u64;
                        assert!(outside >= list && outside < list + 20_000, "{outside} of {usage:?}");
                        assert!(
                            usage.retained_bytes >= vectors + list && usage.retained_bytes <= usage.bytes,
                            "{usage:?}"
                        );
                        drop(kept);
                    }
                });
            }
        });
    });
}

#[test]
fn many_small_pieces_keep_what_they_left() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .expect("three threads");
    let (kept, usage) = measured(|| {
        let work = current().wrap(|n: usize| vec![n as u8; 8]);
        pool.install(|| {
            (0..20_000)
                .into_par_iter()
                .with_max_len(1)
                .map(work)
                .collect::<Vec<_>>()
        })
    });
    // The list itself is made by the pool, outside the handle.
    assert_eq!(
        (usage.allocations, usage.bytes, usage.retained_bytes),
        (20_000, 160_000, 160_000)
    );
    drop(kept);
}

#[test]
fn spawned_tasks_are_counted_and_their_neighbours_are_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("two threads");
    let noise = |stop: &'static AtomicBool| async move {
        while !stop.load(Ordering::Relaxed) {
            allocate(3, 4321);
            tokio::task::yield_now().await;
        }
    };
    static STOP: AtomicBool = AtomicBool::new(false);
    let stop = StopOnDrop(&STOP);
    let noise = runtime.spawn(noise(&STOP));
    let run = |blocks: usize| {
        runtime.block_on(async {
            let (_, usage) = measure_async(async move {
                let tasks: Vec<_> = (0..4)
                    .map(|_| carry::tokio::spawn(async move { allocate(blocks, 100) }))
                    .collect();
                for task in tasks {
                    task.await.expect("no panic");
                }
                let handle = current();
                tokio::task::spawn_blocking(move || handle.in_scope(|| allocate(blocks, 10)))
                    .await
                    .expect("no panic");
                async move { allocate(blocks, 1) }.in_current_scope().await;
            })
            .await
            .expect("installed");
            usage
        })
    };
    let least = |blocks| {
        (0..20)
            .map(|_| run(blocks))
            .map(|usage| usage.bytes)
            .min()
            .expect("twenty")
    };
    // Both have the same tasks; they differ by the work alone.
    assert_eq!(least(30) - least(20), 10 * (4 * 100 + 10 + 1));
    drop(stop);
    runtime.block_on(noise).expect("no panic");
}

#[test]
fn work_that_still_runs_is_refused() {
    let (go, wait) = mpsc::channel::<()>();
    let (entered, is_entered) = mpsc::channel();
    let mut thread = None;
    let error = measure(|| {
        let handle = current();
        thread = Some(std::thread::spawn(move || {
            handle.in_scope(|| {
                entered.send(()).expect("somebody waits");
                let _ = wait.recv();
                allocate(1, 10);
            });
        }));
        is_entered.recv().expect("the thread runs");
    })
    .expect_err("one piece runs");
    assert!(error.is_not_measured());
    assert_eq!(
        error.to_string(),
        "failed to measure: 1 pieces of work that scope handles or inner measurements carry are still running; join or await them \
         before the measurement ends"
    );
    drop(go);
    thread.expect("it was started").join().expect("no panic");
    assert_eq!(measured(|| ()).1.allocations, 0);
}

#[test]
fn sites_of_carried_work_are_named() {
    let (kept, usage) = measured(|| {
        let handle = current();
        std::thread::scope(|threads| {
            threads
                .spawn(move || handle.in_scope(|| black_box(vec![0_u8; 54_321])))
                .join()
                .expect("no panic")
        })
    });
    let sites = usage.sites();
    assert_eq!((sites[0].bytes, sites[0].live_bytes), (54_321, 54_321), "{sites:#?}");
    assert!(sites[0].file.ends_with("budget_carried.rs"));
    drop(kept);
}

/// Pending once.
fn come_back() -> impl Future<Output = ()> {
    let mut was_here = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut was_here, true) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

/// Runs `work` on another thread, in the scope and the measurement that this one is in.
fn carried<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let handle = current();
    std::thread::scope(|threads| {
        let thread = threads.spawn(move || handle.in_scope(work));
        thread.join().expect("no panic")
    })
}

#[test]
fn measurements_that_are_dropped_half_way_give_back_what_they_took() {
    // More than there are places for pieces of carried work.
    for _ in 0..1100 {
        let mut future = Box::pin(measure_async(async {
            carried(|| allocate(1, 10));
            come_back().await;
        }));
        assert!(poll(future.as_mut()).is_none());
    }
    assert!(measured(|| carried(|| allocate(1, 1000))).1.bytes >= 1000);
}

#[test]
fn what_was_carried_is_retained_wherever_the_last_poll_is() {
    let mut kept = Vec::new();
    let mut future = Box::pin(measure_async(async {
        carried(|| kept = vec![1_u8; 5000]);
        come_back().await;
    }));
    {
        let _scope = scope!("first poll");
        assert!(poll(future.as_mut()).is_none());
    }
    let ((), usage) = poll(future.as_mut()).expect("ready").expect("installed and on");
    assert_eq!(usage.retained_bytes, 5000, "{usage:?}");
    drop(future);
    drop(kept);
}

#[test]
fn work_carried_from_a_measurement_that_has_ended_counts_in_the_one_around() {
    let (_, usage) = measured(|| {
        let (handle, _) = measured(current);
        std::thread::scope(|threads| {
            threads.spawn(|| handle.in_scope(|| allocate(1, 77_777)));
        });
    });
    assert!((77_777..79_000).contains(&usage.bytes), "{usage:?}");
    // Begun in the inner one, which it outlives, and over before the outer one is.
    let mut kept = Vec::new();
    let ((), usage) = measured(|| {
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let kept = &mut kept;
        std::thread::scope(|threads| {
            let refused = measure(|| {
                let handle = current();
                threads.spawn(move || {
                    handle.in_scope(|| {
                        begun.send(()).expect("somebody waits");
                        may_go_on.recv().expect("somebody tells");
                        *kept = vec![1_u8; 55_555];
                    });
                });
                has_begun.recv().expect("the thread lives");
            });
            let text = refused.expect_err("it still runs").to_string();
            assert!(text.contains("still running"), "{text}");
            go_on.send(()).expect("the thread lives");
        });
    });
    assert!(usage.bytes >= 55_555 && usage.peak_bytes >= 55_555, "{usage:?}");
    assert!((55_555..60_000).contains(&usage.retained_bytes), "{usage:?}");
    drop(kept);
    // It still runs when the outer one ends.
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mut thread = None;
    let refused = measure(|| {
        let (begun, has_begun) = mpsc::channel();
        let inner = measure(|| {
            let handle = current();
            thread = Some(std::thread::spawn(move || {
                handle.in_scope(|| {
                    begun.send(()).expect("somebody waits");
                    may_go_on.recv().expect("somebody tells");
                });
            }));
            has_begun.recv().expect("the thread lives");
        });
        assert!(inner.is_err());
    });
    go_on.send(()).expect("the thread lives");
    thread.expect("was started").join().expect("no panic");
    let text = refused.expect_err("it still ran").to_string();
    assert!(text.contains("still running"), "{text}");
}

#[test]
fn a_stranger_that_is_polled_inside_makes_the_figures_bounds() {
    let mut stranger = Box::pin(measure_async(async {
        come_back().await;
        vec![1_u8; 100_000]
    }));
    assert!(poll(stranger.as_mut()).is_none());
    let (made, usage) = measured(|| poll(stranger.as_mut()).expect("ready").expect("installed and on"));
    assert_eq!((usage.bytes, made.1.retained_bytes), (0, 100_000));
    assert!(!usage.is_peak_exact && !usage.is_retained_exact, "{usage:?}");
}

#[test]
fn carried_work_without_figures_of_its_own_is_refused() {
    let refusal = |work: fn()| {
        let outer = measure(|| {
            measure(|| {
                let handle = current();
                std::thread::scope(|threads| {
                    threads.spawn(move || {
                        // A scope that is left before the guard inside it.
                        let scope = scope!("left first");
                        let entered = handle.enter();
                        work();
                        drop(scope);
                        drop(entered);
                    });
                });
            })
            .expect_err("nobody knows what was retained")
            .to_string()
        });
        // Nor is it known outside.
        outer.expect_err("as inside").to_string()
    };
    let text = refusal(|| allocate(1, 100));
    assert!(text.contains("left out of order"), "{text}");
}
