//! An argument that does not exist.

#[alloc_core::track_memory(nmae = "parse")]
fn f() {}

fn main() {
    f();
}
