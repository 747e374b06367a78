//! Holds the tests of callers of edition 2021, which need a package of their own; it has no code.
