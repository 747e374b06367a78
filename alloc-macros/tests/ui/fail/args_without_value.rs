//! An argument without a value.

#[alloc_core::track_memory(name)]
fn nothing_at_all() {}

#[alloc_core::track_memory(name =)]
fn nothing_after_the_sign() {}

#[alloc_core::track_memory(crate, name = "parse")]
fn nothing_before_the_comma() {}

fn main() {
    nothing_at_all();
    nothing_after_the_sign();
    nothing_before_the_comma();
}
