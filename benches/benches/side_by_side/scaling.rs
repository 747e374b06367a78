//! What a cost does when there is more of something: a curve each, with the numbers beneath it.
//!
//! Each point is the median of a few fresh children, and where a bare allocator can do the same, what is added to it in the same round.

use std::time::Duration;

use allocscope_benches::Options;
use allocscope_benches::drive::{Child, command};
use allocscope_benches::figures::Summary;
use allocscope_benches::scaling::{FUNCTIONS, SCOPE_LEVELS};
use allocscope_benches::verdicts::{Row, Targets};

use super::page::{markdown, short};
use super::plot::{Curve, figure};
use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

/// A curve, and the numbers beneath it: the head of its columns and the rows.
pub(super) struct Scaled {
    pub(super) curve: Curve,
    columns: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Scaled {
    fn new(curve: Curve, columns: &[&str], rows: Vec<Vec<f64>>) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { curve, columns, rows }
    }

    /// Curves of these columns; the first is the horizontal axis.
    fn with_series(mut self, places: &[usize]) -> Self {
        self.curve.series = places
            .iter()
            .map(|&place| {
                (
                    self.columns[place].clone(),
                    self.rows.iter().map(|row| (row[0], row[place])).collect(),
                )
            })
            .collect();
        self
    }

