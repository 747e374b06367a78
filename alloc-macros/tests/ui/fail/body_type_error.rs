//! Errors in a tracked body are told about the body, as without the attribute.

#[alloc_core::track_memory]
fn mismatch(text: String) -> u32 {
    text
}

#[alloc_core::track_memory]
fn no_tail() -> u32 {
    1;
}

#[alloc_core::track_memory]
fn moved(text: String) -> usize {
    drop(text);
    text.len()
}

#[alloc_core::track_memory]
fn not_mutable(text: String) {
    text.push('x');
}

#[alloc_core::track_memory]
async fn mismatch_async(text: String) -> u32 {
    text
}

#[alloc_core::track_memory]
async fn question_async(text: &str) -> u32 {
    text.parse::<u32>()?
}

#[alloc_core::track_memory]
async fn unknown_name() {
    nowhere();
}

fn main() {}
