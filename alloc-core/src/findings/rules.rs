//! From what was seen of a line to a verdict: the table in `docs/rebuilds.md`.
//!
//! Called by `judge`. Read side; pure functions. A rule that does not apply says nothing: silence is the answer whenever it is not sure.
#![forbid(unsafe_code)]

use super::finding::{AtOnce, Growth, Share, Verdict};
use super::making::Making;
use super::options::Options;

/// Iterations that must have been observed. With fewer, not even "in all of them" has a lower bound of 0.9.
pub(super) const ENOUGH: u64 = 30;
/// Presence must be above it with 95 % confidence; so must confinement.
const PRESENT: f64 = 0.9;
/// Confinement as seen must be above it.
const CONFINED: f64 = 0.99;
/// From this share on, blocks that crossed an await or threads count.
const CROSSING: f64 = 0.01;
/// Final sizes that vary less are the same for `with_capacity`.
const STEADY: f64 = 0.25;
/// Growths per block that are worth a `with_capacity`.
const GROWTHS: f64 = 2.0;
/// Confinement below it means that iterations leave something behind.
const RETAINED: f64 = 0.1;
/// Part of all that was ever allocated that must be alive for it.
const STILL_ALIVE: f64 = 0.9;

/// What was seen of a line, and what it costs.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) observed: u64,
    pub(super) presence: Share,
    /// Allocations for each iteration, exactly: no more iterations than that can have built it. What was observed may be what only the first
    /// iterations do.
    pub(super) most_present: f64,
    pub(super) confinement: Share,
    pub(super) crossed_await: u64,
    pub(super) crossed_threads: u64,
    pub(super) at_once: AtOnce,
    pub(super) growth: Option<Growth>,
    pub(super) making: Option<Making>,
    /// A dependency builds it for itself.
    pub(super) is_of_dependency: bool,
    /// Comparisons of contents that found them equal, of all, by an observation in the source.
    pub(super) same_contents: Option<Share>,
    /// A tree or a list of nodes.
    pub(super) is_of_nodes: bool,
    /// It has a `with_capacity`, as far as known.
    pub(super) has_capacity: bool,
    /// Alive now, of all ever allocated.
    pub(super) alive: Share,
    /// Per iteration, with what it holds.
    pub(super) churned_bytes: f64,
    pub(super) granted_bytes: f64,
    /// Of these, granted on other lines, to blocks that were made here.
    pub(super) grown_elsewhere: f64,
    /// The larger of its shares of the loop's bytes and allocations.
    pub(super) share: f64,
    /// The same of what the loop was granted and still holds.
    pub(super) share_of_granted: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Found(Verdict),
    /// It would be found if what was seen of few iterations is typical.
    NotEnough,
    Nothing,
}

impl Seen {
    /// True when a thread cannot keep it for itself.
    pub(super) fn crosses(&self) -> bool {
        let crossed = self.crossed_await.max(self.crossed_threads);
        crossed > 0 && crossed as f64 >= CROSSING * self.confinement.of as f64
    }

    /// Seldom other than the one before, if ever: a value to be kept, and replaced when it changes.
    pub(super) fn has_same_contents(&self) -> bool {
        self.same_contents
            .is_some_and(|same| same.of >= ENOUGH && same.lower_bound > PRESENT)
    }

    fn is_confined(&self) -> bool {
        self.confinement.value() > CONFINED
    }

    /// Grows to about the same size each time, and that costs something.
    fn is_grown_alike(&self, options: &Options) -> bool {
        let alike = |growth: Growth| {
            growth.times >= GROWTHS
                && growth.variation.is_some_and(|variation| variation < STEADY)
                && growth.copied_bytes >= options.min_copied_bytes as f64
        };
        self.has_capacity && self.growth.is_some_and(alike)
    }

    fn is_above_the_floor(&self, options: &Options) -> bool {
        self.churned_bytes >= options.min_bytes as f64 && self.share >= options.min_share
    }

    fn is_retained(&self, options: &Options) -> bool {
        self.confinement.of > 0
            && self.confinement.value() < RETAINED
            && self.alive.of > 0
            && self.alive.value() >= STILL_ALIVE
            && self.granted_bytes >= options.min_bytes as f64
            && self.share_of_granted >= options.min_share
    }
}

pub(super) fn judge(seen: &Seen, options: &Options) -> Judgement {
    let Some(verdict) = verdict(seen, options) else {
        return Judgement::Nothing;
    };
    if seen.observed < ENOUGH {
        return if verdict == Verdict::Retained {
            Judgement::Nothing
        } else {
            Judgement::NotEnough
        };
    }
    let is_sure = match verdict {
        Verdict::ReserveCapacity | Verdict::Retained => seen.presence.lower_bound > PRESENT,
        _ => seen.presence.lower_bound > PRESENT && seen.confinement.lower_bound > PRESENT,
    };
    if is_sure {
        Judgement::Found(verdict)
    } else {
        Judgement::Nothing
    }
}

/// The verdict if what was seen is typical.
fn verdict(seen: &Seen, options: &Options) -> Option<Verdict> {
    if seen.presence.value() <= PRESENT || seen.most_present <= PRESENT {
        return None;
    }
    if seen.is_retained(options) {
        return Some(Verdict::Retained);
    }
    if !seen.is_above_the_floor(options) {
        return None;
    }
    if !seen.is_confined() {
        return seen.is_grown_alike(options).then_some(Verdict::ReserveCapacity);
    }
    Some(match (&seen.making, seen.at_once) {
        // Its contents depend on what it is compiled from, and that is written in the source, as a rule.
        (Some(Making::Compile(_)), _) => Verdict::CacheValue,
        _ if seen.has_same_contents() => Verdict::CacheValue,
        // Nobody can empty a document and read the next one into it.
        (Some(Making::Parse(_)), _) => Verdict::Pool,
        // Several of a dependency's own: nobody outside can hand it others.
        _ if seen.is_of_dependency && (seen.at_once != AtOnce::One || seen.crosses()) => return None,
        _ if seen.crosses() => Verdict::Pool,
        // Emptied, it gives its blocks back; an instance that is kept saves none.
        _ if seen.is_of_nodes => Verdict::Pool,
        (_, AtOnce::One) => Verdict::ReuseInstance,
        (_, AtOnce::Few { .. } | AtOnce::Many { .. }) => Verdict::Pool,
    })
}
