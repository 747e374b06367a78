//! Mode `sampled` in a real program against what the program knows it did: estimates, intervals, weights across intervals, temporary blocks,
//! calls, budgets, and a vector that grows in place.
//!
//! The program runs itself again with a seed; the statistics of the estimates at large are unit tests of `alloc-core`, where trials are cheap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use alloc_core::budget::{OnDenied, deny_allocations, measure};
use alloc_core::model::{Counters, SampleSum, ScopeNode};
use alloc_core::{Mode, Snapshot, SnapshotDiff, TrackingAllocator, scope, set_mode, set_sample_interval};
use allocscope_tests::{Rng, bytes, found, node, number_from_env, run_again, snapshot};

/// The system's, counting blocks that were reallocated, and of these the ones that began another way.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);
static REALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        REALLOCATED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[global_allocator]
static ALLOC: TrackingAllocator<Counting> = TrackingAllocator::with_inner(Counting);

const INTERVAL: u64 = 4 << 10;

fn live(node: &ScopeNode) -> SampleSum {
    node.own_samples.map_or_else(SampleSum::default, |samples| samples.live)
}

/// Fails when an estimate of single draws is off by more than chance: four standard errors.
fn assert_near(sum: &SampleSum, truth: f64) {
    assert!(sum.estimated_bytes().is_some(), "{sum:?}");
    let error = (sum.bytes - truth) / sum.bytes_variance.sqrt();
    assert!(error.abs() < 4.0, "{error} standard errors: {sum:?}");
}

/// Runs that replace blocks at random: the mean error of live bytes is within two standard errors of 0, and the intervals of what was granted
/// and of what is alive hold the truth in 93 to 97 of 100 runs (in the long form; by fewer runs the bounds are wider).
fn churn_runs() {
    let runs = number_from_env("ALLOCSCOPE_TEST_RUNS", 200);
    let (mut errors, mut held, mut all) = (Vec::new(), 0u32, 0u32);
    for seed in 0..runs {
        let mut rng = Rng::new(seed);
        let mut blocks: Vec<Option<Vec<u8>>> = (0..400).map(|_| None).collect();
        let before = snapshot();
        let mut granted = 0;
        {
            let _scope = scope!("churn");
            for _ in 0..2000 {
                let at = rng.below(blocks.len());
                blocks[at] = if blocks[at].is_some() {
                    None
                } else {
                    let size = rng.size(8 << 10);
                    granted += size as u64;
                    Some(bytes(size))
                };
            }
        }
        let after = snapshot();
        let truth: usize = blocks.iter().flatten().map(Vec::capacity).sum();
        let churned = node(&after, "churn");
        let diff = SnapshotDiff::between(&before, &after);
        let scope = diff
            .scopes
            .iter()
            .find(|scope| scope.name == "churn")
            .expect("it was entered");
        assert_eq!(scope.own.bytes, granted as i64, "bytes are exact");
        assert!(!diff.basis.exact && diff.basis.notes.iter().any(|note| note.contains("estimated")));
        let window = scope.own_samples.expect("something was sampled");
        // Everything before was freed.
        assert_eq!(window.retained.samples, live(churned).samples);
        assert!((window.retained.bytes - live(churned).bytes).abs() < 1.0);
        errors.push(live(churned).bytes - truth as f64);
        for (sum, truth) in [(window.granted, granted as f64), (window.retained, truth as f64)] {
            if sum.samples >= 30 {
                all += 1;
                held += u32::from(sum.estimated_bytes().expect("enough samples").holds(truth));
            }
        }
        drop(blocks);
        assert_eq!(live(&found("churn")).samples, 0, "every sample was freed");
        assert_eq!(found("churn").own.live_bytes, 0);
    }
    let mean = errors.iter().sum::<f64>() / runs as f64;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / (runs - 1) as f64;
    let bias = mean / (variance / runs as f64).sqrt();
    let percent = 100.0 * f64::from(held) / f64::from(all);
    println!(
        "{runs} runs: live is off by {mean:.0} bytes, {bias:.2} standard errors; {held} of {all} intervals hold: {percent:.1} %"
    );
    assert!(bias.abs() <= 2.0);
    assert!(all >= runs as u32 && (93.0..=97.0).contains(&percent));
}

