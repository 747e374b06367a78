//! Allocscope.
