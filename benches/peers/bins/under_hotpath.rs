//! The workloads over `hotpath` with its `hotpath-alloc` feature, each pass a measured function.

use hotpath::{CountingAllocator, HotpathGuardBuilder};

#[global_allocator]
static ALLOC: CountingAllocator = CountingAllocator::new();

#[hotpath::measure]
fn measured(pass: &mut dyn FnMut()) {
    pass();
}

fn main() {
    let report = std::env::temp_dir().join(format!("hotpath-{}.txt", std::process::id()));
    let guard = HotpathGuardBuilder::new("main").output_path(&report).build();
    allocscope_benches::child::main_around(measured, || None);
    drop(guard);
    // Best effort: it is a file in the directory of temporary ones.
    let _ = std::fs::remove_file(report);
}
