//! Per-thread tables in lazy pages, and the pools that ended threads give their pages back to.
//!
//! Record side. A `Directory` has one writer, its thread; readers on other threads see a page or none. Bounded: a page is
//! as many rows as `PAGE`, and comes from the pool before it comes from the arena. Cost of `get`: one compare and two loads.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::arena;

/// Rows per page.
pub(crate) const PAGE: usize = 256;
const INLINE: usize = 64;

/// Pages of one row type that no thread uses. INVARIANT: pages in the pool are zero but for the link in their first word.
pub(crate) struct Pool {
    head: AtomicPtr<u8>,
    taken: AtomicBool,
}

impl Pool {
    pub(crate) const fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            taken: AtomicBool::new(false),
        }
    }

    /// Never waits: a pool in use is treated as empty.
    fn pop(&self) -> Option<NonNull<u8>> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        let page = NonNull::new(self.head.load(Ordering::Relaxed));
        if let Some(page) = page {
            let link = page.cast::<*mut u8>();
            // SAFETY: `push` wrote a pointer to the first word of every page in the pool, and we hold the pool.
            self.head.store(unsafe { link.read() }, Ordering::Relaxed);
            // SAFETY: as above; clearing the link makes the page all zero again.
            unsafe { link.write(ptr::null_mut()) };
        }
        self.taken.store(false, Ordering::Release);
        page
    }

    /// # Safety
    /// - `page` is a page of this pool's size from the arena, and nobody else uses it.
    unsafe fn push(&self, page: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { ptr::write_bytes(page.as_ptr(), 0, bytes) };
        for _ in 0..1000 {
            if !self.taken.swap(true, Ordering::Acquire) {
                // SAFETY: the page is ours until it is linked; its first word is aligned to 8.
                unsafe { page.cast::<*mut u8>().write(self.head.load(Ordering::Relaxed)) };
                self.head.store(page.as_ptr(), Ordering::Relaxed);
                self.taken.store(false, Ordering::Release);
                return;
            }
            core::hint::spin_loop();
        }
        // LIMIT: the page is lost when the pool stays busy, which takes a thread stopped between four instructions.
    }

    /// After a fork: the thread that held the pool does not exist in the child.
    pub(crate) fn reset_after_fork(&self) {
        if self.taken.swap(false, Ordering::Relaxed) {
            self.head.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

/// One thread's rows of type `T`, found by index.
pub(crate) struct Directory<T: 'static> {
    length: AtomicUsize,
    table: AtomicPtr<AtomicPtr<T>>,
    inline: [AtomicPtr<T>; INLINE],
}

impl<T> Directory<T> {
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
        // SAFETY: the table has `length` entries of atomic pointers, and lives as long as the process.
        let slot = unsafe { self.table.load(Ordering::Acquire).add(number).as_ref() }?;
        NonNull::new(slot.load(Ordering::Acquire))
    }

    /// The row, its page made if need be; `None` at the memory ceiling. Only the owner calls this.
    ///
    /// # Safety
    /// - All-zero bytes are a valid `T`, and every page in `pool` is of PAGE rows of `T`.
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
                // SAFETY: the caller's promise about zero bytes.
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
            if self.page(number).is_some() {
                for index in number * PAGE..(number + 1) * PAGE {
                    if let Some(row) = self.get(index) {
                        each(index, row);
                    }
                }
            }
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
