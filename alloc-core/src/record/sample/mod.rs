//! Mode `sampled`: which allocations are samples, and what samples come to.
//!
//! Record side. Samples are a Poisson process over the bytes that a thread is granted: from one to the next is an exponential draw
//! (`weight::draw`), and the request that reaches it is sampled. It becomes a tracked block, whose context also says with which
//! interval it was sampled; all other blocks are untracked. A sample of `size` bytes stands for `1 / (1 - exp(-size / interval))` blocks.
//! Because the process has no memory, the next sample may be drawn again at any moment that does not depend on it: when a thread begins, when
//! the interval is set.
//!
//! `gate::sampled` asks `count` and tells `granted` and `freed`; `control` reads `row`. Guard rails: above `RATE` samples a second the
//! interval doubles, and comes back later; each sample has the weight of the interval it was drawn with, so estimates stay
//! unbiased and only get wider. There is no table of live samples: a sample costs 8 bytes beside its block, whatever lives. Contexts are
//! bounded by the tracker's memory ceiling; a sample that finds none is counted and left untracked.
//! Cost: for an allocation that is not sampled `count` alone, and that once in 64 KiB. Leaves out estimates and intervals (`model`).

mod rows;
mod weight;

use crate::record::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

pub(crate) use self::rows::{Sum, make_row, row};
pub(crate) use self::weight::{BLOCK, BYTE, Interval, LEAST_BYTES, MOST_BYTES, Weight};
#[cfg(test)]
pub(crate) use self::weight::{draw, next_random};
use super::block::{Birth, Header, Stamp};
use super::counters::Counter;
use super::epoch::{self, Effect};
use super::thread::{Registry, ThreadState};
use super::{arena, context, peak, sys};
use crate::ids::ContextId;

/// Samples that are taken in a second at most.
///
/// At half a microsecond each, that is half a percent of one core.
pub(crate) const DEFAULT_RATE: u32 = 10_000;
/// Furthest that the rate cap backs off.
const MOST_DOUBLINGS: u32 = 16;
/// Bytes to the next sample at most, so that sums do not overflow.
const FARTHEST: u64 = 1 << 61;
/// A block of so many bytes has a header even if it is no sample: see `gate::sampled`.
///
/// PERF: a header costs a block that is freed some 40 instructions, and what is smaller is soon copied.
pub(super) const LARGE: usize = 64 << 10;
/// Further allocations of its thread after which a block is no longer a temporary one.
const TEMPORARY: u32 = 8;

static INTERVAL: AtomicU32 = AtomicU32::new(Interval::DEFAULT.bits());
static DOUBLINGS: AtomicU32 = AtomicU32::new(0);
static TIMES_BACKED_OFF: AtomicU32 = AtomicU32::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
static HAS_SEED: AtomicBool = AtomicBool::new(false);
static RATE: AtomicU32 = AtomicU32::new(DEFAULT_RATE);
/// Samples since `COUNTED_SINCE`, in nanoseconds.
static COUNTED: AtomicU32 = AtomicU32::new(0);
static COUNTED_SINCE: AtomicU64 = AtomicU64::new(0);
static UNRECORDED: Counter = Counter::new();

// Settings.

/// The interval as set.
pub(crate) fn interval() -> Interval {
    Interval::from_bits(INTERVAL.load(Ordering::Relaxed)).unwrap_or(Interval::DEFAULT)
}

/// The interval of the next draw.
pub(crate) fn current_interval() -> Interval {
    interval().doubled(DOUBLINGS.load(Ordering::Relaxed))
}

/// What the environment asks for; before the first draw.
pub(super) fn init(bytes: Option<u64>, seed: Option<u64>, rate: Option<u32>) {
    if let Some(bytes) = bytes {
        INTERVAL.store(Interval::at_most(bytes).bits(), Ordering::Relaxed);
    }
    // Where time has a say, the same seed does not give the same samples.
    let rate = rate.or_else(|| seed.map(|_| 0)).unwrap_or(DEFAULT_RATE);
    RATE.store(rate, Ordering::Relaxed);
    HAS_SEED.store(seed.is_some(), Ordering::Relaxed);
    SEED.store(seed.unwrap_or_else(sys::random), Ordering::Relaxed);
}

/// The mean number of bytes between two samples in mode `sampled`, as set.
#[must_use]
pub fn sample_interval() -> u64 {
    interval().bytes()
}

