//! The workloads over `mod-alloc` with its `backtraces` feature, which needs a build with frame pointers and keeps 8 frames.

use allocscope_benches::child::{self, Counted};
use mod_alloc::ModAlloc;

#[global_allocator]
static ALLOC: ModAlloc = ModAlloc::new();

fn main() {
    child::main(|| Some(Counted::blocks(ALLOC.snapshot().alloc_count)));
}
