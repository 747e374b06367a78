//! The program of named sites under Allocscope. Prints for each site: its name, blocks granted (allocations and reallocations), bytes
//! granted, reallocations.
#![forbid(unsafe_code)]

#[path = "../../oracle/sites.rs"]
mod sites;

use std::collections::BTreeMap;

use alloc_core::TrackingAllocator;
use allocscope_tests::snapshot;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn main() {
    sites::run();
    let mut now = snapshot();
    now.resolve();
    let mut found: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for context in &now.contexts {
        let Some(stack) = context.stack.and_then(|stack| now.stacks.get(stack as usize)) else {
            continue;
        };
        let names = stack
            .frames
            .iter()
            .flat_map(|&frame| &now.frames[frame as usize].symbols);
        // With its path or without, as the debug information has it.
        let mut ends = names.map(|symbol| symbol.function.rsplit("::").next().unwrap_or_default());
        let Some(name) = ends.find(|name| name.starts_with("site_")) else {
            continue;
        };
        let sum = found.entry(name).or_default();
        let counters = &context.counters;
        sum[0] += counters.total_allocations + counters.total_reallocations;
        sum[1] += counters.total_bytes;
        sum[2] += counters.total_reallocations;
    }
    for (name, [blocks, bytes, reallocations]) in found {
        println!("{name} {blocks} {bytes} {reallocations}");
    }
}
