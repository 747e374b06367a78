//! The mode, and the settings read from the environment before `main`.
//!
//! Record side; `init` runs once, during the first allocation. The environment is read from `environ`, never through `std::env`, and
//! not at all in programs that run with more rights than their caller. An unusable value: one line on stderr, the default, and the
//! program runs on. Cost: `mode` is one relaxed load.

use crate::record::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::ffi::CStr;

use super::observe::{self, Observing};
use super::{arena, sample, sys, thread};

/// What is recorded of the allocations made from now on. Blocks granted in any mode live side by side: what was
/// recorded at a block's birth is what counts when it is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Every allocation, with its call stack. The default.
    Exact,
    /// Every allocation, by scope, without call stacks.
    Scopes,
    /// Allocations and bytes of every scope, and one allocation in so many bytes with its call stack: for production. What is estimated
    /// from these says how sure it is. See `docs/sampled-mode.md`.
    Sampled,
    /// Nothing. Blocks tracked before are still counted when they are freed.
    Off,
}

impl Mode {
    /// The name that `ALLOCSCOPE_MODE` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Scopes => "scopes",
            Self::Sampled => "sampled",
            Self::Off => "off",
        }
    }
    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Exact, Self::Scopes, Self::Sampled, Self::Off]
            .into_iter()
            .find(|mode| mode.name().as_bytes() == name)
    }
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

impl core::str::FromStr for Mode {
    type Err = UnknownMode;
    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::from_name(text.as_bytes()).ok_or(UnknownMode(()))
    }
}

/// The text is not the name of a [`Mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode(());

impl core::fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a mode: use \"exact\", \"scopes\", \"sampled\" or \"off\"")
    }
}

impl core::error::Error for UnknownMode {}

/// Deepest stack that can be kept.
pub(crate) const MAX_DEPTH: u32 = 128;
const DEFAULT_DEPTH: u32 = 64;
/// Largest ceiling of the tracker's own memory: `arena` names places in it by 32 bits, in units of 16 bytes.
const MAX_MEMORY_MIB: u32 = 65_535;

static MODE: AtomicU8 = AtomicU8::new(Mode::Exact as u8);
/// Whether scopes are entered: only in a program whose allocator is a `TrackingAllocator`, and not in mode `off`.
static SCOPES: AtomicU8 = AtomicU8::new(ASK);
/// The program has not allocated yet, so nobody knows which allocator it has.
const ASK: u8 = 0;
const NO_SCOPES: u8 = 1;
const ENTERS_SCOPES: u8 = 2;
static HAS_ASKED: AtomicBool = AtomicBool::new(false);
/// Place in `RANKS`; none of it while not set.
static RANK: AtomicUsize = AtomicUsize::new(usize::MAX);
/// 0 while not set.
static TOP: AtomicU32 = AtomicU32::new(0);
/// What a report can be ranked by, as `report::Rank` calls it.
pub(crate) const RANKS: [&str; 6] = ["bytes", "allocations", "live", "peak", "copied", "temporary"];
static WAS_OFF: AtomicU8 = AtomicU8::new(0);
static TIMES_SAMPLED: AtomicU32 = AtomicU32::new(0);
static TIMES_OFF: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(DEFAULT_DEPTH);
static START_NS: AtomicU64 = AtomicU64::new(0);
static PROCESS: AtomicU32 = AtomicU32::new(0);
static REPORT: AtomicPtr<core::ffi::c_char> = AtomicPtr::new(core::ptr::null_mut());
static SNAPSHOT: AtomicPtr<core::ffi::c_char> = AtomicPtr::new(core::ptr::null_mut());

/// The mode that allocations are recorded in now.
#[must_use]
#[inline(always)]
pub fn mode() -> Mode {
    match MODE.load(Ordering::Relaxed) {
        0 => Mode::Exact,
        1 => Mode::Scopes,
        2 => Mode::Sampled,
        _ => Mode::Off,
    }
}

const _: () = assert!(Mode::Exact as u8 == 0 && Mode::Scopes as u8 == 1 && Mode::Sampled as u8 == 2);

