//! What has no contents to compare is told how to have some.
use std::collections::HashMap;
use std::sync::Mutex;

use alloc_core::observe_contents;

struct Rule;

fn main() {
    observe_contents!(&Rule);
    observe_contents!("rules", &vec![Rule]);
    observe_contents!("by name", &HashMap::from([("a", Mutex::new(1))]));
}
