//! The workloads over `stats_alloc`: counters of the whole process.

use std::alloc::System;

use allocscope_benches::child::{self, Counted};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOC: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    child::main(|| {
        let stats = ALLOC.stats();
        Some(Counted::blocks((stats.allocations + stats.reallocations) as u64))
    });
}
