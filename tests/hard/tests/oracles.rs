//! What tools outside the project count: Valgrind's "total heap usage" and heaptrack's allocations for whole programs, dhat's and
//! heaptrack's figures by site.
//!
//! *Totals*: these tools see all of `malloc`, so what the C library and the Rust runtime allocate at start and end is in their figures. It
//! is the same in a run that does nothing, and taken away: what is left must equal our figures, with no tolerance. *Sites*: dhat leaves a
//! reallocated block at its first site, so only sites without reallocations are compared with it; heaptrack charges the stack that
//! reallocates, as we do.

#[path = "../oracle/sites.rs"]
mod sites;

#[path = "../../oracle/programs.rs"]
#[allow(dead_code, reason = "only the names are wanted here")]
mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use allocscope_hard::run_tool;

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle_{}_{name}", std::process::id()))
}

/// Blocks granted, blocks released, bytes granted.
type Totals = [i64; 3];

fn tracked(program: &str) -> Totals {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oracle_tracked"));
    let text =
        run_tool(command.arg(program).env("ALLOCSCOPE_MODE", "exact")).expect("the program was built with this test");
    let mut numbers = text
        .split_whitespace()
        .map(|number| number.parse().expect("it prints numbers"));
    std::array::from_fn(|_| numbers.next().expect("it prints three"))
}

/// The numbers of "total heap usage: 1,234 allocs, 1,230 frees, 56,789 bytes allocated"; `None` without Valgrind.
fn valgrind(program: &str) -> Option<Totals> {
    let mut command = Command::new("valgrind");
    command.args([
        "--leak-check=no",
        "--error-exitcode=9",
        env!("CARGO_BIN_EXE_oracle_bare"),
        program,
    ]);
    let text = run_tool(&mut command)?;
    let line = text
        .lines()
        .find(|line| line.contains("total heap usage:"))
        .expect("Valgrind says it");
    let numbers = line.split("usage:").nth(1).expect("it was found").replace(',', "");
    let mut numbers = numbers.split_whitespace().filter_map(|word| word.parse().ok());
    Some(std::array::from_fn(|_| numbers.next().expect("there are three")))
}

#[test]
fn totals_are_those_of_valgrind() {
    let Some(nothing) = valgrind("nothing") else {
        return println!("valgrind is not installed: skipped");
    };
    println!("valgrind, C library and runtime: {nothing:?}");
    let mut wrong = Vec::new();
    for program in programs::PROGRAMS {
        if program.name == "failing_requests" {
            println!("valgrind, failing_requests: left out, because Valgrind counts requests that were refused");
            continue;
        }
        let theirs = valgrind(program.name).expect("it was there before");
        let mut theirs: Totals = std::array::from_fn(|index| theirs[index] - nothing[index]);
        // The runtime keeps a copy of the argument.
        theirs[2] -= program.name.len() as i64 - "nothing".len() as i64;
        let ours = tracked(program.name);
        println!("valgrind, {}: {theirs:?}", program.name);
        if ours != theirs {
            wrong.push(format!("{}: ours {ours:?}, Valgrind's {theirs:?}", program.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "blocks granted, released, bytes granted:\n{}",
        wrong.join("\n")
    );
}

/// heaptrack's stacks (frames separated by semicolons, outermost first) and how often each allocated; `None` without heaptrack.
fn heaptrack(executable: &str, arguments: &[&str], name: &str) -> Option<Vec<(String, i64)>> {
    let record = scratch(name);
    run_tool(
        Command::new("heaptrack")
            .arg("-o")
            .arg(&record)
            .arg(executable)
            .args(arguments),
    )?;
    let record = ["zst", "gz"]
        .map(|end| record.with_extension(end))
        .into_iter()
        .find(|path| path.exists())
        .expect("heaptrack wrote its record");
    let folded = scratch(&format!("{name}.folded"));
    let mut print = Command::new("heaptrack_print");
    print
        .arg("-f")
        .arg(&record)
        .args(["--flamegraph-cost-type", "allocations", "-F"])
        .arg(&folded);
    run_tool(&mut print)?;
    let text = std::fs::read_to_string(&folded).expect("heaptrack_print wrote the stacks");
    let parse = |line: &str| {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and a number");
        (stack.to_owned(), count.parse().expect("a number"))
    };
    Some(text.lines().map(parse).collect())
}

#[test]
fn totals_are_those_of_heaptrack() {
    let count = |program: &str| {
        let stacks = heaptrack(env!("CARGO_BIN_EXE_oracle_bare"), &[program], program)?;
        Some(stacks.iter().map(|(_, count)| count).sum::<i64>())
    };
    let Some(nothing) = count("nothing") else {
        return println!("heaptrack is not installed: skipped");
    };
    let mut wrong = Vec::new();
    for program in programs::PROGRAMS {
        let theirs = count(program.name).expect("it was there before") - nothing;
        let ours = tracked(program.name)[0];
        println!("heaptrack, {}: {theirs}", program.name);
        if ours != theirs {
            wrong.push(format!("{}: ours {ours}, heaptrack's {theirs}", program.name));
        }
    }
    assert!(wrong.is_empty(), "blocks granted:\n{}", wrong.join("\n"));
}

/// By site: blocks, bytes, reallocations.
fn tracked_sites() -> BTreeMap<String, [i64; 3]> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oracle_sites_tracked"));
    let text = run_tool(command.env("ALLOCSCOPE_MODE", "exact")).expect("the program was built with this test");
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name").to_owned();
            (
                name,
                std::array::from_fn(|_| words.next().expect("three numbers").parse().expect("a number")),
            )
        })
        .collect()
}

