//! What grows: the child's side of the curves. Each task makes so many of one thing and tells what one event costs then.
//!
//! Each answers `None` for a command that is not its own. Times are CPU time, of the thread where one works, of the process
//! where many do.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use alloc_core::scope;

use crate::child::Counted;
use crate::clock::{Resident, process_cpu_ns, timed};
use crate::figures::Numbers;

/// Levels of recursion under which every one of the distinct stacks allocates.
const LEVELS: u32 = 20;
/// Levels of scopes that every walk enters.
pub const SCOPE_LEVELS: u32 = 16;

/// The answer to one of the commands here.
pub(crate) fn answer(words: &[&str], counted: fn() -> Option<Counted>) -> Option<Vec<u64>> {
    let number = |place: usize| words[place].parse::<usize>().expect("a number");
    Some(match words[0] {
        "stacks" => stacks(number(1), words[2] == "inner", number(3), counted),
        "contexts" => contexts(number(1), number(2), counted, |_| ()).0,
        "scopes" => scope_tree(number(1), number(2)),
        "nesting" => nesting(number(1), number(2)),
        "blocks" => blocks(number(1), number(2), counted),
        "alive" => alive(number(1), number(2), counted),
        "short" => short(number(1), counted),
        _ => return None,
    })
}

#[inline(never)]
fn left(path: usize, levels: u32) -> usize {
    1 + turn(black_box(path), levels)
}

#[inline(never)]
fn right(path: usize, levels: u32) -> usize {
    2 + turn(black_box(path), levels)
}

/// Goes left or right by the lowest bit, and so on; allocates at the end. As many distinct stacks as paths.
#[inline(always)]
fn turn(path: usize, levels: u32) -> usize {
    if levels == 0 {
        drop(black_box(Box::new(path)));
        return 0;
    }
    let rest = if path & 1 == 0 {
        left(path >> 1, levels - 1)
    } else {
        right(path >> 1, levels - 1)
    };
    black_box(rest)
}

/// Allocates under `number` distinct stacks, one after the other, so that neighbours differ in the innermost frames or from
/// the outermost on. Nanoseconds of the first time round, and of as many rounds as make `turns` allocations, how many these
/// were, then what came: tracker bytes, contexts, allocations under "other".
fn stacks(number: usize, is_inner: bool, turns: usize, counted: fn() -> Option<Counted>) -> Vec<u64> {
    let round = || {
        for index in 0..number {
            let path = if is_inner {
                index.reverse_bits() >> (usize::BITS - LEVELS)
            } else {
                index
            };
            black_box(turn(path, LEVELS));
        }
    };
    let before = counted().unwrap_or_default();
    let rounds = turns.div_ceil(number);
    // One place that calls, whatever the compiler makes of it: the same stacks the first time and later.
    let counts = black_box(vec![1, rounds]);
    let mut times = [0; 2];
    for (time, &count) in times.iter_mut().zip(&counts) {
        (*time, ()) = timed(|| (0..count).for_each(|_| round()));
    }
    let [first, steady] = times;
    let after = counted().unwrap_or_default();
    vec![
        first,
        steady,
        (rounds * number) as u64,
        after.tracker_bytes - before.tracker_bytes,
        after.contexts - before.contexts,
        after.other - before.other,
    ]
}

/// Allocates under so many distinct call stacks, all of them on each thread; answers while the threads are alive:
/// resident memory that came, all and anonymous, then what the allocator says: tracker bytes that came, contexts that
/// came, allocations under "other" that came, blocks that came. And what `look` finds at that moment; it may call its
/// argument to allocate under half of the stacks again, on this thread.
pub fn contexts<T>(
    number: usize,
    threads: usize,
    counted: fn() -> Option<Counted>,
    look: impl FnOnce(&dyn Fn()) -> T,
) -> (Vec<u64>, T) {
    let levels = number.next_power_of_two().trailing_zeros();
    let (before, resident_before) = (counted().unwrap_or_default(), Resident::now());
    let (are_done, may_end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for path in 0..number {
                    black_box(turn(path, levels));
                }
                are_done.wait();
                may_end.wait();
            });
        }
        are_done.wait();
        let resident = Resident::now();
        let after = counted().unwrap_or_default();
        let seen = look(&|| {
            (0..number.div_ceil(2)).for_each(|path| {
                black_box(turn(path, levels));
            });
        });
        may_end.wait();
        let answer = vec![
            resident.all.saturating_sub(resident_before.all),
            resident.anonymous.saturating_sub(resident_before.anonymous),
            after.tracker_bytes - before.tracker_bytes,
            after.contexts - before.contexts,
            after.other - before.other,
            after.blocks - before.blocks,
        ];
        (answer, seen)
    })
}

