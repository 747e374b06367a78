//! The payment service of the examples under load: its set is built once, so a request allocates what axum, serde and Tokio allocate.
//!
//! The child serves on one worker thread and says how much CPU time it took; the load comes from another process, whose
//! allocator is always the system's (`bins/load_client.rs`).

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use allocscope_examples::clock::Clock;
use allocscope_examples::fraud::{Source, Variant};
use allocscope_examples::load::risky_users;
use allocscope_examples::service::Service;
use allocscope_examples::store::Store;

use crate::child::Counted;
use crate::clock::process_cpu_ns;

/// Active risky users in the store.
pub const USERS: u64 = 1000;

/// Prints the port it serves on; then, for each line it reads, the CPU nanoseconds of this process and the
/// blocks counted so far. Ends with its input.
///
/// # Panics
/// When the service cannot be started or fails.
pub(crate) fn serve(counted: fn() -> Option<Counted>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let source = Source {
        store: Store::create(risky_users(USERS)).expect("the store is in memory"),
        clock: Arc::new(Clock::default()),
        expiry: Duration::from_secs(3600),
        false_positives: 0.01,
    };
    let service = runtime
        .block_on(async { tokio::spawn(Service::start(Variant::Set, source)).await })
        .expect("starting does not panic")
        .expect("the service starts");
    println!("{}", service.address().port());
    for line in std::io::stdin().lock().lines() {
        line.expect("the parent writes text");
        let blocks = counted().map_or(0, |counted| counted.blocks);
        println!("{} {blocks}", process_cpu_ns());
    }
    runtime.block_on(service.stop()).expect("the service ends well");
}
