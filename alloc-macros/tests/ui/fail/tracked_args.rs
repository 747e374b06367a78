//! Arguments of `tracked!` are those of the attribute.

use alloc_core::tracked;

fn main() {
    let _ = tracked!(nam = "x", || 1);
    let _ = tracked!(name = 1, || 1);
    let _ = tracked!(name = "x" || 1);
    let _ = tracked!(skip, || 1);
    let _ = tracked!(request, request, || 1);
}
