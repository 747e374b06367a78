//! Symbols out of files: a snapshot of addresses is named by the binary it is from, also when the binary ran stripped.

use alloc_core::Snapshot;
use allocscope_tests_exports::Files;

#[test]
fn addresses_are_named_by_the_binary_and_those_of_a_stripped_one_by_its_twin() {
    let exporter = env!("CARGO_BIN_EXE_exporter");
    let files = Files::of(exporter, env!("CARGO_TARGET_TMPDIR"));
    let mut of_addresses = Snapshot::load(files.path("addresses.json")).unwrap();
    assert!(of_addresses.frames.iter().all(|frame| frame.symbols.is_empty()));
    check(&mut of_addresses, exporter);

    if !files.rewrite_stripped(exporter) {
        return;
    }
    // It cannot name itself, and says what to do, once.
    let report = files.text("report.txt");
    assert_eq!(
        report.matches("no line tables").count() + report.matches("has a name").count(),
        1,
        "{report}"
    );
    assert!(!report.contains("exporter.rs"), "{report}");
    let mut of_stripped = Snapshot::load(files.path("addresses.json")).unwrap();
    check(&mut of_stripped, exporter);

    // Another binary is not taken for it.
    let mut other = Snapshot::load(files.path("addresses.json")).unwrap();
    let resolved = other.resolve_with(["/bin/sh"]).unwrap();
    assert_eq!(resolved.frames, 0);
    assert!(
        resolved
            .missing
            .iter()
            .any(|(path, id)| path.ends_with("stripped") && !id.is_empty())
    );
}

fn check(snapshot: &mut Snapshot, binary: &str) {
    let resolved = snapshot.resolve_with([binary]).unwrap();
    assert!(resolved.frames > 20, "{resolved:?}");
    let report = snapshot.report().top(50).to_string();
    // What builds without inlining call functions of a type has no parameters in their debug information; so it is in the process, too.
    let map = if cfg!(debug_assertions) {
        "HashMap"
    } else {
        "HashMap<u64, Vec<u8>>"
    };
    for expected in ["exporter.rs:", "exporter::check", "open_session", map] {
        assert!(report.contains(expected), "no {expected} in\n{report}");
    }
}
