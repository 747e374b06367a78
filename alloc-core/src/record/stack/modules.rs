//! Which module holds an address, and whether that is still the module it was.
//!
//! Called by the rule cache on a miss (record side), and by [`sync_with_loader`] from the read side.
//!
//! Unloading. A rule may outlive its module, and another library may then be loaded at the same address. The loader's
//! unload counter can only be read under the loader's lock, which an allocation must never wait for (a thread may hold
//! it while a constructor waits for the allocating thread). So there are two checks, neither on the allocation path:
//! - every miss compares the module it found with the ones found before: one that overlaps an older one, with other
//!   bounds or other unwind information, means that the older one is gone;
//! - [`sync_with_loader`], called where no allocation is under way (a snapshot is taken, the mode is set), reads the
//!   counter under the loader's lock.
//!
//! Either drops all rules and moves the epoch, on which every thread drops its remembered frames.
//! LIMIT: between an unload and the first of these checks a stale rule can be used if the new library returns to the
//! very addresses the old one returned to. The stack may then be wrong or short; reads stay inside the thread's stack.
//! The miss path reads a module's unwind information, which is mapped as long as its code is on a stack.
#![forbid(unsafe_code)]

use crate::record::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::cfi::Image;
use super::rules;
use crate::record::sys::unwind;

/// Moves whenever something may have been unloaded. 0 only before the first [`init`], so that the zeroed state of a
/// thread is out of date.
static EPOCH: AtomicU32 = AtomicU32::new(1);

/// The loader's unload counter when it was last read.
static UNLOADS: AtomicU64 = AtomicU64::new(0);

/// A module that a rule was made from.
struct Known {
    start: AtomicUsize,
    end: AtomicUsize,
    print: AtomicU64,
}

/// More modules than this with frames on stacks cost a flush of the cache now and then, nothing else.
const KNOWN: usize = 128;

static MODULES: [Known; KNOWN] = [const {
    Known {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        print: AtomicU64::new(0),
    }
}; KNOWN];

/// Once, before the first capture.
pub(super) fn init() {
    unwind::init_modules();
}

/// Remembered frames and rules of another epoch are void.
#[inline(always)]
pub(super) fn epoch() -> u32 {
    // ORDERING: a thread that sees the move late behaves as if it had captured earlier.
    EPOCH.load(Relaxed)
}

/// Calls `read` with the segment that holds the unwind information for `address`, and the address of its header.
pub(super) fn with_module_at<T>(address: usize, read: impl FnOnce(Image<'_>, usize) -> T) -> Option<T> {
    let module = unwind::find_module(address)?;
    let (start, bytes) = unwind::unwind_segment(&module)?;
    let image = Image { address: start, bytes };
    note(module.start, module.end, fingerprint(image, module.header));
    Some(read(image, module.header))
}

/// The first words of the unwind header: where the table lies, how many functions it has, which the first are.
fn fingerprint(image: Image<'_>, header: usize) -> u64 {
    let words = header
        .checked_sub(image.address)
        .and_then(|at| image.bytes.get(at..))
        .unwrap_or(&[]);
    words.chunks_exact(4).take(32).fold(header as u64, |print, word| {
        let word = word.iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        (print.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// Compares a module with those seen before.
///
/// Without a lock: two threads that note at once may mix two records, which costs a flush too many and nothing else.
fn note(start: usize, end: usize, print: u64) {
    for known in &MODULES {
        let (known_start, known_end) = (known.start.load(Relaxed), known.end.load(Relaxed));
        if known_start == 0 {
            known.print.store(print, Relaxed);
            known.end.store(end, Relaxed);
            known.start.store(start, Relaxed);
            return;
        }
        if (known_start, known_end, known.print.load(Relaxed)) == (start, end, print) {
            return;
        }
        if start < known_end && known_start < end {
            break;
        }
    }
    // Either one that overlaps another, or one too many.
    forget();
}

/// Drops everything learned from modules.
pub(super) fn forget() {
    EPOCH.fetch_add(1, Relaxed);
    for known in &MODULES {
        known.start.store(0, Relaxed);
    }
    rules::clear();
}

/// Takes the loader's lock and drops what was learned if a module was unloaded since the last call. Where the loader
/// cannot be asked for a module without its lock (before glibc 2.35, musl), also learns which modules are loaded.
///
/// Never inside an allocation.
pub(super) fn sync_with_loader() {
    let (unloads, changed) = unwind::sync_modules();
    if UNLOADS.swap(unloads, Relaxed) != unloads || changed {
        forget();
    }
}
