//! Scopes carried to other threads: what is charged to whom, and that every way of leaving puts back what was there.
//!
//! A program without the test harness, each part with scopes of its own. The random part runs against a model of the rules.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Barrier, Mutex};
use std::thread;

use alloc_core::carry::thread::{BuilderExt as _, ScopeExt as _};
use alloc_core::model::ScopeNode;
use alloc_core::{
    Mode, ScopeHandle, ScopeNodeId, Snapshot, TrackingAllocator, carry, current, scope, set_mode, track_memory,
};
use allocscope_tests::{Rng, bytes, check_sums, found, node, number_from_env, own, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|threads| threads.spawn(work).join().expect("no panic"))
}

fn work_on_another_thread_is_charged_to_the_scope_it_was_started_in() {
    let handle = {
        let _scope = scope!("starts");
        current()
    };
    let kept = elsewhere(|| {
        let _before = bytes(7000);
        let kept = handle.in_scope(|| {
            drop(bytes(50));
            bytes(300)
        });
        drop(bytes(8000));
        kept
    });
    assert_eq!(own("starts"), [2, 350, 300, 1]);
    drop(kept);
    assert_eq!(own("starts"), [2, 350, 0, 2], "freed on a third thread, charged back");
    let node = found("starts");
    assert_eq!(node.peak_bytes, 300);
    let calls = node.calls;
    assert_eq!(
        (calls.entered, calls.completed, calls.allocations),
        (1, 1, 0),
        "carried work is no call and no part of the one that started it"
    );
    assert_eq!(handle.node(), Some(node.id));
    assert!(format!("{handle:?}").contains("starts"), "{handle:?}");
}

#[track_memory(name = "child")]
fn child() -> Vec<u8> {
    bytes(40)
}

fn scopes_entered_in_carried_work_are_its_children() {
    let _around = scope!("has a child");
    let handle = current();
    let kept = elsewhere(|| {
        let _other = scope!("executes");
        handle.in_scope(child)
    });
    let after = snapshot();
    let child = node(&after, "child");
    assert_eq!(child.parent, Some(node(&after, "has a child").id));
    assert_eq!(
        (child.calls.entered, child.calls.completed, child.calls.bytes),
        (1, 1, 40)
    );
    assert_eq!(child.calls.retained_bytes, 40);
    assert_eq!(node(&after, "has a child").inclusive.live_bytes, 40);
    let executes = node(&after, "executes");
    assert_eq!(executes.inclusive.total_allocations, 0);
    assert_eq!(
        (
            executes.calls.completed,
            executes.calls.allocations,
            executes.calls.retained_bytes
        ),
        (1, 1, 40),
        "the call on whose thread it ran executed it"
    );
    drop(kept);
}

fn the_whole_program_can_be_carried_too() {
    let handle = current();
    let _scope = scope!("not charged");
    drop(handle.in_scope(|| bytes(500)));
    drop(bytes(20));
    assert_eq!(own("not charged"), [1, 20, 0, 1]);
}

fn spawned_charges(name: &str, spawn: impl Fn(usize)) {
    // What starting a thread itself takes is charged to the scope as well: measured with no work at all, and subtracted.
    spawn(0);
    let empty = found(name);
    spawn(0);
    let started = found(name);
    spawn(5);
    let worked = found(name);
    let [none, some] = [(&empty, &started), (&started, &worked)].map(|(before, after)| {
        [
            after.own.total_allocations - before.own.total_allocations,
            after.own.total_bytes - before.own.total_bytes,
        ]
    });
    assert_eq!([some[0] - none[0], some[1] - none[1]], [5, 5 * 1000], "{name}");
    assert_eq!(worked.own.live_blocks, empty.own.live_blocks, "{name}");
}

