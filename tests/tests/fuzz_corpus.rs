//! What fuzzing has found worth keeping, run again without a fuzzer: every file of `fuzz/corpus` through its target.
//!
//! Besides, each input cut short and with single bytes changed: a little fuzzing in every test run.

#[allow(unreachable_pub, reason = "a crate of its own where it is fuzzed")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

use alloc_core::TrackingAllocator;

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn replay(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&directory).expect("the corpus is checked in") {
        let path = entry.expect("the directory can be read").path();
        let input = fs::read(&path).expect("the file can be read");
        // Printed when the test fails.
        println!("{}", path.display());
        target(&input);
        for part in 1..8 {
            target(&input[..input.len() * part / 8]);
            let mut changed = input.clone();
            if let Some(byte) = changed.get_mut(input.len() * part / 8) {
                *byte ^= 1 << part;
            }
            target(&changed);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} has no inputs", directory.display());
}

// One test: the figures of `allocations` are the process's.
#[test]
fn every_input_of_the_corpus_passes() {
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
