//! What stands in a marked block and is no item.

use alloc_core::track_memory;

struct A;

#[track_memory]
impl A {
    fn f(&self) {}
    let x = 1;
}

fn main() {
    A.f();
}
