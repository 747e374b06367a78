//! Numbers from 1 on, and options once.
use alloc_core::allocation_test;

#[allocation_test(samples = 0)]
fn none() {}

#[allocation_test(samples = "many")]
fn text() {}

#[allocation_test(samples)]
fn nothing() {}

#[allocation_test(warm_up, warm_up)]
fn twice() {}

fn main() {}
