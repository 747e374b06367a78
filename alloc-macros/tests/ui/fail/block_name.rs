//! A name above a whole block would be that of each function in it.

use alloc_core::track_memory;

struct A;

#[track_memory(name = "a")]
impl A {
    fn f(&self) {}
}

#[track_memory(name = "m")]
mod inner {
    pub fn f() {}
}

fn main() {
    A.f();
    inner::f();
}