/// The mode as a number: that of a `Mode`, in their order.
#[inline(always)]
pub(crate) fn mode_number() -> u8 {
    MODE.load(Ordering::Relaxed)
}

/// `mode() == Mode::Off`, in one compare.
#[inline(always)]
pub(crate) fn is_off() -> bool {
    MODE.load(Ordering::Relaxed) == Mode::Off as u8
}

/// `mode() == Mode::Sampled`, in one compare.
#[inline(always)]
pub(crate) fn is_sampled() -> bool {
    MODE.load(Ordering::Relaxed) == Mode::Sampled as u8
}

/// True in the modes that count every free, in one compare.
#[inline(always)]
pub(crate) fn counts_frees() -> bool {
    MODE.load(Ordering::Relaxed) < Mode::Sampled as u8
}

/// True when entering a scope is to do nothing: one relaxed load, also in a program that has another allocator.
#[inline(always)]
pub(crate) fn has_no_scopes() -> bool {
    let scopes = SCOPES.load(Ordering::Relaxed);
    scopes != ENTERS_SCOPES && (scopes == NO_SCOPES || has_none_after_all())
}

/// The first scope of a program that has not allocated so far, as `main` may be: finds out which allocator it has.
#[cold]
#[inline(never)]
fn has_none_after_all() -> bool {
    let is_first = !HAS_ASKED.swap(true, Ordering::SeqCst);
    // Who enters a scope meanwhile does not ask again.
    decide_about_scopes();
    thread::ask_allocator();
    if is_first && !thread::is_used() {
        say_not_installed();
    }
    SCOPES.load(Ordering::Relaxed) != ENTERS_SCOPES
}

static HAS_SAID: AtomicBool = AtomicBool::new(false);

/// Whether somebody who asked for a report has been told that there will be none.
pub(crate) fn has_said_not_installed() -> bool {
    HAS_SAID.load(Ordering::Relaxed)
}

/// A report that was asked for and will never come is said to be none.
fn say_not_installed() {
    for name in ["ALLOCSCOPE_REPORT", "ALLOCSCOPE_SNAPSHOT"] {
        if !sys::is_privileged() && sys::env(name).is_some() {
            for part in [
                "allocscope: ",
                name,
                " is set, and nothing will be written: no TrackingAllocator is the global allocator of this program; add to the binary: \
                 #[global_allocator] static ALLOC: alloc_core::TrackingAllocator = alloc_core::TrackingAllocator::new();\n",
            ] {
                sys::write_stderr(part.as_bytes());
            }
            HAS_SAID.store(true, Ordering::Relaxed);
            return;
        }
    }
}

/// To be called when the mode has been set, and when the first `TrackingAllocator` is used.
pub(crate) fn decide_about_scopes() {
    // ORDERING: SeqCst, as in `set_mode` and `thread::set_used`: whoever stores last has seen what the others wrote, or looks again.
    let read = || {
        (
            thread::is_used(),
            MODE.load(Ordering::SeqCst),
            HAS_ASKED.load(Ordering::SeqCst),
        )
    };
    let mut seen = read();
    loop {
        let scopes = match seen {
            (_, mode, _) if mode == Mode::Off as u8 => NO_SCOPES,
            (true, ..) => ENTERS_SCOPES,
            (false, _, true) => NO_SCOPES,
            (false, _, false) => ASK,
        };
        SCOPES.store(scopes, Ordering::SeqCst);
        let now = read();
        if now == seen {
            break;
        }
        seen = now;
    }
}

/// Changes what is recorded from now on, on all threads.
///
/// # Accuracy
/// After time spent in [`Mode::Off`], live figures leave out what was granted meanwhile; snapshots say so.
pub fn set_mode(mode: Mode) {
    if mode == Mode::Off {
        WAS_OFF.store(1, Ordering::Relaxed);
        TIMES_OFF.fetch_add(1, Ordering::Relaxed);
    }
    if mode == Mode::Sampled {
        TIMES_SAMPLED.fetch_add(1, Ordering::Relaxed);
    }
    MODE.store(mode as u8, Ordering::SeqCst);
    decide_about_scopes();
}

