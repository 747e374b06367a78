//! Modes x workloads x other trackers: each as ratio to the bare allocator in the same round.
//!
//! One child of each kind lives at a time, and in every round they take their turns in random order. Children are started
//! anew several times, because where code and data come to lie is luck. Who crashes, hangs or gives a wrong answer is out, with
//! the reason.

use std::collections::BTreeMap;
use std::time::Duration;

use allocscope_benches::Options;
use allocscope_benches::callgrind::{self, parallel};
use allocscope_benches::drive::Child;
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::workloads::{REAL, weight};

use super::building::Built;
use super::kinds::{BARE, BARE_FRAMED, Kind};

/// Columns beside [`REAL`]: the name, and the command without the number of passes.
const OTHERS: [(&str, &str); 5] = [
    ("pair", "time pair"),
    ("churn", "time churn"),
    ("churn, 2 threads", "threads 2 churn"),
    ("churn, 8 threads", "threads 8 churn"),
    ("handover", "time handover"),
];
/// Pairs of a pass of `pair`.
const PAIRS: f64 = 20_000.0;

/// What was measured of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// By column: own and bare nanoseconds of the same rounds.
    times: BTreeMap<String, Vec<(f64, f64)>>,
    /// Why there is no more of it.
    pub(super) failure: Option<String>,
    /// Blocks of a pass of each program as it counts them.
    counted: BTreeMap<&'static str, u64>,
    /// Instructions: of a pair, and of a block of `json`, over the bare allocator's.
    pub(super) instructions: [Option<f64>; 2],
    /// Anonymous memory per live block of 32 bytes, over the bare allocator's.
    pub(super) bytes_per_block: Option<f64>,
    /// CPU milliseconds of a program that only starts and ends, over the bare allocator's.
    pub(super) start_up: Option<Summary>,
}

/// All of it.
pub(super) struct Table {
    pub(super) kinds: Vec<Kind>,
    pub(super) measured: Vec<Measured>,
    /// Blocks of a pass of each program, as ours counts them.
    pub(super) blocks: BTreeMap<&'static str, u64>,
}

/// All columns.
pub(super) fn columns() -> Vec<(&'static str, String)> {
    let real = REAL.iter().map(|program| (*program, format!("time {program}")));
    let others = OTHERS.iter().map(|(name, command)| (*name, (*command).to_owned()));
    real.chain(others).collect()
}

impl Measured {
    pub(super) fn ratio(&self, column: &str) -> Option<Summary> {
        let times = self.times.get(column)?;
        Some(Summary::of(times.iter().map(|(own, bare)| own / bare)))
    }

    /// Nanoseconds over the bare allocator's, of a pass.
    pub(super) fn added(&self, column: &str) -> Option<Summary> {
        let times = self.times.get(column)?;
        Some(Summary::of(times.iter().map(|(own, bare)| own - bare)))
    }

    pub(super) fn added_to_a_pair(&self) -> Option<f64> {
        self.added("pair").map(|added| added.median / PAIRS)
    }

    /// The weighted geometric mean over [`REAL`], with that of the quartiles.
    pub(super) fn mean(&self) -> Option<Summary> {
        let ratios: Option<Vec<(Summary, f64)>> = REAL
            .iter()
            .map(|program| Some((self.ratio(program)?, weight(program))))
            .collect();
        let ratios = ratios?;
        let total: f64 = ratios.iter().map(|(_, weight)| weight).sum();
        let mean = |pick: fn(&Summary) -> f64| {
            let logs = ratios.iter().map(|(ratio, weight)| weight * pick(ratio).ln());
            (logs.sum::<f64>() / total).exp()
        };
        Some(Summary {
            median: mean(|ratio| ratio.median),
            low: mean(|ratio| ratio.low),
            high: mean(|ratio| ratio.high),
            count: ratios[0].0.count,
        })
    }

    fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }
}

impl Table {
    /// What one block costs more, over all programs that allocate much; nothing for a kind that failed.
    pub(super) fn added_per_block(&self, kind: usize) -> Option<f64> {
        let programs = ["json", "regex", "syn", "string", "set", "request"];
        let added: Option<f64> = programs
            .iter()
            .map(|program| self.measured[kind].added(program).map(|added| added.median))
            .sum();
        let blocks: u64 = programs.iter().filter_map(|program| self.blocks.get(program)).sum();
        (blocks > 0).then_some(added? / blocks as f64)
    }

