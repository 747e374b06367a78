//! Runs a target over its corpus, for tests without a fuzzer; each input also cut short and with single bytes changed: a little
//! fuzzing in every test run.

use std::fs;
use std::path::Path;

/// Every file of `fuzz/corpus/<name>` through `target`; `project` is the project's own folder.
pub fn replay(project: &Path, name: &str, target: fn(&[u8])) {
    let directory = project.join("fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&directory).expect("the corpus is checked in") {
        let path = entry.expect("the directory can be read").path();
        let input = fs::read(&path).expect("the file can be read");
        // Printed when the test fails.
        println!("{}", path.display());
        target(&input);
        for part in 1..8 {
            target(&input[..input.len() * part / 8]);
            let mut changed = input.clone();
            if let Some(byte) = changed.get_mut(input.len() * part / 8) {
                *byte ^= 1 << part;
            }
            target(&changed);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} has no inputs", directory.display());
}
