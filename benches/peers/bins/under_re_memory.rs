//! The workloads over `re_memory`. `BENCH_VARIANT`: nothing for its counters alone, `stacks` for its default (blocks of
//! a mebibyte and one in 64 above a kibibyte), `all` for the stack of every block.

use std::alloc::System;

use allocscope_benches::child::{self, Counted, variant};
use re_memory::AccountingAllocator;
use re_memory::accounting_allocator::{self as accounting, TrackingOptions};

#[global_allocator]
static ALLOC: AccountingAllocator<System> = AccountingAllocator::new(System);

fn main() {
    let variant = variant();
    if variant == "all" {
        accounting::set_tracking_options(TrackingOptions {
            small_size: 0,
            medium_size: 0,
        });
    }
    accounting::set_tracking_callstacks(variant == "stacks" || variant == "all");
    // It tells what is alive, not how often something was allocated.
    child::main(|| -> Option<Counted> { None });
}
