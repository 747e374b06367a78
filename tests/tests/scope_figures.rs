//! Figures of scopes against answers computed by hand and by brute force: calls, allocations, live, peaks, retained.
//!
//! The program runs itself again, because each part wants a process in which nothing else was counted: once for the hand-made
//! cases, and once for every seed of the random ones. There a program of nested scopes (recursive ones, mode switches,
//! frees at any later point) is made up, a naive model interprets it without touching memory, then it is executed on one
//! thread, and every figure of every node must be equal, the process peak and what was held at it included.
//! `ALLOCSCOPE_TEST_SEEDS` sets how many seeds; a failure names its own. Async calls and threads are tested elsewhere.

use std::alloc::Layout;
use std::hint::black_box;
use std::mem::forget;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use alloc_core::__private::{self, ScopeSite};
use alloc_core::model::{CallStats, ScopeNode};
use alloc_core::{Mode, ScopeGuard, Snapshot, TrackingAllocator, scope, set_mode, track_memory};
use allocscope_tests::{Rng, bytes, check_sums, node, nodes, number_from_env, run_again, snapshot};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

// Cases with answers by hand.

#[track_memory(name = "parent")]
fn parent() -> Vec<u8> {
    let first = bytes(100);
    drop(bytes(300));
    drop(first);
    let second = bytes(50);
    child();
    second
}

#[track_memory(name = "child")]
fn child() {
    let _a = bytes(200);
    drop(bytes(25));
}

fn nested_calls_combine_their_peaks() {
    let kept = parent();
    let after = snapshot();
    let (parent, child) = (node(&after, "parent"), node(&after, "child"));
    assert_eq!(child.parent, Some(parent.id));
    assert_eq!(
        (
            parent.own.total_allocations,
            parent.own.total_bytes,
            parent.own.live_bytes
        ),
        (3, 450, 50)
    );
    assert_eq!(
        (parent.inclusive.total_allocations, parent.inclusive.total_bytes),
        (5, 675)
    );
    assert_eq!(
        (child.own.total_bytes, child.own.live_bytes, child.peak_bytes),
        (225, 0, 225)
    );
    assert_eq!((parent.peak_bytes, parent.self_peak_bytes), (400, 400));
    let calls = CallFigures::of(&parent.calls);
    // max(400 of its own, 50 at the child's entry + 225 of the child's), never the sum.
    assert_eq!(
        calls,
        CallFigures {
            sum_peak: 400,
            max_peak: 400,
            ..CallFigures::one(5, 675, 400, 50)
        }
    );
    assert_eq!(CallFigures::of(&child.calls), CallFigures::one(2, 225, 225, 0));
    drop(kept);
    assert_eq!(
        node(&snapshot(), "parent").own.live_bytes,
        0,
        "freed long after the scope ended, charged back to it"
    );
}

#[track_memory(name = "direct")]
fn direct(depth: usize) -> Option<Vec<u8>> {
    let kept = bytes(10);
    if depth > 1 {
        drop(direct(depth - 1));
    }
    Some(kept)
}

#[track_memory(name = "ping")]
fn ping(depth: usize) {
    let _here = bytes(8);
    pong(depth);
}

#[track_memory(name = "pong")]
fn pong(depth: usize) {
    let _here = bytes(16);
    if depth > 0 {
        ping(depth - 1);
    }
}

fn recursion_counts_once() {
    drop(direct(1000));
    let after = snapshot();
    let direct = node(&after, "direct");
    assert_eq!(
        CallFigures::of(&direct.calls),
        CallFigures {
            entered: 1000,
            ..CallFigures::one(1000, 10_000, 10_000, 10)
        }
    );
    assert_eq!(
        (direct.inclusive, direct.own.total_bytes),
        (direct.own, 10_000),
        "recursion adds no nodes"
    );

    ping(4);
    ping(0);
    let after = snapshot();
    let (ping, pong) = (node(&after, "ping"), node(&after, "pong"));
    assert_eq!((pong.parent, ping.inclusive.total_bytes), (Some(ping.id), 6 * 24));
    let expected = CallFigures {
        entered: 6,
        completed: 2,
        allocations: 12,
        bytes: 144,
        max_allocations: 10,
        max_bytes: 120,
        sum_peak: 144,
        max_peak: 120,
        ..CallFigures::default()
    };
    assert_eq!(CallFigures::of(&ping.calls), expected);
    // Seen from the outermost `pong` the outermost `ping`'s 8 bytes are its caller's.
    let expected = CallFigures {
        allocations: 10,
        bytes: 128,
        max_allocations: 9,
        max_bytes: 112,
        sum_peak: 128,
        max_peak: 112,
        ..expected
    };
    assert_eq!(CallFigures::of(&pong.calls), expected);
}

#[track_memory(name = "early")]
fn early(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    let kept = bytes(40);
    let _number: u32 = text.parse()?;
    drop(bytes(60));
    Ok(kept)
}

