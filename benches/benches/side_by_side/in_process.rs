//! What can be compared inside one process: single calls of the allocators, scopes, and what the machine can do at all.
//!
//! The bare allocator and ours are both called directly, through functions that are not inlined, as the shims behind
//! `#[global_allocator]` are. In every round the variants take their turns in random order, and a difference or a ratio is
//! always one of the same round.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use alloc_core::{Mode, Snapshot, set_mode};
use allocscope_benches::clock::timed;
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::verdicts::{Row, Targets};
use allocscope_benches::{Options, scopes as marked};

use super::ALLOC;

const MODES: [Mode; 4] = [Mode::Off, Mode::Scopes, Mode::Sampled, Mode::Exact];

/// Nanoseconds per turn of each variant, round by round; the order within a round is random.
fn rounds(count: usize, turns: u64, variants: &mut [&mut dyn FnMut(u64)]) -> Vec<Vec<f64>> {
    let mut numbers = Numbers::new(2024);
    let mut times = vec![Vec::with_capacity(count); variants.len()];
    for round in 0..count + count / 10 + 1 {
        for variant in numbers.order(variants.len()) {
            let (time, ()) = timed(|| variants[variant](turns));
            // The first tenth warms up.
            if round > count / 10 {
                times[variant].push(time as f64 / turns as f64);
            }
        }
    }
    times
}

#[inline(never)]
fn grant<A: GlobalAlloc>(allocator: &A, layout: Layout) -> *mut u8 {
    // SAFETY: the only layout used here has 64 bytes.
    unsafe { allocator.alloc(layout) }
}

/// # Safety
/// - `block` was granted by `allocator` for `layout` and is not used again.
#[inline(never)]
unsafe fn release<A: GlobalAlloc>(allocator: &A, block: *mut u8, layout: Layout) {
    // SAFETY: promised by the caller.
    unsafe { allocator.dealloc(block, layout) };
}

fn run_pairs<A: GlobalAlloc>(allocator: &A, count: u64) {
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..count {
        let block = black_box(grant(allocator, black_box(layout)));
        // SAFETY: granted in the line above by the same allocator for the same layout.
        unsafe { release(allocator, block, layout) };
    }
}

fn counted() -> u64 {
    let snapshot = Snapshot::take().expect("this program has the allocator installed");
    snapshot.totals.total_allocations
}

/// Added cost of one allocation and its free.
pub(super) fn pairs(options: Options) -> Vec<Row> {
    for (mode, expected) in MODES.into_iter().zip([0, 1000, 1000, 1000]) {
        set_mode(mode);
        let before = counted();
        run_pairs(&ALLOC, 1000);
        assert_eq!(counted() - before, expected, "allocations counted in mode {mode}");
    }
    let [mut off, mut scopes, mut sampled, mut exact] = MODES.map(|mode| {
        move |count| {
            set_mode(mode);
            run_pairs(&ALLOC, count);
        }
    });
    let times = rounds(
        options.pick(1500, 20),
        2000,
        &mut [
            &mut |count| run_pairs(&System, count),
            &mut off,
            &mut scopes,
            &mut sampled,
            &mut exact,
        ],
    );
    set_mode(Mode::Exact);
    let mut rows = vec![Row::info(
        "bare System: alloc + free",
        "ns",
        Summary::of(times[0].clone()),
    )];
    for (mode, ours) in MODES.iter().zip(&times[1..]) {
        let added = Summary::of_differences(ours, &times[0]);
        let name = format!("{mode}: added to an alloc + free pair");
        rows.push(match mode {
            Mode::Off => Row::judged(name, "ns", Targets::at_most(1.0, 0.0), added),
            Mode::Scopes => Row::judged(name, "ns", Targets::at_most(5.0, 3.0), added),
            // One in 8,192 of them is sampled.
            Mode::Sampled => Row::judged(name, "ns", Targets::at_most(3.0, 1.5), added),
            _ => Row::info(name, "ns", added),
        });
        let ratio = Summary::of_ratios(ours, &times[0]);
        rows.push(Row::info(format!("{mode}: ratio of a pair"), "x", ratio));
    }
    rows
}

