//! Runs one program of `programs.rs` under dhat and prints what it counted.
//!
//! Started by `tests/oracle_dhat.rs`. The scopes in the programs are there too, with no allocator of ours installed: they
//! must not allocate then.
#![forbid(unsafe_code)]

mod programs;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

fn main() {
    let program = programs::asked_for();
    let mut keep = programs::Keep::new();
    let profiler = dhat::Profiler::builder().testing().build();
    (program.run)(&mut keep);
    let stats = dhat::HeapStats::get();
    drop(profiler);
    println!(
        "total blocks {}, total bytes {}, live blocks {}, live bytes {}",
        stats.total_blocks, stats.total_bytes, stats.curr_blocks, stats.curr_bytes
    );
    drop(keep);
}