/// True when allocations may have gone unrecorded since the start.
pub(crate) fn was_off() -> bool {
    WAS_OFF.load(Ordering::Relaxed) != 0
}

/// True when the mode is or has been `Sampled`.
pub(crate) fn was_sampled() -> bool {
    times_sampled() != 0
}

/// How often sampling was switched on, as `times_off`.
pub(crate) fn times_sampled() -> u32 {
    TIMES_SAMPLED.load(Ordering::Relaxed)
}

/// How often tracking was switched off: a measurement during which this changes has missed something.
pub(crate) fn times_off() -> u32 {
    TIMES_OFF.load(Ordering::Relaxed)
}

/// Frames kept per stack.
#[inline(always)]
pub(crate) fn depth() -> usize {
    DEPTH.load(Ordering::Relaxed) as usize
}

/// Nanoseconds since the first allocation.
pub(crate) fn uptime_ns() -> u64 {
    sys::monotonic_ns().saturating_sub(START_NS.load(Ordering::Relaxed))
}

fn text(place: &AtomicPtr<core::ffi::c_char>) -> Option<&'static CStr> {
    let text = place.load(Ordering::Acquire);
    // SAFETY: non-null values are C strings: of the environment while `init` runs, copies of our own afterwards.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// Where the report goes at exit.
pub(crate) fn report_path() -> Option<&'static CStr> {
    text(&REPORT)
}

/// What the report at exit is ranked by: one of [`RANKS`]. `None`: it was not said.
pub(crate) fn report_rank() -> Option<&'static str> {
    RANKS.get(RANK.load(Ordering::Relaxed)).copied()
}

/// How many sites the report at exit shows, if it was said.
pub(crate) fn report_top() -> Option<usize> {
    let sites = TOP.load(Ordering::Relaxed);
    (sites > 0).then_some(sites as usize)
}

/// Where the snapshot goes at exit.
pub(crate) fn snapshot_path() -> Option<&'static CStr> {
    text(&SNAPSHOT)
}

/// Reads the environment. Called once, before the first event.
pub(crate) fn init() {
    START_NS.store(sys::monotonic_ns(), Ordering::Relaxed);
    let mut limit = arena::DEFAULT_LIMIT;
    sample::init(None, None, None);
    if !sys::is_privileged() {
        if let Some(value) = sys::env("ALLOCSCOPE_MODE") {
            match Mode::from_name(value.to_bytes()) {
                Some(mode) => set_mode(mode),
                None => refuse("ALLOCSCOPE_MODE", value, "exact, scopes, sampled or off; using exact"),
            }
        }
        if let Some(value) = sys::env("ALLOCSCOPE_DEPTH") {
            match number(value, 1, MAX_DEPTH) {
                Some(depth) => DEPTH.store(depth, Ordering::Relaxed),
                None => refuse("ALLOCSCOPE_DEPTH", value, "a number of frames from 1 to 128; using 64"),
            }
        }
        if let Some(value) = sys::env("ALLOCSCOPE_MEMORY_MIB") {
            match number(value, 1, MAX_MEMORY_MIB) {
                Some(mebibytes) => limit = (mebibytes as usize) << 20,
                None => refuse(
                    "ALLOCSCOPE_MEMORY_MIB",
                    value,
                    "a number of MiB from 1 to 65535; using 256",
                ),
            }
        }
        init_sampling();
        if let Some(value) = sys::env("ALLOCSCOPE_OBSERVE") {
            match Observing::from_name(value.to_bytes()) {
                Some(observing) => observe::set_observing(observing),
                None => refuse("ALLOCSCOPE_OBSERVE", value, "auto, all or none; using auto"),
            }
        }
        if let Some(value) = sys::env("ALLOCSCOPE_RANK") {
            match RANKS.iter().position(|name| name.as_bytes() == value.to_bytes()) {
                Some(rank) => RANK.store(rank, Ordering::Relaxed),
                None => refuse(
                    "ALLOCSCOPE_RANK",
                    value,
                    "bytes, allocations, live, peak, copied or temporary; using bytes",
                ),
            }
        }
        if let Some(value) = sys::env("ALLOCSCOPE_TOP") {
            match number(value, 1, u32::MAX) {
                Some(sites) => TOP.store(sites, Ordering::Relaxed),
                None => refuse("ALLOCSCOPE_TOP", value, "a number of sites from 1 on; using 10"),
            }
        }
        for (name, place) in [("ALLOCSCOPE_REPORT", &REPORT), ("ALLOCSCOPE_SNAPSHOT", &SNAPSHOT)] {
            match sys::env(name) {
                Some(path) if path.is_empty() => refuse(name, path, "a path, or - for stderr; writing nothing"),
                Some(path) => place.store(path.as_ptr().cast_mut(), Ordering::Release),
                None => {}
            }
        }
    }
    arena::init(limit);
    PROCESS.store(sys::process_id(), Ordering::Relaxed);
    for place in [&REPORT, &SNAPSHOT] {
        keep(place);
    }
}

