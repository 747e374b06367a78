//! The load: payments sent to the service over real HTTP, and their answers checked.
//!
//! Some keep-alive connections, each asking again as soon as it has its answer. Half of the payments are by risky
//! users. What a payment says depends only on its number, so every variant is asked the same. The client lives in the
//! program it asks; what it allocates is in scopes of its own, so the service's figures are the service's alone.
#![forbid(unsafe_code)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use alloc_core::track_memory;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, Connection, SendRequest},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, task::JoinSet};

use crate::{
    Fallible,
    service::{Decision, Payment, Verdict},
    store::RiskyUser,
};

/// Name of the scope that asks, in reports.
pub const CLIENT_SCOPE: &str = "load client";

/// Cleared users in the table, per hundred active ones: rows that the query must leave out.
const CLEARED_PERCENT: u64 = 1;

/// How much to ask, and of whom.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Payments in all.
    pub requests: usize,
    /// Connections that ask at the same time.
    pub connections: usize,
    /// Active risky users in the store, made by [`risky_users`].
    pub users: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers received.
    pub answers: u64,
    /// Payments of risky users that were approved: never right.
    pub false_negatives: u64,
    /// Payments of honest users that were refused.
    pub false_positives: u64,
    /// Payments by honest users.
    pub honest: u64,
    /// From sending a payment to having read its answer, shortest first.
    pub latencies: Vec<Duration>,
    /// From the first payment to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    /// The latency that `share` (0 to 1) of the payments did not exceed; zero when there were none.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The table of risky users: `active` of them, and a few that have been cleared.
pub fn risky_users(active: u64) -> impl Iterator<Item = RiskyUser> {
    let cleared = (active * CLEARED_PERCENT).div_ceil(100);
    (0..active + cleared).map(move |number| RiskyUser {
        user_id: user_id(number),
        risky_since: 1_700_000_000 + number,
        active: number < active,
    })
}

/// Different for different numbers: the scrambling is one-to-one.
fn user_id(number: u64) -> String {
    format!("user-{:016x}", scramble(number))
}

/// The finalizer of SplitMix64: looks random, and no two numbers become the same.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The payment with this number, and whether its user is risky. Every other one is; of the honest ones, some were
/// risky once.
pub fn payment(number: u64, users: u64) -> (Payment, bool) {
    let risky = number.is_multiple_of(2) && users > 0;
    let user = if risky {
        scramble(number) % users
    } else {
        users + number
    };
    (
        Payment {
            payment_id: number,
            user_id: user_id(user),
            amount_cents: 100 + number % 9_900,
        },
        risky,
    )
}

/// A load that can be watched while it runs.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    next: AtomicUsize,
    answered: watch::Sender<usize>,
}

impl Load {
    /// A load that has not begun.
    pub fn new(plan: Plan) -> Arc<Load> {
        Arc::new(Load {
            plan,
            next: AtomicUsize::new(0),
            answered: watch::Sender::new(0),
        })
    }

    /// Returns how many payments are answered, once it is at least `count`.
    pub async fn reached(&self, count: usize) -> usize {
        let mut answered = self.answered.subscribe();
        // The sender is in `self`, so the channel is open; the copy ends the borrow.
        answered
            .wait_for(|&so_far| so_far >= count)
            .await
            .map_or(count, |so_far| *so_far)
    }

    /// Sends all payments to `address`.
    ///
    /// # Errors
    /// When a connection fails, or an answer is not a decision about the payment that was sent.
    pub async fn run(self: Arc<Self>, address: SocketAddr) -> Fallible<Outcome> {
        let started = Instant::now();
        let mut connections = JoinSet::new();
        for _ in 0..self.plan.connections.max(1) {
            connections.spawn(self.clone().keep_asking(address));
        }
        let mut outcome = Outcome::default();
        while let Some(part) = connections.join_next().await {
            let part = part??;
            outcome.answers += part.answers;
            outcome.false_negatives += part.false_negatives;
            outcome.false_positives += part.false_positives;
            outcome.honest += part.honest;
            outcome.latencies.extend(part.latencies);
        }
        outcome.elapsed = started.elapsed();
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    #[track_memory(name = "load client")]
    async fn keep_asking(self: Arc<Self>, address: SocketAddr) -> Fallible<Outcome> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(drive(connection));
        let host = address.to_string();
        let mut part = Outcome::default();
        loop {
            let number = self.next.fetch_add(1, Relaxed);
            if number >= self.plan.requests {
                break;
            }
            let (payment, risky) = payment(number as u64, self.plan.users);
            let asked = Instant::now();
            let decision = ask(&mut sender, &host, &payment).await?;
            part.latencies.push(asked.elapsed());
            if decision.payment_id != payment.payment_id {
                return Err(format!("asked about payment {number}, was told about {}", decision.payment_id).into());
            }
            part.answers += 1;
            part.honest += u64::from(!risky);
            match (risky, decision.verdict) {
                (true, Verdict::Approved) => part.false_negatives += 1,
                (false, Verdict::Refused) => part.false_positives += 1,
                _ => {}
            }
            self.answered.send_modify(|answered| *answered += 1);
        }
        drop(sender);
        driver.await??;
        Ok(part)
    }
}

/// Moves the bytes of one connection until its sender is dropped.
#[track_memory(name = "load connection")]
async fn drive(connection: Connection<TokioIo<TcpStream>, Full<Bytes>>) -> hyper::Result<()> {
    connection.await
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, host: &str, payment: &Payment) -> Fallible<Decision> {
    let request = Request::post("/payment")
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(payment)?)))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = read(response.into_body()).await?;
    if status != StatusCode::OK {
        return Err(format!("the service answered {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(serde_json::from_slice(&body)?)
}

async fn read(body: Incoming) -> hyper::Result<Bytes> {
    Ok(body.collect().await?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_percentile_is_a_latency_that_occurred() {
        let outcome = Outcome {
            latencies: (1..=200).map(Duration::from_millis).collect(),
            ..Outcome::default()
        };
        assert_eq!(outcome.percentile(0.5), Duration::from_millis(100));
        assert_eq!(outcome.percentile(0.99), Duration::from_millis(198));
        assert_eq!(outcome.percentile(1.0), Duration::from_millis(200));
        assert_eq!(Outcome::default().percentile(0.5), Duration::ZERO);
    }

    #[test]
    fn payments_are_by_the_users_they_claim_to_be_by() {
        let active: HashSet<String> = risky_users(500)
            .filter(|user| user.active)
            .map(|user| user.user_id)
            .collect();
        assert_eq!(active.len(), 500, "ids must differ");
        let mut cleared_seen = false;
        let cleared: HashSet<String> = risky_users(500)
            .filter(|user| !user.active)
            .map(|user| user.user_id)
            .collect();
        for number in 0..1_000 {
            let (payment, risky) = payment(number, 500);
            assert_eq!(active.contains(&payment.user_id), risky, "payment {number}");
            cleared_seen |= cleared.contains(&payment.user_id);
        }
        assert!(cleared_seen, "some honest users were risky once");
    }
}
