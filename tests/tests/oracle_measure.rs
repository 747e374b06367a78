//! `measure` counts what the crates `dhat` and `allocation-counter` count: total blocks (allocations and reallocations), total bytes and
//! live bytes at the end, for the same closures run as separate processes, one allocator each.
//!
//! Nothing is subtracted and nothing is tolerated.

#[path = "../oracle/programs.rs"]
#[allow(dead_code, reason = "only the names are wanted here")]
mod programs;

use std::process::Command;

fn run(executable: &str, program: &str) -> String {
    let output = Command::new(executable)
        .arg(program)
        .output()
        .expect("the program was built with this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {} {errors}", output.status);
    let text = String::from_utf8(output.stdout).expect("it prints figures");
    // The number of live blocks is no figure of a measurement.
    let parts: Vec<&str> = text
        .trim()
        .split(", ")
        .filter(|part| !part.starts_with("live blocks"))
        .collect();
    parts.join(", ")
}

#[test]
fn measurements_count_what_dhat_and_allocation_counter_count() {
    let mut wrong = Vec::new();
    for program in programs::PROGRAMS {
        let ours = run(env!("CARGO_BIN_EXE_oracle_with_measure"), program.name);
        let dhat = run(env!("CARGO_BIN_EXE_oracle_with_dhat"), program.name);
        let counter = match program.name {
            // That crate panics inside the allocator when a request fails.
            "failing_requests" => dhat.clone(),
            name => run(env!("CARGO_BIN_EXE_oracle_with_counter"), name),
        };
        if ours != dhat || ours != counter {
            wrong.push(format!(
                "{}\n  ours    {ours}\n  dhat    {dhat}\n  counter {counter}",
                program.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
