//! Call trees: from the outermost frame down to who allocates, or from who allocates up to who called it.
//!
//! Called by the user through `Report::tree`. Read side. Branches below a share of the whole are left out and counted. A frame's source line is
//! shown where its file is there. Cost: as the report, and the files that are shown. No recursion: stacks may be deep.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;

use super::Report;
use super::stacks::{Library, Name, Namer, Tree, of_contexts};
use super::units::{bytes, count, fit, share};
use crate::report::Rank;

/// Which end of the call stacks is the root of a [`CallTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The outermost frame: below each function are those that it called.
    Callees,
    /// What is built, and the line that builds it: below each are those that called it.
    Callers,
}

/// The call stacks of a snapshot as a tree, for people: print it.
#[derive(Clone, Debug)]
pub struct CallTree<'a> {
    report: Report<'a>,
    direction: Direction,
    library: Library,
    least_share: f64,
    source: bool,
}

impl<'a> Report<'a> {
    /// The call stacks as a tree, with the figure that the report ranks by.
    pub fn tree(&self, direction: Direction) -> CallTree<'a> {
        CallTree {
            report: self.clone(),
            direction,
            library: Library::Folded,
            least_share: 0.01,
            source: false,
        }
    }
}

impl CallTree<'_> {
    /// Branches with a smaller share of the whole are left out: 0 to 1, 0.01 by default.
    #[must_use]
    pub fn least_share(mut self, share: f64) -> Self {
        self.least_share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self
    }

    /// Whether library frames are folded; by default they are.
    #[must_use]
    pub fn library(mut self, library: Library) -> Self {
        self.library = library;
        self
    }

    /// Prints each frame's line of source below it, where the file is there and the line known.
    ///
    /// # Overhead
    /// Reads these files.
    #[must_use]
    pub fn source(mut self) -> Self {
        self.source = true;
        self
    }
}

impl fmt::Display for CallTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::write_text(f, |text| write(self, text))
    }
}

fn write(call_tree: &CallTree<'_>, f: &mut String) -> fmt::Result {
    let report = &call_tree.report;
    let snapshot = report.snapshot;
    let mut namer = Namer::of_snapshot(snapshot, &report.options.own, call_tree.library);
    let mut stacks = of_contexts(&mut namer, snapshot);
    if call_tree.direction == Direction::Callers {
        stacks.iter_mut().for_each(|stack| stack.reverse());
    }
    let mut tree: Tree<1> = Tree::new();
    for (weight, stack) in report.rank.weights(snapshot).into_iter().zip(&stacks) {
        if weight > 0 {
            tree.add(stack, [weight]);
        }
    }
    // Children come after their parents.
    let mut sums: Vec<u64> = tree.nodes.iter().map(|node| node.own[0]).collect();
    for at in (1..sums.len()).rev() {
        let around = tree.nodes[at].parent as usize;
        sums[around] = sums[around].saturating_add(sums[at]);
    }
    let whole = sums[0];
    let figure = |value: u64| match report.rank {
        Rank::Allocations => count(value),
        _ => bytes(value),
    };
    let title = match call_tree.direction {
        Direction::Callees => "CALL TREE, callees below their callers",
        Direction::Callers => "CALL TREE, callers below what they called",
    };
    let title = format!("{title}: {} {}", figure(whole), report.rank.title());
    writeln!(f, "{}", fit(&title, report.options.width))?;

    let mut source = Source::default();
    let mut left_out = 0_u64;
    let mut pending: Vec<(u32, usize, bool)> = vec![(0, 0, false)];
    while let Some((at, depth, is_alone)) = pending.pop() {
        let node = &tree.nodes[at as usize];
        if at > 0 {
            line(
                call_tree,
                &namer.names.names[node.name as usize],
                sums[at as usize],
                whole,
                depth,
                f,
                &mut source,
            )?;
        }
        let mut children: Vec<u32> = node.children.clone();
        children.sort_by_key(|&child| (u64::MAX - sums[child as usize], child));
        let is_shown = |&child: &u32| sums[child as usize] as f64 >= call_tree.least_share * whole as f64;
        let shown = children.iter().take_while(|child| is_shown(child)).count();
        left_out += (children.len() - shown) as u64;
        // The only child of an only child is no branch: it stands below without another step to the right.
        let is_branch = children.len() > 1;
        let step = usize::from(at > 0 && (is_branch || !is_alone));
        pending.extend(
            children[..shown]
                .iter()
                .rev()
                .map(|&child| (child, depth + step, !is_branch)),
        );
    }
    if left_out > 0 {
        let least = 100.0 * call_tree.least_share;
        writeln!(f, "  branches below {least} % not shown: {}", count(left_out))?;
    }
    Ok(())
}

fn line(
    call_tree: &CallTree<'_>,
    name: &Name,
    value: u64,
    whole: u64,
    depth: usize,
    f: &mut String,
    source: &mut Source,
) -> fmt::Result {
    /// Deeper branches are indented no further: the name must stay readable.
    const MAX_INDENT: usize = 30;
    let report = &call_tree.report;
    let indent = (depth * 2).min(MAX_INDENT);
    let figure = match report.rank {
        Rank::Allocations => count(value),
        _ => bytes(value),
    };
    let width = report.options.width.saturating_sub(22 + indent);
    let text = fit(&name.text, width);
    writeln!(f, "{figure:>11} {:>8}  {:indent$}{text}", share(value, whole), "")?;
    if call_tree.source
        && let Some(code) = source.line(&name.file, name.line)
    {
        writeln!(f, "{:22}{:indent$}| {}", "", "", fit(code, width.saturating_sub(2)))?;
    }
    Ok(())
}

/// Files that were read, each once.
#[derive(Default)]
struct Source(HashMap<String, Option<String>>);

impl Source {
    fn line(&mut self, file: &str, line: u32) -> Option<&str> {
        if file.is_empty() || line == 0 {
            return None;
        }
        let text = self
            .0
            .entry(file.to_owned())
            .or_insert_with(|| fs::read_to_string(file).ok());
        let line = text.as_ref()?.lines().nth(line as usize - 1)?.trim();
        (!line.is_empty()).then_some(line)
    }
}
