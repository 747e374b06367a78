//! `loops` has to understand the body.

use alloc_core::track_memory;

#[track_memory(loops)]
fn f() {
    for i in 0..3 {
        let = i;
    }
}

fn main() {
    f();
}