#[track_memory(name = "unwinds")]
fn unwinds() {
    let _dropped = bytes(1000);
    let _inner = scope!("unwinds inside");
    let _also = bytes(2000);
    std::panic::resume_unwind(Box::new(()));
}

fn calls_that_end_early_are_complete() {
    assert!(early("x").is_err());
    let kept = early("1").expect("a number");
    let after = snapshot();
    assert_eq!(
        CallFigures::of(&node(&after, "early").calls),
        CallFigures {
            entered: 2,
            completed: 2,
            allocations: 3,
            bytes: 140,
            max_allocations: 2,
            max_bytes: 100,
            sum_peak: 140,
            max_peak: 100,
            retained_bytes: 40,
            max_retained: 40,
            ..CallFigures::default()
        }
    );
    drop(kept);

    drop(std::panic::catch_unwind(unwinds).expect_err("it panics"));
    drop(std::panic::catch_unwind(unwinds).expect_err("it panics"));
    assert_scopes_work("after unwinding");
    let after = snapshot();
    for name in ["unwinds", "unwinds inside"] {
        let node = node(&after, name);
        assert_eq!((node.calls.entered, node.calls.completed), (2, 2), "{name}");
        assert_eq!(node.own.live_bytes, 0, "{name}: dropped by unwinding");
        assert!(node.calls.max_peak_bytes >= 2000);
    }
}

/// Two fresh scopes, one in the other, count as on the first day.
fn assert_scopes_work(when: &'static str) {
    let before = snapshot();
    let kept = {
        let _outer = scope!("probe outer");
        let kept = bytes(11);
        let _inner = scope!("probe inner");
        drop(bytes(7));
        kept
    };
    let root = bytes(13);
    let after = snapshot();
    let completed =
        |snapshot: &Snapshot, name: &str| nodes(snapshot, name).map(|node| node.calls.completed).sum::<u64>();
    for name in ["probe outer", "probe inner"] {
        assert_eq!(completed(&after, name), completed(&before, name) + 1, "{name} {when}");
    }
    let (outer, inner) = (node(&after, "probe outer"), node(&after, "probe inner"));
    assert_eq!(
        (outer.parent, inner.parent),
        (Some(after.scopes[0].id), Some(outer.id)),
        "{when}"
    );
    let calls = outer.calls;
    assert_eq!(
        (calls.max_peak_bytes, calls.max_retained_bytes, calls.max_bytes),
        (18, 11, 18),
        "{when}"
    );
    let grown = |snapshot: &Snapshot| snapshot.scopes[0].own.live_bytes;
    assert_eq!(
        grown(&after),
        grown(&before) + 13,
        "{when}: after its scopes the root counts again"
    );
    drop((kept, root));
}

fn guards_dropped_out_of_order_harm_nothing() {
    for _ in 0..3 {
        let outer = scope!("crossed outer");
        let inner = scope!("crossed inner");
        drop(bytes(5));
        drop(outer);
        drop(bytes(6));
        drop(inner);
        assert_scopes_work("after guards crossed");
    }
    {
        // The inner guard leaves while a scope that was entered later is open at its depth.
        let outer = scope!("late outer");
        let inner = scope!("late inner");
        drop(outer);
        let _next = scope!("late next");
        let _after = scope!("late after");
        drop(inner);
        drop(bytes(9));
        assert_eq!(
            node(&snapshot(), "late after").own.total_bytes,
            9,
            "the late guard took nothing with it"
        );
    }
    assert_scopes_work("after a late guard");
    let after = snapshot();
    let outer = node(&after, "crossed outer");
    // LIMIT of the product: a call left before the scopes inside it has no figures of its own. Its blocks have a place.
    assert_eq!(outer.calls.entered, 3);
    assert_eq!(
        (outer.inclusive.total_allocations, outer.inclusive.total_bytes),
        (3, 15),
        "left by the outer guard"
    );
}

#[track_memory(name = "forgets")]
fn forgets() {
    forget(forgotten_guard());
    drop(bytes(20));
}

fn forgotten_guard() -> ScopeGuard {
    scope!("forgotten")
}

fn forgotten_guards_harm_nothing() {
    for _ in 0..3 {
        forgets();
        assert_scopes_work("after a guard was forgotten");
    }
    {
        let _fresh = scope!("forgets again");
        let guard = forgotten_guard();
        drop(bytes(30));
        drop(guard);
    }
    let after = snapshot();
    let outer = node(&after, "forgets");
    assert_eq!((outer.calls.entered, outer.inclusive.total_bytes), (3, 60));
    let fresh = nodes(&after, "forgotten").find(|one| one.parent == Some(node(&after, "forgets again").id));
    let fresh = fresh.expect("entered there, too");
    assert_eq!(
        (fresh.calls.entered, fresh.calls.completed, fresh.calls.bytes),
        (1, 1, 30)
    );
}

