//! A value without the name of its argument.

#[alloc_core::track_memory("parse")]
fn f() {}

fn main() {
    f();
}
