//! The two checkers behind the model's memory: `loom` for all executions, `shuttle` for random interleavings.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Fault;
use crate::record::atomic::model::{self, Access, Model};

/// An atomic of a checker.
trait Word: 'static {
    fn new(value: u64) -> Self;
    fn load(&self, ordering: Ordering) -> u64;
    fn store(&self, value: u64, ordering: Ordering);
    /// The value before.
    fn exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> u64;
    /// A swap, addition, subtraction or operation on bits; the value before.
    fn change(&self, access: Access) -> u64;
    fn fence(ordering: Ordering);
    fn pause();
    fn thread() -> usize;
}

macro_rules! word {
    ($name:ident, $atomic:ty, $order:expr, $fence:expr, $pause:expr, $thread:expr) => {
        struct $name($atomic);

        impl Word for $name {
            fn new(value: u64) -> Self {
                Self(<$atomic>::new(value))
            }
            fn load(&self, ordering: Ordering) -> u64 {
                self.0.load($order(ordering))
            }
            fn store(&self, value: u64, ordering: Ordering) {
                self.0.store(value, $order(ordering));
            }
            fn exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> u64 {
                let done = self
                    .0
                    .compare_exchange(current, new, $order(success), $order(failure));
                done.unwrap_or_else(|now| now)
            }
            fn change(&self, access: Access) -> u64 {
                match access {
                    Access::Swap(value, ordering) => self.0.swap(value, $order(ordering)),
                    Access::Add(value, ordering) => self.0.fetch_add(value, $order(ordering)),
                    Access::Subtract(value, ordering) => self.0.fetch_sub(value, $order(ordering)),
                    Access::And(value, ordering) => self.0.fetch_and(value, $order(ordering)),
                    Access::Or(value, ordering) => self.0.fetch_or(value, $order(ordering)),
                    Access::Load(_) | Access::Store(..) | Access::Exchange(..) => {
                        unreachable!("has a method of its own")
                    }
                }
            }
            fn fence(ordering: Ordering) {
                $fence(ordering);
            }
            fn pause() {
                $pause();
            }
            fn thread() -> usize {
                $thread()
            }
        }
    };
}

word!(
    Weak,
    loom::sync::atomic::AtomicU64,
    |ordering| ordering,
    loom::sync::atomic::fence,
    loom::thread::yield_now,
    || LOOM_THREAD.with(Cell::get)
);
word!(
    Step,
    shuttle::sync::atomic::AtomicU64,
    |_| Ordering::SeqCst,
    |_| (),
    shuttle::thread::yield_now,
    || usize::from(shuttle::current::me())
);

loom::thread_local! {
    static LOOM_THREAD: Cell<usize> = Cell::new(0);
}

/// The values of the running execution, by address.
struct Words<W> {
    words: RefCell<HashMap<usize, Rc<W>>>,
    /// Initial values of all that any execution has touched.
    touched: RefCell<HashMap<usize, u64>>,
    exchanges: RefCell<Exchanges>,
    fault: Fault,
}

/// How often one value was exchanged for another, in all executions together.
pub(super) type Exchanges = HashMap<(u64, u64), usize>;

impl<W: Word> Words<W> {
    fn leaked(fault: Fault) -> &'static Self {
        Box::leak(Box::new(Self {
            words: RefCell::new(HashMap::new()),
            touched: RefCell::new(HashMap::new()),
            exchanges: RefCell::new(HashMap::new()),
            fault,
        }))
    }

    fn word(&self, address: usize, initial: u64) -> Rc<W> {
        let mut words = self.words.borrow_mut();
        let word = words.entry(address).or_insert_with(|| {
            self.touched.borrow_mut().insert(address, initial);
            Rc::new(W::new(initial))
        });
        Rc::clone(word)
    }
}

/// What the atomics of one execution hold, where no checker is behind them: every access is seen at once.
#[derive(Default)]
pub(super) struct PlainMemory(RefCell<HashMap<usize, u64>>);

