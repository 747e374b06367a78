//! The other allocation trackers, each a program in `bins/` that runs the workloads of `allocscope-benches` under it.
//!
//! The bench `side_by_side` builds and drives them; `peers.rs` there says what each answers. Each is set up as its own
//! documentation sets it up, for all it can do that costs something on the way of an allocation, and writes no file.
