//! Random requests on four threads, and modes that change under them, `sampled` among them, against a naive model.
//!
//! The allocator under test is the program's own, over a strict one: it aborts when a layout at free or reallocation is not the one of the
//! grant, or when bytes beside a block changed. The program runs itself again, once for each interval:
//! - 16 bytes, and requests of a kilobyte and more: every one is sampled (but one in 10^27), with weight 1, so that *every* figure must be
//!   that of the model, live ones and those of call stacks included;
//! - 2 KiB, requests of all sizes: allocations, reallocations and bytes must be exact, nothing may be negative, and once everything is freed
//!   nothing may be alive;
//! - 1 TiB: the same, with nothing sampled.
//!
//! Modes change a thousand times in `switches`, while other threads allocate. Seeds are fixed: `ALLOCSCOPE_TEST_SEEDS` sets how many.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};

use alloc_core::model::Counters;
use alloc_core::{Mode, ScopeGuard, Snapshot, TrackingAllocator, scope, set_mode, set_sample_interval};
use allocscope_tests::{Rng, nodes, number_from_env, run_again};

#[global_allocator]
static ALLOC: TrackingAllocator<Strict> = TrackingAllocator::with_inner(Strict);

const THREADS: usize = 4;
const SLOTS: usize = 120;
const PHASES: usize = 8;
const OPERATIONS: usize = 200;
/// The first is around the whole of each thread.
const SCOPES: [&str; 3] = ["sampled base", "sampled a", "sampled b"];
const MODES: [Mode; 4] = [Mode::Exact, Mode::Scopes, Mode::Sampled, Mode::Off];

// The inner allocator.

struct Strict;

const FENCE: usize = 16;
const FENCE_BYTE: u8 = 0xa5;

/// Before a block: its layout; behind it: a fence.
fn outer_layout(layout: Layout) -> (usize, Layout) {
    let front = layout.align().max(32);
    let size = front + layout.size() + FENCE;
    (front, Layout::from_size_align(size, front).expect("a small size"))
}

unsafe fn check(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's block came from `alloc` below: in front is the note, behind the fence.
    let (noted, fence) = unsafe {
        (
            block.sub(16).cast::<[usize; 2]>().read(),
            block.add(layout.size()).cast::<[u8; FENCE]>().read_unaligned(),
        )
    };
    if noted != [layout.size(), layout.align()] || fence != [FENCE_BYTE; FENCE] {
        std::process::abort();
    }
}

