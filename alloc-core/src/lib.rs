//! Allocscope.
mod record;
