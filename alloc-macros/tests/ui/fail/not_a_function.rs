//! Items that are neither functions nor blocks of them.
#![allow(unused_imports)]

use alloc_core::track_memory;

#[track_memory]
struct A;

#[track_memory]
const N: u32 = 1;

#[track_memory]
static S: u32 = 1;

#[track_memory]
enum E {}

#[track_memory]
type Alias = u32;

#[track_memory]
use std::fmt as _;

#[track_memory]
unsafe extern "C" {}

fn main() {
    let _ = A;
}
