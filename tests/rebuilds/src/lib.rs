//! Programs that build collections again and again, and the same programs mended: see `tests/corpus`.
#![forbid(unsafe_code)]
