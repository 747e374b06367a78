//! Runs one program of `programs.rs` under the `allocation-counter` crate, which is an allocator of its own, and prints what it counted.
//!
//! Started by `tests/oracle_measure.rs`. That crate sees a reallocation as an allocation and a free.
#![forbid(unsafe_code)]

mod programs;

fn main() {
    let program = programs::asked_for();
    let mut keep = programs::Keep::new();
    let counted = allocation_counter::measure(|| (program.run)(&mut keep));
    println!(
        "total blocks {}, total bytes {}, live bytes {}",
        counted.count_total, counted.bytes_total, counted.bytes_current
    );
    drop(keep);
}
