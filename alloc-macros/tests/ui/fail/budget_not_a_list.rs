//! A budget stands in parentheses, its limits have values and commas.

use alloc_core::track_memory;

#[track_memory(budget = 10)]
fn number() {}

#[track_memory(budget)]
fn alone() {}

#[track_memory(budget(bytes))]
fn no_value() {}

#[track_memory(budget(bytes = ))]
fn nothing() {}

#[track_memory(budget(bytes: 10))]
fn colon() {}

#[track_memory(budget(bytes = 10 peak = 10))]
fn no_comma() {}

fn main() {
    (number(), alone(), no_value(), nothing(), colon(), no_comma());
}
