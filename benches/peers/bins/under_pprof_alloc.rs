//! The workloads over `pprof-alloc` with its own sampler over the system's allocator, in a build with frame pointers: every allocation,
//! or one in 512 KiB if `PPROF_ALLOC_SAMPLE_RATE` says so.

use allocscope_benches::child::{self, Counted};

#[global_allocator]
static ALLOC: pprof_alloc::PprofAlloc = pprof_alloc::PprofAlloc::new()
    .with_pprof_sample_rate_from_env(1)
    .with_stats();

fn main() {
    child::main(|| {
        let stats = pprof_alloc::allocation_stats();
        Some(Counted::blocks(stats.allocations))
    });
}
