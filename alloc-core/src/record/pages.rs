//! Per-thread tables in lazy pages, and the pools that ended threads give their pages back to.
//!
//! Record side. A `Directory` has one writer, its thread; readers on other threads see a page or none. Bounded: a page is
//! as many rows as `PAGE`, and comes from the pool before it comes from the arena. Cost of `get`: one compare and two loads.

use crate::record::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, zero_bytes};
use core::ptr::{self, NonNull};
use core::slice;

use super::arena;

/// Rows per page.
pub(crate) const PAGE: usize = 256;
const INLINE: usize = 64;

/// A row that can stand at the start of a page in the pool: its first word is an atomic.
///
/// # Safety
/// - All-zero bytes are a valid value, and the first eight bytes are an `AtomicU64`.
pub(crate) unsafe trait PageRow: 'static {}

/// Pages of one row type that no thread uses: a lock-free stack, linked through the first word of each page. INVARIANT: pages in the
/// pool are zero but for that word.
pub(crate) struct Pool {
    /// Low half: place of the first page in the arena, 0 for none. High half: counts changes, so that a stale head cannot be
    /// exchanged for a link that is out of date.
    head: AtomicU64,
}

impl Pool {
    pub(crate) const fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
        }
    }

    fn link<'a>(page: NonNull<u8>) -> &'a AtomicU64 {
        // SAFETY: pages are made of `PageRow`s, whose first word is an atomic; arena memory is never freed.
        unsafe { page.cast::<AtomicU64>().as_ref() }
    }

    fn exchange(&self, head: u64, place: u64) -> Result<u64, u64> {
        let next = (((head >> 32) + 1) << 32) | place;
        // ORDERING: Release: the page's link and zeroes come with it; Acquire, as in the loads: they are seen.
        self.head
            .compare_exchange_weak(head, next, Ordering::AcqRel, Ordering::Acquire)
    }

    pub(crate) fn pop(&self) -> Option<NonNull<u8>> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let page = arena::at_place(head as u32)?;
            // Another thread may take the page meanwhile and write to it: then this value is thrown away.
            let next = Self::link(page).load(Ordering::Relaxed) & 0xffff_ffff;
            match self.exchange(head, next) {
                Ok(_) => {
                    Self::link(page).store(0, Ordering::Relaxed);
                    return Some(page);
                }
                Err(now) => head = now,
            }
        }
    }

    /// # Safety
    /// - `page` is a page of this pool's row type from the arena, of `bytes` bytes, and nobody else uses it.
    pub(crate) unsafe fn push(&self, page: NonNull<u8>, bytes: usize) {
        // The first word is the link, which a `pop` that comes too late may still read: it is only ever written atomically.
        let link_bytes = size_of::<AtomicU64>();
        // SAFETY: the caller's promise; a page is longer than one word.
        let rest = unsafe { page.add(link_bytes) };
        // SAFETY: as above.
        unsafe { zero_bytes(rest, bytes - link_bytes) };
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            Self::link(page).store(head & 0xffff_ffff, Ordering::Relaxed);
            match self.exchange(head, u64::from(arena::place_of(page))) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// One thread's rows of type `T`, found by index.
pub(crate) struct Directory<T: PageRow> {
    length: AtomicUsize,
    table: AtomicPtr<AtomicPtr<T>>,
    inline: [AtomicPtr<T>; INLINE],
}

impl<T: PageRow> Directory<T> {
    /// The row, if its page exists.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&'static T> {
        let page = self.page(index / PAGE)?;
        // SAFETY: a page has PAGE rows and outlives every user of the directory: it is given back only by `drain`.
        Some(unsafe { page.add(index % PAGE).as_ref() })
    }

    #[inline(always)]
    fn page(&self, number: usize) -> Option<NonNull<T>> {
        // ORDERING: pairs with the Release stores in `make`: a new length comes with the new table.
        if number >= self.length.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the table was stored before its length, has so many entries of atomic pointers, and lives as long as the process.
        let slot = unsafe { &*self.table.load(Ordering::Acquire).add(number) };
        NonNull::new(slot.load(Ordering::Acquire))
    }

    /// The row, its page made if need be; `None` at the memory ceiling. Only the owner calls this.
    ///
    /// # Safety
    /// - Every page in `pool` is of PAGE rows of `T`.
    /// - The calling thread owns the directory, which does not move.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn make(&'static self, index: usize, maximum: usize, pool: &Pool) -> Option<&'static T> {
        if index >= maximum {
            return None;
        }
        if self.length.load(Ordering::Relaxed) == 0 {
            self.table.store(self.inline.as_ptr().cast_mut(), Ordering::Release);
            self.length.store(INLINE, Ordering::Release);
        }
        if index / PAGE >= self.length.load(Ordering::Relaxed) {
            let pages = maximum / PAGE;
            // SAFETY: a null pointer is a valid AtomicPtr.
            let larger = unsafe { arena::take_zeroed::<AtomicPtr<T>>(pages) }?;
            for (number, page) in self.inline.iter().enumerate() {
                // SAFETY: `number < INLINE <= pages`, the size of the table just made.
                unsafe { larger.add(number).as_ref() }.store(page.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            self.table.store(larger.as_ptr(), Ordering::Release);
            self.length.store(pages, Ordering::Release);
        }
        if self.page(index / PAGE).is_none() {
            let page = match pool.pop() {
                Some(page) => page.cast(),
                // SAFETY: zero bytes are a valid `PageRow`.
                None => unsafe { arena::take_zeroed::<T>(PAGE) }?,
            };
            // SAFETY: `index / PAGE` was made smaller than the table's length above.
            let slot = unsafe { self.table.load(Ordering::Relaxed).add(index / PAGE).as_ref() }?;
            slot.store(page.as_ptr(), Ordering::Release);
        }
        self.get(index)
    }

    /// Calls `each` for every row of every page.
    pub(crate) fn for_each(&self, mut each: impl FnMut(usize, &'static T)) {
        for number in 0..self.length.load(Ordering::Acquire) {
            for (place, row) in self.rows_of(number).iter().enumerate() {
                each(number * PAGE + place, row);
            }
        }
    }

    /// The rows of a page; none while there is no such page.
    pub(crate) fn rows_of(&self, number: usize) -> &'static [T] {
        match self.page(number) {
            // SAFETY: a page has PAGE rows and outlives every user of the directory: it is given back only by `drain`.
            Some(page) => unsafe { slice::from_raw_parts(page.as_ptr(), PAGE) },
            None => &[],
        }
    }

    /// Gives every page back to the pool. The caller has taken what the rows held.
    ///
    /// # Safety
    /// - The owning thread has ended, and the caller holds the registry: nobody else looks at the rows.
    pub(crate) unsafe fn drain(&self, pool: &Pool) {
        for number in 0..self.length.load(Ordering::Acquire) {
            let Some(page) = self.page(number) else { continue };
            // SAFETY: `number` is below the table's length.
            if let Some(slot) = unsafe { self.table.load(Ordering::Relaxed).add(number).as_ref() } {
                slot.store(ptr::null_mut(), Ordering::Release);
            }
            // SAFETY: the page was unlinked from its only table, whose owner has ended.
            unsafe { pool.push(page.cast(), size_of::<T>() * PAGE) };
        }
    }
}
