//! A mistake in a loop is told about the loop, as without `loops`.

use alloc_core::track_memory;

#[track_memory(loops)]
fn f(names: &[String]) -> usize {
    let mut n = 0;
    for name in names {
        n += name;
    }
    n
}

#[track_memory(loops)]
async fn g() -> usize {
    loop {
        let text: String = std::future::ready(1).await;
        break text;
    }
}

fn main() {
    f(&[]);
    let _ = g();
}
