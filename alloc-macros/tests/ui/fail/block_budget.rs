//! A budget is for one function.

use alloc_core::track_memory;

struct A;

#[track_memory(budget(allocations = 1))]
impl A {
    fn f(&self) {}
}

fn main() {
    A.f();
}
