//! An iterator whose items are iterations of a loop.
//!
//! Written by `iterations!`. The iteration of an item begins when the item is handed out and ends when the next one is asked for, or when the
//! iterator is dropped: so `break`, `return` and a panic in the loop's body end it, too.
#![forbid(unsafe_code)]

use core::iter::FusedIterator;

use crate::record::enter::{self, ScopeGuard};
use crate::record::scope::ScopeSite;

/// See [`iterations!`](crate::iterations!).
pub struct Iterations<I> {
    site: &'static ScopeSite,
    items: I,
    running: Option<ScopeGuard>,
}

impl<I> core::fmt::Debug for Iterations<I> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Iterations")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Makes every item of `items` one call of `site`.
#[inline]
pub fn iterations<T: IntoIterator>(site: &'static ScopeSite, items: T) -> Iterations<T::IntoIter> {
    Iterations {
        site,
        items: items.into_iter(),
        running: None,
    }
}

impl<I: Iterator> Iterator for Iterations<I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.running = None;
        let item = self.items.next()?;
        self.running = Some(enter::enter(self.site));
        Some(item)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<I: ExactSizeIterator> ExactSizeIterator for Iterations<I> {}
impl<I: FusedIterator> FusedIterator for Iterations<I> {}