    /// What of all blocks it counts, as a share; nothing if it does not say.
    pub(super) fn seen(&self, kind: usize) -> Option<f64> {
        let counted = &self.measured[kind].counted;
        let seen: u64 = counted.values().sum();
        let all: u64 = counted.keys().filter_map(|program| self.blocks.get(program)).sum();
        (all > 0).then_some(seen as f64 / all as f64)
    }

    fn base(&self, kind: usize) -> usize {
        if self.kinds[kind].is_framed { BARE_FRAMED } else { BARE }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.name == name)
    }
}

/// Measures everything.
pub(super) fn measure(options: Options, kinds: Vec<Kind>, built: &Built) -> Table {
    let mut table = Table {
        measured: vec![Measured::default(); kinds.len()],
        kinds,
        blocks: BTreeMap::new(),
    };
    let mut numbers = Numbers::new(1);
    for restart in 0..options.pick(4, 1) {
        let mut children = start(&mut table, built, restart == 0);
        if restart == 0 {
            count(&mut table, &mut children);
        }
        for round in 0..options.pick(5, 1) {
            for (column, command) in columns() {
                // The dear ones take few turns: what they add is far above any noise.
                let is_slow_round = restart == 0 && round < 2;
                one_round(
                    &mut table,
                    &mut children,
                    &mut numbers,
                    (column, &command),
                    is_slow_round,
                    options,
                );
            }
        }
        eprintln!("measuring: programs, {} of {}", restart + 1, options.pick(4, 1));
    }
    eprintln!("measuring: bytes per live block");
    memory(&mut table, built, options);
    eprintln!("measuring: start-up");
    start_up(&mut table, built, options);
    if !options.is_quick {
        eprintln!("counting: instructions");
        instructions(&mut table, built);
    }
    table
}

fn start_one(table: &mut Table, built: &Built, kind: usize) -> Option<Child> {
    let command = table.kinds[kind].command(built, &[]);
    let child = command.and_then(|command| Child::start_command(command, table.kinds[kind].name.clone()));
    match child {
        Ok(child) => Some(child.patient(Duration::from_secs(60))),
        Err(reason) => {
            table.measured[kind].fail(reason);
            None
        }
    }
}

fn start(table: &mut Table, built: &Built, with_slow: bool) -> Vec<Option<Child>> {
    let starts = |table: &mut Table, kind: usize| {
        let wanted = table.measured[kind].failure.is_none() && (with_slow || !table.kinds[kind].is_slow);
        wanted.then(|| start_one(table, built, kind)).flatten()
    };
    (0..table.kinds.len()).map(|kind| starts(table, kind)).collect()
}

/// Asks one child; if it fails, it is out.
fn ask(table: &mut Table, children: &mut [Option<Child>], kind: usize, line: &str) -> Option<Vec<u64>> {
    let answer = children[kind].as_mut()?.try_ask(line);
    match answer {
        Ok(numbers) => Some(numbers),
        Err(reason) => {
            eprintln!("{reason}");
            table.measured[kind].fail(reason);
            children[kind] = None;
            None
        }
    }
}

/// How many blocks each counts in each program.
fn count(table: &mut Table, children: &mut [Option<Child>]) {
    for program in REAL {
        for kind in 0..table.kinds.len() {
            let Some(&[blocks, ..]) = ask(table, children, kind, &format!("count {program}")).as_deref() else {
                continue;
            };
            if table.kinds[kind].name == "**allocscope `exact`**" {
                table.blocks.insert(program, blocks);
            }
            table.measured[kind].counted.insert(program, blocks);
        }
    }
}

