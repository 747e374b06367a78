//! The place of an `observe_contents!`: which calls are observed, and what was seen.
//!
//! Read side; a `static` that the macro writes. It never waits and never allocates: who finds the place taken by another thread goes on
//! without. The locks are held for some dozen instructions, never while the program's own code (a `Hash`, a `Content`) runs. Cost of a
//! call that is not observed: an addition to a shared counter and a compare.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};

use super::hash::{self, Content, ContentHash};
use super::seen::{Look, Seen};
use crate::ids::ScopeNodeId;
use crate::inside::inside_tracker;
use crate::model::ContentStats;
use crate::record::{carried, settings};

/// Calls that are all observed, at first.
const FIRST: u64 = 32;
/// Then two in a row, and a gap, which doubles after so many pairs.
const PAIRS_PER_GAP: u64 = 8;
const LARGEST_GAP: u64 = 1024;
/// Paths of scopes that are told apart.
const PATHS: usize = 4;

/// One place in the source that observes contents.
pub struct ContentSite {
    name: &'static str,
    file: &'static str,
    line: u32,
    calls: AtomicU64,
    /// The number of the next call that is observed.
    next: AtomicU64,
    state: Mutex<State>,
    /// The place that was first used before this one. Set once it is in the list.
    listed_before: OnceLock<Option<&'static ContentSite>>,
}

impl fmt::Debug for ContentSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentSite({}:{})", self.file, self.line)
    }
}

struct State {
    /// Observed, and tried in vain because they were too large.
    looks: u64,
    /// `None` before the first look; empty once there were several types.
    type_name: Option<&'static str>,
    /// Nodes that the thread was in; the first `used` are taken.
    nodes: [Option<ScopeNodeId>; PATHS],
    used: usize,
    seen: [Seen; PATHS],
    elsewhere: Seen,
}

impl State {
    fn seen(&mut self, node: Option<ScopeNodeId>) -> &mut Seen {
        let at = self.nodes[..self.used].iter().position(|&known| known == node);
        let at = at.or_else(|| {
            let free = self.nodes.get_mut(self.used)?;
            *free = node;
            self.used += 1;
            Some(self.used - 1)
        });
        match at {
            Some(at) => &mut self.seen[at],
            None => &mut self.elsewhere,
        }
    }
}

/// The place used last for the first time.
static LATEST: Mutex<Option<&'static ContentSite>> = Mutex::new(None);

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits, but not for ever: in a forked child the owner may not exist.
fn lock_soon<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    (0..1000).find_map(|_| {
        let guard = try_lock(mutex);
        if guard.is_none() {
            std::thread::yield_now();
        }
        guard
    })
}

impl ContentSite {
    /// A place of the given name at `file:line`.
    #[must_use]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        Self {
            name,
            file,
            line,
            calls: AtomicU64::new(0),
            next: AtomicU64::new(0),
            state: Mutex::new(State {
                looks: 0,
                type_name: None,
                nodes: [None; PATHS],
                used: 0,
                seen: [Seen::NOTHING; PATHS],
                elsewhere: Seen::NOTHING,
            }),
            listed_before: OnceLock::new(),
        }
    }

    /// Whether this call is to be observed. Nothing is where nothing is recorded.
    #[inline]
    pub fn is_due(&self) -> bool {
        if settings::has_no_scopes() {
            return false;
        }
        self.calls.fetch_add(1, Ordering::Relaxed) >= self.next.load(Ordering::Relaxed)
    }

    /// Observes `value`.
    #[cold]
    #[inline(never)]
    pub fn observe<T: Content + ?Sized>(&'static self, value: &T) {
        let node = carried::current_node();
        inside_tracker(|| self.observe_in(node, value));
    }

    fn observe_in<T: Content + ?Sized>(&'static self, node: Option<ScopeNodeId>, value: &T) {
        let shallow = value.shallow() as u64;
        let Some(needs_hash) = self
            .listed()
            .and_then(|()| try_lock(&self.state))
            .map(|mut state| state.seen(node).needs_hash(shallow))
        else {
            return;
        };
        let hash = if needs_hash { Some(ContentHash::of(value)) } else { None };
        let Some(mut state) = try_lock(&self.state) else {
            return;
        };
        let seen = state.seen(node);
        match hash {
            Some(None) => seen.add_too_large(),
            hash => seen.add(Look {
                shallow,
                hash: hash.flatten(),
            }),
        }
        state.looks += 1;
        let type_name = std::any::type_name::<T>();
        state.type_name = Some(match state.type_name {
            Some(known) if known != type_name => "",
            _ => type_name,
        });
        let next = self.calls.load(Ordering::Relaxed) + gap_after(state.looks);
        self.next.store(next, Ordering::Relaxed);
    }

    /// Sees to it that the place is in the list; `None` when another place is being entered.
    fn listed(&'static self) -> Option<()> {
        if self.listed_before.get().is_none() {
            let mut latest = try_lock(&LATEST)?;
            if self.listed_before.set(*latest).is_ok() {
                *latest = Some(self);
            }
        }
        Some(())
    }

    fn stats(&self, type_name: &str, scope: Option<ScopeNodeId>, seen: &Seen) -> ContentStats {
        let (distinct_at_least, distinct_at_most) = seen.distinct();
        ContentStats {
            name: self.name.to_owned(),
            file: self.file.to_owned(),
            line: self.line,
            type_name: type_name.to_owned(),
            scope,
            observed: seen.observed,
            compared: seen.compared,
            equal_to_last: seen.equal,
            distinct_at_least,
            distinct_at_most,
            too_large: seen.too_large,
        }
    }
}