/// The site function that a frame names, if it is one.
fn site_in(frame: &str) -> Option<&'static str> {
    let mut words = frame.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.find_map(|word| {
        let mut all = sites::NEVER_REALLOCATED.into_iter().chain(sites::REALLOCATED);
        all.find(|site| *site == word)
    })
}

#[test]
fn sites_without_reallocations_are_those_of_dhat() {
    let path = scratch("dhat.json");
    run_tool(Command::new(env!("CARGO_BIN_EXE_oracle_sites_dhat")).arg(&path))
        .expect("the program was built with this test");
    let text = std::fs::read_to_string(&path).expect("dhat wrote its profile");
    let profile: serde_json::Value = serde_json::from_str(&text).expect("dhat writes JSON");
    let frames = profile["ftbl"].as_array().expect("a table of frames");
    let mut theirs: BTreeMap<&str, [i64; 2]> = BTreeMap::new();
    for point in profile["pps"].as_array().expect("a list of points") {
        let stack = point["fs"].as_array().expect("a stack").iter();
        let mut names = stack.filter_map(|frame| frames[frame.as_u64()? as usize].as_str());
        if let Some(site) = names.find_map(site_in) {
            let sum = theirs.entry(site).or_default();
            sum[0] += point["tbk"].as_i64().expect("a number of blocks");
            sum[1] += point["tb"].as_i64().expect("a number of bytes");
        }
    }
    let ours = tracked_sites();
    for site in sites::NEVER_REALLOCATED {
        let [blocks, bytes, reallocations] = ours[site];
        assert_eq!(reallocations, 0, "{site}");
        assert_eq!(
            [blocks, bytes],
            theirs[site],
            "blocks and bytes of {site}: ours, dhat's"
        );
        println!("dhat, {site}: {blocks} blocks, {bytes} bytes");
    }
    // What dhat leaves at the first site is in ours at the one that reallocates; the sum is the same.
    let sum_of = |figures: &dyn Fn(&str) -> [i64; 2]| {
        let all = sites::REALLOCATED.map(figures);
        [0, 1].map(|index| all.iter().map(|one| one[index]).sum::<i64>())
    };
    let our_sum = sum_of(&|site| [ours[site][0], ours[site][1]]);
    assert_eq!(
        our_sum,
        sum_of(&|site| theirs.get(site).copied().unwrap_or_default()),
        "all sites that reallocate"
    );
}

#[test]
fn sites_are_those_of_heaptrack() {
    let Some(stacks) = heaptrack(env!("CARGO_BIN_EXE_oracle_sites_bare"), &[], "sites") else {
        return println!("heaptrack is not installed: skipped");
    };
    let mut theirs: BTreeMap<&str, i64> = BTreeMap::new();
    for (stack, count) in &stacks {
        if let Some(site) = stack.split(';').find_map(site_in) {
            *theirs.entry(site).or_default() += count;
        }
    }
    let ours = tracked_sites();
    for site in sites::NEVER_REALLOCATED.into_iter().chain(sites::REALLOCATED) {
        assert_eq!(ours[site][0], theirs[site], "blocks of {site}: ours, heaptrack's");
        println!(
            "heaptrack, {site}: {} blocks, {} of them reallocations",
            ours[site][0], ours[site][2]
        );
    }
}
