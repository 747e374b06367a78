//! Prints what the lint finds under the given paths: `cargo run -p alloc-lint --example scan -- [--json] [--all] [--profile file] src`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use alloc_lint::{Options, Profile, lint_paths};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::default();
    let mut is_json = false;
    let mut paths = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => is_json = true,
            "--all" => options.min_rank = 0,
            "--profile" => {
                let path = args.next().ok_or("found `--profile` without a file")?;
                options.profile = Some(Profile::from_json(&std::fs::read_to_string(path)?)?);
            }
            path => paths.push(PathBuf::from(path)),
        }
    }
    let report = lint_paths(&paths, &options)?;
    match is_json {
        true => println!("{}", report.to_json()),
        false => print!("{}", report.to_text()),
    }
    Ok(())
}
