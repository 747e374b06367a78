//! A Tokio runtime whose threads work for one measurement, so that plain `tokio::spawn` and `spawn_blocking` count. Feature `tokio`.
//!
//! Called by `test`. Read side. Workers enter the measurement's scope when they wake up and leave it before they sleep, threads for
//! blocking work when they start and stop. What making and dropping the runtime allocates is left out: all workers sleep before the measurement
//! begins and again before it ends.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::carried;
use super::measure::Running;
use super::usage::Usage;
use crate::carry::{EnteredScope, ScopeHandle, current};
use crate::model::Error;

/// What the hooks of all threads share.
#[derive(Default)]
struct Threads {
    /// The measurement, while it runs.
    handle: Mutex<Option<ScopeHandle>>,
    started: AtomicUsize,
    /// Threads that do not sleep.
    awake: AtomicUsize,
    workers: usize,
}

thread_local! {
    static ENTERED: RefCell<Option<EnteredScope>> = const { RefCell::new(None) };
    /// True on a worker, false on a thread for blocking work.
    static IS_WORKER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Threads {
    fn set_handle(&self, handle: Option<ScopeHandle>) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = handle;
    }

    fn enter(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entered = handle.map(|handle| handle.enter());
        ENTERED.with(|place| *place.borrow_mut() = entered);
    }

    fn leave() {
        let entered = ENTERED.with(RefCell::take);
        drop(entered);
    }

    fn start(&self) {
        let is_worker = self.started.fetch_add(1, Ordering::SeqCst) < self.workers;
        IS_WORKER.set(is_worker);
        if is_worker {
            self.awake.fetch_add(1, Ordering::SeqCst);
        }
        self.enter();
    }

    fn stop(&self) {
        Self::leave();
        if IS_WORKER.get() {
            self.awake.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn park(&self) {
        Self::leave();
        self.awake.fetch_sub(1, Ordering::SeqCst);
    }

    fn unpark(&self) {
        self.awake.fetch_add(1, Ordering::SeqCst);
        self.enter();
    }

    /// Waits until every worker has started and sleeps.
    fn wait_until_quiet(&self) -> Result<(), Error> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let start = Instant::now();
        while self.started.load(Ordering::SeqCst) < self.workers || self.awake.load(Ordering::SeqCst) != 0 {
            if start.elapsed() > PATIENCE {
                return Err(Error::not_measured(
                    "a task still keeps a worker of the runtime busy; await or abort what the test spawns".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        Ok(())
    }
}

fn build(threads: &Arc<Threads>) -> std::io::Result<Runtime> {
    let hook = |hook: fn(&Threads)| {
        let threads = Arc::clone(threads);
        move || hook(&threads)
    };
    Builder::new_multi_thread()
        .worker_threads(threads.workers)
        .enable_all()
        .on_thread_start(hook(Threads::start))
        .on_thread_stop(hook(Threads::stop))
        .on_thread_park(hook(Threads::park))
        .on_thread_unpark(hook(Threads::unpark))
        .build()
}

/// Runs a future to its end in a fresh runtime, and measures it with all that it spawns.
pub(super) fn run<F: Future>(workers: usize, body: F) -> Result<(F::Output, Usage), Error> {
    let threads = Arc::new(Threads {
        workers: workers.max(1),
        ..Threads::default()
    });
    let runtime =
        build(&threads).map_err(|error| Error::not_measured(format!("no Tokio runtime could be started: {error}")))?;
    // What a thread needs to wait for a runtime is made when it first does.
    runtime.block_on(async {});
    threads.wait_until_quiet()?;
    let running = Running::begin()?;
    threads.set_handle(Some(current()));
    let value = runtime.block_on(body);
    let quiet = threads.wait_until_quiet();
    threads.set_handle(None);
    // Ends the threads for blocking work, and with them their part. What dropping a runtime frees and allocates is not the test's.
    let measurement = carried::switch(None);
    drop(runtime);
    let _ = carried::switch(measurement);
    let usage = running.end();
    quiet?;
    Ok((value, usage?))
}
