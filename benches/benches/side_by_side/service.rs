//! The payment service of the examples under real HTTP load, with and without tracking.
//!
//! Every variant serves in a process of its own; one client loads them in turns, in random order. One worker thread serves, so when it
//! is busy, what a request costs is the time between two answers. What its allocations cost is measured without load, sockets and other
//! threads (`payment` of the workloads): whatever else tracking makes a service lose is the difference.

use std::path::Path;
use std::process::Command;

use allocscope_benches::Options;
use allocscope_benches::drive::Child;
use allocscope_benches::figures::{Numbers, Summary};
use allocscope_benches::service::REQUESTS;
use allocscope_benches::verdicts::{Row, Targets};

use super::building::Built;
use super::kinds::{BARE, Kind, Start};
use super::page::{markdown, short};
use super::table::Table;
use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

const CONNECTIONS: usize = 16;

struct Served {
    name: String,
    is_exact: bool,
    child: Child,
    port: u64,
    per_second: Vec<f64>,
    p99: Vec<f64>,
    /// CPU nanoseconds of the service per request.
    cpu: Vec<f64>,
    /// Blocks that it counts per request.
    blocks: f64,
}

/// The rows, and the table for the page.
pub(super) fn measure(options: Options, table: &Table, built: &Built) -> (Vec<Row>, String) {
    let takes_part = |kind: &&Kind| {
        let is_peer = [
            "dhat, 10 frames",
            "jemalloc, profiling at 512 KiB",
            "heaptrack, recording only",
        ]
        .contains(&kind.name.as_str());
        is_peer
            || kind.start == Start::System && !kind.is_framed
            || matches!(kind.start, Start::Ours(_)) && !kind.is_framed
    };
    let mut services: Vec<Served> = table
        .kinds
        .iter()
        .filter(takes_part)
        .filter_map(|kind| start(kind, built))
        .collect();
    let requests = options.pick(8000, 320);
    let mut numbers = Numbers::new(13);
    // All of them in the first rounds; in those behind, the two that are judged. The first round warms up.
    let (all, judged) = (options.pick(12, 1), options.pick(60, 1));
    for round in 0..=all + judged {
        for place in numbers.order(services.len()) {
            let service = &services[place];
            if round > all && !service.is_exact && service.name != table.kinds[BARE].name {
                continue;
            }
            let is_counted = round > 0;
            if let Err(reason) = load(&mut services[place], requests, is_counted) {
                eprintln!("{reason}");
                services[place].per_second.clear();
            }
        }
    }
    services.retain(|service| !service.per_second.is_empty());
    report(&services, table, &over_memory(options))
}

/// What the requests' allocations cost in `exact`, without anything else that a service under load may lose.
struct OverMemory {
    /// Allocations of a request.
    blocks: f64,
    /// Nanoseconds that one takes more.
    added: Summary,
    depth: f64,
}

fn over_memory(options: Options) -> OverMemory {
    let (mut blocks, mut depth, mut added) = (0.0, 0.0, Vec::new());
    let mut numbers = Numbers::new(17);
    for _ in 0..options.pick(4, 1) {
        let mut children = [(UNDER_SYSTEM, "off"), (UNDER_ALLOCSCOPE, "exact")]
            .map(|(executable, mode)| Child::start(executable.as_ref(), mode));
        let counted = children[1].ask("count payment");
        blocks = counted[0] as f64;
        depth = counted[2] as f64 / blocks;
        for _ in 0..options.pick(20, 2) {
            let mut times = [0.0; 2];
            for place in numbers.order(2) {
                times[place] = children[place].ask("time payment 4")[0] as f64;
            }
            added.push((times[1] - times[0]) / blocks);
        }
    }
    OverMemory {
        blocks: blocks / REQUESTS as f64,
        added: Summary::of(added),
        depth,
    }
}

fn start(kind: &Kind, built: &Built) -> Option<Served> {
    let child = kind
        .command(built, &["service"])
        .and_then(|command| Child::start_command(command, kind.name.clone()));
    let ready = child.and_then(|mut child| {
        let port = child.listen("the service's port")?[0];
        Ok((child, port))
    });
    match ready {
        Ok((child, port)) => Some(Served {
            name: kind.name.clone(),
            is_exact: kind.start == Start::Ours("exact"),
            child,
            port,
            per_second: Vec::new(),
            p99: Vec::new(),
            cpu: Vec::new(),
            blocks: 0.0,
        }),
        Err(reason) => {
            eprintln!("{reason}");
            None
        }
    }
}

