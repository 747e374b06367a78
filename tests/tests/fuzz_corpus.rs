//! What fuzzing has found worth keeping, run again without a fuzzer: every file of `fuzz/corpus` through its target.

#[allow(unreachable_pub, reason = "part of another crate where it is fuzzed")]
#[path = "../../fuzz/src/replay.rs"]
mod replay;
#[allow(unreachable_pub, reason = "a crate of its own where it is fuzzed")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

use alloc_core::TrackingAllocator;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

// One test: the figures of `allocations` are the process's.
#[test]
fn every_input_of_the_corpus_passes() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let replay = |name, target| replay::replay(&project, name, target);
    replay("snapshot", targets::snapshot);
    replay("baseline", targets::baseline);
    replay("budgets", targets::budgets);
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        replay("unwind_rows", targets::unwind_rows);
        replay("stack_walk", targets::stack_walk);
    }
    replay("allocations", targets::allocations);
}