/// By mode: nanoseconds of a call without and with a scope, a poll, and a call that allocates and frees, likewise.
fn scope_times(options: Options) -> [(Mode, [Vec<f64>; 6]); 4] {
    let expected = |count: u64| count * (count - 1) / 2;
    let call = |is_tagged, count| assert_eq!(marked::call(is_tagged, count), expected(count), "the sum is right");
    let pair = |is_tagged, count| assert_eq!(marked::call_pair(is_tagged, count), expected(count), "the sum is right");
    let poll = |is_tagged, count| assert_eq!(marked::poll(is_tagged, count), count, "every poll was made");
    let mut by_mode = MODES.map(|mode| (mode, Default::default()));
    // The modes take turns, too: what disturbs the machine for a second must not fall on one of them.
    for _ in 0..options.pick(10, 1) {
        for (mode, times) in &mut by_mode {
            set_mode(*mode);
            let more = rounds(
                options.pick(50, 20),
                5000,
                &mut [
                    &mut |count| call(false, count),
                    &mut |count| call(true, count),
                    &mut |count| poll(false, count),
                    &mut |count| poll(true, count),
                    &mut |count| pair(false, count),
                    &mut |count| pair(true, count),
                ],
            );
            let times: &mut [Vec<f64>; 6] = times;
            times.iter_mut().zip(more).for_each(|(times, more)| times.extend(more));
        }
    }
    by_mode
}

/// Cost of a scope around a call, and around a poll.
pub(super) fn scopes(options: Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (mode, times) in scope_times(options) {
        let call = Summary::of_differences(&times[1], &times[0]);
        let poll = Summary::of_differences(&times[3], &times[2]);
        let pair = Summary::of_differences(&times[5], &times[4]);
        let names = (
            format!("{mode}: scope enter + leave"),
            format!("{mode}: one extra poll"),
        );
        rows.push(Row::info(
            format!("{mode}: scope enter + leave around a pair"),
            "ns",
            pair,
        ));
        if mode == Mode::Off {
            rows.push(Row::info(names.0, "ns", call));
            rows.push(Row::info(names.1, "ns", poll));
        } else {
            rows.push(Row::judged(names.0, "ns", Targets::at_most(5.0, 3.0), call));
            rows.push(Row::judged(names.1, "ns", Targets::at_most(10.0, 5.0), poll));
        }
    }
    let entered = |name: &str| {
        let snapshot = Snapshot::take().expect("this program has the allocator installed");
        let node = snapshot.scopes.iter().find(|node| node.name.ends_with(name));
        node.map_or(0, |node| node.calls.entered)
    };
    set_mode(Mode::Scopes);
    let before = entered("::tagged");
    assert_eq!(marked::call(true, 1000), 499_500, "the sum is right");
    assert_eq!(
        entered("::tagged") - before,
        1000,
        "every call of the marked function was counted"
    );
    set_mode(Mode::Exact);
    rows
}

thread_local! {
    static LOCAL: Cell<u64> = const { Cell::new(1) };
}

/// What the simplest things cost here: nanoseconds in the other rows mean little without it.
pub(super) fn baseline(options: Options) -> Vec<Row> {
    static SHARED: AtomicU64 = AtomicU64::new(1);
    static LOCK: Mutex<u64> = Mutex::new(1);
    let times = rounds(
        options.pick(200, 10),
        20_000,
        &mut [
            &mut |turns| {
                black_box((0..turns / 16).fold(1, |sum, _| sixteen_adds(sum)));
            },
            &mut |turns| {
                let read = |_| black_box(&SHARED).load(Ordering::Relaxed);
                black_box((0..turns).map(read).fold(0, u64::wrapping_add));
            },
            &mut |turns| {
                let read = |_| black_box(LOCAL.with(Cell::get));
                black_box((0..turns).map(read).fold(0, u64::wrapping_add));
            },
            &mut |turns| (0..turns).for_each(|_| *LOCK.lock().expect("nobody panics here") += 1),
        ],
    );
    let names = ["dependent add", "relaxed load", "thread-local read", "uncontended lock"];
    let rows = names.iter().zip(times);
    rows.map(|(name, times)| Row::info(*name, "ns", Summary::of(times)))
        .collect()
}

/// Sixteen additions, each of which waits for the one before.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn sixteen_adds(mut sum: u64) -> u64 {
    macro_rules! add {
        ($($_:literal)*) => {$(
            let _: u64 = $_;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: adds a register to a register.
            unsafe { std::arch::asm!("add {sum}, {sum}", sum = inout(reg) sum, options(nomem, nostack)) };
            #[cfg(target_arch = "aarch64")]
            // SAFETY: adds a register to a register.
            unsafe { std::arch::asm!("add {sum}, {sum}, {sum}", sum = inout(reg) sum, options(nomem, nostack)) };
        )*};
    }
    add!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    sum
}

/// Without assembly the compiler would fold them: a black box each, so a store and a load are in it.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn sixteen_adds(sum: u64) -> u64 {
    (0..16).fold(sum, |sum, _| black_box(sum.wrapping_add(sum)))
}
