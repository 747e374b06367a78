//! Builds what the bench compares: each peer by itself, so that one that cannot be built takes nobody along, and what needs frame
//! pointers in a target directory of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::UNDER_SYSTEM;
use super::kinds::Kind;

/// Where the programs are, and what could not be built.
pub(super) struct Built {
    plain: PathBuf,
    framed: Result<PathBuf, String>,
    /// By feature, and whether with frame pointers: why it could not be built, if so.
    tried: HashMap<(&'static str, bool), Option<String>>,
}

impl Built {
    /// Only what cargo built together with this bench.
    pub(super) fn nothing() -> Self {
        let plain = Path::new(UNDER_SYSTEM).parent().unwrap_or(Path::new(".")).to_owned();
        Self {
            plain,
            framed: Err("not built".to_owned()),
            tried: HashMap::new(),
        }
    }

    /// Builds whatever these need.
    pub(super) fn all(kinds: &[Kind]) -> Self {
        let mut built = Self::nothing();
        let target = built.plain.parent().unwrap_or(Path::new("target")).to_owned();
        let framed = target.join("frame-pointers");
        let ours = ["-p", "allocscope-benches", "--bins"];
        eprintln!("building: the programs with frame pointers");
        built.framed = cargo(&framed, true, &ours).map(|()| framed.join("release"));
        for kind in kinds {
            let Some(feature) = kind.start.feature() else {
                continue;
            };
            if built.tried.contains_key(&(feature, kind.is_framed)) {
                continue;
            }
            eprintln!(
                "building: {feature}{}",
                if kind.is_framed { " with frame pointers" } else { "" }
            );
            let program = format!("under_{feature}");
            let words = ["-p", "allocscope-peers", "--features", feature, "--bin", &program];
            let target = if kind.is_framed { &framed } else { &target };
            let failure = cargo(target, kind.is_framed, &words).err();
            if let Some(reason) = &failure {
                eprintln!("{feature} cannot be built: {reason}");
            }
            built.tried.insert((feature, kind.is_framed), failure);
        }
        built
    }

    pub(super) fn directory(&self, is_framed: bool) -> Result<&Path, String> {
        if is_framed {
            self.framed.as_deref().map_err(Clone::clone)
        } else {
            Ok(&self.plain)
        }
    }

    /// # Errors
    /// Why this peer was not built.
    pub(super) fn peer(&self, feature: &'static str, is_framed: bool) -> Result<(), String> {
        match self.tried.get(&(feature, is_framed)) {
            Some(Some(reason)) => Err(format!("cannot be built: {reason}")),
            _ => Ok(()),
        }
    }
}

/// Runs `cargo build`; the first error it prints when it fails.
fn cargo(target: &Path, is_framed: bool, words: &[&str]) -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command
        // A peer may ask for a newer compiler than it needs; whether it builds is what counts.
        .args([
            "build",
            "--quiet",
            "--profile",
            "bench",
            "--ignore-rust-version",
            "--manifest-path",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .args(words);
    if is_framed {
        command
            .env("RUSTFLAGS", "-C force-frame-pointers=yes")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
    }
    let output = command
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    let error = messages.lines().find(|line| line.starts_with("error"));
    Err(error.map_or_else(|| format!("cargo ended with {}", output.status), str::to_owned))
}
