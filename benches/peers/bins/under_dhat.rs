//! The workloads over `dhat`'s allocator, with its profiler running. `BENCH_VARIANT=all` keeps all frames instead of its
//! default of 10.

use allocscope_benches::child::{self, Counted, variant};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

fn main() {
    let depth = (variant() != "all").then_some(10);
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
