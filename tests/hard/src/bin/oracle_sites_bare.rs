//! The program of named sites under the system's allocator, for heaptrack.
#![forbid(unsafe_code)]

#[path = "../../oracle/sites.rs"]
mod sites;

fn main() {
    sites::run();
}
