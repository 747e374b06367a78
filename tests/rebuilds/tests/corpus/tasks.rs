//! Handlers that wait, and move between threads.

use std::collections::{HashSet, VecDeque};
use std::hint::black_box;
use std::sync::{Arc, Mutex, mpsc};

use alloc_core::track_memory;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, spawn, yield_now};

use crate::input::{number, numbers};

fn one_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime")
}

/// As a socket does: some bytes, and later some more.
async fn read(buffer: &mut [u8], request: u64) -> usize {
    let half = buffer.len() / 2;
    buffer[..half].fill(request as u8);
    yield_now().await;
    buffer[half..].fill(1);
    buffer.len()
}

/// A buffer that is held while the handler waits: it may wake up on another thread, so no thread can keep it.
pub(crate) mod held_across_await {
    use super::*;

    pub(crate) fn bad(n: u64) {
        two_threads().block_on(async {
            for request in 0..n {
                spawn(async move { black_box(handle(request).await) })
                    .await
                    .expect("no panic");
            }
        });
    }

    #[track_memory(request)]
    async fn handle(request: u64) -> u64 {
        let mut buffer = vec![0_u8; 4096]; // REBUILT: pool Vec<u8>; no thread_local
        let bytes = read(&mut buffer, request).await;
        buffer[..bytes].iter().map(|byte| u64::from(*byte)).sum()
    }

    pub(crate) fn fixed(n: u64) {
        two_threads().block_on(async {
            let task = spawn(async move {
                let mut connection = Connection { buffer: vec![0; 4096] };
                for request in 0..n {
                    black_box(connection.handle(request).await);
                }
            });
            task.await.expect("no panic");
        });
    }

    struct Connection {
        buffer: Vec<u8>,
    }

    impl Connection {
        #[track_memory(request)]
        async fn handle(&mut self, request: u64) -> u64 {
            let bytes = read(&mut self.buffer, request).await;
            self.buffer[..bytes].iter().map(|byte| u64::from(*byte)).sum()
        }
    }
}

/// Spawns a task for each request and never has more than `most` of them at once.
async fn serve<T>(requests: u64, most: usize, handle: impl Fn(u64) -> T)
where
    T: Future<Output = bool> + Send + 'static,
{
    let mut tasks = VecDeque::with_capacity(most);
    for request in 0..requests {
        if tasks.len() == most {
            let oldest: JoinHandle<bool> = tasks.pop_front().expect("there are some");
            black_box(oldest.await.expect("no panic"));
        }
        tasks.push_back(spawn(handle(request)));
    }
    for task in tasks {
        black_box(task.await.expect("no panic"));
    }
}

/// A set that is gone before the handler waits.
pub(crate) mod between_awaits {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let list: Arc<Vec<u64>> = Arc::new(numbers(0, 200).collect());
        two_threads().block_on(serve(10 * n, 16, |request| handle(list.clone(), request)));
    }

    #[track_memory(request)]
    async fn handle(list: Arc<Vec<u64>>, request: u64) -> bool {
        yield_now().await;
        let is_risky = {
            let risky: HashSet<u64> = list.iter().copied().collect(); // REBUILT: reuse HashSet<u64>
            risky.contains(&number(request))
        };
        yield_now().await;
        is_risky
    }

    pub(crate) fn fixed(n: u64) {
        let risky: Arc<HashSet<u64>> = Arc::new(numbers(0, 200).collect());
        two_threads().block_on(serve(10 * n, 16, |request| handle_shared(risky.clone(), request)));
    }

    #[track_memory(request)]
    async fn handle_shared(risky: Arc<HashSet<u64>>, request: u64) -> bool {
        yield_now().await;
        let is_risky = risky.contains(&number(request));
        yield_now().await;
        is_risky
    }
}

/// More requests in flight, at all times, than can be observed.
pub(crate) mod many_in_flight {
    use super::*;

    pub(crate) fn bad(n: u64) {
        two_threads().block_on(serve(10 * n, 100, handle));
    }

    #[track_memory(request)]
    async fn handle(request: u64) -> bool {
        let mut body = vec![0_u8; 1024]; // REBUILT: pool Vec<u8>; no thread_local
        for _ in 0..4 {
            let bytes = read(&mut body, request).await;
            body.truncate(bytes);
        }
        body.contains(&7)
    }