    /// The image and the numbers.
    pub(super) fn page(&self) -> String {
        let row = |row: &Vec<f64>| {
            let rest = row[1..].iter().map(|value| short(*value));
            std::iter::once(figure(row[0])).chain(rest).collect()
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        let image = format!("![{}](overhead/{}.svg)", self.curve.title, self.curve.file);
        format!("{image}\n\n{}", markdown(&self.columns, &rows))
    }

    pub(super) fn records(&self) -> Vec<Row> {
        let record = |row: &Vec<f64>, place: usize| {
            let name = format!("{}: {} at {}", self.curve.title, self.columns[place], figure(row[0]));
            Row::info(name, "", Summary::exactly(row[place]))
        };
        let of_row = |row| (1..self.columns.len()).map(move |place| record(row, place));
        self.rows.iter().flat_map(of_row).collect()
    }
}

/// Asks fresh children, three times in a full run: the medians of each number.
fn ask(options: Options, mode: Option<&str>, line: &str) -> Vec<f64> {
    let once = || {
        let mut command = command(
            if mode.is_some() { UNDER_ALLOCSCOPE } else { UNDER_SYSTEM }.as_ref(),
            mode.unwrap_or("off"),
        );
        // Half of this machine may be needed for what is asked: it is the cost that is wanted, not the ceiling.
        command.env("ALLOCSCOPE_MEMORY_MIB", "16384");
        let child = Child::start_command(command, line.to_owned());
        let mut child = child
            .unwrap_or_else(|error| panic!("{error}"))
            .patient(Duration::from_secs(300));
        child.ask(line)
    };
    let answers: Vec<Vec<u64>> = (0..options.pick(3, 1)).map(|_| once()).collect();
    let median = |place: usize| Summary::of(answers.iter().map(|answer| answer[place] as f64)).median;
    (0..answers[0].len()).map(median).collect()
}

const MIB: f64 = 1024.0 * 1024.0;

fn up_to(options: Options, all: &[usize]) -> Vec<usize> {
    let kept = options.pick(all.len(), 2.min(all.len()));
    all[..kept].to_vec()
}

fn curve(file: &'static str, title: &'static str, x: &'static str, y: &'static str) -> Curve {
    Curve {
        file,
        title,
        x,
        y,
        series: Vec::new(),
    }
}

/// All curves, one after the other.
pub(super) fn all(options: Options) -> Vec<Scaled> {
    type Part = (&'static str, fn(Options) -> Scaled);
    let parts: [Part; 8] = [
        ("call sites", stacks),
        ("scopes", scopes),
        ("nesting", nesting),
        ("live blocks", blocks),
        ("threads", threads),
        ("short threads", short_threads),
        ("snapshots", snapshots),
        ("reports", reports),
    ];
    let measure = |(name, part): (&str, fn(Options) -> Scaled)| {
        eprintln!("measuring: scaling, {name}");
        part(options)
    };
    parts.into_iter().map(measure).collect()
}

fn stacks(options: Options) -> Scaled {
    let turns = options.pick(400_000, 5000);
    let rows = up_to(options, &[10, 100, 1000, 10_000, 100_000, 1_000_000])
        .into_iter()
        .map(|number| {
            // Once is enough for what takes seconds.
            let brief = Options {
                is_quick: options.is_quick || number > 100_000,
                ..options
            };
            let run = |mode, order: &str| ask(brief, mode, &format!("stacks {number} {order} {turns}"));
            let (near, far) = (run(Some("exact"), "inner"), run(Some("exact"), "outer"));
            let (bare_near, bare_far) = (run(None, "inner"), run(None, "outer"));
            assert!(
                near[5] == 0.0 && far[5] == 0.0,
                "no allocation was counted under \"other\""
            );
            let number = number as f64;
            let added = |ours: &[f64], bare: &[f64]| (ours[1] - bare[1]) / ours[2];
            vec![
                number,
                added(&near, &bare_near),
                added(&far, &bare_far),
                (near[0] - bare_near[0]) / number,
                near[3] / near[4].max(1.0),
            ]
        });
    let curve = curve(
        "call-sites",
        "exact: cost by number of distinct call stacks",
        "distinct call stacks, all of them used in turn",
        "ns added per allocation + free",
    );
    let columns = [
        "stacks",
        "ns, next stack differs in the innermost frames",
        "ns, next stack differs from the outermost frame on",
        "ns, first time",
        "bytes of the tracker per stack",
    ];
    Scaled::new(curve, &columns, rows.collect()).with_series(&[1, 2, 3])
}

fn scopes(options: Options) -> Scaled {
    let turns = options.pick(40_000, 500);
    let rows = up_to(options, &[1, 8, 64, 512, 4096, 16_384])
        .into_iter()
        .map(|leaves| {
            let line = format!("scopes {leaves} {turns}");
            let run = |mode| ask(options, mode, &line)[0] / (turns as f64 * f64::from(SCOPE_LEVELS));
            let bare = run(None);
            vec![leaves as f64, run(Some("scopes")) - bare, run(Some("exact")) - bare]
        });
    let curve = curve(
        "scopes",
        "cost by number of paths of scopes",
        "distinct paths, each through 16 scopes and one allocation at its end",
        "ns added per scope entered",
    );
    Scaled::new(curve, &["paths", "ns, `scopes`", "ns, `exact`"], rows.collect()).with_series(&[1, 2])
}

fn nesting(options: Options) -> Scaled {
    let turns = options.pick(200_000, 500);
    let rows = up_to(options, &[1, 2, 4, 8, 16, 32, 64]).into_iter().map(|depth| {
        let line = format!("nesting {depth} {turns}");
        let run = |mode| ask(options, mode, &line)[0] / turns as f64;
        let bare = run(None);
        vec![depth as f64, run(Some("scopes")) - bare, run(Some("exact")) - bare]
    });
    let curve = curve(
        "nesting",
        "cost by depth of nested scopes",
        "scopes around",
        "ns added per scope with a pair in it and a pair outside",
    );
    Scaled::new(curve, &["depth", "ns, `scopes`", "ns, `exact`"], rows.collect()).with_series(&[1, 2])
}

/// What the machine has to spare, in bytes.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}

fn blocks(options: Options) -> Scaled {
    let turns = options.pick(300_000, 2000);
    // Each with its 48 bytes and its place in the list, and as much again to be safe.
    let has_room = |count: &usize| *count as u64 * 112 < available();
    let counts = up_to(options, &[1000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000]);
    let rows = counts.into_iter().filter(has_room).map(|count| {
        let line = format!("blocks {count} {turns}");
        // Once is enough for what takes seconds.
        let brief = Options {
            is_quick: options.is_quick || count > 1_000_000,
            ..options
        };
        let run = |mode| ask(brief, mode, &line);
        let (bare, scopes, exact) = (run(None), run(Some("scopes")), run(Some("exact")));
        let each = |answer: &[f64]| answer[1] / turns as f64;
        vec![
            count as f64,
            each(&bare),
            each(&scopes),
            each(&exact),
            (exact[2] - bare[2]) / count as f64,
            exact[3] / MIB,
        ]
    });
    let curve = curve(
        "live-blocks",
        "cost by number of live blocks",
        "live blocks of 32 bytes",
        "ns per block replaced at random",
    );
    let columns = [
        "blocks",
        "ns, System",
        "ns, `scopes`",
        "ns, `exact`",
        "bytes per block over System, `exact`",
        "MiB of the tracker that came with them",
    ];
    Scaled::new(curve, &columns, rows.collect()).with_series(&[1, 2, 3])
}

fn threads(options: Options) -> Scaled {
    let turns = options.pick(2_000_000, 20_000);
    let rows = up_to(options, &[1, 2, 4, 16, 64, 250, 1000])
        .into_iter()
        .map(|threads| {
            let line = format!("alive {threads} {turns}");
            let run = |mode| ask(options, mode, &line);
            let each = |answer: &[f64]| answer[0] / answer[1];
            let (bare, scopes, exact) = (run(None), run(Some("scopes")), run(Some("exact")));
            vec![
                threads as f64,
                each(&bare),
                each(&scopes) - each(&bare),
                each(&exact) - each(&bare),
                exact[2] / MIB,
            ]
        });
    let curve = curve(
        "threads",
        "cost by number of threads alive",
        "threads, two million pairs between them",
        "ns of CPU time added per pair of 64 bytes",
    );
    let columns = [
        "threads",
        "ns, System",
        "ns added, `scopes`",
        "ns added, `exact`",
        "MiB of the tracker while all live",
    ];
    Scaled::new(curve, &columns, rows.collect()).with_series(&[1, 2, 3])
}

fn short_threads(options: Options) -> Scaled {
    let rows = up_to(options, &[100, 1000, 10_000, 100_000]).into_iter().map(|count| {
        let line = format!("short {count}");
        let brief = Options {
            is_quick: options.is_quick || count > 10_000,
            ..options
        };
        let run = |mode| ask(brief, mode, &line);
        let each = |answer: &[f64]| answer[0] / count as f64 / 1000.0;
        let (bare, scopes, exact) = (run(None), run(Some("scopes")), run(Some("exact")));
        vec![count as f64, each(&bare), each(&scopes), each(&exact), exact[1] / MIB]
    });
    let curve = curve(
        "short-threads",
        "cost by number of threads that came and went",
        "threads, one after the other, ten pairs each",
        "µs of CPU time per thread",
    );
    let columns = [
        "threads",
        "µs, System",
        "µs, `scopes`",
        "µs, `exact`",
        "MiB of the tracker that came",
    ];
    Scaled::new(curve, &columns, rows.collect()).with_series(&[1, 2, 3])
}

fn snapshots(options: Options) -> Scaled {
    let times = options.pick(5, 1);
    let rows = up_to(options, &[100, 1000, 10_000, 100_000, 1_000_000])
        .into_iter()
        .map(|contexts| {
            let brief = Options {
                is_quick: options.is_quick || contexts > 10_000,
                ..options
            };
            let one = ask(brief, Some("exact"), &format!("snapshot {contexts} 1 {times}"));
            assert!(one[4] >= contexts as f64, "the snapshot has all contexts");
            vec![contexts as f64, one[0] / 1e6, one[1] / 1e6, one[2] / MIB, one[3] / MIB]
        });
    let curve = curve(
        "snapshots",
        "a snapshot and a diff by number of contexts",
        "contexts of one thread; for the diff half as many came from another",
        "ms",
    );
    let columns = ["contexts", "ms, snapshot", "ms, diff", "MiB, snapshot", "MiB, diff"];
    Scaled::new(curve, &columns, rows.collect()).with_series(&[1, 2])
}

/// The promised row: a snapshot of many contexts on many threads.
pub(super) fn promised(options: Options) -> Vec<Row> {
    let contexts = options.pick(100_000, 5000);
    let answer = ask(
        options,
        Some("exact"),
        &format!("snapshot {contexts} 8 {}", options.pick(5, 1)),
    );
    let snapshot = Summary::exactly(answer[0] / 1e6);
    let expected = contexts as f64..contexts as f64 * 1.01;
    assert!(expected.contains(&answer[4]), "the snapshot has {} contexts", answer[4]);
    vec![
        Row::judged(
            format!("snapshot of {contexts} contexts on 8 threads"),
            "ms",
            Targets::at_most(50.0, 10.0),
            snapshot,
        ),
        Row::info(
            format!("diff of two with {contexts} contexts on 8 threads"),
            "ms",
            Summary::exactly(answer[1] / 1e6),
        ),
        Row::info("memory of that snapshot", "MiB", Summary::exactly(answer[2] / MIB)),
    ]
}

fn reports(options: Options) -> Scaled {
    let rows = up_to(options, &[1, 16, 128, 1024, FUNCTIONS])
        .into_iter()
        .map(|functions| {
            let answer = ask(options, Some("exact"), &format!("report {functions}"));
            vec![functions as f64, answer[0] / 1e6, answer[1] / 1e6, answer[2]]
        });
    let curve = curve(
        "reports",
        "a report by number of functions",
        "functions that allocate, each with symbols of its own",
        "ms",
    );
    let columns = [
        "functions",
        "ms, resolving symbols",
        "ms, report as text",
        "addresses resolved",
    ];
    Scaled::new(curve, &columns, rows.collect()).with_series(&[1, 2])
}
