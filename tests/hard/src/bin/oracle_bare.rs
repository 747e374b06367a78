//! One program of the oracle under the system's allocator, for tools that count from outside: Valgrind, heaptrack.
#![forbid(unsafe_code)]

#[path = "../../../oracle/programs.rs"]
mod programs;

fn main() {
    let program = programs::asked_for();
    let mut keep = programs::Keep::new();
    (program.run)(&mut keep);
    drop(keep);
}
