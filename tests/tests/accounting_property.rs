//! Random requests on four threads against a naive model: every figure equal, no byte of the program's memory disturbed.
//!
//! The allocator under test is the program's own; requests go to its `GlobalAlloc` face directly. The program runs itself again
//! once per inner allocator: the system's, mimalloc, jemalloc, a strict one (aborts when a layout at free or reallocation is not
//! the one of the grant, or when bytes beside a block changed), one whose blocks are never aligned to 32 unless asked to be, and
//! one that refuses every seventh request. Blocks pass between threads, modes change while scopes are open. Seeds are fixed:
//! `ALLOCSCOPE_TEST_SEEDS` sets how many, a failure names its own. Peaks, calls and stacks are tested elsewhere.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use alloc_core::{Mode, ScopeGuard, Snapshot, SnapshotDiff, TrackingAllocator, scope, set_mode};
use allocscope_tests::{Rng, check_sums, nodes, number_from_env, run_again};

#[global_allocator]
static ALLOC: TrackingAllocator<Chosen> = TrackingAllocator::with_inner(Chosen);

const INNERS: [&str; 6] = ["system", "mimalloc", "jemalloc", "strict", "never32", "failing"];
const THREADS: usize = 4;
const SLOTS: usize = 160;
const PHASES: usize = 8;
const OPERATIONS: usize = 150;
const DEEPEST: usize = 5;
/// The root, and the sites of `enter`.
const SCOPES: [&str; 4] = ["whole program", "property a", "property b", "property c"];

// The inner allocators.

/// Passes on to the one that the environment names; read without memory, because this runs at the first allocation.
struct Chosen;

static CHOICE: AtomicU8 = AtomicU8::new(u8::MAX);
static REFUSED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What the inner allocator was asked on this thread: `alloc`, `alloc_zeroed`, `dealloc`, `realloc`.
    static ASKED: Cell<[u32; 4]> = const { Cell::new([0; 4]) };
    /// Requests of the test on this thread; only these are refused.
    static REQUESTS: Cell<Option<u32>> = const { Cell::new(None) };
}

fn choice() -> &'static str {
    let mut choice = CHOICE.load(Ordering::Relaxed);
    if choice == u8::MAX {
        // SAFETY: the name is terminated; nobody changes the environment in this program.
        let value = unsafe { libc::getenv(c"ALLOCSCOPE_TEST_INNER".as_ptr()) };
        choice = 0;
        if !value.is_null() {
            // SAFETY: `getenv` returned a terminated text that nobody changes.
            let value = unsafe { std::ffi::CStr::from_ptr(value) };
            choice = INNERS
                .iter()
                .position(|name| name.as_bytes() == value.to_bytes())
                .unwrap_or(0) as u8;
        }
        CHOICE.store(choice, Ordering::Relaxed);
    }
    INNERS[choice as usize]
}

fn note_asked(method: usize) {
    let mut asked = ASKED.get();
    asked[method] += 1;
    ASKED.set(asked);
}

/// Fails unless `request` asks the inner allocator for exactly this: each method is passed on to the same one, and the
/// tracker asks for nothing itself.
fn asking<T>(expected: impl Fn(&T) -> [u32; 4], request: impl FnOnce() -> T) -> T {
    ASKED.set([0; 4]);
    let granted = request();
    assert_eq!(
        ASKED.get(),
        expected(&granted),
        "asked: alloc, alloc_zeroed, dealloc, realloc"
    );
    granted
}

fn is_refused() -> bool {
    let Some(count) = REQUESTS.get() else { return false };
    REQUESTS.set(Some(count + 1));
    let is_refused = count % 7 == 6;
    REFUSED.fetch_add(u64::from(is_refused), Ordering::Relaxed);
    is_refused
}

