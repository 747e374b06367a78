//! `tracked!` is for closures and `async` blocks.

use alloc_core::tracked;

fn main() {
    let _ = tracked!(1 + 1);
    let _ = tracked!(name = "x", { 1 });
    let _ = tracked!();
    let _ = tracked!(name = "x");
    let _ = tracked!(|| 1, || 2);
}
