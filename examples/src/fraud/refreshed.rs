//! A value that is built once, shared by all requests, and replaced when it expires.
//!
//! Used by the `set` and the `bloom` check. A request loads the current value without waiting and without allocating;
//! the new value is built beside the old one on the blocking pool and swapped in, so a refresh costs twice the memory
//! for a moment. A refresh that fails keeps the old value, says so, and is tried again at the next expiry.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use tokio::task::{AbortHandle, spawn, spawn_blocking};

use crate::{
    Fallible,
    clock::{Clock, millis},
};

/// Builds the value from scratch.
pub(super) type Build<T> = Arc<dyn Fn() -> Fallible<T> + Send + Sync>;

/// See the module's description. Refreshing ends when it is dropped.
#[derive(Debug)]
pub(super) struct Refreshed<T> {
    shared: Arc<Shared<T>>,
    refresher: AbortHandle,
}

#[derive(Debug)]
struct Shared<T> {
    current: ArcSwap<T>,
    builds: AtomicU64,
}

impl<T: Send + Sync + 'static> Refreshed<T> {
    /// Builds the first value, and starts the task that replaces it every `expiry`.
    pub(super) async fn start(clock: Arc<Clock>, expiry: Duration, build: Build<T>) -> Fallible<Refreshed<T>> {
        let mut expires_at_ms = clock.now_ms() + millis(expiry);
        let first = build_in_background(&build).await?;
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(first),
            builds: AtomicU64::new(1),
        });
        let refresher = spawn({
            let shared = shared.clone();
            async move {
                loop {
                    clock.wait_until(expires_at_ms).await;
                    // The age of a list is the age of its oldest row: counted from before the table is read.
                    expires_at_ms = clock.now_ms() + millis(expiry);
                    match build_in_background(&build).await {
                        Ok(value) => {
                            shared.current.store(Arc::new(value));
                            shared.builds.fetch_add(1, Relaxed);
                        }
                        Err(error) => {
                            eprintln!("failed to refresh the list of risky users: {error}; keeping the old one")
                        }
                    }
                }
            }
        });
        Ok(Refreshed {
            shared,
            refresher: refresher.abort_handle(),
        })
    }

    /// The current value.
    pub(super) fn load(&self) -> Guard<Arc<T>> {
        self.shared.current.load()
    }

    /// Values built so far, the first one included.
    pub(super) fn builds(&self) -> u64 {
        self.shared.builds.load(Relaxed)
    }
}

impl<T> Drop for Refreshed<T> {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

async fn build_in_background<T: Send + 'static>(build: &Build<T>) -> Fallible<T> {
    let build = build.clone();
    spawn_blocking(move || build()).await?
}
