//! Collapsed stacks: `outer;inner 123`, a line for each stack; and `outer;inner before after` for differences.
//!
//! Called by `Export`, and by `flamegraph`, which draws these lines. Read side. Lines are sorted and each stack comes once.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::Options;
use crate::model::{Change, Snapshot, SnapshotDiff};
use crate::report::Rank;
use crate::report::stacks::{Namer, of_contexts};

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    for (stack, value) in lines(snapshot, options) {
        writeln!(out, "{stack} {value}")?;
    }
    Ok(())
}

pub(super) fn write_diff(diff: &SnapshotDiff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    for (stack, change) in diff_lines(diff, options) {
        let (before, after) = drawn(change);
        writeln!(out, "{stack} {before} {after}")?;
    }
    Ok(())
}

/// Stacks with a figure, sorted.
pub(super) fn lines(snapshot: &Snapshot, options: &Options) -> BTreeMap<String, u64> {
    let mut namer = Namer::of_snapshot(snapshot, &options.own, options.library);
    let stacks = of_contexts(&mut namer, snapshot);
    let mut lines = BTreeMap::new();
    for (value, stack) in options.rank().weights(snapshot).into_iter().zip(stacks) {
        if value > 0 {
            let sum: &mut u64 = lines.entry(joined(&namer, &stack)).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    lines
}

/// Stacks with a change, sorted.
pub(super) fn diff_lines(diff: &SnapshotDiff, options: &Options) -> BTreeMap<String, i64> {
    let mut namer = Namer::new(&diff.frames, &diff.modules, &[], &options.own, options.library);
    let mut lines = BTreeMap::new();
    for site in &diff.sites {
        let stack = match &site.stack {
            Some(stack) => namer.stack(stack),
            None => namer.scope(crate::ids::ScopeNodeId(0)),
        };
        let sum: &mut i64 = lines.entry(joined(&namer, &stack)).or_default();
        *sum = sum.saturating_add(change_of(options.rank(), &site.change));
    }
    lines.retain(|_, change| *change != 0);
    lines
}

fn change_of(rank: Rank, change: &Change) -> i64 {
    match rank {
        Rank::Allocations => change.allocations,
        Rank::Bytes => change.bytes,
        Rank::Copied => change.copied_bytes,
        _ => change.net_bytes,
    }
}

/// A diff knows how much a stack changed, and not from what. So a line is as wide as its change: what grew went from nothing to it. What shrank has
/// the same width, and a *before* that lies as far above it; tools colour by the difference of the two.
pub(super) fn drawn(change: i64) -> (u64, u64) {
    let width = change.unsigned_abs();
    if change > 0 {
        (0, width)
    } else {
        (width.saturating_mul(2), width)
    }
}

fn joined(namer: &Namer<'_>, stack: &[u32]) -> String {
    let mut line = String::new();
    for &name in stack {
        if !line.is_empty() {
            line.push(';');
        }
        push_clean(&mut line, &namer.names.names[name as usize].text);
    }
    line
}

/// A semicolon would end the frame (`[u8; 4]` has one), a line break the line.
fn push_clean(line: &mut String, name: &str) {
    line.extend(name.chars().map(|c| match c {
        ';' => ',',
        c if c.is_control() => ' ',
        c => c,
    }));
}
