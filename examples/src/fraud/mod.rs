//! Four ways to ask whether the user of a payment is on the list of risky users.
//!
//! [`rebuild`] is the incident, the other three are its fixes; one file each, so that a report names them apart. Called
//! by the handler in `service`, chosen by [`Variant`]. All answer from the same table; `bloom` alone may be wrong, and
//! only in one direction.
#![forbid(unsafe_code)]

pub mod bloom;
pub mod rebuild;
mod refreshed;
pub mod set;
pub mod store;

use std::{fmt, sync::Arc, time::Duration};

use crate::{Fallible, clock::Clock, store::Store};

/// How the service finds out whether a user is risky.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Variant {
    /// The incident: a set built from the cached list, for each request
    Rebuild,
    /// A set built once, and replaced when the list expires
    Set,
    /// A Bloom filter built once, and replaced when the list expires
    Bloom,
    /// Ask the store whether it holds the user
    Store,
}

impl Variant {
    /// All of them, the incident first.
    pub const ALL: [Variant; 4] = [Variant::Rebuild, Variant::Set, Variant::Bloom, Variant::Store];

    /// The name of the scope of its check, as reports show it.
    pub fn scope(self) -> &'static str {
        match self {
            Variant::Rebuild => rebuild::SCOPE,
            Variant::Set => set::SCOPE,
            Variant::Bloom => bloom::SCOPE,
            Variant::Store => store::SCOPE,
        }
    }

    /// The name of the scope that builds what it keeps between requests; `None` when it keeps nothing.
    pub fn refresh_scope(self) -> Option<&'static str> {
        match self {
            Variant::Rebuild | Variant::Store => None,
            Variant::Set => Some(set::REFRESH_SCOPE),
            Variant::Bloom => Some(bloom::REFRESH_SCOPE),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Variant::Rebuild => "rebuild",
            Variant::Set => "set",
            Variant::Bloom => "bloom",
            Variant::Store => "store",
        })
    }
}

/// What a check is made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The database and the cache.
    pub store: Store,
    /// What expiry is measured by.
    pub clock: Arc<Clock>,
    /// How long the list may be used before it is read from the table again.
    pub expiry: Duration,
    /// Share of honest users whom the Bloom filter may take for risky.
    pub false_positives: f64,
}

/// How often a list was found in use, and how often it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Requests answered from what was cached or kept.
    pub hits: u64,
    /// Times the table was read: by requests that found nothing cached (`rebuild`), or by the refresher.
    pub misses: u64,
}

/// The check of one variant, ready to be asked.
#[derive(Debug)]
pub enum FraudCheck {
    /// See [`Variant::Rebuild`].
    Rebuild(rebuild::RebuildCheck),
    /// See [`Variant::Set`].
    Set(set::SetCheck),
    /// See [`Variant::Bloom`].
    Bloom(bloom::BloomCheck),
    /// See [`Variant::Store`].
    Store(store::StoreCheck),
}

impl FraudCheck {
    /// Makes the check; the kept variants read the table now, and start refreshing.
    pub async fn start(variant: Variant, source: Source) -> Fallible<FraudCheck> {
        Ok(match variant {
            Variant::Rebuild => FraudCheck::Rebuild(rebuild::RebuildCheck::new(source)),
            Variant::Set => FraudCheck::Set(set::SetCheck::start(source).await?),
            Variant::Bloom => FraudCheck::Bloom(bloom::BloomCheck::start(source).await?),
            Variant::Store => FraudCheck::Store(store::StoreCheck::new(source)),
        })
    }

    /// Whether the user is risky.
    pub async fn check_fraud(&self, user_id: &str) -> Fallible<bool> {
        match self {
            FraudCheck::Rebuild(check) => check.check_fraud(user_id).await,
            FraudCheck::Set(check) => Ok(check.check_fraud(user_id)),
            FraudCheck::Bloom(check) => Ok(check.check_fraud(user_id)),
            FraudCheck::Store(check) => check.check_fraud(user_id),
        }
    }

    /// How often each path ran; `None` for `store`, which has nothing to expire.
    pub fn paths(&self) -> Option<Paths> {
        match self {
            FraudCheck::Rebuild(check) => Some(check.paths()),
            FraudCheck::Set(check) => Some(check.paths()),
            FraudCheck::Bloom(check) => Some(check.paths()),
            FraudCheck::Store(_) => None,
        }
    }
}
