//! A mistake on a function inside a marked block is told there.

use alloc_core::track_memory;

struct A;

#[track_memory]
impl A {
    #[track_memory(nam = "f")]
    fn f(&self) {}

    fn g(&self) -> u32 {
        "text"
    }
}

fn main() {
    A.f();
    A.g();
}