fn load(service: &mut Served, requests: usize, is_counted: bool) -> Result<(), String> {
    let before = service.child.try_ask("")?;
    let client = Path::new(UNDER_SYSTEM).with_file_name("load_client");
    let words = [service.port.to_string(), CONNECTIONS.to_string(), requests.to_string()];
    let output = Command::new(client)
        .args(words)
        .output()
        .map_err(|error| format!("the client: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [elapsed, _, p99] = numbers[..] else {
        let words = allocscope_benches::drive::first_line(&String::from_utf8_lossy(&output.stderr));
        return Err(format!("{}: the client fails{words}", service.name));
    };
    let after = service.child.try_ask("")?;
    if is_counted {
        let requests = requests as f64;
        service.per_second.push(requests / elapsed * 1e9);
        service.p99.push(p99 / 1000.0);
        service.cpu.push((after[0] - before[0]) as f64 / requests);
        service.blocks = (after[1] - before[1]) as f64 / requests;
    }
    Ok(())
}

fn report(services: &[Served], table: &Table, alone: &OverMemory) -> (Vec<Row>, String) {
    let Some(bare) = services.iter().find(|service| service.name == table.kinds[BARE].name) else {
        return (Vec::new(), "The service could not be started.".to_owned());
    };
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for service in services {
        let ratio = Summary::of_ratios(&service.per_second, &bare.per_second);
        let added = Summary::of_differences(&service.cpu, &bare.cpu);
        let p99 = Summary::of(service.p99.clone());
        let per_second = Summary::of(service.per_second.clone());
        let name = service.name.replace("**", "");
        rows.push(Row::info(
            format!("service, {name}: requests per second"),
            "1/s",
            per_second,
        ));
        rows.push(Row::info(format!("service, {name}: 99th percentile"), "µs", p99));
        rows.push(Row::info(
            format!("service, {name}: CPU time added per request"),
            "ns",
            added,
        ));
        lines.push(vec![
            service.name.clone(),
            short(per_second.median),
            format!(
                "{} ({} to {})",
                short(ratio.median),
                short(ratio.low),
                short(ratio.high)
            ),
            short(p99.median),
            short(Summary::of(service.cpu.clone()).median / 1000.0),
            short(added.median),
        ]);
    }
    let exact = services.iter().find(|service| service.is_exact);
    let per_block = table
        .find("**allocscope `exact`**")
        .and_then(|kind| table.added_per_block(kind));
    let mut sentence = String::new();
    if let Some((exact, per_block)) = exact.zip(per_block) {
        // Time between two answers, which is what the loss of requests per second comes from.
        let between: Vec<f64> = exact
            .per_second
            .iter()
            .zip(&bare.per_second)
            .map(|(ours, bare)| 1e9 / ours - 1e9 / bare)
            .collect();
        let expected = exact.blocks * alone.added.median;
        let relative = |values: &[f64], expected: f64| Summary::of(values.iter().map(|value| value / expected));
        let cpu: Vec<f64> = exact
            .cpu
            .iter()
            .zip(&bare.cpu)
            .map(|(ours, bare)| ours - bare)
            .collect();
        rows.push(Row::info(
            "service: allocations per request",
            "",
            Summary::exactly(exact.blocks),
        ));
        let name = format!(
            "payment, over memory: exact, added; {:.1} blocks a request, depth {:.0}",
            alone.blocks, alone.depth
        );
        rows.push(Row::info(name, "ns/block", alone.added));
        let name = "service, exact: time lost per request / (allocations x ns measured)";
        rows.push(Row::judged(
            name,
            "x",
            Targets::at_most(1.2, 1.0),
            relative(&between, expected),
        ));
        let name = "service, exact: CPU time added per request / (allocations x ns measured)";
        rows.push(Row::info(name, "x", relative(&cpu, expected)));
        let name = "service, exact: CPU time added per request / (allocations x ns of the programs)";
        rows.push(Row::info(name, "x", relative(&cpu, exact.blocks * per_block)));
        sentence = format!(
            "\nA request makes {:.1} allocations, and {} ns were measured for one over memory, at a mean depth of {:.0} ({} ns in the programs above): \
             {} ns are expected.\n",
            exact.blocks,
            short(alone.added.median),
            alone.depth,
            short(per_block),
            short(expected)
        );
    }
    let head = [
        "",
        "requests per second",
        "ratio (quartiles)",
        "p99, µs",
        "CPU per request, µs",
        "added per request, ns",
    ];
    (rows, markdown(&head.map(str::to_owned), &lines) + &sentence)
}