type Scoped = fn(&mut dyn FnMut());

/// As many scopes as there are words: each a place of its own.
macro_rules! places {
    ($($place:tt)*) => {
        [$({
            fn enter(run: &mut dyn FnMut()) {
                let _: &str = stringify!($place);
                let _scope = scope!("place");
                run();
            }
            enter as Scoped
        }),*]
    };
}

static PLACES: [Scoped; 64] = places!(
    0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
);

/// Walks into a tree of scopes, two ways at each of the levels, so often; `leaves` of its paths come, in turn, and each
/// allocates once at its end. Nanoseconds, and the walks.
fn scope_tree(leaves: usize, turns: usize) -> Vec<u64> {
    fn walk(path: usize, level: usize) {
        if level == SCOPE_LEVELS as usize {
            drop(black_box(Box::new(path)));
            return;
        }
        PLACES[2 * level + (path & 1)](&mut || walk(path >> 1, level + 1));
    }
    let round = |count: usize| {
        (0..count).for_each(|index| walk((index % leaves).reverse_bits() >> (usize::BITS - SCOPE_LEVELS), 0));
    };
    round(leaves);
    let (time, ()) = timed(|| round(turns));
    vec![time, turns as u64]
}

/// Inside of `depth - 1` scopes, so often: enters one more, allocates a pair there, leaves, and allocates a pair outside. Nanoseconds, and the
/// turns.
fn nesting(depth: usize, turns: usize) -> Vec<u64> {
    fn pair() {
        drop(black_box(Box::new(7_u64)));
    }
    fn inside(place: usize, depth: usize, run: &mut dyn FnMut()) {
        if place + 1 == depth {
            run();
        } else {
            PLACES[place](&mut || inside(place + 1, depth, run));
        }
    }
    let mut time = 0;
    inside(0, depth, &mut || {
        let round = |count: usize| {
            for _ in 0..count {
                PLACES[depth - 1](&mut pair);
                pair();
            }
        };
        round(turns / 10 + 1);
        (time, ()) = timed(|| round(turns));
    });
    vec![time, turns as u64]
}

/// So many live blocks of 32 bytes, then `turns` of them replaced at random: nanoseconds to make all, to replace, anonymous
/// memory that came, and tracker bytes that came.
fn blocks(count: usize, turns: usize, counted: fn() -> Option<Counted>) -> Vec<u64> {
    let mut blocks: Vec<Option<Box<[u64; 4]>>> = vec![None; count];
    // Touch the pages of the list itself first: they are not the blocks'.
    blocks.iter_mut().for_each(|place| *black_box(place) = None);
    let (before, tracked) = (Resident::now(), counted().unwrap_or_default());
    let block = |number: usize| Some(Box::new([number as u64; 4]));
    let (made, ()) = timed(|| {
        blocks
            .iter_mut()
            .enumerate()
            .for_each(|(number, place)| *place = block(number))
    });
    let (after, came) = (Resident::now(), counted().unwrap_or_default());
    let mut numbers = Numbers::new(17);
    let (replaced, ()) = timed(|| (0..turns).for_each(|turn| blocks[numbers.below(count)] = block(turn)));
    assert!(black_box(&blocks).iter().all(Option::is_some), "all blocks are alive");
    vec![
        made,
        replaced,
        after.anonymous.saturating_sub(before.anonymous),
        came.tracker_bytes - tracked.tracker_bytes,
    ]
}