fn forgotten_scope_can_be_called_again_in_the_same_place() {
    fn place(is_forgotten: bool) {
        let _outer = scope!("place");
        let inner = scope!("place inside");
        drop(bytes(10));
        if is_forgotten {
            forget(inner);
        }
    }
    place(true);
    place(false);
    place(false);
    let after = snapshot();
    let calls = node(&after, "place inside").calls;
    assert_eq!(
        (calls.entered, calls.completed, calls.bytes),
        (3, 2, 20),
        "the call after a forgotten one is a call of its own"
    );

    fn crossed(is_crossed: bool) {
        let outer = scope!("place crossed");
        let inner = scope!("place crossed inside");
        drop(bytes(10));
        if is_crossed {
            drop(outer);
            drop(inner);
        } else {
            drop(inner);
            drop(outer);
        }
    }
    crossed(true);
    crossed(false);
    let calls = node(&snapshot(), "place crossed inside").calls;
    assert_eq!(
        (calls.entered, calls.completed, calls.bytes),
        (2, 1, 10),
        "a call left too late has no figures, the next has"
    );
}

fn recursive_guards_out_of_order_leave_the_outermost_call_right() {
    fn again() -> ScopeGuard {
        scope!("recursive crossed")
    }
    let kept = {
        let _outermost = again();
        let kept = bytes(100);
        {
            let _between = scope!("between");
            let recursive = again();
            let inner = scope!("inner crossed");
            let dead = bytes(50);
            drop(recursive);
            drop(inner);
            drop(dead);
        }
        drop(bytes(30));
        kept
    };
    assert_scopes_work("after recursive guards crossed");
    let calls = node(&snapshot(), "recursive crossed").calls;
    let expected = CallFigures {
        entered: 2,
        ..CallFigures::one(3, 180, 150, 100)
    };
    assert_eq!(CallFigures::of(&calls), expected);
    drop(kept);
}

fn mode_switches_while_open_undo_what_was_done() {
    let kept = {
        let _outer = scope!("switched");
        let first = bytes(100);
        set_mode(Mode::Off);
        let unseen = bytes(1000);
        let guard = scope!("entered while off");
        set_mode(Mode::Scopes);
        let second = bytes(10);
        drop(guard);
        let third = bytes(1);
        set_mode(Mode::Off);
        drop(first);
        set_mode(Mode::Exact);
        (unseen, second, third)
    };
    assert_scopes_work("after switching modes in a scope");
    {
        let guard = scope!("left while off");
        drop(bytes(70));
        set_mode(Mode::Off);
        drop(guard);
        set_mode(Mode::Exact);
    }
    assert_scopes_work("after leaving in off");
    let after = snapshot();
    assert_eq!(nodes(&after, "entered while off").count(), 0);
    let expected = CallFigures::one(3, 111, 111, 11);
    assert_eq!(CallFigures::of(&node(&after, "switched").calls), expected);
    assert_eq!(
        CallFigures::of(&node(&after, "left while off").calls),
        CallFigures::one(1, 70, 70, 0)
    );
    drop(kept);
}

/// A thread that frees or grows what it is given, and counts for nothing itself.
struct Helper;

static HANDED: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static HANDED_SIZE: AtomicUsize = AtomicUsize::new(0);
static NEW_SIZE: AtomicUsize = AtomicUsize::new(0);

impl Helper {
    fn start() -> Self {
        std::thread::spawn(|| {
            loop {
                let block = HANDED.load(Ordering::Acquire);
                if block.is_null() {
                    std::thread::yield_now();
                    continue;
                }
                let layout = Layout::from_size_align(HANDED_SIZE.load(Ordering::Relaxed), 8).expect("small");
                let new_size = NEW_SIZE.load(Ordering::Relaxed);
                // SAFETY: the block was granted with this layout and handed over.
                unsafe {
                    if new_size == 0 {
                        std::alloc::dealloc(block, layout);
                    } else {
                        let moved = std::alloc::realloc(block, layout, new_size);
                        assert!(!moved.is_null());
                        GROWN.store(moved, Ordering::Release);
                    }
                }
                HANDED.store(std::ptr::null_mut(), Ordering::Release);
            }
        });
        Self
    }

    fn hand(&self, block: *mut u8, size: usize, new_size: usize) {
        HANDED_SIZE.store(size, Ordering::Relaxed);
        NEW_SIZE.store(new_size, Ordering::Relaxed);
        HANDED.store(block, Ordering::Release);
        while !HANDED.load(Ordering::Acquire).is_null() {
            std::thread::yield_now();
        }
    }
}

static GROWN: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

fn raw(size: usize) -> *mut u8 {
    // SAFETY: the layout is not empty.
    let block = unsafe { std::alloc::alloc(Layout::from_size_align(size, 8).expect("small")) };
    assert!(!block.is_null());
    black_box(block)
}

