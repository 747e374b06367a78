//! The public interface is the one that `docs/api` lists, so that nobody changes it without seeing it. Run by `ci/supply`.
//!
//! Skipped without a nightly compiler, which alone describes a crate in a form that programs can read.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use public_api::PublicApi;

const ACCEPT: &str = "ALLOCSCOPE_ACCEPT_API=1 cargo test -p allocscope-tests-api";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn has_nightly() -> bool {
    Command::new("rustup")
        .args(["run", "nightly", "rustdoc", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Every public item of a package with all its features, a line each.
fn listing(package: &str) -> String {
    let described = rustdoc_json::Builder::default()
        .toolchain("nightly")
        .manifest_path(repository().join(package).join("Cargo.toml"))
        .target_dir(repository().join("target/alone/nightly"))
        .all_features(true)
        .quiet(true)
        .build()
        .unwrap_or_else(|error| panic!("{package} could not be described: {error}"));
    let interface = public_api::Builder::from_rustdoc_json(described)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .unwrap_or_else(|error| {
            panic!("the description of {package} could not be read ({error}): the nightly compiler and the crate public-api are of different ages")
        });
    lines(&interface)
}

fn lines(interface: &PublicApi) -> String {
    interface.items().map(|item| format!("{item}\n")).collect()
}

/// Lines of one listing that the other has not.
fn only_in<'a>(one: &'a str, other: &'a str, mark: &'a str) -> impl Iterator<Item = String> + 'a {
    let known: std::collections::HashSet<&str> = other.lines().collect();
    one.lines()
        .filter(move |line| !known.contains(line))
        .map(move |line| format!("{mark} {line}\n"))
}

fn is_listed(package: &str) {
    if !has_nightly() {
        println!("skipped: no nightly compiler is installed");
        return;
    }
    let path = repository().join("docs/api").join(package).with_extension("txt");
    let now = listing(package);
    assert!(now.lines().count() > 2, "{package} has next to no interface:\n{now}");
    if std::env::var_os("ALLOCSCOPE_ACCEPT_API").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let listed = std::fs::read_to_string(&path).unwrap_or_default();
    let changes: String = only_in(&listed, &now, "-").chain(only_in(&now, &listed, "+")).collect();
    assert!(
        changes.is_empty(),
        "the public interface of {package} has changed:\n{changes}If that is meant: {ACCEPT}, and a line in CHANGELOG.md"
    );
}

#[test]
fn the_interface_of_the_tracker_is_the_listed_one() {
    is_listed("alloc-core");
}

#[test]
fn the_interface_of_the_macros_is_the_listed_one() {
    is_listed("alloc-macros");
}

#[test]
fn the_interface_of_the_lint_is_the_listed_one() {
    is_listed("alloc-lint");
}