/// So many threads alive at once, each making its share of `turns` pairs of 64 bytes: CPU nanoseconds of all, the pairs made, and the
/// tracker bytes that came while all were alive.
fn alive(threads: usize, turns: usize, counted: fn() -> Option<Counted>) -> Vec<u64> {
    let share = turns.div_ceil(threads);
    let (are_done, may_end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let before = counted().unwrap_or_default();
    let time = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let run = || {
                let pairs = |count: usize| (0..count).for_each(|_| drop(black_box(Box::new([0_u64; 8]))));
                pairs(16);
                let (spent, ()) = timed(|| pairs(share));
                time.fetch_add(spent, Relaxed);
                are_done.wait();
                may_end.wait();
            };
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            thread.spawn_scoped(scope, run).expect("a thread can be started");
        }
        are_done.wait();
        let after = counted().unwrap_or_default();
        may_end.wait();
        vec![
            time.load(Relaxed),
            (share * threads) as u64,
            after.tracker_bytes - before.tracker_bytes,
        ]
    })
}

/// So many threads one after the other, each making ten pairs: CPU nanoseconds of the process, tracker bytes and anonymous memory that came.
fn short(count: usize, counted: fn() -> Option<Counted>) -> Vec<u64> {
    let run = || (0..10).for_each(|_| drop(black_box(Box::new([0_u64; 8]))));
    let round = |count: usize| (0..count).for_each(|_| std::thread::spawn(run).join().expect("it does not panic"));
    round(10);
    let (tracked, resident) = (counted().unwrap_or_default(), Resident::now());
    let start = process_cpu_ns();
    round(count);
    let time = process_cpu_ns() - start;
    let came = counted().unwrap_or_default();
    vec![
        time,
        came.tracker_bytes.saturating_sub(tracked.tracker_bytes),
        Resident::now().anonymous.saturating_sub(resident.anonymous),
    ]
}

/// One of 4,096 functions that allocate, each with a symbol of its own.
pub type Function = fn() -> usize;

#[inline(never)]
fn function<const A: usize, const B: usize, const C: usize, const D: usize>() -> usize {
    drop(black_box(Box::new([A, B, C, D])));
    A * 512 + B * 64 + C * 8 + D
}

macro_rules! by_last {
    ($a:literal $b:literal $c:literal) => {
        [
            function::<$a, $b, $c, 0>,
            function::<$a, $b, $c, 1>,
            function::<$a, $b, $c, 2>,
            function::<$a, $b, $c, 3>,
            function::<$a, $b, $c, 4>,
            function::<$a, $b, $c, 5>,
            function::<$a, $b, $c, 6>,
            function::<$a, $b, $c, 7>,
        ]
    };
}

macro_rules! by_third {
    ($a:literal $b:literal) => {
        [
            by_last!($a $b 0), by_last!($a $b 1), by_last!($a $b 2), by_last!($a $b 3),
            by_last!($a $b 4), by_last!($a $b 5), by_last!($a $b 6), by_last!($a $b 7),
        ]
    };
}

macro_rules! by_second {
    ($a:literal) => {
        [
            by_third!($a 0), by_third!($a 1), by_third!($a 2), by_third!($a 3),
            by_third!($a 4), by_third!($a 5), by_third!($a 6), by_third!($a 7),
        ]
    };
}

/// How many functions [`call`] knows.
pub const FUNCTIONS: usize = 4096;

static BY_DIGITS: [[[[Function; 8]; 8]; 8]; 8] = [
    by_second!(0),
    by_second!(1),
    by_second!(2),
    by_second!(3),
    by_second!(4),
    by_second!(5),
    by_second!(6),
    by_second!(7),
];

/// Calls one of the 4,096 functions by its number; it allocates.
///
/// # Panics
/// When there is no such function, or it is another one.
pub fn call(number: usize) {
    let result = BY_DIGITS[number / 512][number / 64 % 8][number / 8 % 8][number % 8]();
    assert_eq!(result, number, "each function is its own");
}
