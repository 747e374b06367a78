//! Does the detector flag the line of the incident under HTTP load, and nothing else; and is it silent on every fix?
//!
//! One test in this process: it counts, and other tests would be counted with it.
#![forbid(unsafe_code)]

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

fn main() {
    let store = demo::store(&SETTINGS).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    // The fixes first: what is found later is the incident's.
    for variant in [Variant::Set, Variant::Bloom, Variant::Store] {
        let findings = run(&runtime, variant, &store);
        assert_eq!(findings.findings, [], "{variant}: {findings}");
    }
    let findings = run(&runtime, Variant::Rebuild, &store);
    let line = rebuild::rebuild_line().expect("the line is in the file");
    for finding in &findings.findings {
        println!(
            "{}:{} {:?} {:?}",
            finding.file, finding.line, finding.verdict, finding.collection
        );
    }
    println!("{findings}");
    let [finding] = findings.findings.as_slice() else {
        panic!("one line rebuilds, {} are flagged", findings.findings.len());
    };
    assert_eq!(
        (finding.file.as_str(), finding.line),
        ("examples/src/fraud/rebuild.rs", line)
    );
    assert_eq!(finding.verdict, Verdict::ReuseInstance);
    assert_eq!(finding.collection, "HashSet<String>");
}

fn run(runtime: &tokio::runtime::Runtime, variant: Variant, store: &allocscope_examples::store::Store) -> Findings {
    let mut run = runtime.block_on(demo::run(variant, store, &SETTINGS, |_| {})).unwrap();
    run.after.resolve();
    Findings::of(&run.after, &Options::default())
}