/// How samples are taken.
fn init_sampling() {
    let read = |name, accepted, parse: fn(&CStr) -> Option<u64>| {
        let value = sys::env(name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            refuse(name, value, accepted);
        }
        parsed
    };
    let interval = read(
        "ALLOCSCOPE_SAMPLE_INTERVAL",
        "bytes from 16 to 1 TiB, as 512KiB; using 512KiB",
        |value| size(value).filter(|bytes| (sample::LEAST_BYTES..=sample::MOST_BYTES).contains(bytes)),
    );
    let seed = read("ALLOCSCOPE_SAMPLE_SEED", "a number; drawing one", |value| {
        core::str::from_utf8(value.to_bytes()).ok()?.parse().ok()
    });
    let rate = read(
        "ALLOCSCOPE_SAMPLE_RATE",
        "samples a second, 0 for any number; using 10000",
        |value| number(value, 0, u32::MAX).map(u64::from),
    );
    sample::init(interval, seed, rate.map(|rate| rate as u32));
}

/// A number of bytes: digits, then nothing or B, KiB, MiB, GiB, TiB.
fn size(value: &CStr) -> Option<u64> {
    let text = core::str::from_utf8(value.to_bytes()).ok()?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.trim_ascii_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Copies a value to memory of our own: programs that change their title write over the environment.
fn keep(place: &AtomicPtr<core::ffi::c_char>) {
    let Some(value) = text(place) else { return };
    let bytes = value.to_bytes_with_nul();
    let copy = arena::take(bytes.len(), 1);
    if let Some(copy) = copy {
        // SAFETY: `copy` is fresh memory of this length, and apart from the environment.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_ptr(), bytes.len()) };
    }
    place.store(
        copy.map_or(core::ptr::null_mut(), |copy| copy.as_ptr().cast()),
        Ordering::Release,
    );
}

/// True in the process that made the first allocation, false in one forked from it.
pub(crate) fn is_first_process() -> bool {
    PROCESS.load(Ordering::Relaxed) == sys::process_id()
}

fn number(value: &CStr, least: u32, most: u32) -> Option<u32> {
    let text = core::str::from_utf8(value.to_bytes()).ok()?;
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

/// One line on stderr about a value that cannot be used.
fn refuse(name: &str, value: &CStr, accepted: &str) {
    let mut line = [0u8; 256];
    let mut length = 0;
    for part in [
        b"allocscope: ",
        name.as_bytes(),
        b"=\"",
        value.to_bytes(),
        b"\" is not usable: it takes ",
        accepted.as_bytes(),
    ] {
        // A value too long for the line is cut; room for the rest of the sentence is kept.
        let room = if part.as_ptr() == value.as_ptr().cast() {
            60
        } else {
            usize::MAX
        };
        for &byte in part.iter().take(room) {
            if let Some(place) = line.get_mut(length).filter(|_| length < 255) {
                *place = if byte.is_ascii_control() { b'?' } else { byte };
                length += 1;
            }
        }
    }
    if let Some(place) = line.get_mut(length) {
        *place = b'\n';
    }
    sys::write_stderr(line.get(..=length).unwrap_or(&line));
}
