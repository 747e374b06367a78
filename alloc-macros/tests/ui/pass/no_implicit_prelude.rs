//! A caller without a prelude, whose own names shadow everything the expansion might mean.
#![no_implicit_prelude]
#![forbid(unsafe_code)]

mod core {}
mod alloc_core {}
#[allow(dead_code)]
enum Option {
    None,
    Some,
}
#[allow(unused_macros)]
macro_rules! concat { ($($t:tt)*) => { ::core::compile_error!("shadowed") } }
#[allow(unused_macros)]
macro_rules! line { ($($t:tt)*) => { ::core::compile_error!("shadowed") } }
#[allow(unused_macros)]
macro_rules! file { ($($t:tt)*) => { ::core::compile_error!("shadowed") } }
#[allow(unused_macros)]
macro_rules! module_path { ($($t:tt)*) => { ::core::compile_error!("shadowed") } }

#[::alloc_core::track_memory]
fn sync(a: u32, (b, c): (u32, u32)) -> u32 {
    a + b + c
}

#[::alloc_core::track_memory(name = "asynchronous")]
async fn asynchronous(a: u32) -> ::core::result::Result<u32, ()> {
    ::core::result::Result::Ok(a)
}

#[::alloc_core::track_memory]
async fn never() -> ! {
    loop {
        let _ = asynchronous(1).await;
    }
}

#[::alloc_core::track_memory]
fn future() -> impl ::core::future::Future<Output = u32> {
    async { 1 }
}

fn main() {
    let _ = (sync(1, (2, 3)), asynchronous(1), never(), future());
}
