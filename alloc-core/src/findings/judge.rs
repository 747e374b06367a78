//! From a snapshot to findings: loops from the innermost on, lines from the outermost collection on.
//!
//! Called by `Findings::of`. Read side. Invariants: a context is in one finding at most, that of the innermost loop where a verdict holds; the
//! same snapshot always gives the same findings in the same order. Cost: for each loop a pass over the contexts.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::elements::Collection;
use super::evidence;
use super::finding::{AtOnce, Confidence, Cost, Finding, Inner, Iteration, NotEnough, Share, Verdict};
use super::groups::{self, Group};
use super::id;
use super::nesting;
use super::options::Options;
use super::outside;
use super::places::{PlaceId, Places};
use super::rules::{self, ENOUGH, Judgement, Seen};
use super::{advice, finding};
use crate::ids::ScopeId;
use crate::model::{Counters, LoopSite, LoopStats, Snapshot, add_counters, contents_built_at};
use crate::report::fraction;

/// What all loops say.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) findings: Vec<Finding>,
    pub(super) not_enough: Vec<NotEnough>,
    /// Lines of the user's own that were looked at.
    pub(super) lines: usize,
    /// Lines of a dependency or of std alone, which nobody can change here.
    pub(super) foreign_lines: usize,
}

/// A finding and what orders and merges it.
struct Draft {
    finding: Finding,
    scope: ScopeId,
    place: PlaceId,
    churned: u64,
    contexts: Vec<u32>,
}

/// What a loop did in all.
struct Whole {
    counters: Counters,
    program: Counters,
    iteration: Iteration,
    /// Calls that are no iterations, or not yet: recursive ones, and those that wait.
    uncounted: u64,
    missed: Share,
}

pub(super) fn judge(snapshot: &Snapshot, places: &mut Places<'_>, options: &Options) -> Judged {
    let mut loops: Vec<(usize, &LoopStats)> = snapshot
        .loops
        .iter()
        .filter_map(|stats| Some((places.scope(stats.scope)?, stats)))
        .collect();
    let depth = |scope: usize| places.around(scope).count();
    loops.sort_by_key(|&(scope, _)| (usize::MAX - depth(scope), scope));

    let mut drafts: Vec<Draft> = Vec::new();
    let mut waiting: Vec<(NotEnough, Vec<u32>)> = Vec::new();
    let mut claimed: HashSet<u32> = HashSet::new();
    let mut names: BTreeMap<id::Key, BTreeSet<(String, u32)>> = BTreeMap::new();
    let mut own_lines: HashSet<PlaceId> = HashSet::new();
    let mut foreign_lines: HashSet<PlaceId> = HashSet::new();
    for (scope, stats) in loops {
        let inside = places.inside(scope);
        let stats = &outside::without_it(stats, scope, places);
        let whole = whole(snapshot, places, scope, stats, &inside);
        for draft in &mut drafts {
            let contexts = &draft.contexts;
            let is_inside = |&context: &u32| places.at(context).is_some_and(|at| inside[at.scope]);
            if contexts.iter().any(is_inside) && draft.finding.iteration.scope != stats.scope {
                let name = whole.iteration.name.clone();
                if !draft.finding.outer_loops.contains(&name) {
                    draft.finding.outer_loops.push(name);
                }
            }
        }
        let groups = groups::of_loop(snapshot, stats, places, &inside, &claimed);
        for group in &groups {
            let lines = if group.is_own {
                &mut own_lines
            } else {
                &mut foreign_lines
            };
            lines.insert(group.place);
            let line = places.code_line(group.face());
            let key = id::Key::of(&whole.iteration.name, &line);
            names.entry(key).or_default().insert((line.file, line.line));
        }
        let mut tree = Tree::of(&groups);
        let mut pending = tree.roots();
        while let Some(at) = pending.pop() {
            let members = tree.below(at);
            let mut seen = see(&groups, at, &members, stats, &whole, places);
            seen.same_contents = same_contents(snapshot, &groups, at, &members, places);
            match rules::judge(&seen, options) {
                Judgement::Found(verdict) if groups[at].is_own => {
                    let contexts: Vec<u32> = members
                        .iter()
                        .flat_map(|&member| &groups[member].contexts)
                        .copied()
                        .collect();
                    claimed.extend(&contexts);
                    drafts.push(Draft {
                        finding: describe(&groups, at, &members, &seen, verdict, &whole, places),
                        scope: snapshot.scopes[scope].scope,
                        place: groups[at].place,
                        churned: sum(&groups, &members).freed_bytes,
                        contexts,
                    });
                }
                Judgement::NotEnough if groups[at].is_own => {
                    let not_enough = NotEnough {
                        line: places.code_line(groups[at].face()),
                        iteration: whole.iteration.clone(),
                        needed: ENOUGH,
                        bytes: seen.granted_bytes,
                    };
                    waiting.push((not_enough, groups[at].contexts.clone()));
                }
                // What it seems to hold may be a finding without it.
                _ => pending.extend(tree.release(at)),
            }
        }
    }
    let mut findings = merge(drafts);
    for finding in &mut findings {
        let key = id::Key::of(&finding.iteration.name, &finding.line);
        let line = (finding.line.file.clone(), finding.line.line);
        let equals = names.get(&key);
        let ordinal = equals.and_then(|lines| lines.iter().position(|known| *known == line));
        finding.id = key.id(ordinal.unwrap_or(0));
    }
    findings.retain(|finding| finding.severity >= options.min_severity);
    let mut not_enough: Vec<NotEnough> = Vec::new();
    for (waiting, contexts) in waiting {
        let is_known = not_enough.iter().any(|known| known.line.place == waiting.line.place);
        if !is_known && !contexts.iter().any(|context| claimed.contains(context)) {
            not_enough.push(waiting);
        }
    }
    foreign_lines.retain(|place| !own_lines.contains(place));
    Judged {
        findings,
        not_enough,
        lines: own_lines.len(),
        foreign_lines: foreign_lines.len(),
    }
}