fn one_round(
    table: &mut Table,
    children: &mut [Option<Child>],
    numbers: &mut Numbers,
    (column, command): (&'static str, &str),
    is_slow_round: bool,
    options: Options,
) {
    let mut answers: Vec<Option<Vec<u64>>> = vec![None; children.len()];
    for kind in numbers.order(children.len()) {
        let is_slow = table.kinds[kind].is_slow;
        if is_slow && !is_slow_round {
            continue;
        }
        let passes = if is_slow { 1 } else { options.pick(5, 1) };
        answers[kind] = ask(table, children, kind, &format!("{command} {passes}"));
        // `threads` answers with the time of all passes.
        if let Some(answer) = answers[kind].as_mut().filter(|_| command.starts_with("threads")) {
            *answer = vec![answer[0] / passes as u64];
        }
    }
    for kind in 0..children.len() {
        let base = table.base(kind);
        let (Some(own), Some(bare)) = (&answers[kind], answers.get(base).and_then(Option::as_ref)) else {
            continue;
        };
        if own.get(1) != bare.get(1) {
            table.measured[kind].fail(format!("`{column}` gives another result than under System"));
            continue;
        }
        let pair = (own[0].max(1) as f64, bare[0].max(1) as f64);
        table.measured[kind]
            .times
            .entry(column.to_owned())
            .or_default()
            .push(pair);
    }
}

fn memory(table: &mut Table, built: &Built, options: Options) {
    let blocks = options.pick(500_000, 20_000);
    let mut bytes = vec![None; table.kinds.len()];
    for (kind, bytes) in bytes.iter_mut().enumerate() {
        if table.measured[kind].failure.is_some() {
            continue;
        }
        let mut child = [start_one(table, built, kind)];
        let line = format!("live 32 {blocks}");
        let answer = child[0].as_mut().map(|child| child.try_ask(&line));
        match answer {
            Some(Ok(numbers)) => *bytes = Some(numbers[1] as f64 / blocks as f64),
            // Its times stand.
            Some(Err(reason)) => eprintln!("{reason}"),
            None => {}
        }
    }
    for kind in 0..bytes.len() {
        let bare = bytes.get(table.base(kind)).copied().flatten();
        table.measured[kind].bytes_per_block = bytes[kind].zip(bare).map(|(own, bare)| own - bare);
    }
}

/// CPU milliseconds that a process and all it waited for took.
fn cpu_of(mut command: std::process::Command) -> Option<f64> {
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let before = allocscope_benches::clock::children_cpu_ns();
    let is_well = command.status().ok()?.success();
    let spent = allocscope_benches::clock::children_cpu_ns() - before;
    is_well.then_some(spent as f64 / 1e6)
}

fn start_up(table: &mut Table, built: &Built, options: Options) {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); table.kinds.len()];
    let mut bare: Vec<Vec<f64>> = times.clone();
    let mut numbers = Numbers::new(9);
    for round in 0..options.pick(40, 3) {
        let mut found = vec![None; table.kinds.len()];
        for kind in numbers.order(table.kinds.len()) {
            if table.measured[kind].failure.is_none() && (round < 5 || !table.kinds[kind].is_slow) {
                found[kind] = table.kinds[kind].command(built, &["exit"]).ok().and_then(cpu_of);
            }
        }
        for kind in 0..found.len() {
            if let Some((own, base)) = found[kind].zip(found.get(table.base(kind)).copied().flatten()) {
                times[kind].push(own);
                bare[kind].push(base);
            }
        }
    }
    for (kind, measured) in table.measured.iter_mut().enumerate() {
        if !times[kind].is_empty() {
            measured.start_up = Some(Summary::of_differences(&times[kind], &bare[kind]));
        }
    }
}

fn instructions(table: &mut Table, built: &Built) {
    if callgrind::version().is_none() {
        eprintln!("no instruction counts: valgrind is not installed");
        return;
    }
    let is_inside = |kind: &Kind| {
        !matches!(
            kind.start,
            super::kinds::Start::Valgrind(_) | super::kinds::Start::Heaptrack
        )
    };
    let mut jobs = Vec::new();
    for (kind, measured) in table.measured.iter().enumerate() {
        if measured.failure.is_none() && is_inside(&table.kinds[kind]) {
            jobs.push((
                kind,
                "pair",
                if table.kinds[kind].is_slow {
                    (500, 1500)
                } else {
                    (20_000, 120_000)
                },
            ));
            // A pass of the dear ones would take minutes.
            if !table.kinds[kind].is_slow {
                jobs.push((kind, "json", (2, 4)));
            }
        }
    }
    let counts = parallel(&jobs, |(kind, task, (few, many))| {
        let command = table.kinds[*kind].command(built, &[])?;
        callgrind::per_turn(&command, task, *few, *many)
    });
    let mut found = vec![[None; 2]; table.kinds.len()];
    for ((kind, task, _), count) in jobs.iter().zip(counts) {
        match count {
            Ok(count) => found[*kind][usize::from(*task == "json")] = Some(count),
            Err(reason) => eprintln!("{}: {reason}", table.kinds[*kind].name),
        }
    }
    let blocks = table.blocks.get("json").copied().unwrap_or(1) as f64;
    for kind in 0..found.len() {
        let bare = found.get(table.base(kind)).copied().unwrap_or_default();
        let added = |place: usize| Some(found[kind][place]? - bare[place]?);
        table.measured[kind].instructions = [added(0), added(1).map(|added| added / blocks)];
    }
}
