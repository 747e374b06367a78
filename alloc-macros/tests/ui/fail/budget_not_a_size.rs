//! Sizes are whole numbers of bytes, with a unit that exists.

use alloc_core::track_memory;

#[track_memory(budget(bytes = "4 parsecs"))]
fn unit() {}

#[track_memory(budget(peak = -1))]
fn sign() {}

#[track_memory(budget(retained = 1.5))]
fn float() {}

#[track_memory(budget(bounded = "0.3 KiB"))]
fn fraction() {}

#[track_memory(budget(bytes = LIMIT))]
fn path() {}

#[track_memory(budget(bytes = "99999999999 TiB"))]
fn too_large() {}

#[track_memory(budget(bytes = 10u64))]
fn suffix() {}

fn main() {
    (unit(), sign(), float(), fraction(), path(), too_large(), suffix());
}
