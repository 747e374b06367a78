//! Every snapshot of the fuzzing corpus, spoilt ones included, in every format.

#[allow(unreachable_pub, reason = "part of another crate where it is fuzzed")]
#[path = "../../../fuzz/src/export.rs"]
mod export;
#[allow(unreachable_pub, reason = "part of another crate where it is fuzzed")]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

use std::path::Path;

#[test]
fn every_snapshot_that_can_be_read_can_be_written_in_every_format() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    replay::replay(&project, "snapshot", export::exports);
    replay::replay(&project, "exports", export::exports);
}
