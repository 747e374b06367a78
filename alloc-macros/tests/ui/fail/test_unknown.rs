//! `#[allocation_test]` names what it accepts.
use alloc_core::allocation_test;

#[allocation_test(blocks <= 3)]
fn unknown() {}

#[allocation_test(12)]
fn a_number() {}

#[allocation_test(allocations)]
fn without_a_limit() {}

#[allocation_test(allocations <= 3 bytes <= 4)]
fn without_a_comma() {}

fn main() {}
