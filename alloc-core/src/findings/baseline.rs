//! Findings that were accepted, with reasons: so that a build fails on new ones only.
//!
//! Called by the user and by `assert`. Read side. A baseline is a small JSON file, written by hand or by [`Baseline::save`], and reviewed like
//! code; `docs/rebuilds.md` describes it. Reading is strict: a misspelt field would accept nothing, or everything.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Finding, Findings};
use crate::inside::inside_tracker;
use crate::model::{Error, write_atomically};

/// Version of the file.
const BASELINE_VERSION: u32 = 1;

/// Accepted findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Baseline {
    baseline_version: u32,
    /// Each with its reason.
    pub accepted: Vec<Accepted>,
}

/// A finding that was looked at and is to stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Accepted {
    /// [`Finding::id`].
    pub id: String,
    /// Why it is accepted. Never empty.
    pub reason: String,
    /// What it was, for people.
    #[serde(default)]
    pub what: String,
}

/// Findings held against a baseline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compared<'a> {
    /// Not accepted, and more than information.
    pub new: Vec<&'a Finding>,
    /// Accepted.
    pub accepted: Vec<&'a Finding>,
    /// Accepted, and no longer found: take them out, or see why their lines were not run.
    pub stale: Vec<&'a Accepted>,
}

/// There are findings that nobody has accepted. Prints them.
#[derive(Clone, PartialEq, Eq)]
pub struct NewFindings {
    number: usize,
    text: String,
}

impl NewFindings {
    /// How many.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl fmt::Display for NewFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// As `fn main() -> Result` prints it.
impl fmt::Debug for NewFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for NewFindings {}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            baseline_version: BASELINE_VERSION,
            accepted: Vec::new(),
        }
    }
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// [`Error::is_io`] when the file cannot be read; [`Error::is_format`] when it is no baseline, or an entry has no reason.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        inside_tracker(|| {
            let bytes = fs::read(path).map_err(|source| Error::io("read", path, source))?;
            let failed = |error: Error| error.during("read baseline").with_path(path);
            let baseline: Self = serde_json::from_slice(&bytes).map_err(|source| failed(Error::json(source)))?;
            baseline.check().map_err(|message| failed(Error::content(message)))?;
            Ok(baseline)
        })
    }

    /// Writes the baseline, complete or not at all.
    ///
    /// # Errors
    /// [`Error::is_io`]; and [`Error::is_format`] when an entry has no reason.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        inside_tracker(|| {
            let failed = |error: Error| error.during("write baseline").with_path(path);
            self.check().map_err(|message| failed(Error::content(message)))?;
            let mut text = serde_json::to_string_pretty(self).map_err(|source| failed(Error::encode(source)))?;
            text.push('\n');
            write_atomically(path, |out| out.write_all(text.as_bytes()))
                .map_err(|source| Error::io("write", path, source))
        })
    }

    /// Accepts a finding, with a reason. One that is accepted already gets the new reason.
    pub fn accept(&mut self, finding: &Finding, reason: impl Into<String>) {
        let accepted = Accepted {
            id: finding.id.clone(),
            reason: reason.into(),
            what: finding.what(),
        };
        match self.accepted.iter_mut().find(|known| known.id == accepted.id) {
            Some(known) => *known = accepted,
            None => self.accepted.push(accepted),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.baseline_version != BASELINE_VERSION {
            return Err(format!(
                "baseline_version is {}, and this build reads {BASELINE_VERSION}",
                self.baseline_version
            ));
        }
        for (at, accepted) in self.accepted.iter().enumerate() {
            if accepted.reason.trim().is_empty() {
                return Err(format!(
                    "accepted[{at}] (\"{}\") has no reason; say why it is accepted",
                    accepted.id
                ));
            }
            if self.accepted[..at].iter().any(|earlier| earlier.id == accepted.id) {
                return Err(format!(
                    "accepted[{at}] has the id \"{}\", which an earlier entry has; keep one of them",
                    accepted.id
                ));
            }
        }
        Ok(())
    }
}

impl Finding {
    /// `HashSet<u64> in fraud::check_fraud, each request of pay: reuse the instance`.
    pub(super) fn what(&self) -> String {
        let what = self.line.collection.as_deref().unwrap_or("blocks");
        let function = match self.line.function.as_str() {
            "" => &self.line.place,
            function => function,
        };
        let noun = self.iteration.noun();
        format!(
            "{what} in {function}, each {noun} of {}: {}",
            self.iteration.name, self.verdict
        )
    }
}

impl Findings {
    /// What of these is new, what was accepted, and what was accepted and is gone.
    pub fn new_since<'a>(&'a self, baseline: &'a Baseline) -> Compared<'a> {
        let is_accepted = |finding: &&Finding| baseline.accepted.iter().any(|known| known.id == finding.id);
        let gated = || self.findings.iter().filter(|finding| finding.verdict.fails_a_gate());
        let is_found = |known: &&Accepted| self.findings.iter().any(|finding| finding.id == known.id);
        Compared {
            new: gated().filter(|finding| !is_accepted(finding)).collect(),
            accepted: self.findings.iter().filter(is_accepted).collect(),
            stale: baseline.accepted.iter().filter(|known| !is_found(known)).collect(),
        }
    }

    /// For continuous integration: fails when there is a finding that the baseline does not accept.
    ///
    /// What is retained fails nothing, nor do entries that are stale; [`new_since`](Self::new_since) tells of them.
    ///
    /// # Errors
    /// The new findings, as text.
    pub fn check(&self, baseline: &Baseline) -> Result<(), NewFindings> {
        inside_tracker(|| {
            let compared = self.new_since(baseline);
            if compared.new.is_empty() {
                return Ok(());
            }
            Err(NewFindings {
                number: compared.new.len(),
                text: super::text::new_findings(&compared),
            })
        })
    }
}
