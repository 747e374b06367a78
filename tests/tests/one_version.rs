//! Two versions of the crate in one program would each take the other's blocks for their own: cargo refuses to build that.

use std::path::Path;
use std::process::Command;

/// What cargo says of a package that depends on the crate and on another one that is called the same and has this line.
fn resolve(name: &str, links: &str) -> (bool, String) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("one_version_{name}_{}", std::process::id()));
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alloc-core");
    let program = format!(
        "[package]\nname = \"program\"\nversion = \"1.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         alloc-core = {{ path = {ours:?} }}\nother = {{ package = \"alloc-core\", path = \"other\" }}\n"
    );
    let other = format!("[package]\nname = \"alloc-core\"\nversion = \"0.0.1\"\nedition = \"2024\"\n{links}\n");
    for (package, manifest) in [(root.clone(), program), (root.join("other"), other)] {
        std::fs::create_dir_all(package.join("src")).expect("the build directory can be written to");
        std::fs::write(package.join("Cargo.toml"), manifest).expect("as above");
        std::fs::write(package.join("src/lib.rs"), "").expect("as above");
        std::fs::write(package.join("build.rs"), "fn main() {}\n").expect("as above");
    }
    // What the workspace was built with is known without asking the registry.
    std::fs::copy(ours.join("../Cargo.lock"), root.join("Cargo.lock")).expect("the workspace has one");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(&root)
        .args(["metadata", "--format-version=1", "--offline"]);
    let output = cargo.output().expect("cargo runs");
    std::fs::remove_dir_all(&root).expect("it was written");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn cargo_refuses_two_versions_in_one_program() {
    let (is_resolved, errors) = resolve("two", "links = \"alloc-core\"");
    assert!(!is_resolved, "{errors}");
    assert!(
        errors.contains("links to the native library `alloc-core`"),
        "for this reason: {errors}"
    );
    // The line is the reason, and nothing else.
    let (is_resolved, errors) = resolve("other", "");
    assert!(is_resolved, "{errors}");
}
