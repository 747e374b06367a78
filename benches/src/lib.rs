//! What the benches share: workloads, clocks, statistics, child processes, and the table of verdicts.
//!
//! `docs/overhead.md` says what is measured and how to read it.

pub mod child;
pub mod clock;
pub mod figures;
pub mod mix;
pub mod scopes;
pub mod verdicts;
pub mod workloads;

/// What the command line asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything runs, but too briefly to mean much.
    pub is_quick: bool,
    /// Write the results to `benches/record`.
    pub is_recorded: bool,
}

impl Options {
    /// From the arguments of the process. `cargo bench` adds `--bench`, which says nothing.
    ///
    /// # Panics
    /// On an argument it does not know: a misspelt one must not start a long run.
    #[must_use]
    pub fn from_args() -> Self {
        let mut options = Self {
            is_quick: false,
            is_recorded: false,
        };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--quick" => options.is_quick = true,
                "--record" => options.is_recorded = true,
                "--bench" => {}
                other => panic!("unknown option {other}: there are --quick and --record"),
            }
        }
        options
    }

    /// One number for a full run, another for a quick one.
    #[must_use]
    pub fn pick(&self, full: usize, quick: usize) -> usize {
        if self.is_quick { quick } else { full }
    }
}
