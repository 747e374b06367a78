//! What the benches share: workloads, clocks, statistics, child processes, and the table of verdicts.
//!
//! `docs/overhead.md` says what is measured and how to read it.

pub mod callgrind;
pub mod child;
pub mod clock;
pub mod drive;
pub mod figures;
pub mod mix;
pub mod record;
pub mod scaling;
pub mod scopes;
pub mod service;
pub mod verdicts;
pub mod workloads;

/// What the command line asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Everything runs, but too briefly to mean much.
    pub is_quick: bool,
    /// Write the results to `benches/record` and `docs`.
    pub is_recorded: bool,
    /// Write the instruction counts as those to compare with.
    pub is_accepted: bool,
    /// Leave the other trackers out.
    pub is_alone: bool,
}

impl Options {
    /// From the arguments of the process. `cargo bench` adds `--bench`, which says nothing. A misspelt one ends the process:
    /// it must not start a long run.
    #[must_use]
    pub fn from_args() -> Self {
        let mut options = Self::default();
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--quick" => options.is_quick = true,
                "--record" => options.is_recorded = true,
                "--accept" => options.is_accepted = true,
                "--alone" => options.is_alone = true,
                "--bench" => {}
                other => {
                    eprintln!("unknown option {other}: there are --quick, --record, --accept and --alone");
                    std::process::exit(2);
                }
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
