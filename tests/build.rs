//! `stack_gaps` is linked so that its segments leave pages free between them. `fuzzing` is set where the fuzz targets are fuzzed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bin=stack_gaps=-Wl,-z,max-page-size=65536");
    }
}
