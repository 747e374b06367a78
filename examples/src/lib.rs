//! What the example programs share: a payment service with four ways to ask "is this user risky?", the HTTP load that
//! drives it, and the few sums the programs take from a snapshot.
//!
//! Called by `src/bin/*.rs` and by this package's tests. Plain user code: it uses `alloc_core` through its public face
//! only, and it is what a reader should imitate. Not a benchmark: the programs run under full tracking, and say so.
#![forbid(unsafe_code)]

pub mod clock;
pub mod demo;
pub mod fraud;
pub mod load;
pub mod observe;
pub mod service;
pub mod store;
pub mod text;

/// What everything here returns: these programs report an error and end, they do not tell errors apart.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
