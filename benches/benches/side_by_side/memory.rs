//! What tracking holds: per live block, in a program that does nothing, and with many contexts on many threads.

use allocscope_benches::Options;
use allocscope_benches::drive::{Child, command};
use allocscope_benches::figures::Summary;
use allocscope_benches::verdicts::{Row, Targets};

use super::{UNDER_ALLOCSCOPE, UNDER_SYSTEM};

const MIB: f64 = 1024.0 * 1024.0;

/// Every figure about memory.
pub(super) fn all(options: Options) -> Vec<Row> {
    let mut rows = Vec::new();
    per_block(options, &mut rows);
    hello(&mut rows);
    contexts(options, &mut rows);
    rows
}

/// Resident bytes that one more live block takes, and what the bare allocator would need for 8 bytes more. Between so many blocks and twice as
/// many: what a program holds without any is the row of "hello, world".
fn per_block(options: Options, rows: &mut Vec<Row>) {
    let count = options.pick(1_000_000, 50_000);
    let resident = |executable: &str, mode: &str, size: usize| {
        let of = |count| Child::start(executable.as_ref(), mode).ask(&format!("live {size} {count}"))[1] as f64;
        (of(2 * count) - of(count)) / count as f64
    };
    for size in [24, 32, 40] {
        let bare = resident(UNDER_SYSTEM, "off", size);
        let wider = resident(UNDER_SYSTEM, "off", size + 8);
        rows.push(Row::info(
            format!("bare: resident per live block of {size} bytes"),
            "bytes",
            Summary::exactly(bare),
        ));
        for mode in ["off", "scopes", "exact"] {
            let ours = resident(UNDER_ALLOCSCOPE, mode, size);
            rows.push(Row::info(
                format!("{mode}: the same, added"),
                "bytes",
                Summary::exactly(ours - bare),
            ));
            if mode != "off" {
                // 100 kB in all: pages that were not full.
                let allowance = 100_000.0 / count as f64;
                let targets = Targets::at_most(allowance, allowance);
                let name = format!("{mode}: per block of {size}, beyond 8 bytes and rounding");
                rows.push(Row::judged(name, "bytes", targets, Summary::exactly(ours - wider)));
            }
        }
    }
}

/// All and anonymous resident memory and tracker bytes of a program that only says hello.
fn hello_of(executable: &str) -> Vec<f64> {
    let output = command(executable.as_ref(), "exact").arg("hello").output();
    let text = output.expect("the child starts").stdout;
    let text = String::from_utf8_lossy(&text);
    let (greeting, figures) = text.split_once('\n').expect("two lines");
    assert_eq!(greeting, "hello, world", "the program says what it should");
    figures
        .split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect()
}

fn hello(rows: &mut Vec<Row>) {
    let (mut all, mut anonymous, mut says) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..9 {
        let (bare, ours) = (hello_of(UNDER_SYSTEM), hello_of(UNDER_ALLOCSCOPE));
        all.push((ours[0] - bare[0]) / MIB);
        anonymous.push((ours[1] - bare[1]) / MIB);
        says = ours[2] / MIB;
    }
    rows.push(Row::info(
        "hello world: what the tracker says it holds",
        "MiB",
        Summary::exactly(says),
    ));
    rows.push(Row::info(
        "hello world: resident, added, code and files included",
        "MiB",
        Summary::of(all),
    ));
    let anonymous = Summary::of(anonymous);
    // Whichever is larger: the tables it counts, or what the system sees.
    let judged = if anonymous.median > says {
        anonymous
    } else {
        Summary::exactly(says)
    };
    rows.push(Row::judged(
        "hello world: tracker memory",
        "MiB",
        Targets::at_most(1.0, 0.3),
        judged,
    ));
}

fn contexts(options: Options, rows: &mut Vec<Row>) {
    let (number, threads) = (options.pick(100_000, 10_000), 16);
    let line = format!("contexts {number} {threads}");
    let ours = Child::start(UNDER_ALLOCSCOPE.as_ref(), "exact").ask(&line);
    let bare = Child::start(UNDER_SYSTEM.as_ref(), "off").ask(&line);
    let [_, anonymous, tracker_bytes, contexts, other, blocks] = ours[..] else {
        panic!("the answer has six numbers");
    };
    let expected = (number * threads) as u64;
    // Starting a thread allocates a little, too.
    assert!(
        (expected..expected + 100 * threads as u64).contains(&blocks),
        "{blocks} blocks counted where {expected} were allocated"
    );
    assert!(
        other == 0 && contexts >= number as u64,
        "{contexts} contexts, {other} allocations under other"
    );
    let what = format!("{number} contexts on {threads} threads");
    let resident = (anonymous as f64 - bare[1] as f64) / MIB;
    let says = tracker_bytes as f64 / MIB;
    rows.push(Row::info(
        format!("{what}: contexts made"),
        "",
        Summary::exactly(contexts as f64),
    ));
    rows.push(Row::info(
        format!("{what}: what the tracker says"),
        "MiB",
        Summary::exactly(says),
    ));
    rows.push(Row::info(
        format!("{what}: resident, added"),
        "MiB",
        Summary::exactly(resident),
    ));
    let judged = Summary::exactly(resident.max(says));
    rows.push(Row::judged(
        format!("{what}: tracker memory"),
        "MiB",
        Targets::at_most(128.0, 48.0),
        judged,
    ));
}
