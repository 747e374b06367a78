//! The load on the payment service: some keep-alive connections over real HTTP, a thread each, each asking again as soon as it has
//! its answer. It spends little itself, so that it is the service which is busy.
//!
//! `load_client <port> <connections> <requests>` prints the nanoseconds of all, of the median and of the 99th percentile.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::Instant;

use allocscope_benches::service::exchange;

fn main() {
    let words: Vec<usize> = std::env::args()
        .skip(1)
        .map(|word| word.parse().expect("arguments are numbers"))
        .collect();
    let [port, connections, requests] = words[..] else {
        panic!("usage: load_client <port> <connections> <requests>");
    };
    let barrier = Barrier::new(connections + 1);
    let (elapsed, mut latencies) = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..connections)
            .map(|connection| {
                let barrier = &barrier;
                scope.spawn(move || ask(port, connection, requests / connections, barrier))
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        let latencies: Vec<u64> = asking
            .into_iter()
            .flat_map(|thread| thread.join().expect("the service answers"))
            .collect();
        (start.elapsed().as_nanos(), latencies)
    });
    latencies.sort_unstable();
    let at = |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize];
    println!("{elapsed} {} {}", at(0.5), at(0.99));
}

/// Asks so often on one connection; nanoseconds of each answer, every one of which is checked.
fn ask(port: usize, connection: usize, count: usize, barrier: &Barrier) -> Vec<u64> {
    let requests: Vec<(Vec<u8>, String)> = (0..64)
        .map(|number| exchange((connection * 64 + number) as u64))
        .collect();
    let mut stream = TcpStream::connect(("127.0.0.1", port as u16)).expect("the service listens");
    stream.set_nodelay(true).expect("a connection has this option");
    let mut answer = [0; 4096];
    let mut latencies = Vec::with_capacity(count);
    barrier.wait();
    for turn in 0..count {
        let (request, expected) = &requests[turn % requests.len()];
        let start = Instant::now();
        stream.write_all(request).expect("the service reads");
        // An answer is some 150 bytes and arrives in one piece, or its rest a moment later.
        let mut length = 0;
        while !answer[..length].ends_with(expected.as_bytes()) {
            let read = stream.read(&mut answer[length..]).expect("the service answers");
            assert!(
                read > 0,
                "unexpected answer: {}",
                String::from_utf8_lossy(&answer[..length])
            );
            length += read;
        }
        latencies.push(start.elapsed().as_nanos() as u64);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "the service finds nothing wrong");
    }
    latencies
}
