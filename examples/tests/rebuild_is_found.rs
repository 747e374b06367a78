//! Does the detector flag the line of the incident under HTTP load, and nothing else; and is it silent on every fix?
//!
//! One test in this process: it counts, and other tests would be counted with it.
#![forbid(unsafe_code)]

use std::process::Command;
use std::time::Duration;

use alloc_core::TrackingAllocator;
use alloc_core::findings::{Findings, Options, Verdict};
use allocscope_examples::demo::{self, Settings};
use allocscope_examples::fraud::{Variant, rebuild};

#[global_allocator]
static ALLOCATOR: TrackingAllocator = TrackingAllocator::new();

const SETTINGS: Settings = Settings {
    requests: Some(200),
    connections: 4,
    users: 2_000,
    expiry: Duration::from_secs(300),
    expiries: 1,
    false_positives: 0.01,
};

/// Each variant runs in a process of its own: in one that serves them all in turn, a quarter of the requests would rebuild.
fn main() {
    if let Some(variant) = Variant::ALL
        .into_iter()
        .find(|variant| std::env::args().any(|word| word == variant.to_string()))
    {
        return check(variant);
    }
    let this = std::env::current_exe().expect("a test has a file");
    for variant in Variant::ALL {
        let status = Command::new(&this)
            .arg(variant.to_string())
            .status()
            .expect("it starts");
        assert!(status.success(), "{variant} fails, see above");
        println!("{variant}: as it should be");
    }
}

fn check(variant: Variant) {
    let findings = run(variant);
    assert_eq!(findings.loops.len(), 1, "{findings}");
    let line = rebuild::rebuild_line().expect("the line is in the file");
    match (variant, findings.findings.as_slice()) {
        (Variant::Rebuild, [finding]) => {
            let found = &finding.line;
            assert!(found.file.ends_with("examples/src/fraud/rebuild.rs"), "{findings}");
            assert_eq!(found.line, line, "{findings}");
            assert_eq!(finding.verdict, Verdict::ReuseInstance, "{findings}");
            assert_eq!(found.collection.as_deref(), Some("HashSet<String>"), "{findings}");
        }
        (Variant::Rebuild, _) => panic!("one line rebuilds, {} are flagged: {findings}", findings.findings.len()),
        (_, none) => assert!(none.is_empty(), "{findings}"),
    }
}

fn run(variant: Variant) -> Findings {
    let store = demo::store(&SETTINGS).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut run = runtime.block_on(demo::run(variant, &store, &SETTINGS, |_| {})).unwrap();
    run.after.resolve();
    Findings::of(&run.after, &Options::default())
}
