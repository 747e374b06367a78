//! A body that cannot be read goes through to the compiler, which says what is wrong with it.

#[alloc_core::track_memory]
async fn f(x: u32) -> u32 {
    let y = ;
    x
}

fn main() {}
