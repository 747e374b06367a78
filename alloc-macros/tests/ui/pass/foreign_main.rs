//! `main` itself, with a return type, and a test-like attribute above.

#[alloc_core::track_memory(name = "main")]
#[cfg(all())]
fn main() -> Result<(), std::fmt::Error> {
    Ok(())
}