/// Blocks sampled with different intervals count with their own weights, also when they are freed with another interval in force.
fn intervals_change() {
    let truth = 3000 * 400;
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(3000);
    for interval in [1 << 10, 16 << 10, 256] {
        set_sample_interval(interval);
        let _scope = scope!("intervals");
        kept.extend((0..1000).map(|_| bytes(400)));
    }
    let node = found("intervals");
    assert_near(&live(&node), truth as f64);
    let sampling = snapshot().sampling.expect("the mode is sampled");
    assert_eq!(
        (sampling.interval_bytes, sampling.samples.granted.interval_bytes),
        (256, 16 << 10)
    );
    drop(kept);
    assert_eq!(live(&found("intervals")).samples, 0);
    assert_eq!(found("intervals").own.live_bytes, 0, "each took away what it had added");
    set_sample_interval(INTERVAL);
}

/// Blocks freed at once are temporary, and those that outlive eight allocations are not.
fn temporary() {
    {
        let _scope = scope!("soon");
        for _ in 0..4000 {
            drop(bytes(256));
        }
    }
    {
        let _scope = scope!("late");
        let mut kept: Vec<Vec<u8>> = (0..16).map(|_| bytes(256)).collect();
        for turn in 0..4000 {
            kept[turn % 16] = bytes(256);
        }
    }
    let temporary = |name| found(name).own_samples.expect("sampled").temporary;
    assert_near(&temporary("soon"), 4000.0 * 256.0);
    // The last ones are freed without further allocations in between.
    assert!(temporary("late").samples <= 4, "{:?}", temporary("late"));
}

/// Allocations and bytes of calls are exact, and of the calls around them.
fn calls_are_exact() {
    for turn in 1..=10usize {
        let _outer = scope!("outer call");
        let kept = bytes(100);
        {
            let _inner = scope!("inner call");
            for _ in 0..turn {
                drop(bytes(1000));
            }
        }
        drop(kept);
    }
    let (outer, inner) = (found("outer call").calls, found("inner call").calls);
    assert_eq!((inner.completed, inner.allocations, inner.bytes), (10, 55, 55_000));
    assert_eq!((inner.max_allocations, inner.max_bytes), (10, 10_000));
    assert_eq!((outer.completed, outer.allocations, outer.bytes), (10, 65, 56_000));
}

/// Threads one after the other: each goes on with the state of the one before, and has draws of its own. Outside of scopes, for entering
/// one makes a thread look anyway.
fn short_threads() {
    const THREADS: usize = 3000;
    const BLOCKS: usize = 20;
    let sampled = || snapshot().sampling.expect("the mode is sampled");
    let before = sampled();
    for _ in 0..THREADS {
        let thread = std::thread::spawn(|| (0..BLOCKS).for_each(|_| drop(bytes(64))));
        thread.join().expect("the thread ends well");
    }
    let after = sampled();
    let (old, mut sum) = (before.samples.granted, after.samples.granted);
    sum.samples -= old.samples;
    sum.bytes -= old.bytes;
    sum.bytes_variance -= old.bytes_variance;
    let truth = after.bytes - before.bytes;
    assert!(truth >= (THREADS * BLOCKS * 64) as u64);
    assert_near(&sum, truth as f64);
}

/// A vector that grows to a gibibyte moves once, while it is small, whether or not it is sampled on the way.
fn vector_grows_in_place() {
    for interval in [1 << 40, 64 << 10] {
        set_sample_interval(interval);
        let mut grown: Vec<u8> = bytes(64);
        let (asked, reallocated) = (ASKED.load(Ordering::Relaxed), REALLOCATED.load(Ordering::Relaxed));
        let mut size = 64;
        while size < 1 << 30 {
            size *= 2;
            black_box(&mut grown).reserve_exact(size);
            let moves = ASKED.load(Ordering::Relaxed) - asked;
            match size {
                ..32_768 => assert!(moves <= 1, "interval {interval}: moved {moves} times"),
                65_536.. => assert_eq!(moves, 1, "interval {interval}, at {size} bytes"),
                _ => {}
            }
        }
        let reallocations = REALLOCATED.load(Ordering::Relaxed) - reallocated;
        assert_eq!(reallocations, 23, "interval {interval}");
    }
    set_sample_interval(INTERVAL);
}

