//! The child's side: a program under one global allocator, which does what its parent asks for, line by line.
//!
//! An allocator is one `static` per program, so two of them cannot be the global one in one process. Instead the benches
//! keep a child of each kind alive (`drive`) and let them take short turns in random order: what is compared is
//! never more than a few milliseconds apart. A command is a line of words; the answer is a line of numbers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::BufRead;
use std::sync::Barrier;
use std::time::Instant;

use crate::clock::{Resident, process_cpu_ns, timed};
use crate::figures::Summary;
use crate::workloads::{self, Pass};
use crate::{scaling, scopes, service};

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

impl Counted {
    /// Of an allocator that counts allocations and nothing else we ask for.
    #[must_use]
    pub fn blocks(blocks: u64) -> Self {
        Self {
            blocks,
            ..Self::default()
        }
    }
}

/// What a program knows about the allocator it runs under.
#[derive(Clone, Copy)]
pub struct Under {
    /// What the allocator has counted, if it counts.
    pub counted: fn() -> Option<Counted>,
    /// Runs a pass in what the allocator measures by: a closure, a span, a function. Nothing for most.
    pub around: fn(&mut dyn FnMut()),
    /// Commands that only this allocator knows.
    pub own: fn(&[&str]) -> Option<Vec<u64>>,
}

impl std::fmt::Debug for Under {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Under")
    }
}

/// The variant of an allocator that its parent asks for: `BENCH_VARIANT`, or nothing.
#[must_use]
pub fn variant() -> String {
    std::env::var("BENCH_VARIANT").unwrap_or_default()
}

/// The `main` of a child whose allocator needs no more than to be asked what it has counted.
///
/// # Panics
/// As [`Under::run`].
pub fn main(counted: fn() -> Option<Counted>) {
    main_around(|pass| pass(), counted);
}

/// The `main` of a child whose allocator counts only inside of something.
///
/// # Panics
/// As [`Under::run`].
pub fn main_around(around: fn(&mut dyn FnMut()), counted: fn() -> Option<Counted>) {
    let own = |_: &[&str]| None;
    Under { counted, around, own }.run();
}

impl Under {
    /// With arguments it does one thing and ends (`loop <what> <count>` for callgrind, `hello`, `service`); without, it
    /// reads commands.
    ///
    /// # Panics
    /// On commands it does not know and answers that are wrong: the parent then sees the pipe end.
    pub fn run(self) {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => self.serve(),
            ["hello"] => {
                println!("hello, world");
                let resident = Resident::now();
                let tracker_bytes = (self.counted)().map_or(0, |counted| counted.tracker_bytes);
                println!("{} {} {tracker_bytes}", resident.all, resident.anonymous);
            }
            ["exit"] => {}
            ["service"] => service::serve(self.counted),
            ["loop", what, count] => println!("{}", self.run_loop(what, count.parse().expect("a count is a number"))),
            other => panic!("unknown arguments {other:?}"),
        }
    }

    fn run_loop(self, what: &str, count: u64) -> u64 {
        match what {
            "pair" => {
                let mut sum = 0;
                (self.around)(&mut || sum = workloads::pairs(count));
                sum
            }
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
                let mut pass = self.pass_of(workload);
                (0..count).map(|_| pass()).sum()
            }
        }
    }

    /// The workload, each pass of it in what the allocator measures by.
    fn pass_of(self, workload: &str) -> Pass {
        let mut pass = (workloads::named(workload).make)();
        Box::new(move || {
            let mut result = 0;
            (self.around)(&mut || result = pass());
            result
        })
    }

    fn serve(self) {
        let mut passes: HashMap<String, Pass> = HashMap::new();
        for line in std::io::stdin().lock().lines() {
            let line = line.expect("the parent writes text");
            let words: Vec<&str> = line.split(' ').collect();
            let number = |place: usize| words[place].parse::<usize>().expect("a number");
            let answer = match words[0] {
                "time" => time(self.prepared(&mut passes, words[1]), number(2)),
                "count" => self.count(&mut passes, words[1]),
                "threads" => self.threads(number(1), words[2], number(3)),
                "live" => live(number(1), number(2)),
                _ => scaling::answer(&words, self.counted)
                    .or_else(|| (self.own)(&words))
                    .unwrap_or_else(|| panic!("unknown command {line}")),
            };
            let mut text = String::new();
            for number in answer {
                write!(text, "{number} ").expect("a string can be written to");
            }
            println!("{}", text.trim_end());
        }
    }

    /// The workload, prepared and run twice: rules, tables and caches are then as they stay.
    fn prepared<'a>(self, passes: &'a mut HashMap<String, Pass>, name: &str) -> &'a mut Pass {
        passes.entry(name.to_owned()).or_insert_with(|| {
            let mut pass = self.pass_of(name);
            assert_eq!(pass(), pass(), "a workload does the same in every pass");
            pass
        })
    }

    /// What the allocator counted during one pass: blocks, bytes, frames; nothing if it does not count.
    fn count(self, passes: &mut HashMap<String, Pass>, name: &str) -> Vec<u64> {
        let pass = self.prepared(passes, name);
        let before = (self.counted)();
        pass();
        let Some((before, after)) = before.zip((self.counted)()) else {
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
    fn threads(self, number: usize, workload: &str, count: usize) -> Vec<u64> {
        let barrier = Barrier::new(number);
        let run = || {
            let mut pass = self.pass_of(workload);
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
}

/// Median CPU nanoseconds of some passes after one that nobody times, and their checksum. Of the whole process: a tracker may
/// have threads of its own.
fn time(pass: &mut Pass, count: usize) -> Vec<u64> {
    let checksum = pass();
    let times = (0..count).map(|_| {
        let start = process_cpu_ns();
        let result = pass();
        let time = process_cpu_ns() - start;
        assert_eq!(result, checksum, "a workload does the same in every pass");
        time as f64
    });
    vec![Summary::of(times).median as u64, checksum]
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
        std::hint::black_box(&blocks)
            .iter()
            .all(|block| block.iter().all(|byte| *byte != 0))
    );
    vec![
        after.all.saturating_sub(before.all),
        after.anonymous.saturating_sub(before.anonymous),
    ]
}