fn retained_is_what_is_alive_at_the_end_whoever_frees_it() {
    let helper = Helper::start();
    let helped = |work: &dyn Fn()| work();
    helped(&|| {
        let _call = scope!("freed by another thread");
        let _kept = raw(3);
        let block = raw(50);
        helper.hand(block, 50, 0);
    });
    helped(&|| {
        let _call = scope!("freed after its child ended");
        let block = {
            let _child = scope!("ended child");
            raw(70)
        };
        helper.hand(block, 70, 0);
    });
    helped(&|| {
        let _call = scope!("grown by another thread");
        helper.hand(raw(10), 10, 90);
    });
    helped(&|| {
        let grown = GROWN.load(Ordering::Acquire);
        let _call = scope!("grows what it did not make");
        // SAFETY: the helper's block has this layout.
        let moved = unsafe { std::alloc::realloc(grown, Layout::from_size_align(90, 8).expect("small"), 200) };
        assert!(!moved.is_null());
        // Many children, so that ended calls have to be tidied away.
        for _ in 0..500 {
            let _child = scope!("small child");
            helper.hand(raw(1), 1, 0);
        }
    });
    let after = snapshot();
    let retained = |name: &str| {
        let calls = node(&after, name).calls;
        assert_eq!((calls.completed > 0, calls.upper_bound_calls), (true, 0), "{name}");
        (calls.retained_bytes, calls.max_retained_bytes)
    };
    assert_eq!(retained("freed by another thread"), (3, 3));
    assert_eq!(retained("freed after its child ended"), (0, 0));
    assert_eq!(retained("ended child"), (70, 70));
    assert_eq!(retained("grown by another thread"), (90, 90));
    assert_eq!(
        retained("grows what it did not make"),
        (0, 0),
        "granted by another call, so retained by that one"
    );
    assert_eq!(retained("small child"), (0, 0));
    assert_eq!(
        node(&after, "grown by another thread").own.live_bytes,
        0,
        "the block passed to who reallocated it"
    );
    assert_eq!(node(&after, "grows what it did not make").own.live_bytes, 200);
}

fn blocks_grown_by_another_thread_are_followed_past_the_end_of_their_call() {
    let helper = Helper::start();
    let mut grown = [std::ptr::null_mut(); 200];
    {
        let _outer = scope!("outlives growth");
        let _own = raw(5);
        for place in &mut grown {
            let block = {
                let _child = scope!("ends before growth");
                raw(10)
            };
            helper.hand(block, 10, 90);
            *place = GROWN.load(Ordering::Acquire);
        }
        for block in grown {
            helper.hand(block, 90, 0);
        }
    }
    let after = snapshot();
    let (outer, child) = (
        node(&after, "outlives growth").calls,
        node(&after, "ends before growth").calls,
    );
    assert_eq!((child.retained_bytes, child.max_retained_bytes), (2000, 10));
    assert_eq!((outer.retained_bytes, outer.upper_bound_calls), (5, 0));
}

fn many_ended_calls_stay_exact_or_say_so() {
    const CALLS: usize = 10_000;
    let mut blocks = Vec::with_capacity(CALLS);
    {
        let _outer = scope!("keeps and frees");
        for _ in 0..CALLS {
            let _child = scope!("keeps one");
            blocks.push(bytes(32));
        }
        blocks.truncate(1);
    }
    let after = snapshot();
    let (outer, child) = (node(&after, "keeps and frees").calls, node(&after, "keeps one").calls);
    assert_eq!(child.retained_bytes, 32 * CALLS as u64);
    assert_eq!(child.upper_bound_calls, 0);
    assert_eq!(outer.max_peak_bytes, 32 * CALLS as u64);
    assert!(outer.retained_bytes >= 32);
    if outer.upper_bound_calls == 0 {
        assert_eq!(outer.retained_bytes, 32);
    }
    // What one call lost is not carried into the next.
    {
        let _outer = scope!("keeps little");
        let _child = scope!("keeps one more");
        blocks.push(bytes(32));
    }
    let after = snapshot();
    for name in ["keeps little", "keeps one more"] {
        let calls = node(&after, name).calls;
        assert_eq!((calls.retained_bytes, calls.upper_bound_calls), (32, 0), "{name}");
    }
}

/// `CallStats` that can be written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CallFigures {
    entered: u64,
    completed: u64,
    allocations: u64,
    bytes: u64,
    max_allocations: u64,
    max_bytes: u64,
    sum_peak: u64,
    max_peak: u64,
    retained_bytes: u64,
    max_retained: u64,
    upper_bound: u64,
}

impl CallFigures {
    fn one(allocations: u64, bytes: u64, peak: u64, retained_bytes: u64) -> Self {
        Self {
            entered: 1,
            completed: 1,
            allocations,
            bytes,
            max_allocations: allocations,
            max_bytes: bytes,
            sum_peak: peak,
            max_peak: peak,
            retained_bytes,
            max_retained: retained_bytes,
            upper_bound: 0,
        }
    }

