//! Tells the benches what they were built for: the target, the compiler, and whether code keeps frame pointers.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let target = var("TARGET").unwrap_or_default();
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let has_frame_pointers = flags.contains("force-frame-pointers") && !flags.contains("force-frame-pointers=n");
    let compiler = Command::new(var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))
        .arg("--version")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    println!("cargo::rustc-env=BENCH_TARGET={target}");
    println!("cargo::rustc-env=BENCH_COMPILER={compiler}");
    println!("cargo::rustc-env=BENCH_FRAME_POINTERS={has_frame_pointers}");
}
