//! The one error type of the read side. Filled in with the file format.
#![forbid(unsafe_code)]
