//! A `name` that is no string literal.

#[alloc_core::track_memory(name = parse)]
fn an_identifier() {}

#[alloc_core::track_memory(name = 42)]
fn a_number() {}

#[alloc_core::track_memory(name = b"parse")]
fn bytes() {}

#[alloc_core::track_memory(name = "parse"x)]
fn a_suffix() {}

#[alloc_core::track_memory(name("parse"))]
fn a_list() {}

fn main() {
    an_identifier();
    a_number();
    bytes();
    a_suffix();
    a_list();
}