// SAFETY: every block lies inside one of `System`'s that is larger by what `outer_layout` says.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (front, outer) = outer_layout(layout);
        // SAFETY: `outer` is not empty, and has room for the note, the block and the fence.
        unsafe {
            let granted = System.alloc(outer);
            if granted.is_null() {
                return granted;
            }
            let block = granted.add(front);
            block
                .sub(16)
                .cast::<[usize; 2]>()
                .write([layout.size(), layout.align()]);
            block
                .add(layout.size())
                .cast::<[u8; FENCE]>()
                .write_unaligned([FENCE_BYTE; FENCE]);
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (front, outer) = outer_layout(layout);
        // SAFETY: the caller's promise.
        unsafe {
            check(block, layout);
            System.dealloc(block.sub(front), outer);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let new_layout = Layout::from_size_align(new_size, layout.align()).expect("a small size");
        // SAFETY: the caller's promise.
        unsafe {
            let moved = self.alloc(new_layout);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

// The model.

/// Who counts a block.
#[derive(Clone, Copy, PartialEq)]
enum Holder {
    Nobody,
    /// A scope, tracked exactly; and as a sample.
    Exact(usize),
    Sample(usize),
}

struct Block {
    address: usize,
    layout: Layout,
    holder: Holder,
    pattern: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    allocations: i64,
    reallocations: i64,
    bytes: i64,
    live_blocks: i64,
    live_bytes: i64,
}

type Model = [Figures; SCOPES.len()];

fn counted(counters: &Counters) -> Figures {
    Figures {
        allocations: counters.total_allocations as i64,
        reallocations: counters.total_reallocations as i64,
        bytes: counters.total_bytes as i64,
        live_blocks: counters.live_blocks as i64,
        live_bytes: counters.live_bytes as i64,
    }
}

fn figures(snapshot: &Snapshot, scope: usize) -> Figures {
    nodes(snapshot, SCOPES[scope]).fold(Figures::default(), |sum, node| plus(sum, counted(&node.own), 1))
}

/// The same as the sum of call stacks.
fn figures_of_stacks(snapshot: &Snapshot, scope: usize) -> Figures {
    let is_inside = |id| nodes(snapshot, SCOPES[scope]).any(|node| node.id == id);
    let contexts = snapshot.contexts.iter().filter(|context| is_inside(context.scope));
    contexts.fold(Figures::default(), |sum, context| {
        plus(sum, counted(&context.counters), 1)
    })
}

fn plus(a: Figures, b: Figures, times: i64) -> Figures {
    Figures {
        allocations: a.allocations + times * b.allocations,
        reallocations: a.reallocations + times * b.reallocations,
        bytes: a.bytes + times * b.bytes,
        live_blocks: a.live_blocks + times * b.live_blocks,
        live_bytes: a.live_bytes + times * b.live_bytes,
    }
}

/// Adds a block to a scope's live ones, or takes it away.
fn hold(model: &mut Model, holder: Holder, size: usize, times: i64) {
    if let Holder::Exact(scope) | Holder::Sample(scope) = holder {
        model[scope].live_blocks += times;
        model[scope].live_bytes += times * size as i64;
    }
}

struct Worker {
    rng: Rng,
    model: Model,
    guard: Option<(ScopeGuard, usize)>,
    least: usize,
}

impl Worker {
    fn scope(&self) -> usize {
        self.guard.as_ref().map_or(0, |(_, scope)| *scope)
    }

    fn holder(&self, mode: Mode) -> Holder {
        match mode {
            Mode::Off => Holder::Nobody,
            Mode::Sampled => Holder::Sample(self.scope()),
            _ => Holder::Exact(self.scope()),
        }
    }

    fn size(&mut self) -> usize {
        self.least + self.rng.size(256 << 10)
    }

    fn enter(&mut self, mode: Mode) {
        self.guard = None;
        let scope = self.rng.below(SCOPES.len());
        if mode != Mode::Off && scope != 0 {
            let guard = if scope == 1 {
                scope!("sampled a")
            } else {
                scope!("sampled b")
            };
            self.guard = Some((guard, scope));
        }
    }

    fn allocate(&mut self, mode: Mode) -> Block {
        let align = [1, 8, 8, 16, 64, 4096][self.rng.below(6)];
        let layout = Layout::from_size_align(self.size(), align).expect("a small size");
        let is_zeroed = self.rng.chance(30);
        // SAFETY: the layout is not empty.
        let address = unsafe {
            if is_zeroed {
                ALLOC.alloc_zeroed(layout)
            } else {
                ALLOC.alloc(layout)
            }
        };
        assert!(!address.is_null() && address.addr().is_multiple_of(align));
        if is_zeroed {
            // SAFETY: the block is ours, and set.
            let bytes = unsafe { std::slice::from_raw_parts(address, layout.size()) };
            assert!(
                bytes.iter().all(|&byte| byte == 0),
                "alloc_zeroed gave a byte that is not 0"
            );
        }
        let holder = self.holder(mode);
        if let Holder::Exact(scope) | Holder::Sample(scope) = holder {
            self.model[scope].allocations += 1;
            self.model[scope].bytes += layout.size() as i64;
        }
        hold(&mut self.model, holder, layout.size(), 1);
        let block = Block {
            address: address.addr(),
            layout,
            holder,
            pattern: self.rng.below(256) as u8,
        };
        fill(&block);
        block
    }

    fn free(&mut self, block: &Block) {
        verify(block, block.layout.size());
        hold(&mut self.model, block.holder, block.layout.size(), -1);
        // SAFETY: the block is alive, of this layout, and not used again.
        unsafe { ALLOC.dealloc(block.address as *mut u8, block.layout) };
    }

    fn reallocate(&mut self, block: &mut Block, mode: Mode) {
        let size = self.size();
        let old = block.layout;
        verify(block, old.size());
        let had_header = old.align() <= 8 && block.address & 8 != 0;
        // SAFETY: the block is alive and of this layout; the new size is not 0 and small.
        let moved = unsafe { ALLOC.realloc(block.address as *mut u8, old, size) };
        assert!(!moved.is_null());
        block.address = moved.addr();
        block.layout = Layout::from_size_align(size, old.align()).expect("a small size");
        hold(&mut self.model, block.holder, old.size(), -1);
        let receiver = match (mode, block.holder) {
            (Mode::Off, Holder::Exact(holder)) => Holder::Exact(holder),
            // What a sample stands for is not known to survive without a draw.
            (Mode::Off, _) => Holder::Nobody,
            (_, _) => self.holder(mode),
        };
        if let Holder::Exact(scope) | Holder::Sample(scope) = receiver {
            // In the modes that track every block, one without a header is new to the tracker.
            let is_new = mode != Mode::Sampled && block.holder == Holder::Nobody && !had_header;
            if is_new {
                self.model[scope].allocations += 1;
            } else {
                self.model[scope].reallocations += 1;
            }
            self.model[scope].bytes += size as i64;
        }
        hold(&mut self.model, receiver, size, 1);
        block.holder = receiver;
        verify(block, size.min(old.size()));
        block.pattern = self.rng.below(256) as u8;
        fill(block);
    }

    fn run(&mut self, slots: &[Mutex<Option<Block>>], mode: Mode) {
        for _ in 0..OPERATIONS {
            if self.rng.chance(10) {
                self.enter(mode);
            }
            let mut slot = slots[self.rng.below(slots.len())].lock().expect("no thread failed");
            *slot = match slot.take() {
                None => Some(self.allocate(mode)),
                Some(block) if self.rng.chance(45) => {
                    self.free(&block);
                    None
                }
                Some(mut block) => {
                    self.reallocate(&mut block, mode);
                    Some(block)
                }
            };
        }
        self.guard = None;
    }
}

fn bytes_of(block: &Block) -> &[u8] {
    // SAFETY: the block is alive, filled, of this size, and in the hands of one thread.
    unsafe { std::slice::from_raw_parts(block.address as *const u8, block.layout.size()) }
}

fn fill(block: &Block) {
    // SAFETY: the block is alive, of this size, and nobody else looks at it.
    unsafe { std::ptr::write_bytes(block.address as *mut u8, block.pattern, block.layout.size()) };
}

fn verify(block: &Block, bytes: usize) {
    let is_whole = bytes_of(block)[..bytes].iter().all(|&byte| byte == block.pattern);
    assert!(is_whole, "a byte of the program's was changed");
}

fn run_seed(seed: u64, interval: u64) {
    set_sample_interval(interval);
    let everything = interval == 16;
    let least = if everything { 1024 } else { 1 };
    let mut rng = Rng::new(seed);
    let modes: Vec<Mode> = (0..PHASES).map(|_| MODES[rng.below(MODES.len())]).collect();
    let slots: Vec<Mutex<Option<Block>>> = (0..SLOTS).map(|_| Mutex::new(None)).collect();
    let sum: Mutex<Model> = Mutex::default();
    let barrier = Barrier::new(THREADS + 1);
    set_mode(Mode::Exact);
    std::thread::scope(|threads| {
        for index in 0..THREADS {
            let (slots, sum, barrier, modes) = (&slots, &sum, &barrier, &modes);
            threads.spawn(move || {
                let mut worker = Worker {
                    rng: Rng::new(seed ^ ((index as u64 + 1) << 32)),
                    model: Model::default(),
                    guard: None,
                    least,
                };
                let _base = scope!("sampled base");
                barrier.wait();
                barrier.wait();
                for (phase, &mode) in modes.iter().enumerate() {
                    // Every phase hands each part of the slots to another thread.
                    let part = (index + phase) % THREADS * (SLOTS / THREADS);
                    worker.run(&slots[part..][..SLOTS / THREADS], mode);
                    add(sum, &mut worker.model);
                    barrier.wait();
                    barrier.wait();
                }
                let part = index * (SLOTS / THREADS);
                for slot in &slots[part..][..SLOTS / THREADS] {
                    if let Some(block) = slot.lock().expect("no thread failed").take() {
                        worker.free(&block);
                    }
                }
                add(sum, &mut worker.model);
                barrier.wait();
                barrier.wait();
            });
        }
        barrier.wait();
        let before = Snapshot::take().expect("installed");
        for &mode in &modes {
            set_mode(mode);
            barrier.wait();
            barrier.wait();
            check(&before, &sum.lock().expect("no thread failed"), everything, &modes);
        }
        barrier.wait();
        barrier.wait();
        let after = check(&before, &sum.lock().expect("no thread failed"), everything, &modes);
        let live = |snapshot: &Snapshot| snapshot.sampling.map(|sampling| sampling.samples.live);
        assert_eq!(
            live(&after).map_or(0, |live| live.samples),
            live(&before).map_or(0, |live| live.samples),
            "every sample was freed"
        );
        barrier.wait();
    });

    fn add(sum: &Mutex<Model>, model: &mut Model) {
        let mut sum = sum.lock().expect("no thread failed");
        for (sum, part) in sum.iter_mut().zip(model) {
            *sum = plus(*sum, std::mem::take(part), 1);
        }
    }

    /// Compares what was counted since `before` with the model.
    fn check(before: &Snapshot, model: &Model, everything: bool, modes: &[Mode]) -> Snapshot {
        let after = Snapshot::take().expect("installed");
        for (scope, name) in SCOPES.iter().enumerate() {
            let now = figures(&after, scope);
            let mut counted = plus(now, figures(before, scope), -1);
            let mut expected = model[scope];
            if everything {
                let stacks = plus(figures_of_stacks(&after, scope), figures_of_stacks(before, scope), -1);
                assert_eq!(stacks, counted, "{name}, by call stack, in {modes:?}");
            } else {
                for figures in [&mut counted, &mut expected] {
                    // A block without a header is new to the modes that track every block.
                    figures.allocations += std::mem::take(&mut figures.reallocations);
                    (figures.live_blocks, figures.live_bytes) = (0, 0);
                }
                assert!(now.live_bytes >= 0 && now.live_blocks >= 0, "{name}");
            }
            assert_eq!(counted, expected, "{name}, in {modes:?}");
        }
        assert_eq!((after.tracker.corrupt_headers, after.tracker.dropped_events), (0, 0));
        after
    }
}

/// A thousand changes of the mode under load: what is granted is counted where the mode of that moment says, and in the end nothing is alive.
fn switches() {
    let times = number_from_env("ALLOCSCOPE_TEST_SWITCHES", 1000);
    set_sample_interval(4096);
    set_mode(Mode::Exact);
    let is_over = AtomicBool::new(false);
    let ready = Barrier::new(THREADS + 1);
    std::thread::scope(|threads| {
        for index in 0..THREADS as u64 {
            let (is_over, ready) = (&is_over, &ready);
            threads.spawn(move || {
                ready.wait();
                let mut rng = Rng::new(index);
                let mut held: Vec<Option<Vec<u8>>> = (0..64).map(|_| None).collect();
                ready.wait();
                while !is_over.load(Ordering::Relaxed) {
                    let _scope = scope!("switched");
                    let at = rng.below(held.len());
                    match &mut held[at] {
                        Some(bytes) if rng.chance(50) => bytes.resize(rng.size(20_000), 1),
                        slot => *slot = rng.chance(60).then(|| vec![0; rng.size(4000)]),
                    }
                }
                held.iter_mut().for_each(|slot| *slot = None);
                ready.wait();
                ready.wait();
            });
        }
        ready.wait();
        let before = Snapshot::take().expect("installed");
        ready.wait();
        let mut last = before.clone();
        for turn in 0..times {
            set_mode(MODES[(turn % 4) as usize]);
            if turn % 50 == 0 {
                let now = Snapshot::take().expect("installed");
                let (was, is) = (&last.totals, &now.totals);
                assert!(is.total_allocations >= was.total_allocations && is.total_bytes >= was.total_bytes);
                assert!(now.totals.live_bytes < 1 << 40, "wrapped: {}", now.totals.live_bytes);
                for context in &now.contexts {
                    assert!(context.counters.live_bytes < 1 << 40 && context.counters.live_blocks < 1 << 40);
                }
                last = now;
            } else {
                std::thread::yield_now();
            }
        }
        set_mode(Mode::Exact);
        is_over.store(true, Ordering::Relaxed);
        ready.wait();
        let after = Snapshot::take().expect("installed");
        for node in nodes(&after, "switched") {
            assert_eq!(
                (node.own.live_blocks, node.own.live_bytes),
                (0, 0),
                "everything was freed"
            );
            assert!(node.own.total_allocations > 0 && node.own_samples.is_some_and(|samples| !samples.is_empty()));
        }
        assert_eq!(after.live_bytes(), None, "after time in off it is unknown");
        assert_eq!((after.tracker.corrupt_headers, after.tracker.dropped_events), (0, 0));
        let sampling = after.sampling.expect("the mode was sampled");
        assert_eq!((sampling.unrecorded_samples, sampling.degraded), (0, false));
        ready.wait();
    });
}

fn main() {
    let Ok(part) = std::env::var("ALLOCSCOPE_TEST_PART") else {
        for part in ["16", "2048", "1099511627776", "switches"] {
            run_again(&[("ALLOCSCOPE_TEST_PART", part), ("ALLOCSCOPE_SAMPLE_SEED", "7")]);
            println!("{part} ... ok");
        }
        return;
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        std::process::exit(1);
    }));
    if part == "switches" {
        return switches();
    }
    let interval = part.parse().expect("an interval");
    for seed in 0..number_from_env("ALLOCSCOPE_TEST_SEEDS", 12) {
        println!("seed {seed}");
        run_seed(seed, interval);
    }
}
