//! Profiles that the lint reads: snapshots, and lists of measured sites.

use alloc_lint::{Options, Profile, lint_source};

/// Some places for a profile to speak of.
const SOURCE: &str = "
#[track_memory(request)]
fn handle(store: &Store) {
    let ids: HashSet<u64> = store.ids().collect();
    for order in store.orders() {
        let mut names = Vec::new();
        names.push(order.name());
        check(&ids, &names);
    }
}
";

/// A profile: what is read is written and read again as it was, and source is judged by it.
pub fn profile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = match Profile::from_json(text) {
        Ok(read) => read,
        Err(error) => return assert!(error.is_format() && error.to_string().contains("read a"), "{error}"),
    };
    let written = serde_json::to_string(&read).expect("what was read can be written");
    assert_eq!(
        Profile::from_json(&written).expect("what was written can be read"),
        read
    );
    let mut options = Options::default();
    options.profile = Some(read);
    let report = lint_source("src/orders.rs", SOURCE, &options).expect("the source is Rust");
    assert!(!report.candidates.is_empty());
    assert!(!report.to_text().is_empty() && !report.to_json().is_empty());
}