impl PlainMemory {
    /// Every atomic is what it was before the model again.
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
    /// Gives the value before. The access changes nothing unless it `counts`.
    pub(super) fn access(&self, address: usize, initial: u64, access: Access, counts: bool) -> u64 {
        let mut values = self.0.borrow_mut();
        let value = values.entry(address).or_insert(initial);
        let before = *value;
        if counts {
            *value = after(access, before);
        }
        before
    }
    pub(super) fn zero_bytes(&self, start: usize, bytes: usize) {
        let mut values = self.0.borrow_mut();
        values
            .iter_mut()
            .filter(|(address, _)| (start..start + bytes).contains(address))
            .for_each(|(_, value)| *value = 0);
    }
}

/// The value after `access` to one that was `now`.
fn after(access: Access, now: u64) -> u64 {
    match access {
        Access::Load(_) => now,
        Access::Store(value, _) | Access::Swap(value, _) => value,
        Access::Exchange(current, new, ..) => {
            if now == current {
                new
            } else {
                now
            }
        }
        Access::Add(value, _) => now.wrapping_add(value),
        Access::Subtract(value, _) => now.wrapping_sub(value),
        Access::And(value, _) => now & value,
        Access::Or(value, _) => now | value,
    }
}

fn unordered(access: Access) -> Access {
    const NONE: Ordering = Ordering::Relaxed;
    match access {
        Access::Load(_) => Access::Load(NONE),
        Access::Store(value, _) => Access::Store(value, NONE),
        Access::Swap(value, _) => Access::Swap(value, NONE),
        Access::Exchange(current, new, ..) => Access::Exchange(current, new, NONE, NONE),
        Access::Add(value, _) => Access::Add(value, NONE),
        Access::Subtract(value, _) => Access::Subtract(value, NONE),
        Access::And(value, _) => Access::And(value, NONE),
        Access::Or(value, _) => Access::Or(value, NONE),
    }
}

impl<W: Word> Model for Words<W> {
    fn access(&self, address: usize, initial: u64, access: Access) -> u64 {
        let word = self.word(address, initial);
        let access = if self.fault == Fault::Unordered {
            unordered(access)
        } else {
            access
        };
        let is_torn = match self.fault {
            Fault::Torn => true,
            Fault::TornIn(part) => part.contains(address),
            _ => false,
        };
        match access {
            Access::Load(ordering) => word.load(ordering),
            Access::Store(value, ordering) => {
                if matches!(self.fault, Fault::HalvedIn(part) if part.contains(address)) {
                    const LOWER: u64 = u32::MAX as u64;
                    word.store(word.load(Ordering::Relaxed) & !LOWER | value & LOWER, ordering);
                }
                word.store(value, ordering);
                0
            }
            Access::Exchange(current, new, ..) if self.fault == (Fault::Unclaimed { from: current, to: new }) => {
                word.load(Ordering::Acquire)
            }
            _ if is_torn => {
                let now = word.load(Ordering::Acquire);
                let next = after(access, now);
                if next != now {
                    word.store(next, Ordering::Release);
                }
                now
            }
            Access::Exchange(current, new, success, failure) => {
                let before = word.exchange(current, new, success, failure);
                if before == current {
                    *self.exchanges.borrow_mut().entry((current, new)).or_default() += 1;
                }
                before
            }
            _ => word.change(access),
        }
    }

    fn fence(&self, ordering: Ordering) {
        if self.fault != Fault::Unordered {
            W::fence(ordering);
        }
    }

    fn zero_bytes(&self, start: usize, bytes: usize) {
        let mut inside: Vec<usize> = self.words.borrow().keys().copied().collect();
        inside.retain(|address| (start..start + bytes).contains(address));
        inside.sort_unstable();
        for address in inside {
            self.word(address, 0).store(0, Ordering::Relaxed);
        }
    }

    fn pause(&self) {
        W::pause();
    }

    fn thread(&self) -> usize {
        W::thread()
    }
}

/// Everything that a model's thread may do at the same time as the others.
pub(super) type Thread = Box<dyn FnOnce() + Send>;

