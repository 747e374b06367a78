//! Empty: a package needs something to build besides its tests.
#![forbid(unsafe_code)]
