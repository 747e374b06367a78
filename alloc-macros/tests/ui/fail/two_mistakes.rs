//! A mistake in the arguments and one in the function: both are told at once.

#[alloc_core::track_memory(names = "x")]
const fn f() {}

fn main() {
    f();
}
