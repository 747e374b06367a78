//! Every profile of the fuzzing corpus, spoilt ones included, and every snapshot of it.

#[allow(unreachable_pub, reason = "part of another crate where it is fuzzed")]
#[path = "../../fuzz/src/lint.rs"]
mod lint;
#[allow(unreachable_pub, reason = "part of another crate where it is fuzzed")]
#[path = "../../fuzz/src/replay.rs"]
mod replay;

use std::path::Path;

#[test]
fn every_profile_is_read_or_refused_in_words() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    replay::replay(&project, "profile", lint::profile);
    replay::replay(&project, "snapshot", lint::profile);
}
