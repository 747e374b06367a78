//! Who takes part: the bare allocator, ours in each mode, and every other tracker, with what it answers and why it is cheaper where it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use allocscope_benches::drive;
use allocscope_benches::verdicts;

use super::building::Built;

/// What a tracker can say of an allocation. Only those that answer the same are fairly compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answers {
    Nothing,
    /// How many blocks and bytes, of the process or a thread.
    Counts,
    /// How many in which function, span or group.
    Scopes,
    /// From which call stack, of a sample.
    Samples,
    /// From which call stack, of every block.
    Stacks,
}

impl Answers {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Counts => "counts",
            Self::Scopes => "counts per scope",
            Self::Samples => "stacks of a sample",
            Self::Stacks => "every stack",
        }
    }
}

/// How one is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The bare allocator.
    System,
    /// Ours, in a mode.
    Ours(&'static str),
    /// Ours, in a mode, over jemalloc.
    OursOverJemalloc(&'static str),
    /// Another tracker, by its feature of `allocscope-peers`.
    Peer(&'static str),
    /// The bare allocator's program with heaptrack's library in front; recording only, to nowhere.
    Heaptrack,
    /// The bare allocator's program in one of valgrind's tools.
    Valgrind(&'static str),
}

/// One that takes part.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) answers: Answers,
    pub(super) start: Start,
    /// Set in its environment.
    pub(super) variables: &'static [(&'static str, &'static str)],
    /// Needs a build with frame pointers, and is compared with the bare allocator in such a build.
    pub(super) is_framed: bool,
    /// So dear that it takes few turns.
    pub(super) is_slow: bool,
    /// Why it is cheaper than ours wherever it is.
    pub(super) why: &'static str,
}

/// Where the bare allocator is among [`all`]; its build with frame pointers comes right after.
pub(super) const BARE: usize = 0;
pub(super) const BARE_FRAMED: usize = 1;

fn peer(name: &str, answers: Answers, feature: &'static str, why: &'static str) -> Kind {
    Kind {
        name: name.to_owned(),
        answers,
        start: Start::Peer(feature),
        variables: &[],
        is_framed: false,
        is_slow: false,
        why,
    }
}

fn over_jemalloc(mode: &str) -> String {
    format!("**allocscope `{mode}`** over jemalloc")
}

/// All that take part; without the peers, ours and the bare allocator.
pub(super) fn all(has_peers: bool) -> Vec<Kind> {
    use Answers::{Counts, Nothing, Samples, Scopes, Stacks};
    let own = |name: String, answers, start, is_framed| Kind {
        name,
        answers,
        start,
        variables: &[],
        is_framed,
        is_slow: false,
        why: "",
    };
    let mut kinds = vec![
        own("System".to_owned(), Nothing, Start::System, false),
        own("System, frame pointers".to_owned(), Nothing, Start::System, true),
    ];
    for mode in verdicts::MODES {
        let answers = match mode {
            "off" => Nothing,
            "scopes" => Scopes,
            "sampled" => Samples,
            _ => Stacks,
        };
        kinds.push(own(
            format!("**allocscope `{mode}`**"),
            answers,
            Start::Ours(mode),
            false,
        ));
    }
    if !has_peers {
        kinds.remove(BARE_FRAMED);
        return kinds;
    }
    let name = "**allocscope `exact`**, frame pointers".to_owned();
    kinds.push(own(name, Stacks, Start::Ours("exact"), true));
    for (mode, answers) in [("off", Nothing), ("sampled", Samples), ("exact", Stacks)] {
        kinds.push(own(over_jemalloc(mode), answers, Start::OursOverJemalloc(mode), false));
    }
    kinds.extend([
        peer(
            "divan",
            Counts,
            "divan",
            "four thread-local counters and no header: a free is not matched with its allocation",
        ),
        peer(
            "stats_alloc",
            Counts,
            "stats_alloc",
            "counters of the process and no header; its atomics are shared, so two threads pay for each other",
        ),
        peer(
            "re_memory, counters",
            Counts,
            "re_memory",
            "two shared counters and no header",
        ),
        peer(
            "allocation-counter",
            Scopes,
            "allocation_counter",
            "thread-local counters and no header: what another thread frees, it does not know of",
        ),
        peer(
            "alloc_tracker",
            Scopes,
            "alloc_tracker",
            "thread-local counters and no header: what another thread frees, it does not know of",
        ),
        Kind {
            // It would open a port.
            variables: &[("HOTPATH_METRICS_SERVER_OFF", "true")],
            ..peer(
                "hotpath",
                Scopes,
                "hotpath",
                "thread-local counters and no header: sums of a call, nothing about what is alive",
            )
        },
        peer(
            "tracking-allocator",
            Scopes,
            "tracking_allocator",
            "a group per block in a header, and two counters; no calls, no peaks, nothing per thread",
        ),
    ]);
    let jemalloc = "nothing in front of the allocator at all";
    let profiling = "its profiling is a part of jemalloc, which finds a block's sample where it finds the block; ours counts by scope besides";
    kinds.extend([
        Kind {
            variables: &[("_RJEM_MALLOC_CONF", "prof:false")],
            ..peer("jemalloc, no profiling", Nothing, "jemalloc", jemalloc)
        },
        Kind {
            variables: &[("_RJEM_MALLOC_CONF", "prof:true,prof_active:true,lg_prof_sample:19")],
            ..peer("jemalloc, profiling at 512 KiB", Samples, "jemalloc", profiling)
        },
        Kind {
            variables: &[("BENCH_VARIANT", "stacks")],
            ..peer("re_memory, its default stacks", Samples, "re_memory", "takes no stacks of blocks below 1 KiB, which most are")
        },
        Kind {
            variables: &[("BENCH_VARIANT", "sampled")],
            is_framed: true,
            ..peer("heapscope, sampling at 512 KiB", Samples, "heapscope", "takes stacks of one block in 512 KiB; ours of all")
        },
        Kind {
            variables: &[("PPROF_ALLOC_SAMPLE_RATE", "524288")],
            is_framed: true,
            ..peer("pprof-alloc, sampling at 512 KiB", Samples, "pprof_alloc", "takes stacks of one block in 512 KiB; ours of all")
        },
        Kind {
            is_framed: true,
            ..peer("mod-alloc, 8 frames", Stacks, "mod_alloc", "keeps the 8 innermost frames, hashed into a table of totals: nothing about what is alive, and most stacks here are longer")
        },
        Kind {
            is_framed: true,
            ..peer("heapscope", Stacks, "heapscope", "walks frame pointers, which the build must have, and misses what is built without")
        },
        Kind {
            variables: &[("PPROF_ALLOC_SAMPLE_RATE", "1")],
            is_framed: true,
            is_slow: true,
            ..peer("pprof-alloc, every block", Stacks, "pprof_alloc", "walks frame pointers, which the build must have")
        },
        Kind {
            is_slow: true,
            ..peer("dhat, 10 frames", Stacks, "dhat", "measured in few rounds: what is left of a difference in programs that hardly allocate is noise")
        },
        Kind {
            variables: &[("BENCH_VARIANT", "all")],
            is_slow: true,
            ..peer("dhat, all frames", Stacks, "dhat", "measured in few rounds: what is left of a difference in programs that hardly allocate is noise")
        },
        Kind {
            variables: &[("BENCH_VARIANT", "all")],
            is_slow: true,
            ..peer("re_memory, every stack", Stacks, "re_memory", "measured in few rounds: what is left of a difference in programs that hardly allocate is noise")
        },
        Kind {
            variables: &[("_RJEM_MALLOC_CONF", "prof:true,prof_active:true,lg_prof_sample:0")],
            is_slow: true,
            ..peer("jemalloc, profiling every block", Stacks, "jemalloc", profiling)
        },
        Kind {
            start: Start::Heaptrack,
            is_slow: true,
            ..peer("heaptrack, recording only", Stacks, "", "writes events to another program, which matches them later: that work is not in its row")
        },
        Kind {
            start: Start::Valgrind("dhat"),
            is_slow: true,
            ..peer("valgrind --tool=dhat", Stacks, "", "the program runs on a simulated processor; what it does besides allocating is slow, too")
        },
        Kind {
            start: Start::Valgrind("massif"),
            is_slow: true,
            ..peer("valgrind --tool=massif", Stacks, "", "as above; it looks at the heap now and then, not at every block")
        },
    ]);
    kinds
}

impl Start {
    /// The feature of `allocscope-peers` that its program needs.
    pub(super) fn feature(self) -> Option<&'static str> {
        match self {
            Self::Peer(feature) => Some(feature),
            Self::OursOverJemalloc(_) => Some("allocscope_over_jemalloc"),
            _ => None,
        }
    }
}

impl Kind {
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.start, Start::Ours(_) | Start::OursOverJemalloc(_))
    }

    /// The name of ours in this mode, over the allocator that this one is over.
    pub(super) fn counterpart(&self, mode: &str) -> String {
        if self.start == Start::Peer("jemalloc") {
            over_jemalloc(mode)
        } else {
            format!("**allocscope `{mode}`**")
        }
    }

    pub(super) fn is_bare(&self) -> bool {
        self.start == Start::System
    }

    /// The command that starts its program; `words` are the program's arguments.
    ///
    /// # Errors
    /// Why it cannot be started here.
    pub(super) fn command(&self, built: &Built, words: &[&str]) -> Result<Command, String> {
        let directory = built.directory(self.is_framed)?;
        let program = |name: &str| directory.join(name);
        let mut command = match self.start {
            Start::System => drive::command(&program("under_system"), "off"),
            Start::Ours(mode) => drive::command(&program("under_allocscope"), mode),
            Start::Peer(feature) => {
                built.peer(feature, self.is_framed)?;
                drive::command(&program(&format!("under_{feature}")), "off")
            }
            Start::OursOverJemalloc(mode) => {
                built.peer("allocscope_over_jemalloc", self.is_framed)?;
                drive::command(&program("under_allocscope_over_jemalloc"), mode)
            }
            Start::Heaptrack => {
                let mut command = drive::command(&program("under_system"), "off");
                command
                    .env("LD_PRELOAD", heaptrack()?)
                    .env("DUMP_HEAPTRACK_OUTPUT", "/dev/null");
                command
            }
            Start::Valgrind(tool) => {
                let mut command = drive::command(Path::new("valgrind"), "off");
                if command.arg("--version").output().is_err() {
                    return Err("valgrind is not installed".to_owned());
                }
                let mut command = drive::command(Path::new("valgrind"), "off");
                command
                    .args(["-q", &format!("--tool={tool}"), &format!("--{tool}-out-file=/dev/null")])
                    .arg(program("under_system"));
                command
            }
        };
        command.args(words).envs(self.variables.iter().copied());
        Ok(command)
    }
}

/// The library that heaptrack puts in front of a program.
fn heaptrack() -> Result<PathBuf, String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let found = directories
        .iter()
        .find(|directory| directory.join("heaptrack").exists());
    let found = found.ok_or("heaptrack is not installed")?;
    ["../lib/heaptrack", "../lib64/heaptrack"]
        .iter()
        .map(|place| found.join(place).join("libheaptrack_preload.so"))
        .find(|path| path.exists())
        .ok_or_else(|| {
            "heaptrack is installed, but its libheaptrack_preload.so is not where it is looked for".to_owned()
        })
}