/// A large block that is no sample has a header: it does not move when it is sampled later, and is reallocated in place in every mode.
fn large_blocks_stay() {
    set_sample_interval(1 << 40);
    let mut large: Vec<u8> = bytes(64 << 10);
    let mut zeroed = vec![0_u8; 1 << 20];
    assert!(zeroed.iter().all(|&byte| byte == 0));
    let asked = ASKED.load(Ordering::Relaxed);
    set_sample_interval(16);
    for (mode, size) in [
        (Mode::Sampled, 100 << 10),
        (Mode::Exact, 200 << 10),
        (Mode::Sampled, 300 << 10),
        (Mode::Off, 400 << 10),
        (Mode::Scopes, 500 << 10),
    ] {
        set_mode(mode);
        black_box(&mut large).reserve_exact(size);
        black_box(&mut zeroed).reserve_exact(size + (1 << 20));
    }
    set_mode(Mode::Sampled);
    assert_eq!(
        ASKED.load(Ordering::Relaxed),
        asked,
        "something has moved behind a header"
    );
    set_sample_interval(INTERVAL);
}

/// What a measurement calls frees: those of its thread, whatever the blocks were granted in, and no reallocations.
fn frees_are_those_of_the_thread() {
    set_mode(Mode::Off);
    let (plain, watched) = (bytes(100), bytes(100));
    set_mode(Mode::Sampled);
    // The next allocation is still one of the old interval.
    let draw_with = |interval| {
        set_sample_interval(interval);
        drop(bytes(1));
    };
    draw_with(1 << 40);
    let mut large: Vec<u8> = bytes(64 << 10);
    draw_with(16);
    let sample = bytes(10_000);
    set_mode(Mode::Exact);
    let measured = |work: &mut dyn FnMut()| measure(work).expect("tracking is on").1;
    let frees = |block: Vec<u8>| {
        let mut block = Some(block);
        measured(&mut || drop(block.take())).frees
    };
    assert_eq!((frees(plain), frees(sample)), (1, 1));
    let guard = deny_allocations(OnDenied::Count);
    assert_eq!(frees(watched), 1, "under attention");
    drop(guard);
    let usage = measured(&mut || large.reserve_exact(1 << 20));
    assert_eq!((usage.allocations, usage.reallocations, usage.frees), (0, 1, 0));
    set_mode(Mode::Sampled);
    set_sample_interval(INTERVAL);
}

static GROWN: AtomicPtr<Vec<u8>> = AtomicPtr::new(ptr::null_mut());

extern "C" fn grow(_: *mut c_void) -> *mut c_void {
    // SAFETY: `first_event_is_a_reallocation` has lent it until this thread has ended.
    unsafe { &mut *GROWN.load(Ordering::Acquire) }.reserve_exact(1000);
    ptr::null_mut()
}

/// A thread that begins with a reallocation has a state from then on: it is one, and no allocation.
fn first_event_is_a_reallocation() {
    set_sample_interval(1 << 40);
    let mut grown: Vec<u8> = bytes(100);
    GROWN.store(&raw mut grown, Ordering::Release);
    let before = snapshot().totals;
    let mut thread = 0;
    // SAFETY: the places are valid. (A thread of the standard library's may allocate before it does what it is told.)
    let status = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), grow, ptr::null_mut()) };
    assert_eq!(status, 0);
    // SAFETY: made above.
    unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    let after = snapshot().totals;
    let change = |figure: fn(&Counters) -> u64| figure(&after) - figure(&before);
    let done = (
        change(|totals| totals.total_allocations),
        change(|totals| totals.total_reallocations),
    );
    assert_eq!(done, (0, 1));
    drop(grown);
    set_sample_interval(INTERVAL);
}