    fn of(calls: &CallStats) -> Self {
        Self {
            entered: calls.entered,
            completed: calls.completed,
            allocations: calls.allocations,
            bytes: calls.bytes,
            max_allocations: calls.max_allocations,
            max_bytes: calls.max_bytes,
            sum_peak: calls.sum_peak_bytes,
            max_peak: calls.max_peak_bytes,
            retained_bytes: calls.retained_bytes,
            max_retained: calls.max_retained_bytes,
            upper_bound: calls.upper_bound_calls,
        }
    }

    fn complete(&mut self, call: &Self) {
        self.completed += 1;
        self.allocations += call.allocations;
        self.bytes += call.bytes;
        self.max_allocations = self.max_allocations.max(call.allocations);
        self.max_bytes = self.max_bytes.max(call.bytes);
        self.sum_peak += call.max_peak;
        self.max_peak = self.max_peak.max(call.max_peak);
        self.retained_bytes += call.retained_bytes;
        self.max_retained = self.max_retained.max(call.retained_bytes);
    }
}

// Random programs, and the model that knows their figures.

const SITES: [&str; 5] = ["site a", "site b", "site c", "site d", "site e"];
const SLOTS: usize = 120;
const DEEPEST: usize = 12;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Allocate(usize, Layout),
    Reallocate(usize, usize),
    Free(usize),
    Enter(usize),
    Leave,
    Switch(Mode),
    Look,
}

fn enter(site: usize) -> ScopeGuard {
    match site {
        0 => scope!("site a"),
        1 => scope!("site b"),
        2 => scope!("site c"),
        3 => scope!("site d"),
        _ => scope!("site e"),
    }
}

/// A valid program: slots are filled before they are freed, scopes left after they were entered.
fn random_program(seed: u64) -> Vec<Operation> {
    let mut rng = Rng::new(seed);
    let mut used = [false; SLOTS];
    let mut depth = 0;
    let mut program = Vec::new();
    let has_switches = seed.is_multiple_of(2);
    for _ in 0..2500 {
        let slot = rng.below(SLOTS);
        let next = match rng.below(100) {
            0..12 if depth < DEEPEST => {
                depth += 1;
                Operation::Enter(rng.below(SITES.len()))
            }
            12..24 if depth > 0 => {
                depth -= 1;
                Operation::Leave
            }
            24 if has_switches => Operation::Switch([Mode::Exact, Mode::Scopes, Mode::Off][rng.below(3)]),
            25 if rng.chance(20) => Operation::Look,
            _ if !used[slot] => {
                used[slot] = true;
                let align = 1 << rng.below(8);
                Operation::Allocate(
                    slot,
                    Layout::from_size_align(random_size(&mut rng), align).expect("small"),
                )
            }
            0..55 => Operation::Reallocate(slot, random_size(&mut rng)),
            _ => {
                used[slot] = false;
                Operation::Free(slot)
            }
        };
        program.push(next);
    }
    if !seed.is_multiple_of(3) {
        program.extend((0..depth).map(|_| Operation::Leave));
    }
    program.push(Operation::Look);
    program
}

fn random_size(rng: &mut Rng) -> usize {
    let most = if rng.chance(4) { 300 << 10 } else { 4 << 10 };
    rng.size(most)
}

#[derive(Clone, Debug, Default)]
struct ModelNode {
    parent: Option<usize>,
    site: Option<usize>,
    allocations: u64,
    reallocations: u64,
    frees: u64,
    bytes: u64,
    live_blocks: u64,
    own: i64,
    own_peak: i64,
    inclusive: i64,
    peak: i64,
    own_at_peak: i64,
    open: usize,
    calls: CallFigures,
}