    pub(crate) fn fixed(n: u64) {
        let buffers: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        two_threads().block_on(serve(10 * n, 100, |request| handle_pooled(buffers.clone(), request)));
    }

    #[track_memory(request)]
    async fn handle_pooled(buffers: Arc<Mutex<Vec<Vec<u8>>>>, request: u64) -> bool {
        let free = buffers.lock().expect("nobody panicked").pop();
        let mut body = free.unwrap_or_else(|| vec![0; 1024]);
        for _ in 0..4 {
            let bytes = read(&mut body, request).await;
            body.truncate(bytes);
        }
        let answer = body.contains(&7);
        buffers.lock().expect("nobody panicked").push(body);
        answer
    }
}

/// What belongs to a connection, made for each of its requests.
pub(crate) mod connection {
    use super::*;

    #[derive(Default)]
    struct Decoder {
        pending: Vec<u8>,
    }

    impl Decoder {
        fn feed(&mut self, bytes: &[u8]) -> usize {
            self.pending.clear();
            self.pending.extend_from_slice(bytes); // REBUILT: reuse Vec<u8>
            self.pending.iter().filter(|byte| **byte == b'\n').count()
        }
    }

    pub(crate) fn bad(n: u64) {
        let bytes: Vec<u8> = (0..512).map(|at| number(at) as u8 % 64).collect();
        one_thread().block_on(async {
            for _ in 0..n {
                black_box(serve(&bytes).await);
            }
        });
    }

    #[track_memory(request)]
    async fn serve(bytes: &[u8]) -> usize {
        yield_now().await;
        let lines = Decoder::default().feed(bytes);
        yield_now().await;
        lines
    }

    #[derive(Default)]
    struct KeptDecoder {
        pending: Vec<u8>,
    }

    impl KeptDecoder {
        #[track_memory(request)]
        async fn serve(&mut self, bytes: &[u8]) -> usize {
            yield_now().await;
            self.pending.clear();
            self.pending.extend_from_slice(bytes);
            yield_now().await;
            self.pending.iter().filter(|byte| **byte == b'\n').count()
        }
    }

    pub(crate) fn fixed(n: u64) {
        let bytes: Vec<u8> = (0..512).map(|at| number(at) as u8 % 64).collect();
        one_thread().block_on(async {
            let mut decoder = KeptDecoder::default();
            for _ in 0..n {
                black_box(decoder.serve(&bytes).await);
            }
        });
    }
}

/// Turns of a loop that wait.
pub(crate) mod waiting_turns {
    use super::*;

    pub(crate) fn bad(n: u64) {
        black_box(one_thread().block_on(receive(n)));
    }

    #[track_memory(loops)]
    async fn receive(n: u64) -> usize {
        let mut bytes = 0;
        for message in 0..n {
            let mut buffer = vec![0_u8; 2048]; // REBUILT: pool Vec<u8>; no thread_local
            bytes += read(&mut buffer, message).await;
        }
        bytes
    }

    pub(crate) fn fixed(n: u64) {
        black_box(one_thread().block_on(receive_in_one(n)));
    }

    #[track_memory(loops)]
    async fn receive_in_one(n: u64) -> usize {
        let mut bytes = 0;
        let mut buffer = vec![0_u8; 2048];
        for message in 0..n {
            bytes += read(&mut buffer, message).await;
        }
        bytes
    }
}

/// Messages to another thread: made here, freed there.
pub(crate) mod messages {
    use super::*;

    pub(crate) fn silent(n: u64) {
        let (sender, receiver) = mpsc::sync_channel::<Vec<u64>>(16);
        let other = std::thread::spawn(move || receiver.iter().map(|message| message.len()).sum::<usize>());
        for request in 0..n {
            submit(&sender, request);
        }
        drop(sender);
        black_box(other.join().expect("no panic"));
    }

    #[track_memory(request)]
    fn submit(sender: &mpsc::SyncSender<Vec<u64>>, request: u64) {
        let message: Vec<u64> = (0..32).map(|at| number(request + at)).collect();
        sender.send(message).expect("the other thread listens");
    }
}