/// Bytes that reallocations moved are counted of blocks that are no samples, too.
fn copies_are_counted() {
    set_sample_interval(1 << 40);
    let _scope = scope!("copies");
    let mut grown: Vec<u8> = bytes(64);
    // In the way, so that the first step has to move.
    let blocker = bytes(64);
    let mut copied = 0;
    for size in [128, 4096, 1 << 20] {
        let (address, before) = (grown.as_ptr().addr(), grown.capacity());
        black_box(&mut grown).reserve_exact(size);
        if grown.as_ptr().addr() != address {
            copied += before as u64;
        }
    }
    drop(blocker);
    let taken = snapshot();
    let own = taken
        .scopes
        .iter()
        .find(|node| node.name == "copies")
        .map(|node| node.own);
    assert_eq!(own.map(|own| own.copied_bytes), Some(copied));
    assert!(copied > 0 && taken.totals.copied_bytes >= copied);
    set_sample_interval(INTERVAL);
}

/// What is exact in other modes only is refused, in one sentence.
fn budgets_refuse() {
    let refused = alloc_core::budget::measure(|| drop(bytes(100))).expect_err("the mode is sampled");
    let text = refused.to_string();
    assert!(
        text.contains("mode sampled") && text.contains("set_mode(Mode::Exact)"),
        "{text}"
    );
}

