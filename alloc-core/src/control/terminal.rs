//! How wide the terminal is that a report goes to.
//!
//! A part of `control`: reports know no terminals, and only the record side calls the system. Cost: one system call.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd as _};

use crate::record::sys;
use crate::report::{DiffReport, Report};

impl Report<'_> {
    /// As wide as the terminal that `out` is. Where it is a file or a pipe, and where the terminal does not say, nothing changes: what is piped
    /// is always the same.
    ///
    /// # Examples
    /// ```
    /// use alloc_core::{Snapshot, TrackingAllocator};
    ///
    /// #[global_allocator]
    /// static ALLOC: TrackingAllocator = TrackingAllocator::new();
    ///
    /// let mut snapshot = Snapshot::take()?;
    /// snapshot.resolve();
    /// println!("{}", snapshot.report().width_of(std::io::stdout()));
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    #[must_use]
    pub fn width_of(self, out: impl AsFd) -> Self {
        match columns(&out) {
            Some(columns) => self.width(columns),
            None => self,
        }
    }
}

impl DiffReport<'_> {
    /// As wide as the terminal that `out` is, as [`Report::width_of`].
    #[must_use]
    pub fn width_of(self, out: impl AsFd) -> Self {
        match columns(&out) {
            Some(columns) => self.width(columns),
            None => self,
        }
    }
}

fn columns(out: &impl AsFd) -> Option<usize> {
    sys::terminal_columns(out.as_fd().as_raw_fd()).map(usize::from)
}