// SAFETY: every method passes its arguments on to one allocator, the same for the whole run.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_asked(0);
        // SAFETY: the caller's promise, in every arm.
        unsafe {
            match choice() {
                "mimalloc" => mimalloc::MiMalloc.alloc(layout),
                "jemalloc" => tikv_jemallocator::Jemalloc.alloc(layout),
                "strict" => strict_alloc(layout, false),
                "never32" => never32_alloc(layout, false),
                "failing" if is_refused() => ptr::null_mut(),
                _ => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_asked(1);
        // SAFETY: the caller's promise, in every arm.
        unsafe {
            match choice() {
                "mimalloc" => mimalloc::MiMalloc.alloc_zeroed(layout),
                "jemalloc" => tikv_jemallocator::Jemalloc.alloc_zeroed(layout),
                "strict" => strict_alloc(layout, true),
                "never32" => never32_alloc(layout, true),
                "failing" if is_refused() => ptr::null_mut(),
                _ => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note_asked(2);
        // SAFETY: the caller's promise, in every arm.
        unsafe {
            match choice() {
                "mimalloc" => mimalloc::MiMalloc.dealloc(block, layout),
                "jemalloc" => tikv_jemallocator::Jemalloc.dealloc(block, layout),
                "strict" => strict_dealloc(block, layout),
                "never32" => {
                    let (shift, outer) = never32_layout(layout);
                    System.dealloc(block.sub(shift), outer);
                }
                _ => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note_asked(3);
        // SAFETY: the caller's promise, in every arm.
        unsafe {
            match choice() {
                "mimalloc" => mimalloc::MiMalloc.realloc(block, layout, new_size),
                "jemalloc" => tikv_jemallocator::Jemalloc.realloc(block, layout, new_size),
                "strict" => strict_realloc(block, layout, new_size),
                "never32" => {
                    let (shift, outer) = never32_layout(layout);
                    let moved = System.realloc(block.sub(shift), outer, new_size + shift);
                    if moved.is_null() { moved } else { moved.add(shift) }
                }
                "failing" if is_refused() => ptr::null_mut(),
                _ => System.realloc(block, layout, new_size),
            }
        }
    }
}

/// A block aligned to 16 at most lies 16 bytes into one aligned to 32.
fn never32_layout(layout: Layout) -> (usize, Layout) {
    if layout.align() > 16 {
        return (0, layout);
    }
    (
        16,
        Layout::from_size_align(layout.size() + 16, 32).expect("a small size"),
    )
}

unsafe fn never32_alloc(layout: Layout, is_zeroed: bool) -> *mut u8 {
    let (shift, outer) = never32_layout(layout);
    // SAFETY: the layout is not empty, and `shift` bytes longer than what is asked for.
    unsafe {
        let granted = if is_zeroed {
            System.alloc_zeroed(outer)
        } else {
            System.alloc(outer)
        };
        if granted.is_null() { granted } else { granted.add(shift) }
    }
}

const FENCE: usize = 16;
const FENCE_BYTE: u8 = 0xa5;

/// Before a strict block: its layout; behind it: a fence.
fn strict_layout(layout: Layout) -> (usize, Layout) {
    let front = layout.align().max(32);
    let size = front + layout.size() + FENCE;
    (front, Layout::from_size_align(size, front).expect("a small size"))
}

unsafe fn strict_alloc(layout: Layout, is_zeroed: bool) -> *mut u8 {
    let (front, outer) = strict_layout(layout);
    // SAFETY: `outer` has room for the note, the block and the fence.
    unsafe {
        let granted = if is_zeroed {
            System.alloc_zeroed(outer)
        } else {
            System.alloc(outer)
        };
        if granted.is_null() {
            return granted;
        }
        let block = granted.add(front);
        if !is_zeroed {
            block.write_bytes(0xcd, layout.size().min(64));
        }
        block
            .sub(32)
            .cast::<[usize; 3]>()
            .write([layout.size(), layout.align(), block.addr() ^ 0x5a5a]);
        block.add(layout.size()).write_bytes(FENCE_BYTE, FENCE);
        block
    }
}

unsafe fn strict_check(block: *mut u8, layout: Layout) {
    // SAFETY: `strict_alloc` wrote the note before and the fence behind the block.
    let (note, fence) = unsafe {
        let fence = block.add(layout.size());
        let note = block.sub(32).cast::<[usize; 3]>().read();
        // Only read where the note says it is.
        let fence = if note[0] == layout.size() {
            fence.cast::<[u8; FENCE]>().read_unaligned()
        } else {
            [0; FENCE]
        };
        (note, fence)
    };
    if note != [layout.size(), layout.align(), block.addr() ^ 0x5a5a] {
        abort_with("strict inner allocator: the layout is not the one of the grant, or the block is not ours\n");
    }
    if fence != [FENCE_BYTE; FENCE] {
        abort_with("strict inner allocator: bytes behind a block were overwritten\n");
    }
}

fn abort_with(message: &str) -> ! {
    // SAFETY: the bytes are valid for their length.
    unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
    std::process::abort()
}

unsafe fn strict_dealloc(block: *mut u8, layout: Layout) {
    let (front, outer) = strict_layout(layout);
    // SAFETY: the caller's promise; the check proves that the block is one of ours and of this layout.
    unsafe {
        strict_check(block, layout);
        block.sub(32).write_bytes(0xdd, 32 + layout.size().min(64));
        System.dealloc(block.sub(front), outer);
    }
}

/// Always moves.
unsafe fn strict_realloc(block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: the caller's promise; both blocks are alive while bytes are copied.
    unsafe {
        strict_check(block, layout);
        let moved = strict_alloc(Layout::from_size_align_unchecked(new_size, layout.align()), false);
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
            strict_dealloc(block, layout);
        }
        moved
    }
}

// The model.

/// What the model counts for one scope; differences, so signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    allocations: i64,
    reallocations: i64,
    frees: i64,
    bytes: i64,
    freed_bytes: i64,
    copied_bytes: i64,
    live_blocks: i64,
    live_bytes: i64,
    entered: i64,
}

impl Figures {
    fn plus(self, other: Self, sign: i64) -> Self {
        Self {
            allocations: self.allocations + sign * other.allocations,
            reallocations: self.reallocations + sign * other.reallocations,
            frees: self.frees + sign * other.frees,
            bytes: self.bytes + sign * other.bytes,
            freed_bytes: self.freed_bytes + sign * other.freed_bytes,
            copied_bytes: self.copied_bytes + sign * other.copied_bytes,
            live_blocks: self.live_blocks + sign * other.live_blocks,
            live_bytes: self.live_bytes + sign * other.live_bytes,
            entered: self.entered + sign * other.entered,
        }
    }

    /// Of every node of the scope.
    fn of(snapshot: &Snapshot, scope: usize) -> Self {
        nodes(snapshot, SCOPES[scope]).fold(Self::default(), |sum, node| {
            let own = &node.own;
            let one = Self {
                allocations: own.total_allocations as i64,
                reallocations: own.total_reallocations as i64,
                frees: own.total_frees as i64,
                bytes: own.total_bytes as i64,
                freed_bytes: own.freed_bytes as i64,
                copied_bytes: own.copied_bytes as i64,
                live_blocks: own.live_blocks as i64,
                live_bytes: own.live_bytes as i64,
                entered: node.calls.entered as i64,
            };
            sum.plus(one, 1)
        })
    }
}

/// Blocks of one scope that were first granted in one phase.
#[derive(Clone, Copy, Debug, Default)]
struct Cohort {
    frees: i64,
    bytes: i64,
    live_blocks: i64,
    live_bytes: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Model {
    figures: [Figures; SCOPES.len()],
    /// By scope and phase of birth.
    cohorts: [[Cohort; PHASES + 1]; SCOPES.len()],
}

impl Model {
    fn add(&mut self, other: &Self) {
        for (sum, one) in self.figures.iter_mut().zip(&other.figures) {
            *sum = sum.plus(*one, 1);
        }
        for (sum, one) in self.cohorts.iter_mut().flatten().zip(other.cohorts.iter().flatten()) {
            sum.frees += one.frees;
            sum.bytes += one.bytes;
            sum.live_blocks += one.live_blocks;
            sum.live_bytes += one.live_bytes;
        }
    }

    /// What a diff of the snapshots before phase `from` and before phase `to` should say of blocks old and new, the model
    /// being that of `to`.
    fn window(&self, earlier: &Self, scope: usize, from: usize, to: usize) -> [i64; 6] {
        let mut window = [0; 6];
        for (born, now) in self.cohorts[scope][..to].iter().enumerate() {
            let figures = if born >= from {
                [
                    now.live_blocks,
                    now.live_bytes,
                    now.frees,
                    now.bytes - now.live_bytes,
                    0,
                    0,
                ]
            } else {
                let then = earlier.cohorts[scope][born];
                let (blocks, bytes) = (now.live_blocks - then.live_blocks, now.live_bytes - then.live_bytes);
                [0, 0, 0, 0, blocks, bytes]
            };
            for (sum, one) in window.iter_mut().zip(figures) {
                *sum += one;
            }
        }
        window
    }
}

struct Block {
    address: usize,
    layout: Layout,
    /// The scope that holds it; `None`: untracked.
    holder: Option<usize>,
    /// Phase in which it was first granted, as a tracked block.
    born: usize,
    /// Where in the pattern its bytes begin.
    pattern: usize,
}

/// Bytes that repeat with a period that no block size or alignment shares.
static PATTERN: [u8; 1 << 16] = {
    let mut bytes = [0; 1 << 16];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at % 251) as u8 ^ (at / 251) as u8 | 1;
        at += 1;
    }
    bytes
};
const STEP: usize = (1 << 16) - 256;

fn fill(block: &Block) {
    let mut at = 0;
    while at < block.layout.size() {
        let length = STEP.min(block.layout.size() - at);
        let source = &PATTERN[block.pattern..][..length];
        // SAFETY: `at + length` is at most the size of the block, which the caller owns.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), (block.address as *mut u8).add(at), length) };
        at += length;
    }
}

fn bytes_of(block: &Block, length: usize) -> &[u8] {
    // SAFETY: the block was granted with at least this size, filled or zeroed, and is owned by the caller meanwhile.
    unsafe { std::slice::from_raw_parts(block.address as *const u8, length) }
}

/// Fails unless the first `length` bytes are as `fill` left them.
fn verify(block: &Block, length: usize) {
    for part in bytes_of(block, length).chunks(STEP) {
        assert!(
            part == &PATTERN[block.pattern..][..part.len()],
            "a byte of a block changed: {:?}",
            block.layout
        );
    }
}

/// Fails unless the address keeps every promise made about it.
fn check_address(block: &Block) {
    let Block {
        address,
        layout,
        holder,
        ..
    } = block;
    assert_eq!(address % layout.align(), 0, "{layout:?} at {address:#x}");
    if layout.align() <= 8 {
        let expected = if holder.is_some() { 8 } else { 0 };
        assert_eq!(address % 16, expected, "the address says whether a block is tracked");
    }
}

fn random_layout(rng: &mut Rng) -> Layout {
    let align = match rng.below(40) {
        0 => 1 << 16,
        1..12 => 1 << rng.below(13),
        12..20 => 16,
        _ => 1 << rng.below(4),
    };
    Layout::from_size_align(random_size(rng), align).expect("a small size")
}

fn random_size(rng: &mut Rng) -> usize {
    match rng.below(200) {
        0 => rng.size(8 << 20),
        1..12 => rng.size(256 << 10),
        _ => rng.size(8 << 10),
    }
}

/// One thread's part: what it does, and what should be counted for it.
struct Worker {
    rng: Rng,
    model: Model,
    /// Open guards, and whether each took effect.
    guards: [Option<(ScopeGuard, Option<usize>)>; DEEPEST],
    depth: usize,
    may_fail: bool,
    phase: usize,
}

impl Worker {
    fn scope(&self) -> usize {
        let open = self.guards[..self.depth].iter().rev().flatten();
        open.filter_map(|(_, scope)| *scope).next().unwrap_or(0)
    }

    fn enter(&mut self, mode: Mode) {
        if self.depth == DEEPEST {
            return;
        }
        let scope = 1 + self.rng.below(SCOPES.len() - 1);
        let guard = match scope {
            1 => scope!("property a"),
            2 => scope!("property b"),
            _ => scope!("property c"),
        };
        let takes_effect = mode != Mode::Off;
        self.model.figures[scope].entered += i64::from(takes_effect);
        self.guards[self.depth] = Some((guard, takes_effect.then_some(scope)));
        self.depth += 1;
    }

    fn leave(&mut self) {
        if self.depth > 0 {
            self.depth -= 1;
            self.guards[self.depth] = None;
        }
    }

    fn granted(&mut self, scope: usize, born: usize, size: usize) {
        let (figures, cohort) = (&mut self.model.figures[scope], &mut self.model.cohorts[scope][born]);
        figures.bytes += size as i64;
        figures.live_blocks += 1;
        figures.live_bytes += size as i64;
        cohort.bytes += size as i64;
        cohort.live_blocks += 1;
        cohort.live_bytes += size as i64;
    }

    fn released(&mut self, scope: usize, born: usize, size: usize) {
        let (figures, cohort) = (&mut self.model.figures[scope], &mut self.model.cohorts[scope][born]);
        figures.freed_bytes += size as i64;
        figures.live_blocks -= 1;
        figures.live_bytes -= size as i64;
        cohort.live_blocks -= 1;
        cohort.live_bytes -= size as i64;
    }

    fn allocate(&mut self, mode: Mode) -> Option<Block> {
        let layout = random_layout(&mut self.rng);
        let is_zeroed = self.rng.chance(30);
        let asks = if is_zeroed { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        let request = || {
            // SAFETY: the layout is not empty.
            unsafe {
                if is_zeroed {
                    ALLOC.alloc_zeroed(layout)
                } else {
                    ALLOC.alloc(layout)
                }
            }
        };
        let address = self.request(|_| asks, request)?;
        let holder = (mode != Mode::Off).then(|| self.scope());
        let block = Block {
            address,
            layout,
            holder,
            born: self.phase,
            pattern: self.rng.below(256),
        };
        check_address(&block);
        if is_zeroed {
            let zeros = [0; 4096];
            for part in bytes_of(&block, layout.size()).chunks(zeros.len()) {
                assert!(
                    part == &zeros[..part.len()],
                    "alloc_zeroed gave a byte that is not 0: {layout:?}"
                );
            }
        }
        fill(&block);
        if let Some(scope) = holder {
            self.model.figures[scope].allocations += 1;
            self.granted(scope, self.phase, layout.size());
        }
        Some(block)
    }

    fn free(&mut self, block: &Block) {
        verify(block, block.layout.size());
        // SAFETY: the block is alive, of this layout, and not used again.
        let release = || unsafe { ALLOC.dealloc(block.address as *mut u8, block.layout) };
        asking(|()| [0, 0, 1, 0], release);
        if let Some(scope) = block.holder {
            self.model.figures[scope].frees += 1;
            self.model.cohorts[scope][block.born].frees += 1;
            self.released(scope, block.born, block.layout.size());
        }
    }

    fn reallocate(&mut self, block: &mut Block, mode: Mode) {
        let (old, size) = (block.layout, random_size(&mut self.rng));
        verify(block, old.size());
        let address = block.address;
        let becomes_tracked = block.holder.is_none() && mode != Mode::Off;
        let asks = |granted: &Option<usize>| match (becomes_tracked, granted) {
            (false, _) => [0, 0, 0, 1],
            (true, None) => [1, 0, 0, 0],
            (true, Some(_)) => [1, 0, 1, 0],
        };
        let granted = self.request(asks, || {
            // SAFETY: the block is alive and of this layout; the new size is not 0 and small.
            unsafe { ALLOC.realloc(address as *mut u8, old, size) }
        });
        let Some(moved) = granted else {
            // As it was: an untracked block stays one, a tracked one stays with its holder.
            check_address(block);
            return verify(block, old.size());
        };
        let here = self.scope();
        block.address = moved;
        block.layout = Layout::from_size_align(size, old.align()).expect("a small size");
        match block.holder {
            Some(holder) => {
                // In `off` nobody looks who asks: the block stays with its holder.
                let receiver = if mode == Mode::Off { holder } else { here };
                self.released(holder, block.born, old.size());
                self.granted(receiver, block.born, size);
                self.model.figures[receiver].reallocations += 1;
                if moved != address {
                    self.model.figures[receiver].copied_bytes += size.min(old.size()) as i64;
                }
                block.holder = Some(receiver);
            }
            None if mode != Mode::Off => {
                self.model.figures[here].allocations += 1;
                self.granted(here, self.phase, size);
                block.holder = Some(here);
                block.born = self.phase;
            }
            None => {}
        }
        check_address(block);
        verify(block, size.min(old.size()));
        block.pattern = self.rng.below(256);
        fill(block);
    }

    fn request(&self, asks: impl Fn(&Option<usize>) -> [u32; 4], request: impl FnOnce() -> *mut u8) -> Option<usize> {
        if self.may_fail {
            REQUESTS.set(Some(REFUSALS.get()));
        }
        let granted = asking(asks, || Some(request().addr()).filter(|&address| address != 0));
        if self.may_fail {
            REFUSALS.set(REQUESTS.take().unwrap_or(0));
        }
        assert!(self.may_fail || granted.is_some(), "the inner allocator had memory");
        granted
    }

    fn impossible(&self) {
        let layout = Layout::from_size_align(isize::MAX as usize - 4096, 8).expect("a valid layout");
        // SAFETY: the layout is not empty.
        assert!(unsafe { ALLOC.alloc(layout) }.is_null(), "nobody has that much memory");
    }

    fn run(&mut self, slots: &[Mutex<Option<Block>>], mode: Mode, is_last: bool) {
        if is_last {
            for slot in slots {
                if let Some(block) = slot.lock().expect("no other thread failed").take() {
                    self.free(&block);
                }
            }
            while self.depth > 0 {
                self.leave();
            }
            return;
        }
        for _ in 0..OPERATIONS {
            match self.rng.below(100) {
                0..8 => self.enter(mode),
                8..16 => self.leave(),
                16 => self.impossible(),
                _ => {
                    let mut slot = slots[self.rng.below(slots.len())]
                        .lock()
                        .expect("no other thread failed");
                    match slot.take() {
                        None => *slot = self.allocate(mode),
                        Some(block) if self.rng.chance(45) => self.free(&block),
                        Some(mut block) => {
                            self.reallocate(&mut block, mode);
                            *slot = Some(block);
                        }
                    }
                }
            }
        }
    }
}

thread_local! {
    /// `REQUESTS` between two requests.
    static REFUSALS: Cell<u32> = const { Cell::new(0) };
}

fn run_seed(seed: u64) {
    let may_fail = choice() == "failing";
    let mut rng = Rng::new(seed);
    let mut modes = [Mode::Exact; PHASES + 1];
    for mode in &mut modes[1..PHASES] {
        *mode = [Mode::Exact, Mode::Scopes, Mode::Off][rng.below(3)];
    }
    modes[PHASES] = [Mode::Exact, Mode::Scopes, Mode::Off][rng.below(3)];
    let slots: Vec<Mutex<Option<Block>>> = (0..SLOTS).map(|_| Mutex::new(None)).collect();
    let sums: [Mutex<Model>; PHASES + 1] = Default::default();
    let barrier = Barrier::new(THREADS + 1);
    let mut snapshots = Vec::with_capacity(PHASES + 2);
    set_mode(Mode::Exact);
    std::thread::scope(|threads| {
        let mut running = Vec::with_capacity(THREADS);
        for index in 0..THREADS {
            let (slots, sums, barrier, modes) = (&slots, &sums, &barrier, &modes);
            let thread = threads.spawn(move || {
                let mut worker = Worker {
                    rng: Rng::new(seed ^ ((index as u64 + 1) << 32)),
                    model: Model::default(),
                    guards: [const { None }; DEEPEST],
                    depth: 0,
                    may_fail,
                    phase: 0,
                };
                barrier.wait();
                for (phase, &mode) in modes.iter().enumerate() {
                    barrier.wait();
                    // Every phase hands each part of the slots to another thread.
                    let part = (index + phase) % THREADS * (SLOTS / THREADS);
                    worker.phase = phase;
                    worker.run(&slots[part..][..SLOTS / THREADS], mode, phase == PHASES);
                    sums[phase].lock().expect("no other thread failed").add(&worker.model);
                    barrier.wait();
                }
                barrier.wait();
            });
            running.push(thread);
        }
        barrier.wait();
        snapshots.push(Snapshot::take().expect("installed"));
        for &mode in &modes {
            set_mode(mode);
            barrier.wait();
            barrier.wait();
            snapshots.push(Snapshot::take().expect("installed"));
        }
        barrier.wait();
        // To the very end of the threads: what they free as they end must not fall into the next run.
        for thread in running {
            thread.join().expect("the hook ends the program");
        }
    });
    set_mode(Mode::Exact);
    check_diffs(&snapshots, &sums, seed as usize);
    for (phase, sum) in sums.iter().enumerate() {
        let expected = sum.lock().expect("no thread failed");
        let after = &snapshots[phase + 1];
        check_sums(after);
        assert_eq!(after.tracker.other_allocations, 0, "nothing had to go under other");
        for (scope, name) in SCOPES.iter().enumerate() {
            let counted = Figures::of(after, scope).plus(Figures::of(&snapshots[0], scope), -1);
            assert_eq!(
                counted, expected.figures[scope],
                "{name}, after phase {phase} ({:?}) of {modes:?}",
                modes[phase]
            );
        }
    }
}

/// Every third pair of snapshots, compared with what the model says of blocks old and new.
fn check_diffs(snapshots: &[Snapshot], sums: &[Mutex<Model>], skip: usize) {
    // The model at each snapshot; the first was taken before anything happened.
    let models: Vec<Model> = std::iter::once(Model::default())
        .chain(sums.iter().map(|sum| *sum.lock().expect("no thread failed")))
        .collect();
    for from in 0..models.len() {
        for to in (from + 1..models.len()).filter(|to| (from + to + skip).is_multiple_of(3)) {
            let diff = SnapshotDiff::between(&snapshots[from], &snapshots[to]);
            assert_eq!(diff.basis.exact, !snapshots[to].was_off, "{:?}", diff.basis);
            for (scope, name) in SCOPES.iter().enumerate() {
                let mut found = [0; 6];
                for node in diff.scopes.iter().filter(|node| node.name == *name) {
                    let Some(window) = node.own.window else { continue };
                    let figures = [
                        window.retained_blocks,
                        window.retained_bytes,
                        window.churn_blocks,
                        window.churn_bytes,
                        window.older_blocks,
                        window.older_bytes,
                    ];
                    for (sum, one) in found.iter_mut().zip(figures) {
                        *sum += one;
                    }
                    assert_eq!(node.own.net_blocks, window.retained_blocks + window.older_blocks);
                    assert_eq!(node.own.net_bytes, window.retained_bytes + window.older_bytes);
                }
                let expected = models[to].window(&models[from], scope, from, to);
                assert_eq!(
                    found, expected,
                    "{name}, snapshots {from} to {to}: blocks and bytes retained, churned, older"
                );
            }
        }
    }
}

fn main() {
    if std::env::var_os("ALLOCSCOPE_TEST_INNER").is_none() {
        for inner in INNERS {
            run_again(&[("ALLOCSCOPE_TEST_INNER", inner)]);
            println!("accounting over {inner}: equal");
        }
        return;
    }
    let first = number_from_env("ALLOCSCOPE_TEST_FIRST_SEED", 1);
    for seed in first..first + number_from_env("ALLOCSCOPE_TEST_SEEDS", 20) {
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!(
                "inner allocator {}, ALLOCSCOPE_TEST_FIRST_SEED={seed}: {panic}",
                choice()
            );
            // The other threads wait for this one.
            std::process::exit(101);
        }));
        run_seed(seed);
    }
    let was_refused = REFUSED.load(Ordering::Relaxed) > 0;
    assert_eq!(was_refused, choice() == "failing", "the failing allocator has failed");
}
