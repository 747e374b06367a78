//! Time and memory as the operating system accounts for them.
//!
//! Everything is timed with the thread's own CPU clock: on a shared machine the wall clock also counts the time in which
//! somebody else ran. What it hides is waiting, so the runs with two threads print wall time beside it.

/// CPU time of the calling thread in nanoseconds. Costs a system call.
///
/// # Panics
/// When the system has no such clock.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of this process in nanoseconds, those that have ended included. Costs a system call.
///
/// # Panics
/// When the system has no such clock.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "the system has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU nanoseconds of one call, and what it returned.
pub fn timed<T>(run: impl FnOnce() -> T) -> (u64, T) {
    let start = thread_cpu_ns();
    let result = run();
    (thread_cpu_ns() - start, result)
}

/// Resident memory of this process in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// All pages, code and files included.
    pub all: u64,
    /// Pages that are no file's: heap, stacks, tables.
    pub anonymous: u64,
}

impl Resident {
    /// As `/proc/self/smaps_rollup` has it, which counts pages instead of estimating.
    ///
    /// # Panics
    /// Where there is no such file.
    #[must_use]
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux has smaps_rollup");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            number.expect("the field is there") * 1024
        };
        Self {
            all: field("Rss:"),
            anonymous: field("Anonymous:"),
        }
    }
}

/// CPU time of all children that ended and were waited for, in nanoseconds, to the microsecond.
///
/// # Panics
/// When the system does not tell.
#[must_use]
pub fn children_cpu_ns() -> u64 {
    // SAFETY: zeros are a valid value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for one rusage.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(result, 0, "the system tells what children used");
    let ns = |time: libc::timeval| (time.tv_sec * 1_000_000 + time.tv_usec) as u64 * 1000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}
