//! Needed by `links`, which makes cargo refuse two versions of this crate in one program; refuses targets that the crate is not
//! written for, in one sentence instead of the compiler's many; and chooses how call stacks are captured on the target.
//!
//! - `stack_rules`: by unwind rules (x86-64 Linux). In builds with frame pointers, too: a bare frame-pointer walk is 25 %
//!   cheaper there (69 against 93 ns at a mean depth of 24), but loses the callers of code that keeps none, such as the
//!   C library's; and one that also asks the rules about each
//!   frame takes 1,200 instructions against 860, as one frame in four is not a plain one.
//! - `stack_frame_pointers`: aarch64 Linux and Apple's systems, where every function must keep one; also
//!   `-C force-frame-pointers` on other Unix targets of these two architectures.
//! - `stack_fallback`: the `backtrace` crate, everywhere else and under Miri.
#![forbid(unsafe_code)]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    for backend in ["stack_rules", "stack_frame_pointers", "stack_fallback"] {
        println!("cargo::rustc-check-cfg=cfg({backend})");
    }
    // `allocscope_model`: the tables under model checking, see `models`. `allocscope_sanitized`: under AddressSanitizer, see `record::stack`.
    // `fuzzing`: set by cargo-fuzz.
    for check in ["allocscope_model", "allocscope_sanitized", "fuzzing"] {
        println!("cargo::rustc-check-cfg=cfg({check})");
    }
    if env::var_os("CARGO_CFG_UNIX").is_none() {
        println!(
            "cargo::error=found a target that is no Unix system; Allocscope's calls of the system are written for Linux and Apple's systems only"
        );
    }
    println!("cargo::rustc-cfg={}", backend());
    // For budgets that hold for one toolchain only.
    println!("cargo::rustc-env=ALLOCSCOPE_RUSTC={}", toolchain());
}

/// `rustc 1.95.0`.
fn toolchain() -> String {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(compiler).arg("--version").output();
    let text = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    if words.len() == 2 {
        words.join(" ")
    } else {
        "rustc unknown".to_owned()
    }
}

fn backend() -> &'static str {
    let target = |part: &str| env::var(format!("CARGO_CFG_{part}")).unwrap_or_default();
    let (os, architecture) = (target("TARGET_OS"), target("TARGET_ARCH"));
    let is_apple = target("TARGET_VENDOR") == "apple";
    if env::var_os("CARGO_CFG_MIRI").is_some() {
        return "stack_fallback";
    }
    match architecture.as_str() {
        "x86_64" if os == "linux" && target("TARGET_POINTER_WIDTH") == "64" => "stack_rules",
        "x86_64" | "aarch64" if is_apple => "stack_frame_pointers",
        "aarch64" if os == "linux" => "stack_frame_pointers",
        "x86_64" | "aarch64" if target("FAMILY") == "unix" && frame_pointers_forced() => "stack_frame_pointers",
        _ => "stack_fallback",
    }
}

/// Whether the flags of this build, those of a cargo configuration file included, keep frame pointers.
fn frame_pointers_forced() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // `-C force-frame-pointers` alone means yes; the last one counts.
    let last = flags
        .split('\u{1f}')
        .filter_map(|flag| flag.split_once("force-frame-pointers"))
        .next_back();
    last.is_some_and(|(_, value)| !matches!(value, "=no" | "=off" | "=n" | "=false"))
}
