//! The clock that the cached list expires by.
//!
//! It runs with real time and can be moved ahead, so that a list cached for 300 s expires during a load of a few
//! seconds. Used by the fraud checks (to read it) and by the programs and tests (to move it). Only expiry looks at it:
//! latencies are measured with `Instant`.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Milliseconds since it was made, plus whatever it was moved ahead.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    moved_ms: watch::Sender<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            started: Instant::now(),
            moved_ms: watch::Sender::new(0),
        }
    }
}

impl Clock {
    /// The time on this clock, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        millis(self.started.elapsed()) + *self.moved_ms.borrow()
    }

    /// Moves the clock ahead, and wakes whoever waits in [`Clock::wait_until`].
    pub fn advance(&self, by: Duration) {
        self.moved_ms.send_modify(|moved| *moved += millis(by));
    }

    /// Returns once the clock shows `deadline_ms`, by the passing of time or by being moved.
    pub async fn wait_until(&self, deadline_ms: u64) {
        let mut moves = self.moved_ms.subscribe();
        loop {
            // Marked as seen before the time is read: a move after this line ends the wait below.
            let moved = *moves.borrow_and_update();
            let now = millis(self.started.elapsed()) + moved;
            if now >= deadline_ms {
                return;
            }
            // An error means that the clock is gone, which `&self` rules out; a timeout is the deadline itself.
            let _ = tokio::time::timeout(Duration::from_millis(deadline_ms - now), moves.changed()).await;
        }
    }
}

/// Whole milliseconds of a duration that is far below 584 million years.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn moving_the_clock_ends_a_wait_of_minutes() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let clock = Arc::new(Clock::default());
            let waiter = tokio::spawn({
                let clock = clock.clone();
                async move { clock.wait_until(300_000).await }
            });
            clock.advance(Duration::from_secs(200));
            tokio::task::yield_now().await;
            assert!(!waiter.is_finished(), "200 s are not 300 s");
            clock.advance(Duration::from_secs(101));
            tokio::time::timeout(Duration::from_secs(5), waiter)
                .await
                .expect("the move ends the wait")
                .unwrap();
            assert!(clock.now_ms() >= 301_000);
        });
    }
}
