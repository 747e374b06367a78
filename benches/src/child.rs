//! Child processes: one program per global allocator, driven line by line over pipes.
//!
//! An allocator is one `static` per program, so the bare allocator and ours cannot be the global one in one process. Instead
//! the bench keeps one child of each kind alive and lets them take short turns in random order: what is compared is never
//! more than a few milliseconds apart. A command is a line of words; the answer is a line of numbers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Instant;

use crate::clock::{Resident, timed};
use crate::workloads::{self, Pass};
use crate::{figures::Summary, scopes};

/// What an allocator that counts has counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Allocations and reallocations.
    pub blocks: u64,
    /// Bytes they were granted.
    pub bytes: u64,
    /// Frames recorded, summed over these blocks.
    pub frames: u64,
    /// Contexts in use.
    pub contexts: u64,
    /// Allocations counted under "other" for want of room.
    pub other: u64,
    /// What the tracker says it holds.
    pub tracker_bytes: u64,
}

/// The `main` of every child. `counted` asks its allocator, if that counts.
///
/// With arguments it does one thing and ends (`loop <what> <count>` for callgrind, `hello`); without, it reads commands.
///
/// # Panics
/// On commands it does not know and answers that are wrong: the parent then sees the pipe end.
pub fn main(counted: fn() -> Option<Counted>) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => serve(counted),
        ["hello"] => {
            println!("hello, world");
            let resident = Resident::now();
            let tracker_bytes = counted().map_or(0, |counted| counted.tracker_bytes);
            println!("{} {} {tracker_bytes}", resident.all, resident.anonymous);
        }
        ["loop", what, count] => println!("{}", run_loop(what, count.parse().expect("a count is a number"))),
        other => panic!("unknown arguments {other:?}"),
    }
}

fn run_loop(what: &str, count: u64) -> u64 {
    match what {
        "pair" => workloads::pairs(count),
        "tagged" => scopes::call(true, count),
        "untagged" => scopes::call(false, count),
        "tagged_nested" => scopes::call_nested(count),
        "tagged_pair" => scopes::call_pair(true, count),
        "untagged_pair" => scopes::call_pair(false, count),
        "iteration_pair" => scopes::iterate_pair(count),
        "carried" => scopes::call_carried(count),
        "tagged_poll" => scopes::poll(true, count),
        "untagged_poll" => scopes::poll(false, count),
        workload => {
            let mut pass = (workloads::named(workload).make)();
            (0..count).map(|_| pass()).sum()
        }
    }
}

fn serve(counted: fn() -> Option<Counted>) {
    let mut passes: HashMap<String, Pass> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the parent writes text");
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse::<usize>().expect("a number");
        let answer = match words[0] {
            "time" => time(prepared(&mut passes, words[1]), number(2)),
            "count" => count(prepared(&mut passes, words[1]), counted),
            "threads" => threads(number(1), words[2], number(3)),
            "grid" => grid(words[1], number(2), number(3), number(4)),
            "live" => live(number(1), number(2)),
            "contexts" => contexts(number(1), number(2), counted),
            other => panic!("unknown command {other}"),
        };
        let mut text = String::new();
        for number in answer {
            write!(text, "{number} ").expect("a string can be written to");
        }
        println!("{}", text.trim_end());
    }
}

/// The workload, prepared and run twice: rules, tables and caches are then as they stay.
fn prepared<'a>(passes: &'a mut HashMap<String, Pass>, name: &str) -> &'a mut Pass {
    passes.entry(name.to_owned()).or_insert_with(|| {
        let mut pass = (workloads::named(name).make)();
        assert_eq!(pass(), pass(), "a workload does the same in every pass");
        pass
    })
}

/// Median CPU nanoseconds of some passes after one that nobody times, and their checksum.
fn time(pass: &mut Pass, count: usize) -> Vec<u64> {
    let checksum = pass();
    let times = (0..count).map(|_| {
        let (time, result) = timed(&mut *pass);
        assert_eq!(result, checksum, "a workload does the same in every pass");
        time as f64
    });
    vec![Summary::of(times).median as u64, checksum]
}

/// What the allocator counted during one pass: blocks, bytes, frames; nothing if it does not count.
fn count(pass: &mut Pass, counted: fn() -> Option<Counted>) -> Vec<u64> {
    let before = counted();
    pass();
    let Some((before, after)) = before.zip(counted()) else {
        return vec![];
    };
    vec![
        after.blocks - before.blocks,
        after.bytes - before.bytes,
        after.frames - before.frames,
    ]
}

/// Runs a workload on so many threads at once: mean CPU and mean wall nanoseconds per thread, of `count` passes after a
/// warm one.
fn threads(number: usize, workload: &str, count: usize) -> Vec<u64> {
    let barrier = Barrier::new(number);
    let run = || {
        let mut pass = (workloads::named(workload).make)();
        let checksum = pass();
        pass();
        barrier.wait();
        let start = Instant::now();
        let (cpu, ()) = timed(|| (0..count).for_each(|_| assert_eq!(pass(), checksum, "the same in every pass")));
        let wall = start.elapsed().as_nanos() as u64;
        // What is freed here must not be freed while another thread is timed.
        barrier.wait();
        (cpu, wall)
    };
    let times: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..number).map(|_| scope.spawn(run)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("no workload panics"))
            .collect()
    });
    let number = number as u64;
    vec![
        times.iter().map(|(cpu, _)| cpu).sum::<u64>() / number,
        times.iter().map(|(_, wall)| wall).sum::<u64>() / number,
    ]
}

/// Patterns of use that the grid knows.
pub const PATTERNS: [&str; 3] = ["pair", "grow", "handover"];

