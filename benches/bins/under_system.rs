//! The workloads over the bare system allocator: what everything else is compared with.

use std::alloc::System;

use allocscope_benches::child;

#[global_allocator]
static ALLOC: System = System;

fn main() {
    child::main(|| None);
}
