//! Two runs of one build, at different load addresses: their saved snapshots are compared site by site.
//!
//! The program starts itself twice with a path to write to; the runs differ in how often one line allocates, by a known number.
//! Leaves out different builds, which `alloc-core`'s unit tests cover with made-up snapshots.

use std::hint::black_box;
use std::process::Command;

use alloc_core::model::Matching;
use alloc_core::{Snapshot, SnapshotDiff, TrackingAllocator};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

const BLOCK: usize = 1_234;

#[inline(never)]
fn allocate(times: usize) {
    for _ in 0..times {
        drop(black_box(vec![1_u8; BLOCK]));
    }
}

fn run(times: usize, path: &std::path::Path) -> Snapshot {
    let program = std::env::current_exe().expect("a program has a path");
    let status = Command::new(program)
        .env("TWO_RUNS", times.to_string())
        .env("TWO_RUNS_PATH", path)
        .status();
    assert!(status.expect("the program starts").success());
    let snapshot = Snapshot::load(path).expect("what was saved can be read");
    std::fs::remove_file(path).expect("it was written");
    snapshot
}

fn main() {
    if let Ok(times) = std::env::var("TWO_RUNS") {
        allocate(times.parse().expect("a number"));
        if std::env::var_os("TWO_RUNS_REPLACED").is_some() {
            std::fs::remove_file(std::env::current_exe().expect("a program has a path")).expect("it is a copy");
        }
        let mut snapshot = Snapshot::take().expect("the allocator is installed");
        snapshot.resolve();
        return snapshot
            .save(std::env::var("TWO_RUNS_PATH").expect("a path"))
            .expect("it can be written");
    }
    let path = std::env::temp_dir().join(format!("allocscope-two-runs-{}.json", std::process::id()));
    let (few, many) = (run(10, &path), run(17, &path));
    let executable = |snapshot: &Snapshot| {
        let module = snapshot.modules.iter().find(|module| module.path.contains("two_runs"));
        module.expect("the executable has frames").clone()
    };
    assert_ne!(executable(&few).build_id, "", "the executable's build is known");
    assert_ne!(
        executable(&few).load_address,
        executable(&many).load_address,
        "address randomisation is on, or this test shows nothing"
    );
    let diff = SnapshotDiff::between(&few, &many);
    assert_eq!(diff.basis.matching, Matching::SameBuild);
    assert!(
        !diff.basis.exact && !diff.basis.notes.is_empty(),
        "it says what it cannot tell"
    );
    let more: Vec<_> = diff
        .sites
        .iter()
        .filter(|site| site.change.bytes == (7 * BLOCK) as i64)
        .collect();
    assert_eq!(more.len(), 1, "one site allocated seven blocks more");
    assert_eq!(more[0].change.allocations, 7);
    a_program_that_was_replaced_keeps_its_name(&path);
}

/// As services are, when a new version is put in their place while they run: another process with that build names what they allocate.
fn a_program_that_was_replaced_keeps_its_name(path: &std::path::Path) {
    let program = std::env::current_exe().expect("a program has a path");
    let directory = path.with_extension("replaced");
    std::fs::create_dir_all(&directory).expect("it can be made");
    let copy = directory.join(program.file_name().expect("a name"));
    std::fs::copy(&program, &copy).expect("it can be copied");
    let status = Command::new(&copy)
        .env("TWO_RUNS", "3")
        .env("TWO_RUNS_PATH", path)
        .env("TWO_RUNS_REPLACED", "")
        .status();
    assert!(status.expect("the program starts").success());
    let mut snapshot = Snapshot::load(path).expect("what was saved can be read");
    std::fs::remove_file(path).expect("it was written");
    std::fs::remove_dir(&directory).expect("the program removed itself");
    assert_eq!(
        Some(&*snapshot.process.executable),
        copy.file_name().and_then(|name| name.to_str())
    );
    snapshot.resolve();
    let mut functions = snapshot.frames.iter().flat_map(|frame| &frame.symbols);
    assert!(functions.any(|symbol| symbol.function.ends_with("allocate")));
}
