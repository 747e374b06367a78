//! A small program without the allocator, for `tests/modes_env.rs`: what it is told when it asks for figures all the same.
#![forbid(unsafe_code)]

use alloc_core::{Snapshot, scope};

fn main() {
    let _scope = scope!("counts nothing");
    drop(std::hint::black_box(vec![1_u8; 100]));
    match Snapshot::take() {
        Ok(_) => println!("a snapshot without an allocator"),
        Err(error) => println!("not installed: {}: {error}", error.is_not_installed()),
    }
    println!("done");
}
