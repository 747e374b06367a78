//! The `#[track_memory]` attribute.