/// A boxed thread.
pub(super) fn thread(body: impl FnOnce() + Send + 'static) -> Thread {
    Box::new(body)
}

/// All executions of the threads that `begin` makes, with at most so many preemptions; then `end` looks at what came of it.
pub(super) fn all_executions(
    fault: Fault,
    preemptions: usize,
    begin: impl Fn() -> Vec<Thread> + Send + Sync + 'static,
    end: impl Fn() + Send + Sync + 'static,
) {
    let (begin, end) = (Arc::new(begin), Arc::new(end));
    // The checker wants to know from which thread an atomic comes. All are there before the threads begin, so all that the threads
    // can touch must be known: it is what they touch in some interleavings. One that was overlooked makes the check fail.
    let known = {
        let (begin, end) = (begin.clone(), end.clone());
        touched(400, move || begin(), move || end())
    };
    let words = Words::<Weak>::leaked(fault);
    let shared = Shared(words);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    model::run(words, || {
        builder.check(move || {
            let fresh = known
                .iter()
                .map(|&(address, initial)| (address, Rc::new(Weak::new(initial))));
            *shared.get().words.borrow_mut() = fresh.collect();
            let threads = begin().into_iter().enumerate().map(|(number, body)| {
                loom::thread::spawn(move || {
                    LOOM_THREAD.with(|thread| thread.set(number + 1));
                    body();
                })
            });
            for thread in threads.collect::<Vec<_>>() {
                thread.join().unwrap();
            }
            end();
        });
    });
}

/// The atomics that the threads touch in some interleavings, and their initial values.
fn touched(
    count: usize,
    begin: impl Fn() -> Vec<Thread> + Send + Sync + 'static,
    end: impl Fn() + Send + Sync + 'static,
) -> Vec<(usize, u64)> {
    let words = Words::<Step>::leaked(Fault::None);
    explore(words, count, begin, end);
    let mut touched: Vec<(usize, u64)> = words
        .touched
        .borrow()
        .iter()
        .map(|(&address, &initial)| (address, initial))
        .collect();
    touched.sort_unstable();
    touched
}

/// `count` random interleavings: half of them with few, late changes of thread, half with one at any step. Says what was exchanged.
pub(super) fn interleavings(
    fault: Fault,
    count: usize,
    begin: impl Fn() -> Vec<Thread> + Send + Sync + 'static,
    end: impl Fn() + Send + Sync + 'static,
) -> Exchanges {
    let words = Words::<Step>::leaked(fault);
    explore(words, count, begin, end);
    words.exchanges.take()
}

fn explore(
    words: &'static Words<Step>,
    count: usize,
    begin: impl Fn() -> Vec<Thread> + Send + Sync + 'static,
    end: impl Fn() + Send + Sync + 'static,
) {
    let shared = Shared(words);
    let body = Arc::new(move || {
        shared.get().words.borrow_mut().clear();
        let threads: Vec<_> = begin().into_iter().map(shuttle::thread::spawn).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        end();
    });
    model::run(words, || {
        let first = body.clone();
        run_shuttle(shuttle::scheduler::PctScheduler::new(3, count.div_ceil(2)), move || {
            first()
        });
        run_shuttle(shuttle::scheduler::RandomScheduler::new(count / 2), move || body());
    });
}

fn run_shuttle<S: shuttle::scheduler::Scheduler + 'static>(scheduler: S, body: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(2_000_000);
    config.silence_warnings = true;
    shuttle::Runner::new(scheduler, config).run(body);
}

/// `Words` between the threads of a model, which all run on the thread of the test.
struct Shared<W: 'static>(&'static Words<W>);

// SAFETY: both checkers run all threads of a model on the one thread that called them, one at a time.
unsafe impl<W> Send for Shared<W> {}
// SAFETY: as above.
unsafe impl<W> Sync for Shared<W> {}

impl<W> Shared<W> {
    fn get(&self) -> &'static Words<W> {
        self.0
    }
}
