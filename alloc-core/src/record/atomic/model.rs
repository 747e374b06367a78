//! Atomics of `core` whose accesses a model can take over. Model checking only: in no build that people use.
//!
//! While a model runs, the memory itself never changes: it holds the *initial* values, and the model keeps the values of the running
//! execution by address. So statics and zeroed memory take part like everything else, and the next execution starts from
//! where this one did. With no model running an access is the plain one.
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{self as plain, Ordering};

/// One access to one atomic, whose values are taken as 64 bits whatever its width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Load(Ordering),
    Store(u64, Ordering),
    Swap(u64, Ordering),
    /// Current, new; orderings of success and failure.
    Exchange(u64, u64, Ordering, Ordering),
    Add(u64, Ordering),
    Subtract(u64, Ordering),
    And(u64, Ordering),
    Or(u64, Ordering),
}

/// What stands in for the memory while it runs.
pub(crate) trait Model {
    /// Executes an access and gives the value before it. `initial`: what the memory holds.
    fn access(&self, address: usize, initial: u64, access: Access) -> u64;
    fn fence(&self, ordering: Ordering);
    /// Stores 0 in every atomic that lies there.
    fn zero_bytes(&self, start: usize, bytes: usize);
    /// The thread can only go on when another one has.
    fn pause(&self);
    /// A small number for the thread that runs now.
    fn thread(&self) -> usize;
}

std::thread_local! {
    // Both checkers run the threads of a model one at a time on the one thread of the test.
    static RUNNING: Cell<Option<&'static dyn Model>> = const { Cell::new(None) };
}

/// Runs `body` with `model` in place of the memory.
pub(crate) fn run<R>(model: &'static dyn Model, body: impl FnOnce() -> R) -> R {
    struct Reset(Option<&'static dyn Model>);
    impl Drop for Reset {
        fn drop(&mut self) {
            RUNNING.set(self.0);
        }
    }
    let _reset = Reset(RUNNING.replace(Some(model)));
    body()
}

pub(crate) fn running() -> Option<&'static dyn Model> {
    RUNNING.get()
}

/// Small number of the thread that runs: 0 outside of models.
pub(crate) fn thread() -> usize {
    running().map_or(0, Model::thread)
}

pub(crate) fn fence(ordering: Ordering) {
    match running() {
        Some(model) => model.fence(ordering),
        None => plain::fence(ordering),
    }
}

/// False when no model runs.
pub(crate) fn zero_bytes(start: core::ptr::NonNull<u8>, bytes: usize) -> bool {
    running()
        .inspect(|model| model.zero_bytes(start.addr().get(), bytes))
        .is_some()
}

pub(crate) fn spin_loop() {
    if let Some(model) = running() {
        model.pause();
    }
}

macro_rules! atomic {
    ($name:ident $(<$type:ident>)?, $value:ty, $plain:ty, $to:expr, $from:expr) => {
        #[repr(transparent)]
        pub(crate) struct $name $(<$type>)? ($plain);

        impl $(<$type>)? $name $(<$type>)? {
            #[allow(dead_code, reason = "not every type is in a static")]
            pub(crate) const fn new(value: $value) -> Self {
                Self(<$plain>::new(value))
            }

            /// Executes `access` in the model, if one runs.
            fn model(&self, access: Access) -> Option<$value> {
                let model = running()?;
                let initial = ($to)(self.0.load(Ordering::Relaxed));
                Some(($from)(model.access(core::ptr::from_ref(self).addr(), initial, access)))
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.model(Access::Load(ordering)).unwrap_or_else(|| self.0.load(ordering))
            }
            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                if self.model(Access::Store(($to)(value), ordering)).is_none() {
                    self.0.store(value, ordering);
                }
            }
            #[allow(dead_code, reason = "not every type uses every access")]
            pub(crate) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                self.model(Access::Swap(($to)(value), ordering))
                    .unwrap_or_else(|| self.0.swap(value, ordering))
            }
            #[allow(dead_code, reason = "as above")]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                match self.model(Access::Exchange(($to)(current), ($to)(new), success, failure)) {
                    Some(before) if before == current => Ok(before),
                    Some(before) => Err(before),
                    None => self.0.compare_exchange(current, new, success, failure),
                }
            }
            /// Fails spuriously in no model: the loops around it start again in any case.
            #[allow(dead_code, reason = "as above")]
            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }
            #[allow(dead_code, reason = "as above")]
            pub(crate) fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut now = self.load(failure);
                while let Some(next) = update(now) {
                    match self.compare_exchange(now, next, success, failure) {
                        Ok(before) => return Ok(before),
                        Err(other) => now = other,
                    }
                }
                Err(now)
            }
        }

        impl $(<$type>)? fmt::Debug for $name $(<$type>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $(<$type>)? Default for $name $(<$type>)? {
            fn default() -> Self {
                Self(Default::default())
            }
        }
    };
}

macro_rules! arithmetic {
    ($name:ident, $value:ty) => {
        #[allow(dead_code, reason = "not every type uses every access")]
        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                self.model(Access::Add(value as u64, ordering))
                    .unwrap_or_else(|| self.0.fetch_add(value, ordering))
            }
            pub(crate) fn fetch_sub(&self, value: $value, ordering: Ordering) -> $value {
                self.model(Access::Subtract(value as u64, ordering))
                    .unwrap_or_else(|| self.0.fetch_sub(value, ordering))
            }
            pub(crate) fn fetch_and(&self, value: $value, ordering: Ordering) -> $value {
                self.model(Access::And(value as u64, ordering))
                    .unwrap_or_else(|| self.0.fetch_and(value, ordering))
            }
            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                self.model(Access::Or(value as u64, ordering))
                    .unwrap_or_else(|| self.0.fetch_or(value, ordering))
            }
        }
    };
}

atomic!(
    AtomicU8,
    u8,
    plain::AtomicU8,
    |value: u8| u64::from(value),
    |word: u64| word as u8
);
atomic!(
    AtomicU16,
    u16,
    plain::AtomicU16,
    |value: u16| u64::from(value),
    |word: u64| word as u16
);
atomic!(
    AtomicU32,
    u32,
    plain::AtomicU32,
    |value: u32| u64::from(value),
    |word: u64| word as u32
);
atomic!(AtomicU64, u64, plain::AtomicU64, |value: u64| value, |word: u64| word);
atomic!(
    AtomicUsize,
    usize,
    plain::AtomicUsize,
    |value: usize| value as u64,
    |word: u64| word as usize
);
atomic!(
    AtomicBool,
    bool,
    plain::AtomicBool,
    |value: bool| u64::from(value),
    |word: u64| word != 0
);
atomic!(
    AtomicPtr<T>,
    *mut T,
    plain::AtomicPtr<T>,
    |value: *mut T| value.expose_provenance() as u64,
    |word: u64| core::ptr::with_exposed_provenance_mut(word as usize)
);
arithmetic!(AtomicU8, u8);
arithmetic!(AtomicU16, u16);
arithmetic!(AtomicU32, u32);
arithmetic!(AtomicU64, u64);
arithmetic!(AtomicUsize, usize);
