//! How large blocks are, and how soon they are freed, over the whole program.
//!
//! Called by the user through `Report::histograms`, and by the HTML report. Read side. The record side counts neither size nor lifetime of single blocks: sizes are those of
//! call stacks, which mostly ask for one size; lifetimes are those of the blocks that were followed.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use super::rank::{followed, soon};
use super::units::{bytes, count, share};
use super::{REPORT_VERSION, Report};
use crate::inside::inside_tracker;
use crate::model::{Snapshot, Temporaries};

/// Sizes and lifetimes over the whole program: print them, or take their JSON.
///
/// # Accuracy
/// Sizes are those of call stacks, by their mean: sizes of single blocks are not recorded. Lifetimes are those of a sample of blocks.
#[derive(Clone, Debug)]
pub struct Histograms<'a> {
    snapshot: &'a Snapshot,
}

impl<'a> Report<'a> {
    /// How large blocks are, and how soon they are freed.
    pub fn histograms(&self) -> Histograms<'a> {
        Histograms {
            snapshot: self.snapshot,
        }
    }
}

impl Histograms<'_> {
    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        inside_tracker(|| {
            json!({
                "report_version": REPORT_VERSION,
                "report": "histograms",
                "sizes": size_classes(self.snapshot),
                "lifetimes": lifetime_classes(self.snapshot),
            })
        })
    }
}

impl fmt::Display for Histograms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_text(f, |text| write(self.snapshot, text))
    }
}

fn write(snapshot: &Snapshot, f: &mut String) -> fmt::Result {
    /// Columns of the longest bar.
    const BAR: u64 = 16;
    let bar = |part: u64, most: u64| {
        let length = (u128::from(part) * u128::from(BAR)).div_ceil(u128::from(most.max(1)));
        "#".repeat(length as usize)
    };
    let sizes = size_classes(snapshot);
    let most = sizes.iter().map(|class| class.allocations).max().unwrap_or(0);
    writeln!(f, "SIZES: call stacks by their mean size")?;
    writeln!(f, "{:>23} {:>13} {:>11} {:>11}", "", "allocations", "bytes", "live")?;
    for class in &sizes {
        let name = format!("{} to {}", bytes(class.from), bytes(class.to));
        let figures = [count(class.allocations), bytes(class.bytes), bytes(class.live_bytes)];
        let [allocations, granted, live] = figures;
        let bar = bar(class.allocations, most);
        writeln!(f, "{name:>23} {allocations:>13} {granted:>11} {live:>11}  {bar}")?;
    }
    let lifetimes = lifetime_classes(snapshot);
    let whole = lifetimes.iter().map(|class| class.blocks).fold(0, u64::saturating_add);
    let most = lifetimes.iter().map(|class| class.blocks).max().unwrap_or(0);
    writeln!(
        f,
        "\nLIFETIMES of {} blocks that were followed: freed after",
        count(whole)
    )?;
    for class in &lifetimes {
        let (name, part) = (class.freed_after, share(class.blocks, whole));
        writeln!(
            f,
            "{name:>23} {:>13} {part:>11}  {}",
            count(class.blocks),
            bar(class.blocks, most)
        )?;
    }
    Ok(())
}

/// Call stacks whose mean size is in one power of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SizeClass {
    /// Smallest size of the class, in bytes.
    pub(crate) from: u64,
    /// Largest.
    pub(crate) to: u64,
    /// Allocations and reallocations of these stacks.
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
    pub(crate) live_bytes: u64,
}

/// Ascending; only classes between the smallest and the largest that are there.
pub(crate) fn size_classes(snapshot: &Snapshot) -> Vec<SizeClass> {
    let mut classes = [SizeClass::default(); 65];
    for context in &snapshot.contexts {
        let c = &context.counters;
        let grants = c.total_allocations.saturating_add(c.total_reallocations);
        let Some(mean) = c.total_bytes.checked_div(grants) else {
            continue;
        };
        // 0 has a class of its own; class n holds 2^(n-1) to 2^n - 1.
        let class = &mut classes[64 - mean.leading_zeros() as usize];
        class.allocations = class.allocations.saturating_add(grants);
        class.bytes = class.bytes.saturating_add(c.total_bytes);
        class.live_bytes = class.live_bytes.saturating_add(c.live_bytes);
    }
    for (bits, class) in classes.iter_mut().enumerate().skip(1) {
        class.from = 1 << (bits - 1);
        class.to = u64::MAX >> (64 - bits);
    }
    let is_there = |class: &SizeClass| class.allocations > 0;
    let first = classes.iter().position(is_there);
    let last = classes.iter().rposition(is_there);
    match (first, last) {
        (Some(first), Some(last)) => classes[first..=last].to_vec(),
        _ => Vec::new(),
    }
}

/// Followed blocks by how soon they were freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LifetimeClass {
    /// Allocations by the same thread between the block's own and its free.
    pub(crate) freed_after: &'static str,
    pub(crate) blocks: u64,
}

/// Soonest first; nothing when no block was followed.
pub(crate) fn lifetime_classes(snapshot: &Snapshot) -> Vec<LifetimeClass> {
    let (mut blocks, mut sum) = (0_u64, Temporaries::default());
    for (of_context, temporaries) in followed(snapshot) {
        blocks = blocks.saturating_add(of_context);
        for (sum, part) in [
            (&mut sum.none, temporaries.none),
            (&mut sum.one, temporaries.one),
            (&mut sum.four, temporaries.four),
            (&mut sum.eight, temporaries.eight),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
    if blocks == 0 {
        return Vec::new();
    }
    let classes = [
        ("no other allocation", sum.none),
        ("1 allocation", sum.one),
        ("2 to 4 allocations", sum.four),
        ("5 to 8 allocations", sum.eight),
        ("more, or still alive", blocks.saturating_sub(soon(sum))),
    ];
    let class = |(freed_after, blocks)| LifetimeClass { freed_after, blocks };
    classes.map(class).to_vec()
}
