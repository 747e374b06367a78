//! Allocscope and dhat count the same: total blocks (allocations and reallocations), total bytes, live blocks and live
//! bytes at the end, for the same deterministic programs run as separate processes, one allocator each.
//!
//! Nothing is subtracted and nothing is tolerated. The programs are in `oracle/programs.rs`; what is not compared are
//! stacks, peaks and threads, which have tests of their own.

#[path = "../oracle/programs.rs"]
#[allow(dead_code, reason = "only the names are wanted here")]
mod programs;

use std::process::Command;

fn run(executable: &str, program: &str, mode: &str) -> String {
    let output = Command::new(executable)
        .arg(program)
        .env("ALLOCSCOPE_MODE", mode)
        .output()
        .expect("the program was built with this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} ({mode}): {} {errors}",
        output.status
    );
    String::from_utf8(output.stdout)
        .expect("it prints figures")
        .trim()
        .to_owned()
}

#[test]
fn allocscope_counts_what_dhat_counts() {
    let mut wrong = Vec::new();
    for program in programs::PROGRAMS {
        let dhat = run(env!("CARGO_BIN_EXE_oracle_with_dhat"), program.name, "exact");
        // That both saw nothing is agreement only for the program that does nothing.
        assert_eq!(
            dhat.contains("total blocks 0,"),
            program.name == "nothing",
            "{}: {dhat}",
            program.name
        );
        for mode in ["exact", "scopes"] {
            let ours = run(env!("CARGO_BIN_EXE_oracle_with_allocscope"), program.name, mode);
            if ours != dhat {
                wrong.push(format!("{} ({mode})\n  ours {ours}\n  dhat {dhat}", program.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
