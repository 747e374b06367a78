//! The workloads over `dhat`'s allocator, with its profiler running. `BENCH_DHAT_DEPTH` is how many frames it keeps:
//! a number, `all`, or nothing for its default of 10.

use allocscope_benches::child::{self, Counted};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

fn main() {
    let depth = match std::env::var("BENCH_DHAT_DEPTH").as_deref() {
        Ok("all") => None,
        Ok(depth) => Some(depth.parse().expect("BENCH_DHAT_DEPTH is a number or all")),
        Err(_) => Some(10),
    };
    // `testing` keeps it from writing a file at the end.
    let profiler = dhat::Profiler::builder().testing().trim_backtraces(depth).build();
    child::main(|| {
        let stats = dhat::HeapStats::get();
        Some(Counted {
            blocks: stats.total_blocks,
            bytes: stats.total_bytes,
            ..Counted::default()
        })
    });
    drop(profiler);
}
