//! Two arguments without a comma between them.

#[alloc_core::track_memory(name = "parse" crate = alloc_core)]
fn f() {}

fn main() {
    f();
}