fn helpers_carry_the_current_scope() {
    let work = |rounds: usize| {
        for _ in 0..rounds {
            drop(bytes(1000));
        }
    };
    spawned_charges("by spawn", |rounds| {
        let _scope = scope!("by spawn");
        carry::thread::spawn(move || work(rounds)).join().expect("no panic");
    });
    spawned_charges("by builder", |rounds| {
        let _scope = scope!("by builder");
        let builder = thread::Builder::new().name("worker".into());
        let thread = builder.spawn_carried(move || work(rounds));
        thread.expect("it starts").join().expect("no panic");
    });
    spawned_charges("by scoped spawn", |rounds| {
        let _scope = scope!("by scoped spawn");
        let rounds = &rounds;
        thread::scope(|threads| {
            threads.spawn_carried(|| work(*rounds)).join().expect("no panic");
        });
    });
    spawned_charges("by scoped builder", |rounds| {
        let _scope = scope!("by scoped builder");
        let rounds = &rounds;
        thread::scope(|threads| {
            let thread = thread::Builder::new().spawn_scoped_carried(threads, || work(*rounds));
            thread.expect("it starts").join().expect("no panic");
        });
    });
}

fn neighbours_on_many_threads_stay_apart() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 3000;
    let handles = [
        {
            let _scope = scope!("neighbour 0");
            current()
        },
        {
            let _scope = scope!("neighbour 1");
            current()
        },
    ];
    let start = Barrier::new(THREADS);
    thread::scope(|threads| {
        for index in 0..THREADS {
            let (handles, start) = (&handles, &start);
            threads.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    let which = (round + index) % 2;
                    handles[which].in_scope(|| {
                        let _held = bytes(10 + which);
                        handles[1 - which].in_scope(|| drop(bytes(10 + (1 - which))));
                    });
                }
            });
        }
    });
    let each = (THREADS * ROUNDS) as u64;
    assert_eq!(own("neighbour 0"), [each, each * 10, 0, each]);
    assert_eq!(own("neighbour 1"), [each, each * 11, 0, each]);
}

fn a_handle_outlives_its_thread_and_its_call() {
    let handle = elsewhere(|| {
        let _scope = scope!("long over");
        current()
    });
    let copies = [handle.clone(), handle.clone(), handle];
    let jobs = copies.into_iter().map(|copy| copy.wrap_once(|| drop(bytes(70))));
    jobs.for_each(elsewhere);
    assert_eq!(own("long over"), [3, 210, 0, 3]);
}

fn closures_can_be_wrapped() {
    let handle = {
        let _scope = scope!("wrapped");
        current()
    };
    let lengths: usize = (1..=4_usize)
        .map(handle.clone().wrap(|n| bytes(n * 10)))
        .map(|bytes| bytes.capacity())
        .sum();
    let mut count = 0;
    [5_usize, 5].into_iter().for_each(handle.clone().wrap_mut(|n| {
        count += bytes(n).capacity();
    }));
    let folded = (1..=3_usize).fold(0, handle.clone().wrap_pair(|sum, n| sum + bytes(n).capacity()));
    assert_eq!((lengths, count, folded), (100, 10, 6));
    assert_eq!(own("wrapped"), [9, 116, 0, 9]);
    let held = bytes(1);
    let job = handle.wrap_once(move || drop(held));
    job();
}

fn guards_dropped_out_of_order_put_everything_back() {
    let handle = {
        let _scope = scope!("entered first");
        current()
    };
    {
        let outer = handle.enter();
        let inner = scope!("entered second");
        drop(bytes(10));
        drop(outer);
        drop(bytes(1000));
        drop(inner);
        drop(bytes(2000));
    }
    {
        let outer = scope!("plain outer");
        drop(bytes(1));
        let inner = handle.enter();
        drop(bytes(100));
        drop(outer);
        drop(bytes(1000));
        drop(inner);
        drop(bytes(2000));
    }
    let after = snapshot();
    assert_eq!(node(&after, "entered second").own.total_bytes, 10);
    assert_eq!(node(&after, "entered first").own.total_bytes, 100);
    assert_eq!(node(&after, "plain outer").own.total_bytes, 1);
    let another = {
        let _scope = scope!("entered beside");
        current()
    };
    // Whatever is entered in which order and left in any other, the thread is outside in the end.
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for handles in [
            [&handle, &handle, &handle],
            [&handle, &another, &handle],
            [&another, &handle, &handle],
            [&handle, &handle, &another],
        ] {
            let mut guards = handles.map(|handle| Some(handle.enter()));
            for which in order {
                drop(guards[which].take());
            }
            assert_eq!(current().node(), Some(ScopeNodeId::ROOT), "{order:?}: {:?}", current());
        }
        // With a call in the middle, or at the ends.
        for place in 0..3 {
            let mut guards = [0, 1, 2].map(|index| {
                let is_call = index == place;
                (
                    is_call.then(|| scope!("a call among them")),
                    (!is_call).then(|| handle.enter()),
                )
            });
            for which in order {
                guards[which] = (None, None);
            }
            assert_eq!(
                current().node(),
                Some(ScopeNodeId::ROOT),
                "{order:?}, {place}: {:?}",
                current()
            );
        }
    }
    // The scopes are as good as new.
    for _ in 0..2 {
        let _entered = handle.enter();
        let _scope = scope!("after that");
        drop(bytes(3));
    }
    let that = found("after that");
    assert_eq!((that.calls.completed, that.calls.bytes), (2, 6));
    assert_eq!(that.parent, handle.node());
}