/// One cell of the grid on so many threads at once: CPU nanoseconds of all threads, and the turns that were made.
fn grid(pattern: &str, size: usize, threads: usize, turns: usize) -> Vec<u64> {
    let run: fn(usize, usize) -> u64 = match pattern {
        "pair" => pair_of,
        "grow" => grow,
        "handover" => hand_over,
        other => panic!("unknown pattern {other}"),
    };
    let barrier = Barrier::new(threads);
    let on_thread = || {
        run(size, turns / 10 + 1);
        barrier.wait();
        let time = run(size, turns);
        barrier.wait();
        time
    };
    let time = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(on_thread)).collect();
        let times = handles
            .into_iter()
            .map(|handle| handle.join().expect("no pattern panics"));
        times.sum()
    });
    vec![time, (turns * threads) as u64]
}

/// Allocates and frees.
fn pair_of(size: usize, turns: usize) -> u64 {
    timed(|| (0..turns).for_each(|_| drop(black_box(Vec::<u8>::with_capacity(size))))).0
}

/// Grows one vector by `size` bytes, 16 times, then begins anew.
fn grow(size: usize, turns: usize) -> u64 {
    let grow_once = |vector: &mut Vec<u8>, turn: usize| {
        if turn.is_multiple_of(16) {
            *vector = Vec::new();
        }
        let wanted = vector.capacity() + size;
        // The vector is empty, so this asks for a capacity of exactly that.
        vector.reserve_exact(wanted);
        assert!(black_box(&vector).capacity() >= wanted, "the vector grows");
    };
    let mut vector = Vec::new();
    timed(|| (0..turns).for_each(|turn| grow_once(&mut vector, turn))).0
}

/// Allocates batches of blocks that another thread frees; the time of both.
fn hand_over(size: usize, turns: usize) -> u64 {
    const BATCH: usize = 100;
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Vec<u8>>>(2);
    std::thread::scope(|scope| {
        let freeing = scope.spawn(move || receiver.into_iter().map(|batch| timed(|| drop(batch)).0).sum::<u64>());
        let mut time = 0;
        for start in (0..turns).step_by(BATCH) {
            let count = BATCH.min(turns - start);
            let (spent, batch) = timed(|| (0..count).map(|_| Vec::with_capacity(size)).collect());
            time += spent;
            sender.send(batch).expect("the other thread lives");
        }
        drop(sender);
        time + freeing.join().expect("freeing does not panic")
    })
}

/// Growth of resident memory, all and anonymous, by so many live blocks of `size` bytes, every byte of them written.
fn live(size: usize, count: usize) -> Vec<u64> {
    let mut blocks: Vec<Box<[u8]>> = Vec::with_capacity(count);
    // Touch the pages of the list itself first: they are not the blocks'.
    blocks.extend((0..count).map(|_| Box::default()));
    blocks.clear();
    let before = Resident::now();
    blocks.extend((0..count).map(|number| vec![1 + (number % 200) as u8; size].into_boxed_slice()));
    let after = Resident::now();
    assert!(
        black_box(&blocks)
            .iter()
            .all(|block| block.iter().all(|byte| *byte != 0))
    );
    vec![
        after.all.saturating_sub(before.all),
        after.anonymous.saturating_sub(before.anonymous),
    ]
}

#[inline(never)]
fn left(path: usize, levels: u32) -> usize {
    1 + turn(black_box(path), levels)
}

#[inline(never)]
fn right(path: usize, levels: u32) -> usize {
    2 + turn(black_box(path), levels)
}

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

/// Allocates under so many distinct call stacks, all of them on each thread; answers while the threads are alive:
/// resident memory that came, all and anonymous, then what the allocator says: tracker bytes that came, contexts that
/// came, allocations under "other" that came, blocks that came.
fn contexts(number: usize, threads: usize, counted: fn() -> Option<Counted>) -> Vec<u64> {
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
        may_end.wait();
        vec![
            resident.all.saturating_sub(resident_before.all),
            resident.anonymous.saturating_sub(resident_before.anonymous),
            after.tracker_bytes - before.tracker_bytes,
            after.contexts - before.contexts,
            after.other - before.other,
            after.blocks - before.blocks,
        ]
    })
}

/// A running child, seen from the bench.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
    name: String,
}

/// Command for one of the children, in a given mode and nothing else of ours in its environment.
#[must_use]
pub fn command(executable: &Path, mode: &str) -> Command {
    let mut command = Command::new(executable);
    for variable in ["DEPTH", "REPORT", "SNAPSHOT", "OBSERVE", "MEMORY_MIB"] {
        command.env_remove(format!("ALLOCSCOPE_{variable}"));
    }
    command.env("ALLOCSCOPE_MODE", mode);
    command
}

impl Child {
    /// Starts one; `mode` is for ours, the others ignore it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(executable: &Path, mode: &str) -> Self {
        Self::start_command(command(executable, mode), format!("{} in {mode}", executable.display()))
    }

    /// Starts one with a command of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_command(mut command: Command, name: String) -> Self {
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let answers = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        Self { process, answers, name }
    }

    /// Sends a command and waits for the numbers.
    ///
    /// # Panics
    /// When the child has failed.
    pub fn ask(&mut self, line: &str) -> Vec<u64> {
        let pipe = self.process.stdin.as_mut().expect("its input is a pipe");
        let mut answer = String::new();
        let is_answered = writeln!(pipe, "{line}").and_then(|()| self.answers.read_line(&mut answer));
        assert!(
            matches!(is_answered, Ok(1..)),
            "{} failed at `{line}`: see its message above",
            self.name
        );
        answer
            .split_whitespace()
            .map(|number| number.parse().expect("answers are numbers"))
            .collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let is_done = self.process.wait().is_ok_and(|status| status.success());
        if !std::thread::panicking() {
            assert!(is_done, "{} ended with an error", self.name);
        }
    }
}