/// Groups under the groups that hold them.
struct Tree {
    children: Vec<Vec<usize>>,
    is_root: Vec<bool>,
}

impl Tree {
    fn of(groups: &[Group<'_>]) -> Self {
        let parents = nesting::parents(groups);
        let mut children = vec![Vec::new(); groups.len()];
        for (at, parent) in parents.iter().enumerate() {
            if let Some(parent) = *parent {
                children[parent].push(at);
            }
        }
        Self {
            children,
            is_root: parents.iter().map(Option::is_none).collect(),
        }
    }

    fn roots(&self) -> Vec<usize> {
        (0..self.is_root.len()).rev().filter(|&at| self.is_root[at]).collect()
    }

    /// A group and what is inside it, itself first.
    fn below(&self, at: usize) -> Vec<usize> {
        let mut members = vec![at];
        let mut next = 0;
        while let Some(&member) = members.get(next) {
            members.extend(&self.children[member]);
            next += 1;
        }
        members
    }

    /// What is directly inside a group stands for itself from now on.
    fn release(&mut self, at: usize) -> Vec<usize> {
        std::mem::take(&mut self.children[at])
    }
}

fn whole(snapshot: &Snapshot, places: &Places<'_>, scope: usize, stats: &LoopStats, inside: &[bool]) -> Whole {
    let mut counters = Counters::default();
    for (context, of_context) in (0..).zip(&snapshot.contexts) {
        if places.at(context).is_some_and(|at| inside[at.scope]) {
            add_counters(&mut counters, &of_context.counters);
        }
    }
    let node = &snapshot.scopes[scope];
    let events = stats.sites.iter().flat_map(|site| [site.allocations, site.growths]);
    let followed = events.fold(0, u64::saturating_add);
    let seen = stats.iterations.max(stats.observed);
    Whole {
        counters,
        program: snapshot.totals,
        iteration: Iteration {
            scope: node.id,
            name: node.name.clone(),
            kind: node.kind,
            file: node.file.clone(),
            line: node.line,
            path: places.path(scope),
            seen,
            observed: stats.observed,
        },
        uncounted: node.calls.entered.saturating_sub(seen),
        missed: Share::new(stats.missed_events, stats.missed_events.saturating_add(followed)),
    }
}

/// The figures of a group with what it holds.
fn see(
    groups: &[Group<'_>],
    at: usize,
    members: &[usize],
    stats: &LoopStats,
    whole: &Whole,
    places: &mut Places<'_>,
) -> Seen {
    let group = &groups[at];
    let cost = sum(groups, members);
    let (crossed_await, crossed_threads) = group.crossings();
    let iterations = whole.iteration.seen.max(1) as f64;
    let confinement = group.confinement();
    let grown_elsewhere = grown_elsewhere(group, stats.observed, iterations);
    let churned = cost.freed_bytes as f64 / iterations + grown_elsewhere * confinement.value();
    Seen {
        observed: stats.observed,
        presence: group.presence(stats, whole.iteration.seen, whole.uncounted),
        most_present: group.counters.total_allocations as f64 / iterations,
        confinement,
        crossed_await,
        crossed_threads,
        at_once: group.at_once(stats.observed),
        growth: group.growth(stats.observed),
        making: places.making(group.face()),
        is_of_dependency: places.is_of_dependency(group.face()),
        same_contents: None,
        has_capacity: group.collection.as_ref().is_none_or(Collection::keeps_its_block),
        is_of_nodes: group.collection.as_ref().is_some_and(Collection::is_of_nodes),
        alive: Share::new(group.counters.live_blocks, group.counters.total_allocations),
        churned_bytes: churned,
        granted_bytes: cost.total_bytes as f64 / iterations + grown_elsewhere,
        grown_elsewhere,
        share: part(churned, whole.counters.freed_bytes, iterations)
            .max(fraction(cost.total_allocations, whole.counters.total_allocations)),
        share_of_granted: fraction(cost.total_bytes, whole.counters.total_bytes)
            .max(fraction(cost.total_allocations, whole.counters.total_allocations)),
    }
}

/// What an observation of contents says of the collection that a group is: how often it was equal to the one before.
fn same_contents(
    snapshot: &Snapshot,
    groups: &[Group<'_>],
    at: usize,
    members: &[usize],
    places: &mut Places<'_>,
) -> Option<Share> {
    if snapshot.contents.is_empty() {
        return None;
    }
    let group = &groups[at];
    let kind = &group.collection.as_ref()?.name;
    let scope = places.at(group.face())?.scope;
    let line = places.code_line(group.face());
    let others = groups.iter().enumerate().filter(|(other, group)| {
        let is_kind = group.collection.as_ref().is_some_and(|other| other.name == *kind);
        !members.contains(other) && is_kind
    });
    let mut next_line = None;
    for (_, other) in others {
        let other_scope = places.at(other.face()).map(|at| at.scope);
        let other = places.code_line(other.face());
        if other_scope == Some(scope) && other.file == line.file && other.line > line.line {
            next_line = Some(next_line.map_or(other.line, |next: u32| next.min(other.line)));
        }
    }
    let id = snapshot.scopes.get(scope)?.id;
    let stats = contents_built_at(&snapshot.contents, kind, &line.file, line.line, next_line, id)?;
    (stats.too_large == 0).then(|| Share::new(stats.equal_to_last, stats.compared))
}

/// Bytes per iteration that the line's blocks were granted when they grew on other lines. By observed iterations; 0 where the line's own figures
/// say as much, so that chance adds nothing.
fn grown_elsewhere(group: &Group<'_>, observed: u64, iterations: f64) -> f64 {
    /// More than chance between observed iterations and all.
    const CLEARLY: f64 = 1.25;
    let sum = |of: fn(&LoopSite) -> u64| group.sites.iter().map(|site| of(site)).fold(0, u64::saturating_add);
    let (growths, followed) = (sum(|site| site.growths), sum(|site| site.bytes));
    let followed = followed as f64 / observed.max(1) as f64;
    let here = group.counters.total_bytes as f64 / iterations;
    if growths > 0 && followed > CLEARLY * here {
        followed - here
    } else {
        0.0
    }
}

/// Share of what is known per iteration in a sum over all.
fn part(per_iteration: f64, whole: u64, iterations: f64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (per_iteration * iterations / whole as f64).min(1.0)
}

fn sum(groups: &[Group<'_>], members: &[usize]) -> Counters {
    let mut sum = Counters::default();
    for &member in members {
        add_counters(&mut sum, &groups[member].counters);
    }
    sum
}

fn describe(
    groups: &[Group<'_>],
    at: usize,
    members: &[usize],
    seen: &Seen,
    verdict: Verdict,
    whole: &Whole,
    places: &mut Places<'_>,
) -> Finding {
    let group = &groups[at];
    let counters = sum(groups, members);
    let iterations = whole.iteration.seen.max(1) as f64;
    let per_iteration = |value: u64| value as f64 / iterations;
    let (bytes_of, all_bytes, all_program_bytes) = if verdict == Verdict::Retained {
        (
            counters.total_bytes,
            whole.counters.total_bytes,
            whole.program.total_bytes,
        )
    } else {
        (
            counters.freed_bytes,
            whole.counters.freed_bytes,
            whole.program.freed_bytes,
        )
    };
    let bytes_of = bytes_of as f64 / iterations + seen.grown_elsewhere;
    let cost = Cost {
        allocations: per_iteration(counters.total_allocations),
        bytes: per_iteration(counters.total_bytes) + seen.grown_elsewhere,
        copied_bytes: per_iteration(counters.copied_bytes),
        share_of_loop: part(bytes_of, all_bytes, iterations),
        share_of_loop_allocations: fraction(counters.total_allocations, whole.counters.total_allocations),
        share_of_program: part(bytes_of, all_program_bytes, iterations),
        share_of_program_allocations: fraction(counters.total_allocations, whole.program.total_allocations),
    };
    let with_it = members
        .iter()
        .filter(|&&member| member != at)
        .map(|&member| Inner {
            line: places.code_line(groups[member].face()),
            allocations: per_iteration(groups[member].counters.total_allocations),
            bytes: per_iteration(groups[member].counters.total_bytes),
        })
        .collect();
    let mut finding = Finding {
        id: String::new(),
        verdict,
        severity: 0,
        line: places.code_line(group.face()),
        iteration: whole.iteration.clone(),
        presence: seen.presence,
        confinement: seen.confinement,
        at_once: seen.at_once,
        final_bytes: groups::sizes(&group.final_sizes()),
        cost,
        growth: seen.growth,
        crosses: seen.crosses(),
        confidence: confidence(seen, verdict, whole.missed),
        evidence: Vec::new(),
        suggestion: finding::Suggestion::default(),
        with_it,
        outer_loops: Vec::new(),
        other_paths: Vec::new(),
    };
    finding.severity = severity(&finding);
    finding.evidence = evidence::sentences(&finding, seen, whole.missed);
    finding.suggestion = advice::suggestion(&finding, seen);
    finding
}

fn confidence(seen: &Seen, verdict: Verdict, missed: Share) -> Confidence {
    /// Events that were not followed, from which on a word less is said.
    const MISSED: f64 = 0.01;
    let value = match verdict {
        Verdict::ReserveCapacity | Verdict::Retained => seen.presence.lower_bound,
        _ => seen.presence.lower_bound * seen.confinement.lower_bound,
    };
    let words = ["fair", "good", "high"];
    let mut word = match value {
        0.97.. => 2,
        0.92.. => 1,
        _ => 0,
    };
    if missed.value() >= MISSED {
        word = usize::max(word, 1) - 1;
    }
    Confidence {
        word: words[word].to_owned(),
        value,
    }
}

/// 100 × confidence × mean of its shares in bytes and in allocations, of the loop's and of the program's churn. At least 1.
fn severity(finding: &Finding) -> u8 {
    /// What is no rebuild does not stand before those that are.
    const MOST_RETAINED: f64 = 20.0;
    let cost = &finding.cost;
    let shares = [
        cost.share_of_loop,
        cost.share_of_loop_allocations,
        cost.share_of_program,
        cost.share_of_program_allocations,
    ];
    let severity = 100.0 * finding.confidence.value * shares.iter().sum::<f64>() / shares.len() as f64;
    let most = if finding.verdict == Verdict::Retained {
        MOST_RETAINED
    } else {
        100.0
    };
    severity.round().clamp(1.0, most) as u8
}

/// One finding for a line and a loop, on whatever paths of scopes; the worst first.
fn merge(mut drafts: Vec<Draft>) -> Vec<Finding> {
    drafts.sort_by_key(|draft| (u64::MAX - draft.churned, draft.finding.iteration.scope));
    let mut findings: Vec<Finding> = Vec::new();
    let mut known: HashMap<(ScopeId, PlaceId), usize> = HashMap::new();
    for draft in drafts {
        match known.get(&(draft.scope, draft.place)) {
            Some(&at) => {
                let finding = &mut findings[at];
                if finding.iteration.path != draft.finding.iteration.path {
                    finding.other_paths.push(draft.finding.iteration.path);
                }
            }
            None => {
                known.insert((draft.scope, draft.place), findings.len());
                findings.push(draft.finding);
            }
        }
    }
    findings.sort_by(|a, b| {
        let rank = |finding: &Finding| (finding.verdict.fails_a_gate(), finding.severity);
        rank(b)
            .cmp(&rank(a))
            .then_with(|| b.cost.bytes.total_cmp(&a.cost.bytes))
            .then_with(|| a.line.place.cmp(&b.line.place))
    });
    findings
}

impl AtOnce {
    /// Most that were alive at once, in any iteration.
    pub(super) fn most(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Few { most } | Self::Many { most } => most,
        }
    }
}
