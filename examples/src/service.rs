//! The payment service: one HTTP endpoint on a loopback port of its own.
//!
//! `POST /payment` takes a [`Payment`] and answers with a [`Decision`]. The handler is a tracked scope: it covers the
//! decision and whatever it calls, while reading the request's body and writing the answer belong to axum and happen
//! before and after it. Started by the programs and the tests.
#![forbid(unsafe_code)]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use alloc_core::track_memory;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    Fallible,
    fraud::{FraudCheck, Paths, Source, Variant},
};

/// Name of the handler's scope in reports.
pub const HANDLER_SCOPE: &str = "POST /payment";

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Chosen by the client, repeated in the answer.
    pub payment_id: u64,
    /// Who pays.
    pub user_id: String,
    /// How much, in cents.
    pub amount_cents: u64,
}

/// What the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// That of the payment.
    pub payment_id: u64,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is made.
    Approved,
    /// The user is risky.
    Refused,
}

#[track_memory(name = "POST /payment", request)]
async fn payment(
    State(check): State<Arc<FraudCheck>>,
    Json(payment): Json<Payment>,
) -> Result<Json<Decision>, (StatusCode, String)> {
    let risky = check.check_fraud(&payment.user_id).await.map_err(|error| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("failed to check for fraud: {error}"),
        )
    })?;
    let verdict = if risky { Verdict::Refused } else { Verdict::Approved };
    Ok(Json(Decision {
        payment_id: payment.payment_id,
        verdict,
    }))
}

/// What the service answers to, whoever listens.
pub fn routes(check: Arc<FraudCheck>) -> Router {
    Router::new()
        .route("/payment", post(payment))
        .route("/health", get(|| async { "ok" }))
        .with_state(check)
}

/// A running service. Drop it to abandon it, or [`Service::stop`] it to let it finish what it has begun.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    check: Arc<FraudCheck>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Service {
    /// Binds a free port of 127.0.0.1, and serves on it.
    pub async fn start(variant: Variant, source: Source) -> Fallible<Service> {
        let check = Arc::new(FraudCheck::start(variant, source).await?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(
            axum::serve(listener, routes(check.clone()))
                .with_graceful_shutdown(async {
                    // A sender that was dropped means the same as one that was used.
                    let _ = stopped.await;
                })
                .into_future(),
        );
        Ok(Service {
            address,
            check,
            stop,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often each path of the check ran; `None` when it has but one.
    pub fn paths(&self) -> Option<Paths> {
        self.check.paths()
    }

    /// Answers what was asked, then ends.
    pub async fn stop(self) -> Fallible<()> {
        // An error means that the server has already ended; its result says why.
        let _ = self.stop.send(());
        Ok(self.server.await??)
    }
}
