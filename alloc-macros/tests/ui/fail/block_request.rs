//! A whole block serves no request.

use alloc_core::track_memory;

#[track_memory(loops, request)]
trait Serve {
    fn serve(&self) {}
}

impl Serve for u8 {}

fn main() {
    1_u8.serve();
}