/// Reports say what is estimated, show intervals, and show no number where there are too few samples.
fn reports() {
    let kept: Vec<Vec<u8>> = {
        let _scope = scope!("reported");
        (0..500).map(|_| bytes(512)).collect()
    };
    let mut taken = snapshot();
    taken.resolve();
    let text = taken.report().to_string();
    for part in [
        "Sampled: one sample in 4.0 KiB",
        "in parentheses the 95 %",
        "estimated: bytes",
        "live",
        "estimated",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = taken.report().to_json();
    assert!(
        json["sampling"]["interval_bytes"] == INTERVAL && json["estimates"]["live"]["estimated_bytes"]["high"].is_f64()
    );
    set_sample_interval(1 << 20);
    let before = snapshot();
    drop(kept);
    // One block of half an interval: at most a sample or two.
    let one = bytes(600 << 10);
    let after = snapshot();
    let mut diff = SnapshotDiff::between(&before, &after).report().to_string();
    let mut tries = 0;
    while !diff.contains("too few samples (") && tries < 50 {
        tries += 1;
        let more = bytes(600 << 10);
        let now = snapshot();
        diff = SnapshotDiff::between(&after, &now).report().to_string();
        drop(more);
    }
    assert!(diff.contains("too few samples ("), "{diff}");
    drop(one);
    let round = Snapshot::from_json(&taken.to_json().expect("it is sound")).expect("what was written");
    assert_eq!(round, taken);
    set_sample_interval(INTERVAL);
}

/// The same seed gives the same samples.
fn fingerprint() {
    let mut rng = Rng::new(1);
    let _scope = scope!("fingerprint");
    for _ in 0..5000 {
        drop(bytes(rng.size(4096)));
    }
    let samples = found("fingerprint").own_samples.expect("sampled").granted;
    println!("fingerprint {} {} {}", samples.samples, samples.blocks, samples.bytes);
}

fn fingerprint_of(seed: &str) -> String {
    let this = std::env::current_exe().expect("the running program has a path");
    let mut again = std::process::Command::new(this);
    again.env("ALLOCSCOPE_TEST_PART", "fingerprint");
    again.envs([
        ("ALLOCSCOPE_MODE", "sampled"),
        ("ALLOCSCOPE_SAMPLE_INTERVAL", "4KiB"),
        ("ALLOCSCOPE_SAMPLE_SEED", seed),
    ]);
    let output = again.output().expect("it can be started again");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Without a seed a storm of samples is held to the cap: the interval doubles, reports say so, and the estimate still holds.
fn storm() {
    let truth = 400_000u64 * 64;
    {
        let _scope = scope!("storm");
        for _ in 0..400_000 {
            drop(bytes(64));
        }
    }
    let snapshot = snapshot();
    let sampling = snapshot.sampling.expect("the mode is sampled");
    assert!(sampling.degraded && sampling.times_backed_off > 0, "{sampling:?}");
    assert!(sampling.current_interval_bytes > 16 && sampling.seed.is_none());
    let granted = node(&snapshot, "storm").own_samples.expect("sampled").granted;
    assert_near(&granted, truth as f64);
    assert!(snapshot.report().to_string().contains("Degraded: samples come faster"));
}

#[inline(never)]
fn left(path: u32, depth: u32) -> u32 {
    black_box(branch(path, depth) + 1)
}

#[inline(never)]
fn right(path: u32, depth: u32) -> u32 {
    black_box(branch(path, depth) + 2)
}

/// Allocates in a call stack that `path` says: another one for each of its lowest `depth` bits.
fn branch(path: u32, depth: u32) -> u32 {
    if depth == 0 {
        drop(bytes(64));
        return 0;
    }
    if path & 1 == 0 {
        left(path >> 1, depth - 1)
    } else {
        right(path >> 1, depth - 1)
    }
}

/// At the tracker's memory ceiling samples of new call stacks are not recorded: counted, said, and what is exact stays so.
fn ceiling() {
    {
        let _scope = scope!("ceiling");
        for path in 0..1 << 13 {
            black_box(branch(path, 13));
        }
    }
    let snapshot = snapshot();
    let sampling = snapshot.sampling.expect("the mode is sampled");
    assert!(sampling.degraded && sampling.unrecorded_samples > 0, "{sampling:?}");
    let node = node(&snapshot, "ceiling");
    assert_eq!((node.own.total_allocations, node.own.total_bytes), (1 << 13, 64 << 13));
    assert!(snapshot.tracker.tracker_bytes <= snapshot.tracker.tracker_bytes_limit);
    let samples = node.own_samples.expect("there was room for some");
    assert_eq!(samples.live.samples, 0, "everything was freed");
    let all = samples.granted.samples + sampling.unrecorded_samples;
    assert!(
        all > 8000,
        "a request of four intervals is sampled in 98 of 100 cases: {all}"
    );
    let text = snapshot.report().to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(
        words.join(" ").contains("the tracker is at its memory ceiling"),
        "{text}"
    );
}

fn main() {
    match std::env::var("ALLOCSCOPE_TEST_PART").as_deref() {
        Ok("statistics") => {
            set_mode(Mode::Sampled);
            calls_are_exact();
            intervals_change();
            temporary();
            reports();
            budgets_refuse();
            short_threads();
            vector_grows_in_place();
            large_blocks_stay();
            frees_are_those_of_the_thread();
            first_event_is_a_reallocation();
            copies_are_counted();
            churn_runs();
        }
        Ok("fingerprint") => fingerprint(),
        Ok("storm") => storm(),
        Ok("ceiling") => ceiling(),
        _ => {
            run_again(&[
                ("ALLOCSCOPE_TEST_PART", "statistics"),
                ("ALLOCSCOPE_SAMPLE_INTERVAL", "4KiB"),
                ("ALLOCSCOPE_SAMPLE_SEED", "1"),
            ]);
            run_again(&[
                ("ALLOCSCOPE_TEST_PART", "storm"),
                ("ALLOCSCOPE_MODE", "sampled"),
                ("ALLOCSCOPE_SAMPLE_INTERVAL", "16"),
                ("ALLOCSCOPE_SAMPLE_RATE", "500"),
            ]);
            run_again(&[
                ("ALLOCSCOPE_TEST_PART", "ceiling"),
                ("ALLOCSCOPE_MODE", "sampled"),
                ("ALLOCSCOPE_SAMPLE_INTERVAL", "16"),
                ("ALLOCSCOPE_SAMPLE_SEED", "1"),
                ("ALLOCSCOPE_MEMORY_MIB", "2"),
            ]);
            let [once, again, other] = ["5", "5", "6"].map(fingerprint_of);
            assert!(once.starts_with("fingerprint"), "{once}");
            assert_eq!(once, again, "equal seeds, equal samples");
            assert_ne!(once, other, "another seed, other samples");
            println!("estimates ... ok");
        }
    }
}
