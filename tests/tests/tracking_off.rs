//! Without the feature `tracking`, marks leave no trace: neither scopes in a snapshot nor bytes in a future.
//!
//! Builds and runs the package in `off/` alone, because packages that are built together share their features. What the attribute
//! emits then is compared with its input in the unit tests of `alloc-macros`.

use std::path::Path;
use std::process::Command;

#[test]
fn program_without_the_feature_has_no_scopes() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Beside this test, where most of what it needs is built already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is inside");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(workspace)
        // Nothing here is about speed, and optimised the tracker takes four times as long to build.
        .args(["--config", "profile.dev.package.alloc-core.opt-level=0"])
        .args(["run", "--quiet", "--package", "allocscope-tests-off", "--target-dir"]);
    let output = cargo.arg(target).output().expect("cargo runs");
    let (out, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{errors}");
    assert!(out.starts_with("no scopes, "), "{out}{errors}");
}
