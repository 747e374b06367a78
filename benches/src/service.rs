//! The payment service of the examples: its set is built once, so a request allocates what axum, serde and Tokio allocate.
//!
//! Either a child serves on one worker thread and says how much CPU time it took; the load comes from another process, whose
//! allocator is always the system's (`bins/load_client.rs`). Or the workload `payment` asks over memory on the thread that serves.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::Duration;

use allocscope_examples::clock::Clock;
use allocscope_examples::fraud::{FraudCheck, Source, Variant};
use allocscope_examples::load::{payment, risky_users};
use allocscope_examples::service::{Service, routes};
use allocscope_examples::store::Store;
use axum::serve::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::child::Counted;
use crate::clock::process_cpu_ns;
use crate::workloads::Pass;

/// Active risky users in the store.
pub const USERS: u64 = 1000;
/// Requests of a pass of the workload `payment`.
pub const REQUESTS: usize = 500;

fn source() -> Source {
    Source {
        store: Store::create(risky_users(USERS)).expect("the store is in memory"),
        clock: Arc::new(Clock::default()),
        expiry: Duration::from_secs(3600),
        false_positives: 0.01,
    }
}

/// A request, and what the body of its answer must be.
#[must_use]
pub fn exchange(number: u64) -> (Vec<u8>, String) {
    let (payment, is_risky) = payment(number, USERS);
    let body = serde_json::to_string(&payment).expect("a payment is JSON");
    let request = format!(
        "POST /payment HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let verdict = if is_risky { "refused" } else { "approved" };
    let answer = format!(r#"{{"payment_id":{},"verdict":"{verdict}"}}"#, payment.payment_id);
    (request.into_bytes(), answer)
}

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
    let service = runtime
        .block_on(async { tokio::spawn(Service::start(Variant::Set, source())).await })
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

/// The workload `payment`: requests over memory, on the thread that serves. No sockets, no other threads: what a request costs more than with
/// another allocator is what its allocations cost, at the depth at which a service makes them.
pub(crate) fn over_memory() -> Pass {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let (mut asking, serving) = tokio::io::duplex(4096);
    let check = runtime
        .block_on(FraudCheck::start(Variant::Set, source()))
        .expect("the check starts");
    let connection = OneConnection(Some(serving));
    let _serves = runtime.spawn(axum::serve(connection, routes(Arc::new(check))).into_future());
    let exchanges: Vec<(Vec<u8>, String)> = (0..64).map(exchange).collect();
    Box::new(move || {
        runtime.block_on(async {
            let (mut answer, mut bytes) = ([0; 4096], 0);
            for (request, expected) in exchanges.iter().cycle().take(REQUESTS) {
                asking.write_all(request).await.expect("the service reads");
                let mut length = 0;
                while !answer[..length].ends_with(expected.as_bytes()) {
                    let read = asking.read(&mut answer[length..]).await.expect("the service answers");
                    assert!(read > 0, "the service goes on");
                    length += read;
                }
                bytes += length as u64;
            }
            bytes
        })
    })
}

/// Where one connection comes from, and no other.
struct OneConnection(Option<DuplexStream>);

impl Listener for OneConnection {
    type Io = DuplexStream;
    type Addr = &'static str;

    async fn accept(&mut self) -> (DuplexStream, &'static str) {
        match self.0.take() {
            Some(connection) => (connection, "memory"),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<&'static str> {
        Ok("memory")
    }
}