/// Calls between the look number `looks` (counted from 1) and the next.
///
/// Two in a row, so that contents are compared with those directly before; gaps of no fixed length, so that what comes in turn is not always
/// met at the same turn.
fn gap_after(looks: u64) -> u64 {
    let Some(later) = looks.checked_sub(FIRST).filter(|later| later % 2 == 0) else {
        return 0;
    };
    let doubled = (later / 2 / PAIRS_PER_GAP).min(u64::from(LARGEST_GAP.ilog2()));
    let mean = 1 << doubled;
    mean / 2 + hash::random(looks) % (mean + 1)
}

/// What was seen everywhere, in the order of the source. For snapshots; the caller is inside the tracker.
pub(crate) fn observed() -> Vec<ContentStats> {
    let mut all = Vec::new();
    let mut next = lock_soon(&LATEST).and_then(|latest| *latest);
    while let Some(site) = next {
        next = site.listed_before.get().copied().flatten();
        // Read without allocating: who observes meanwhile would go without.
        let Some((type_name, nodes, used, seen, elsewhere)) = lock_soon(&site.state).map(|state| {
            let type_name = state.type_name.unwrap_or_default();
            (type_name, state.nodes, state.used, state.seen, state.elsewhere)
        }) else {
            continue;
        };
        let paths = nodes.iter().zip(&seen).take(used);
        all.extend(paths.map(|(&node, seen)| site.stats(type_name, node.or(Some(ScopeNodeId::ROOT)), seen)));
        all.push(site.stats(type_name, None, &elsewhere));
    }
    all.retain(|stats: &ContentStats| stats.observed + stats.too_large != 0);
    all.sort_by(|a, b| (&a.file, a.line, &a.name, a.scope).cmp(&(&b.file, b.line, &b.name, b.scope)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_all_looked_at_and_then_pairs_with_growing_gaps() {
        assert!((1..FIRST).all(|looks| gap_after(looks) == 0));
        let pairs = |from: u64| (0..PAIRS_PER_GAP).map(move |pair| FIRST + 2 * (from * PAIRS_PER_GAP + pair));
        for doubled in 0..14 {
            let mean: u64 = 1 << doubled.min(10);
            for looks in pairs(doubled) {
                let gap = gap_after(looks);
                assert!((mean / 2..=mean / 2 + mean).contains(&gap), "{looks}: {gap}");
                assert_eq!(gap_after(looks + 1), 0, "the second of a pair");
            }
        }
        let parities = pairs(13).map(|looks| gap_after(looks) % 2).sum::<u64>();
        assert_ne!(parities, 0, "not all even");
        assert_ne!(parities, PAIRS_PER_GAP, "not all odd");
    }
}