#[derive(Clone, Debug)]
struct ModelFrame {
    node: usize,
    is_recursive: bool,
    id: usize,
    at_entry: i64,
    highest: i64,
    allocations: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct ModelBlock {
    size: usize,
    holder: Option<usize>,
    /// Calls that were open when it was first granted.
    born_in: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Model {
    mode: Mode,
    nodes: Vec<ModelNode>,
    /// Entered scopes; `None` for one entered in `off`.
    frames: Vec<Option<ModelFrame>>,
    blocks: Vec<Option<ModelBlock>>,
    next_call: usize,
    /// Net of the thread since the program began, the highest it was, and where the process's peak lies on this scale.
    net: i64,
    peak: i64,
}

impl Model {
    fn new(peak: i64) -> Self {
        Self {
            mode: Mode::Exact,
            nodes: vec![ModelNode::default()],
            frames: Vec::new(),
            blocks: vec![None; SLOTS],
            next_call: 0,
            net: 0,
            peak,
        }
    }

    fn here(&self) -> usize {
        self.frames.iter().flatten().last().map_or(0, |frame| frame.node)
    }

    fn find_node(&mut self, parent: usize, site: usize) -> usize {
        let mut around = Some(parent);
        while let Some(node) = around {
            if self.nodes[node].site == Some(site) {
                return node;
            }
            around = self.nodes[node].parent;
        }
        let found = self
            .nodes
            .iter()
            .position(|node| node.parent == Some(parent) && node.site == Some(site));
        found.unwrap_or_else(|| {
            self.nodes.push(ModelNode {
                parent: Some(parent),
                site: Some(site),
                ..ModelNode::default()
            });
            self.nodes.len() - 1
        })
    }

    fn move_live(&mut self, node: usize, amount: i64) {
        self.nodes[node].own += amount;
        self.nodes[node].own_peak = self.nodes[node].own_peak.max(self.nodes[node].own);
        let mut around = Some(node);
        while let Some(node) = around {
            let node = &mut self.nodes[node];
            node.inclusive += amount;
            node.peak = node.peak.max(node.inclusive);
            around = node.parent;
        }
        self.net += amount;
        for frame in self.frames.iter_mut().flatten() {
            frame.highest = frame.highest.max(self.net - frame.at_entry);
        }
        if self.net > self.peak {
            self.peak = self.net;
            for node in &mut self.nodes {
                node.own_at_peak = node.own;
            }
        }
    }

    fn grant(&mut self, node: usize, size: usize) {
        self.nodes[node].bytes += size as u64;
        self.nodes[node].live_blocks += 1;
        for frame in self.frames.iter_mut().flatten() {
            frame.bytes += size as u64;
        }
        self.move_live(node, size as i64);
    }

    fn allocate(&mut self, size: usize) -> ModelBlock {
        if self.mode == Mode::Off {
            return ModelBlock {
                size,
                holder: None,
                born_in: Vec::new(),
            };
        }
        let node = self.here();
        self.nodes[node].allocations += 1;
        for frame in self.frames.iter_mut().flatten() {
            frame.allocations += 1;
        }
        self.grant(node, size);
        let calls = self.frames.iter().flatten().filter(|frame| !frame.is_recursive);
        ModelBlock {
            size,
            holder: Some(node),
            born_in: calls.map(|frame| frame.id).collect(),
        }
    }

    fn reallocate(&mut self, block: ModelBlock, size: usize) -> ModelBlock {
        let Some(holder) = block.holder else {
            return self.allocate(size);
        };
        let receiver = if self.mode == Mode::Off { holder } else { self.here() };
        self.nodes[receiver].reallocations += 1;
        self.nodes[holder].live_blocks -= 1;
        if receiver == holder {
            self.nodes[receiver].bytes += size as u64;
            self.nodes[receiver].live_blocks += 1;
            for frame in self.frames.iter_mut().flatten() {
                frame.bytes += size as u64;
            }
            self.move_live(receiver, size as i64 - block.size as i64);
        } else {
            self.move_live(holder, -(block.size as i64));
            self.grant(receiver, size);
        }
        ModelBlock {
            size,
            holder: Some(receiver),
            ..block
        }
    }

    fn free(&mut self, block: &ModelBlock) {
        if let Some(holder) = block.holder {
            self.nodes[holder].frees += 1;
            self.nodes[holder].live_blocks -= 1;
            self.move_live(holder, -(block.size as i64));
        }
    }

    fn enter(&mut self, site: usize) {
        if self.mode == Mode::Off {
            return self.frames.push(None);
        }
        let node = self.find_node(self.here(), site);
        let is_recursive = self.nodes[node].open > 0;
        self.nodes[node].open += 1;
        self.nodes[node].calls.entered += 1;
        self.next_call += 1;
        self.frames.push(Some(ModelFrame {
            node,
            is_recursive,
            id: self.next_call,
            at_entry: self.net,
            highest: 0,
            allocations: 0,
            bytes: 0,
        }));
    }

    fn leave(&mut self) {
        let Some(frame) = self.frames.pop().expect("a scope is open") else {
            return;
        };
        let survivors = self
            .blocks
            .iter()
            .flatten()
            .filter(|block| block.born_in.contains(&frame.id));
        let bytes = survivors.map(|block| block.size as u64).sum();
        let node = &mut self.nodes[frame.node];
        node.open -= 1;
        if !frame.is_recursive {
            node.calls.complete(&CallFigures::one(
                frame.allocations,
                frame.bytes,
                frame.highest as u64,
                bytes,
            ));
        }
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Allocate(slot, layout) => self.blocks[slot] = Some(self.allocate(layout.size())),
            Operation::Reallocate(slot, size) => {
                let block = self.blocks[slot].take().expect("a valid program");
                self.blocks[slot] = Some(self.reallocate(block, size));
            }
            Operation::Free(slot) => {
                let block = self.blocks[slot].take().expect("a valid program");
                self.free(&block);
            }
            Operation::Enter(site) => self.enter(site),
            Operation::Leave => self.leave(),
            Operation::Switch(mode) => self.mode = mode,
            Operation::Look => {}
        }
    }
}

/// Executes a program; takes a snapshot at each `Look`. Allocates nothing beyond what the program says.
fn execute(program: &[Operation], snapshots: &mut Vec<Snapshot>, guards: &mut Vec<ScopeGuard>) {
    let mut slots: [Option<(*mut u8, Layout)>; SLOTS] = [None; SLOTS];
    for &operation in program {
        match operation {
            Operation::Allocate(slot, layout) => {
                // SAFETY: the layout is not empty.
                let block = unsafe { std::alloc::alloc(layout) };
                assert!(!block.is_null());
                slots[slot] = Some((black_box(block), layout));
            }
            Operation::Reallocate(slot, size) => {
                let (block, layout) = slots[slot].expect("a valid program");
                // SAFETY: the block is alive and of this layout; the size is not 0 and small.
                let moved = unsafe { std::alloc::realloc(block, layout, size) };
                assert!(!moved.is_null());
                let layout = Layout::from_size_align(size, layout.align()).expect("small");
                slots[slot] = Some((black_box(moved), layout));
            }
            Operation::Free(slot) => {
                let (block, layout) = slots[slot].take().expect("a valid program");
                // SAFETY: the block is alive and of this layout.
                unsafe { std::alloc::dealloc(block, layout) };
            }
            Operation::Enter(site) => guards.push(enter(site)),
            Operation::Leave => drop(guards.pop()),
            Operation::Switch(mode) => set_mode(mode),
            Operation::Look => snapshots.push(snapshot()),
        }
    }
}

/// Compares every node of `snapshot` with the model's; `base` is what was there before the program began.
fn compare(snapshot: &Snapshot, base: &Snapshot, model: &Model) {
    check_sums(snapshot);
    let root = &base.scopes[0];
    let live = base.totals.live_bytes as i64;
    assert_eq!(base.scopes.len(), 1, "no scope was entered before");
    let peak = (live + model.peak) as u64;
    assert_eq!(snapshot.peak_bytes, peak, "process peak");
    assert_eq!(
        snapshot.totals.bytes_at_peak, peak,
        "what sites held at the peak adds up to it"
    );
    assert_eq!(snapshot.scopes.len(), model.nodes.len(), "a node for every path");
    let mut ids = Vec::new();
    for (index, expected) in model.nodes.iter().enumerate() {
        let name = expected.site.map_or("whole program", |site| SITES[site]);
        let parent = expected.parent.map(|parent| ids[parent]);
        let found = snapshot
            .scopes
            .iter()
            .find(|node| node.name == name && node.parent == parent);
        let node: &ScopeNode = found.unwrap_or_else(|| panic!("no node for {name}"));
        ids.push(node.id);
        let (base_own, base_self_peak, base_live) = match index {
            0 => (root.own, root.self_peak_bytes, root.own.live_bytes as i64),
            _ => Default::default(),
        };
        let own = &node.own;
        let what = format!("node {index} ({name}, inside {:?})", expected.parent);
        let counted = [
            own.total_allocations - base_own.total_allocations,
            own.total_reallocations - base_own.total_reallocations,
            own.total_frees - base_own.total_frees,
            own.total_bytes - base_own.total_bytes,
            own.live_blocks - base_own.live_blocks,
        ];
        let modelled = [
            expected.allocations,
            expected.reallocations,
            expected.frees,
            expected.bytes,
            expected.live_blocks,
        ];
        assert_eq!(
            counted, modelled,
            "{what}: allocations, reallocations, frees, bytes, live blocks"
        );
        assert_eq!(own.live_bytes as i64, base_live + expected.own, "{what}: live bytes");
        let self_peak = (base_live + expected.own_peak).max(base_self_peak as i64);
        assert_eq!(node.self_peak_bytes as i64, self_peak, "{what}: own peak");
        if index > 0 {
            assert_eq!(
                node.inclusive.live_bytes as i64, expected.inclusive,
                "{what}: inclusive live"
            );
            assert_eq!(node.peak_bytes as i64, expected.peak, "{what}: inclusive peak");
        }
        assert_eq!(
            own.bytes_at_peak as i64,
            base_live + expected.own_at_peak,
            "{what}: held at the process peak"
        );
        assert_eq!(CallFigures::of(&node.calls), expected.calls, "{what}: calls");
    }
}

fn run_seed(seed: u64) {
    let program = random_program(seed);
    let looks = program.iter().filter(|one| matches!(one, Operation::Look)).count();
    let mut snapshots = Vec::with_capacity(looks);
    let mut guards = Vec::with_capacity(DEEPEST);
    let mut first = Vec::with_capacity(1);
    // A new peak, so that what is held at it is known: the root's, all of it.
    drop(bytes(1 << 20));
    let raised = raw(2 << 20);
    first.push(snapshot());
    let base = &first[0];
    execute(&program, &mut snapshots, &mut guards);
    set_mode(Mode::Exact);
    let mut model = Model::new(base.peak_bytes as i64 - base.totals.live_bytes as i64);
    assert_eq!(model.peak, 0, "seed {seed}: the snapshot was taken at a new peak");
    let mut looked = snapshots.iter();
    for (step, &operation) in program.iter().enumerate() {
        model.run(operation);
        if matches!(operation, Operation::Look) {
            let context = format!("seed {seed}, step {step}");
            let told = std::panic::AssertUnwindSafe(|| compare(looked.next().expect("one for each"), base, &model));
            if std::panic::catch_unwind(told).is_err() {
                panic!("{context}");
            }
        }
    }
    black_box(raised);
}

/// Scopes with names of their own, as many as wanted.
fn sites(count: u32) -> Vec<&'static ScopeSite> {
    (1..=count)
        .map(|line| &*Box::leak(Box::new(ScopeSite::new("made here", "sites", line))))
        .collect()
}