/// Sets the mean number of bytes between two samples in mode `sampled`, on all threads, at any time. The next allocation of each thread is
/// still up to the interval before, and while a thread is at one just now, those within 64 KiB.
///
/// Samples that were taken before keep the weight they were taken with, so estimates stay right. See `docs/sampled-mode.md` for how to
/// choose.
///
/// # Accuracy
/// From 16 bytes to 1 TiB; what is outside is taken for the nearest of the two. Kept to nine bits: powers of two, and numbers below 512,
/// exactly, others rounded down by less than 0.4 %.
///
/// # Overhead
/// A store for each thread; waits while a snapshot is being taken.
pub fn set_sample_interval(bytes: u64) {
    INTERVAL.store(Interval::at_most(bytes).bits(), Ordering::Relaxed);
    let registry = Registry::lock();
    for thread in registry.threads() {
        // LIMIT: a thread that looks at this very moment may overwrite what says that it is to look; then it draws within 64 KiB.
        // ORDERING: Release: who sees it, sees the interval.
        thread.draws_again.store(1, Ordering::Release);
        thread.look();
    }
}

/// The seed, if one was set.
pub(crate) fn seed() -> Option<u64> {
    HAS_SEED.load(Ordering::Relaxed).then(|| SEED.load(Ordering::Relaxed))
}

/// Starts the draws of a thread that has just got its state: those of the seed and of its number.
pub(super) fn prepare(thread: &ThreadState) {
    let mut state = SEED.load(Ordering::Relaxed) ^ u64::from(thread.index()).wrapping_mul(0xd134_2543_de82_ef95);
    let _ = weight::next_random(&mut state);
    thread.sample_random.set(state);
    // ORDERING: Acquire: see `set_sample_interval`.
    thread.draws_again.swap(0, Ordering::Acquire);
    draw_again(thread);
}

fn draw_again(thread: &ThreadState) {
    let interval = current_interval();
    let mut state = thread.sample_random.get();
    let random = weight::next_random(&mut state);
    thread.sample_random.set(state);
    thread.sample_interval.store(interval.bits(), Ordering::Relaxed);
    let next = weight::draw(random, interval).min(FARTHEST);
    thread.sample_at.set(thread.sampled_bytes() + 1 + next);
    // Where it looks is the draw before, or that of the thread that had the state before.
    thread.look();
}

// Samples.

/// Counts the bytes of an event of mode `sampled`, as granted, and says how far ahead the next one is that has something to look at: on a
/// thread under attention each has. If it is a sample, gives the interval it was drawn with. `undo` takes the count back.
#[inline(always)]
pub(super) fn count(thread: &ThreadState, size: usize, is_attended: bool) -> Option<Interval> {
    thread.count_sampled(size as i64);
    let bytes = thread.sampled_bytes();
    let is_sample = bytes >= thread.sample_at.get();
    let interval = if is_sample || thread.draws_again.load(Ordering::Relaxed) != 0 {
        count_draw(thread, is_sample)
    } else {
        None
    };
    if !is_attended {
        thread.look_later(bytes);
    }
    interval
}

#[cold]
#[inline(never)]
fn count_draw(thread: &ThreadState, is_sample: bool) -> Option<Interval> {
    if is_sample {
        look_at_rate();
    }
    // This event was up to the old interval; the new one has no say in it.
    let interval = Interval::from_bits(thread.sample_interval.load(Ordering::Relaxed));
    // ORDERING: Acquire: see `set_sample_interval`.
    thread.draws_again.swap(0, Ordering::Acquire);
    draw_again(thread);
    interval.filter(|_| is_sample)
}

/// What was counted was not granted after all. As far from the next sample as before, which changes no probability.
pub(super) fn undo(thread: &ThreadState, size: usize) {
    thread.count_sampled(-(size as i64));
    thread.sample_at.add((size as u64).wrapping_neg());
    thread.look();
}

/// A sample was taken: when they come too fast the interval doubles, when they come slowly it goes back.
fn look_at_rate() {
    let rate = RATE.load(Ordering::Relaxed);
    if rate == 0 {
        return;
    }
    // So many take a sixteenth of a second at the cap.
    let batch = (rate / 16).max(1);
    let count = COUNTED.fetch_add(1, Ordering::Relaxed) + 1;
    let doublings = DOUBLINGS.load(Ordering::Relaxed);
    if count < batch && doublings == 0 {
        return;
    }
    let now = sys::monotonic_ns();
    let since = COUNTED_SINCE.load(Ordering::Relaxed);
    let elapsed = now.saturating_sub(since);
    let is_over = count >= batch;
    // Backed off, also every second.
    if !is_over && elapsed < 1_000_000_000
        || COUNTED_SINCE
            .compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
    {
        return;
    }
    COUNTED.store(0, Ordering::Relaxed);
    let allowed = u128::from(rate) * u128::from(elapsed) / 1_000_000_000;
    if u128::from(count) > allowed {
        DOUBLINGS.store((doublings + 1).min(MOST_DOUBLINGS), Ordering::Relaxed);
        TIMES_BACKED_OFF.fetch_add(1, Ordering::Relaxed);
    } else if doublings > 0 && u128::from(count) * 4 < allowed {
        DOUBLINGS.store(doublings - 1, Ordering::Relaxed);
    }
}

