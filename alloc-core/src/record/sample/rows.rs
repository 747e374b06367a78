//! Sums of samples by context, of all threads together.
//!
//! Record side. Written with atomic additions, because samples are rare: one row of a context serves every thread, needs no folding and
//! never goes. Blocks and bytes are whole numbers, so that what is freed is exactly what was granted; variances are not, and lose a last
//! bit now and then. Read by `control`: the freed side first, so that nothing alive comes out below zero.
//! Cost: five atomic additions per sample. Leaves out which samples there are.

use crate::record::atomic::{AtomicU64, Ordering};

use super::weight::Weight;
use crate::ids::ContextId;
use crate::record::counters::Counter;
use crate::record::index::Lazy;
use crate::record::pages::PAGE;
use crate::record::thread::MAX_CONTEXTS;

/// A sum of real numbers that many threads add to.
#[derive(Default)]
struct Real(AtomicU64);

impl Real {
    fn add_shared(&self, amount: f64) {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let sum = (f64::from_bits(now) + amount).to_bits();
            match self
                .0
                .compare_exchange_weak(now, sum, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
    }
    fn read(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Acquire))
    }
}

/// What some samples come to.
#[derive(Default)]
pub(crate) struct SumRow {
    samples: Counter,
    blocks: Counter,
    bytes: Counter,
    blocks_variance: Real,
    bytes_variance: Real,
}

/// A reading of a `SumRow`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) samples: u64,
    /// In the units of `Weight`, as `bytes`.
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) blocks_variance: f64,
    pub(crate) bytes_variance: f64,
}

impl SumRow {
    fn add(&self, weight: &Weight) {
        self.blocks_variance.add_shared(weight.blocks_variance);
        self.bytes_variance.add_shared(weight.bytes_variance);
        self.blocks.add_shared(weight.blocks);
        self.bytes.add_shared(weight.bytes);
        self.samples.add_shared(1);
    }

    pub(crate) fn read(&self) -> Sum {
        Sum {
            samples: self.samples.read(),
            blocks: self.blocks.read(),
            bytes: self.bytes.read(),
            blocks_variance: self.blocks_variance.read(),
            bytes_variance: self.bytes_variance.read(),
        }
    }
}

/// What was sampled in one context.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct SampleRow {
    /// Granted, by allocations and by reallocations.
    pub(crate) granted: SumRow,
    /// Freed, or taken away by a reallocation.
    pub(crate) freed: SumRow,
    /// Of those freed, the ones that died young: see `Clock`.
    pub(crate) temporary: SumRow,
    /// Of `granted`, the blocks of reallocations, in the units of `Weight`.
    pub(crate) reallocated: Counter,
}

const _: () = assert!(size_of::<SampleRow>() == 128);

static ROWS: [Lazy<SampleRow>; MAX_CONTEXTS / PAGE] = [const { Lazy::new() }; MAX_CONTEXTS / PAGE];

/// Makes room for the samples of `context`.
pub(crate) fn make_row(context: ContextId) -> bool {
    match ROWS.get(context.0 as usize / PAGE) {
        // SAFETY: zero is a valid SampleRow.
        Some(page) => unsafe { page.get_or_make(PAGE) }.is_some(),
        None => false,
    }
}

/// The samples of `context`.
pub(crate) fn row(context: ContextId) -> Option<&'static SampleRow> {
    let page = ROWS.get(context.0 as usize / PAGE)?.get()?;
    // SAFETY: pages have PAGE rows and are never freed.
    Some(unsafe { page.add(context.0 as usize % PAGE).as_ref() })
}

impl SampleRow {
    pub(super) fn granted(&self, weight: &Weight, is_reallocated: bool) {
        if is_reallocated {
            self.reallocated.add_shared(weight.blocks);
        }
        self.granted.add(weight);
    }

    pub(super) fn freed(&self, weight: &Weight, is_temporary: bool) {
        self.freed.add(weight);
        if is_temporary {
            self.temporary.add(weight);
        }
    }
}
