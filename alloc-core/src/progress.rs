//! What takes longer than a second says so on stderr, once a second, where a person reads along: stderr may as well be a file that a
//! snapshot or a report is written to.
//!
//! Called by what reads debug information, names stacks, reads and writes files. Read side. Cost: a look at the clock every so many steps. Leaves out how long the rest
//! will take.
#![forbid(unsafe_code)]

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often it speaks, and how long it is silent at first.
const EVERY: Duration = Duration::from_secs(1);
/// Steps between two looks at the clock: together far below a second.
const STEPS: usize = 16;

/// Bytes of a step where files are read or written.
pub(crate) const PIECE: usize = 1 << 16;

/// Counts steps towards a total.
pub(crate) struct Progress {
    what: &'static str,
    done: usize,
    /// `None` for pieces of a file whose length nobody knows yet.
    total: Option<usize>,
    spoke: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: usize) -> Self {
        Self::of(what, Some(total))
    }

    /// Counts pieces of a file that is being made.
    pub(crate) fn of_pieces(what: &'static str) -> Self {
        Self::of(what, None)
    }

    fn of(what: &'static str, total: Option<usize>) -> Self {
        Self {
            what,
            done: 0,
            total,
            spoke: Instant::now(),
        }
    }

    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(STEPS) && self.spoke.elapsed() >= EVERY {
            self.spoke = Instant::now();
            if std::io::stderr().is_terminal() {
                // Nobody is helped by a panic because stderr is closed.
                let _ = writeln!(std::io::stderr(), "{}", self.line());
            }
        }
    }

    fn line(&self) -> String {
        let how_far = match self.total {
            Some(total) => format!("{} %", (self.done * 100).checked_div(total).unwrap_or(0).min(100)),
            None => format!("{} MiB", (self.done * PIECE) >> 20),
        };
        format!("allocscope: {}, {how_far}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_and_named() {
        let mut progress = Progress::new("resolving addresses", 200);
        (0..130).for_each(|_| progress.step());
        assert_eq!(progress.line(), "allocscope: resolving addresses, 65 %");
        let mut progress = Progress::of_pieces("writing a file");
        (0..40).for_each(|_| progress.step());
        assert_eq!(progress.line(), "allocscope: writing a file, 2 MiB");
    }
}
