//! An argument given twice.

#[alloc_core::track_memory(name = "parse", name = "parse")]
fn f() {}

fn main() {
    f();
}
