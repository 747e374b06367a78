//! A `name` that nobody could read.

#[alloc_core::track_memory(name = " ")]
fn f() {}

fn main() {
    f();
}