/// A sample could not be recorded: its context, or memory for it, is missing.
pub(super) fn not_recorded() {
    UNRECORDED.add_shared(1);
}

/// When a block was sampled: the number of its thread's allocations then (18 bits) and of the thread (12), where other blocks have the
/// stamp of a call.
///
/// LIMIT: a block freed a multiple of 262,144 allocations later, within eight, is taken for a temporary one: 3 in 100,000.
struct Clock(u32);

const CLOCK_BITS: u32 = 18;

impl Clock {
    fn now(thread: &ThreadState) -> Self {
        let allocations = thread.allocations.get() as u32 & ((1 << CLOCK_BITS) - 1);
        Self(allocations | ((thread.index() & 0xfff) << CLOCK_BITS))
    }
    fn is_young(&self, birth: u32) -> bool {
        self.0 >> CLOCK_BITS == birth >> CLOCK_BITS && self.0.wrapping_sub(birth) & ((1 << CLOCK_BITS) - 1) <= TEMPORARY
    }
}

/// Counts a sample in `context`, and makes the block's header.
pub(super) fn granted(
    thread: &ThreadState,
    context: ContextId,
    interval: Interval,
    size: usize,
    is_reallocated: bool,
) -> Header {
    let weight = Weight::of(size, interval);
    if let Some(row) = rows::row(context) {
        row.granted(&weight, is_reallocated);
    }
    if let Some(node) = context::node_of(context) {
        peak::move_shared(node, weight.whole_bytes());
    }
    Header::new(context, Birth::new(epoch::current(), Stamp(Clock::now(thread).0)))
}

/// The block of `header` is freed, or leaves its context by a reallocation. False when it is no sample, and nothing has changed.
pub(super) fn freed(thread: Option<&ThreadState>, header: Header, size: usize) -> bool {
    let context = header.context();
    let Some(info) = context::info(context) else {
        return false;
    };
    let Some(interval) = info.interval() else { return false };
    let weight = Weight::of(size, interval);
    let birth = header.birth();
    if let Some(row) = rows::row(context) {
        let is_temporary = thread.is_some_and(|thread| Clock::now(thread).is_young(birth.stamp().0));
        row.freed(&weight, is_temporary);
    }
    if birth.epoch() != epoch::current() {
        epoch::change(context, birth.epoch(), older_effect(&weight, interval));
    }
    peak::move_shared(info.node(), -weight.whole_bytes());
    true
}

/// Units of `interval²` that the variance in an `Effect` is counted in.
const VARIANCE: f64 = (1u64 << 30) as f64;

/// The free of a sample of an older epoch, as the table of epochs keeps it: weights in their units, and the variance of the bytes where
/// the others have bytes granted.
fn older_effect(weight: &Weight, interval: Interval) -> Effect {
    let unit = interval.bytes() as f64;
    Effect {
        blocks: -(weight.blocks as i64),
        bytes: -(weight.bytes as i64),
        frees: 1,
        granted_bytes: (weight.bytes_variance / (unit * unit) * VARIANCE + 0.5) as u64,
    }
}

/// The sum of such effects on one context, read back.
pub(crate) fn older_sum(effect: &Effect, interval: Interval) -> Sum {
    let unit = interval.bytes() as f64;
    Sum {
        samples: effect.frees,
        blocks: effect.blocks.unsigned_abs(),
        bytes: effect.bytes.unsigned_abs(),
        blocks_variance: 0.0,
        bytes_variance: effect.granted_bytes as f64 / VARIANCE * unit * unit,
    }
}

// What is said about all that.

/// State of the guard rails.
pub(crate) struct Health {
    pub(crate) is_degraded: bool,
    pub(crate) times_backed_off: u32,
    pub(crate) unrecorded: u64,
}

pub(crate) fn health() -> Health {
    Health {
        is_degraded: DOUBLINGS.load(Ordering::Relaxed) != 0
            || UNRECORDED.read() != 0
            || arena::used() > arena::limit() / 16 * 15,
        times_backed_off: TIMES_BACKED_OFF.load(Ordering::Relaxed),
        unrecorded: UNRECORDED.read(),
    }
}
