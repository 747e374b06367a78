//! One variant of the service, started, loaded, observed and stopped.
//!
//! Called by `payment_service` and by the tests. While the load runs, three things happen at set numbers of answers:
//! snapshot A at a quarter, the list expires at the half (or oftener, as set), snapshot B at three quarters. Nothing waits for a
//! snapshot: requests are in flight while it is taken.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use alloc_core::Snapshot;

use crate::{
    Fallible,
    clock::Clock,
    fraud::{Paths, Source, Variant},
    load::{self, Load, Outcome, Plan},
    observe::{PerCall, ScopeFigures},
    service::{HANDLER_SCOPE, Service},
    store::Store,
    text,
};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Payments; `None` for a number that takes a few seconds.
    pub requests: Option<usize>,
    /// Connections at the same time.
    pub connections: usize,
    /// Active risky users.
    pub users: u64,
    /// How long the list may be used.
    pub expiry: Duration,
    /// How often it expires during the load.
    pub expiries: usize,
    /// Share of honest users whom the Bloom filter may take for risky.
    pub false_positives: f64,
}

impl Settings {
    /// Payments sent to this variant. Rebuilding is a few hundred times dearer, so it gets fewer.
    pub fn requests(&self, variant: Variant) -> usize {
        self.requests
            .unwrap_or(if variant == Variant::Rebuild { 240 } else { 20_000 })
    }
}

/// What happened.
#[derive(Debug)]
pub struct Run {
    /// Which check.
    pub variant: Variant,
    /// Answers and latencies.
    pub outcome: Outcome,
    /// How often the list was found, and how often it was made.
    pub paths: Option<Paths>,
    /// Taken at a quarter of the load.
    pub moment_a: Snapshot,
    /// Taken at three quarters.
    pub moment_b: Snapshot,
    /// Taken when the service had stopped.
    pub after: Snapshot,
    /// What the handler allocated for each request.
    pub per_request: PerCall,
}

impl Run {
    /// Figures of the check's own scope.
    pub fn check(&self) -> ScopeFigures {
        ScopeFigures::of(&self.after, self.variant.scope())
    }

    /// The most memory that the check held at once: of all requests in flight, and of what it keeps between them. The
    /// two peaks need not coincide, so it is an upper bound.
    pub fn peak_bytes(&self) -> u64 {
        let kept = self
            .variant
            .refresh_scope()
            .map(|scope| ScopeFigures::of(&self.after, scope).peak_bytes);
        self.check().peak_bytes + kept.unwrap_or(0)
    }
}

/// A thing to do when so many payments are answered.
enum Step {
    TakeA,
    Expire,
    TakeB,
}

/// Makes the store that all variants are asked about.
pub fn store(settings: &Settings) -> Fallible<Store> {
    Store::create(load::risky_users(settings.users))
}

/// Runs one variant; `say` is told what happens as it happens, in lines.
pub async fn run(variant: Variant, store: &Store, settings: &Settings, mut say: impl FnMut(&str)) -> Fallible<Run> {
    let before = ScopeFigures::of(&Snapshot::take()?, HANDLER_SCOPE);
    let clock = Arc::new(Clock::default());
    let source = Source {
        store: store.clone(),
        clock: clock.clone(),
        expiry: settings.expiry,
        false_positives: settings.false_positives,
    };
    let service = Service::start(variant, source).await?;
    let requests = settings.requests(variant);
    let plan = Plan {
        requests,
        connections: settings.connections,
        users: settings.users,
    };
    let load = Load::new(plan);
    say(&format!(
        "serving http://{}/payment; sending {} payments",
        service.address(),
        text::count(requests as u64)
    ));

    let mut steps = vec![(requests / 4, Step::TakeA), (requests * 3 / 4, Step::TakeB)];
    // The store is asked itself, so there nothing can expire.
    let expiries = if variant == Variant::Store {
        0
    } else {
        settings.expiries
    };
    for expiry in 1..=expiries {
        steps.push((requests * expiry / (expiries + 1), Step::Expire));
    }
    steps.sort_by_key(|&(at, _)| at);

    let mut running = tokio::spawn(load.clone().run(service.address()));
    let conduct = async {
        let (mut moment_a, mut moment_b) = (None, None);
        for (at, step) in steps {
            let answered = text::count(load.reached(at).await as u64);
            match step {
                Step::TakeA => {
                    moment_a = Some(Snapshot::take()?);
                    say(&format!("{answered:>7} answered: snapshot A, with requests in flight"));
                }
                Step::Expire => {
                    let by = settings.expiry + Duration::from_secs(1);
                    clock.advance(by);
                    say(&format!(
                        "{answered:>7} answered: clock moved ahead by {} s, the list expires",
                        by.as_secs()
                    ));
                }
                Step::TakeB => {
                    moment_b = Some(Snapshot::take()?);
                    say(&format!("{answered:>7} answered: snapshot B, with requests in flight"));
                }
            }
        }
        Ok::<_, alloc_core::Error>(moment_a.zip(moment_b))
    };
    // The load's error matters more than that the steps could not be finished, so it is looked at first.
    let (outcome, moments) = tokio::select! {
        biased;
        moments = conduct => ((&mut running).await??, moments?),
        outcome = &mut running => (outcome??, None),
    };
    let (moment_a, moment_b) = moments.ok_or("the load ended before both snapshots were taken")?;

    let paths = service.paths();
    service.stop().await?;
    let after = Snapshot::take()?;
    let per_request = ScopeFigures::of(&after, HANDLER_SCOPE).per_call_since(&before);
    Ok(Run {
        variant,
        outcome,
        paths,
        moment_a,
        moment_b,
        after,
        per_request,
    })
}
