//! Files for other tools, made of any snapshot that can be read.

use alloc_core::export::Format;
use alloc_core::model::{Snapshot, SnapshotDiff};

const FORMATS: [Format; 9] = [
    Format::Text,
    Format::Json,
    Format::Pprof,
    Format::Dhat,
    Format::HeapProfile,
    Format::Speedscope,
    Format::Collapsed,
    Format::FlameGraph,
    Format::Html,
];

/// Whatever a snapshot says, each format can be written of it, of it without names, and of what changed.
pub fn exports(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(snapshot) = Snapshot::from_json(text) else {
        return;
    };
    for format in FORMATS {
        assert!(format.is_built(), "{format}");
        snapshot
            .export()
            .write(format, std::io::sink())
            .expect("a sink takes all");
    }
    let private = snapshot.without_names();
    private.export().write(Format::Html, std::io::sink()).expect("as above");
    let diff = SnapshotDiff::between(&snapshot, &private);
    let path = std::env::temp_dir().join(format!("allocscope-fuzz-{}.svg", std::process::id()));
    // Refused where nothing grew: then there is nothing to draw.
    let _ = diff.export().save(path);
}
