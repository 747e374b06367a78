//! A `crate` that is no path.

#[alloc_core::track_memory(crate = "alloc_core")]
fn f() {}

fn main() {
    f();
}