fn mode_switches_are_survived() {
    let handle = {
        let _scope = scope!("switched");
        current()
    };
    set_mode(Mode::Off);
    let empty = current();
    assert_eq!(empty.node(), None);
    handle.in_scope(|| {
        set_mode(Mode::Scopes);
        drop(bytes(1000));
    });
    handle.in_scope(|| {
        drop(bytes(10));
        set_mode(Mode::Off);
        drop(bytes(1000));
    });
    set_mode(Mode::Exact);
    drop(bytes(1000));
    {
        let _scope = scope!("has an empty handle");
        drop(empty.in_scope(|| bytes(60)));
    }
    assert_eq!(own("switched"), [1, 10, 0, 1]);
    assert_eq!(own("has an empty handle"), [1, 60, 0, 1]);
}

struct EntersLate(ScopeHandle);

impl Drop for EntersLate {
    fn drop(&mut self) {
        let entered = self.0.enter();
        drop(bytes(11));
        drop(entered);
        let again = current();
        again.in_scope(|| drop(bytes(12)));
    }
}

fn handles_are_harmless_in_the_last_moments_of_a_thread() {
    thread_local! {
        static LATE: std::cell::RefCell<Option<EntersLate>> = const { std::cell::RefCell::new(None) };
    }
    let handle = {
        let _scope = scope!("late");
        current()
    };
    for _ in 0..4 {
        let handle = handle.clone();
        thread::spawn(move || LATE.with_borrow_mut(|late| *late = Some(EntersLate(handle))))
            .join()
            .expect("no panic");
    }
    // Destructors may run after the thread's figures were handed over; what they allocate is then charged to no scope.
    let [allocations, total, live, frees] = own("late");
    assert!(allocations <= 4 && total == allocations * 11 && live == 0 && frees == allocations);
}

// Random programs against a model: a thread's scopes are a stack of paths. The model itself needs no memory while they run.

const NAMES: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];
/// More than there are paths without repetition over five names.
const PATHS: usize = 400;
const HANDLES: usize = 64;

/// Which scopes are around, outermost first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Path {
    names: [u8; NAMES.len()],
    depth: usize,
}

impl Path {
    fn inside(mut self, name: u8) -> Self {
        let open = &self.names[..self.depth];
        let place = open.iter().position(|&around| around == name);
        let place = place.unwrap_or(self.depth);
        self.names[place] = name;
        self.names[place + 1..].fill(0);
        self.depth = place + 1;
        self
    }

    fn of(node: &ScopeNode, snapshot: &Snapshot) -> Option<Self> {
        if node.parent.is_none() {
            return Some(Self::default());
        }
        let name = NAMES.iter().position(|name| *name == node.name)?;
        let parent = snapshot.scopes.iter().find(|around| Some(around.id) == node.parent)?;
        Some(Self::of(parent, snapshot)?.inside(name as u8))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    entered: u64,
    allocations: u64,
    bytes: u64,
}

struct Program<'all> {
    rng: Rng,
    expected: HashMap<Path, Sums>,
    root: ScopeHandle,
    /// Handles that any thread may enter.
    carried: &'all Mutex<Vec<(ScopeHandle, Path)>>,
}

struct Thrown;