fn calls_nested_too_deeply_are_counted_in_their_scope() {
    const SITES: u32 = 200;
    const MEASURED: u64 = 64;
    let sites = sites(SITES);
    let mut guards = Vec::with_capacity(sites.len());
    let held: Vec<_> = sites
        .iter()
        .map(|site| {
            guards.push(__private::enter(site));
            bytes(9)
        })
        .collect();
    while guards.pop().is_some() {}
    let after = snapshot();
    assert_eq!(nodes(&after, "made here").count(), SITES as usize);
    for node in nodes(&after, "made here") {
        assert_eq!((node.own.live_bytes, node.calls.entered), (9, 1));
    }
    let completed: u64 = nodes(&after, "made here").map(|node| node.calls.completed).sum();
    assert_eq!(
        (completed, after.tracker.unmeasured_calls),
        (MEASURED, u64::from(SITES) - MEASURED)
    );
    // The outermost call has them all: what the ones too deep granted is part of the last that was measured.
    let retained = nodes(&after, "made here")
        .map(|node| node.calls.max_retained_bytes)
        .max();
    assert_eq!(retained, Some(9 * u64::from(SITES)));
    drop(held);
    assert_scopes_work("after calls nested too deeply");
}

fn scopes_beyond_the_table_are_the_enclosing_ones() {
    const SITES: u32 = 70_000;
    let sites = sites(SITES);
    let outer = scope!("around the full table");
    let held: Vec<_> = sites
        .iter()
        .map(|site| {
            let _inner = __private::enter(site);
            bytes(3)
        })
        .collect();
    drop(outer);
    let after = snapshot();
    let made = nodes(&after, "made here").count() as u64;
    let refused = after.tracker.refused_scopes;
    assert!(made > 60_000, "{made} nodes");
    assert_eq!(made + refused, u64::from(SITES));
    let around = node(&after, "around the full table");
    assert!(
        around.own.live_bytes >= 3 * refused,
        "what was refused is the enclosing scope's"
    );
    assert!(around.inclusive.live_bytes >= 3 * u64::from(SITES));
    drop(held);
}

