//! Needed by `links`, which makes cargo refuse two versions of this crate in one program.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