impl Program<'_> {
    fn enter(&mut self, path: Path, fuel: usize) {
        let name = self.rng.below(NAMES.len());
        let _scope = match name {
            0 => scope!("r0"),
            1 => scope!("r1"),
            2 => scope!("r2"),
            3 => scope!("r3"),
            _ => scope!("r4"),
        };
        let path = path.inside(name as u8);
        self.expected.entry(path).or_default().entered += 1;
        self.run(path, fuel);
    }

    fn run(&mut self, path: Path, fuel: usize) {
        for _ in 0..1 + self.rng.below(4) {
            match self.rng.below(10) {
                0..=2 => {
                    let size = self.rng.size(5000);
                    let sums = self.expected.entry(path).or_default();
                    sums.allocations += 1;
                    sums.bytes += size as u64;
                    drop(bytes(size));
                }
                _ if fuel == 0 => {}
                3..=5 => self.enter(path, fuel - 1),
                6 => {
                    let mut all = self.carried.lock().expect("no poison");
                    let place = self.rng.below(HANDLES);
                    if all.len() < HANDLES {
                        all.push((current(), path));
                    } else {
                        all[place] = (current(), path);
                    }
                }
                7..=8 => {
                    let all = self.carried.lock().expect("no poison");
                    let chosen = all.get(self.rng.below(all.len().max(1))).cloned();
                    drop(all);
                    if let Some((handle, there)) = chosen {
                        handle.in_scope(|| self.run(there, fuel - 1));
                    }
                }
                _ => {
                    let thrown = catch_unwind(AssertUnwindSafe(|| {
                        self.enter(path, fuel - 1);
                        let root = self.root.clone();
                        // What unwinding itself allocates is the whole program's.
                        root.in_scope(|| resume_unwind(Box::new(Thrown)));
                    }));
                    assert!(thrown.is_err_and(|what| what.is::<Thrown>()));
                }
            }
        }
    }
}

fn random_programs_agree_with_the_model() {
    let root = current();
    let carried = Mutex::new(Vec::with_capacity(HANDLES));
    let rounds = number_from_env("ALLOCSCOPE_TEST_ROUNDS", 400);
    let programs = thread::scope(|threads| {
        let running: Vec<_> = (0..4)
            .map(|seed| {
                let mut program = Program {
                    rng: Rng::new(seed),
                    expected: HashMap::with_capacity(PATHS),
                    root: root.clone(),
                    carried: &carried,
                };
                threads.spawn(move || {
                    for _ in 0..rounds {
                        program.run(Path::default(), 7);
                    }
                    program.expected
                })
            })
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().expect("no panic"));
        ended.collect::<Vec<_>>()
    });
    let mut expected: HashMap<Path, Sums> = HashMap::new();
    for (path, sums) in programs.into_iter().flatten() {
        let sum = expected.entry(path).or_default();
        sum.entered += sums.entered;
        sum.allocations += sums.allocations;
        sum.bytes += sums.bytes;
    }
    let after = snapshot();
    let mut seen = 0;
    for node in &after.scopes {
        // The root holds the test's own memory, too.
        let Some(path) = Path::of(node, &after).filter(|path| path.depth > 0) else {
            continue;
        };
        let counted = Sums {
            entered: node.calls.entered,
            allocations: node.own.total_allocations,
            bytes: node.own.total_bytes,
        };
        assert_eq!(counted, expected[&path], "{} on {:?}", node.name, path.names);
        assert_eq!(node.own.live_bytes, 0, "{}", node.name);
        seen += 1;
    }
    assert_eq!(seen, expected.keys().filter(|path| path.depth > 0).count());
    println!("random programs: {seen} nodes agree with the model");
}

fn main() {
    work_on_another_thread_is_charged_to_the_scope_it_was_started_in();
    scopes_entered_in_carried_work_are_its_children();
    the_whole_program_can_be_carried_too();
    helpers_carry_the_current_scope();
    neighbours_on_many_threads_stay_apart();
    a_handle_outlives_its_thread_and_its_call();
    closures_can_be_wrapped();
    guards_dropped_out_of_order_put_everything_back();
    mode_switches_are_survived();
    handles_are_harmless_in_the_last_moments_of_a_thread();
    random_programs_agree_with_the_model();
    check_sums(&snapshot());
}