fn main() {
    match std::env::var("ALLOCSCOPE_TEST_PART").as_deref() {
        Ok("hand") => {
            nested_calls_combine_their_peaks();
            recursion_counts_once();
            calls_that_end_early_are_complete();
            guards_dropped_out_of_order_harm_nothing();
            mode_switches_while_open_undo_what_was_done();
            retained_is_what_is_alive_at_the_end_whoever_frees_it();
            many_ended_calls_stay_exact_or_say_so();
        }
        Ok("forget") => {
            forgotten_guards_harm_nothing();
            forgotten_scope_can_be_called_again_in_the_same_place();
        }
        Ok("grown") => blocks_grown_by_another_thread_are_followed_past_the_end_of_their_call(),
        Ok("deep") => calls_nested_too_deeply_are_counted_in_their_scope(),
        Ok("full") => scopes_beyond_the_table_are_the_enclosing_ones(),
        Ok("crossed") => recursive_guards_out_of_order_leave_the_outermost_call_right(),
        Ok(seed) => run_seed(seed.parse().expect("a seed")),
        Err(_) => {
            for part in ["hand", "grown", "forget", "crossed", "deep", "full"] {
                run_again(&[("ALLOCSCOPE_TEST_PART", part)]);
            }
            let seeds = number_from_env("ALLOCSCOPE_TEST_SEEDS", 60);
            for seed in 1..=seeds {
                run_again(&[("ALLOCSCOPE_TEST_PART", &seed.to_string())]);
            }
            println!("{seeds} random programs of scopes: equal");
        }
    }
}
