//! The scope tree in the order and shape it is printed, and the table that it is printed in.
//!
//! Called by both reports. Read side. Chooses the heaviest scopes, keeps whatever they run inside, and yields them depth
//! first, heaviest first. Cost: a sort; no recursion, so a deep tree is harmless.
#![forbid(unsafe_code)]

use super::units::{WIDTH, fit};
use crate::symbolize::short_function;

/// One printed scope.
pub(super) struct Row {
    /// Index of the scope.
    pub(super) at: usize,
    /// 0 for the root.
    pub(super) depth: usize,
}

/// The `top` scopes of largest `weight` with their ancestors, depth first. `parents[0]` is the root; every other
/// parent is smaller than its child. Also tells how many scopes were left out.
pub(super) fn tree(parents: &[Option<usize>], weight: impl Fn(usize) -> u64, top: usize) -> (Vec<Row>, usize) {
    if parents.is_empty() {
        return (Vec::new(), 0);
    }
    let heaviest_first = |order: &mut Vec<usize>| order.sort_by(|&a, &b| weight(b).cmp(&weight(a)).then(a.cmp(&b)));
    let mut order: Vec<usize> = (1..parents.len()).collect();
    heaviest_first(&mut order);
    order.truncate(top);

    let mut chosen = vec![false; parents.len()];
    chosen[0] = true;
    for mut at in order {
        while !chosen[at] {
            chosen[at] = true;
            at = parents[at].unwrap_or(0);
        }
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
    for at in (1..parents.len()).filter(|&at| chosen[at]) {
        children[parents[at].unwrap_or(0)].push(at);
    }
    for siblings in &mut children {
        heaviest_first(siblings);
    }
    let mut rows = Vec::new();
    let mut pending = vec![Row { at: 0, depth: 0 }];
    while let Some(row) = pending.pop() {
        pending.extend(children[row.at].iter().rev().map(|&at| Row {
            at,
            depth: row.depth + 1,
        }));
        rows.push(row);
    }
    let left_out = chosen.iter().filter(|chosen| !**chosen).count();
    (rows, left_out)
}

/// The table of scopes: a column of names, which is as wide as the report lets it be, and five of figures.
pub(super) struct Table {
    /// Columns of the names.
    name: usize,
}

impl Table {
    /// Columns that five figures take.
    const FIGURES: usize = 58;
    /// Wider than this, a name is too far from its figures to be read with them.
    const MOST: usize = 60;

    /// The table in a report of so many columns.
    pub(super) fn new(width: usize) -> Self {
        let name = width.max(WIDTH) - Self::FIGURES;
        Self {
            name: name.min(Self::MOST),
        }
    }

    /// A scope's name, or that of the root, indented by its depth, in exactly the width of its column.
    pub(super) fn label(&self, name: Option<&String>, depth: usize) -> String {
        /// Deeper scopes are indented no further: the name must stay readable.
        const MAX_INDENT: usize = 10;
        let indent = (depth * 2).min(MAX_INDENT);
        let room = self.name - indent;
        let name = name.map_or_else(|| "whole program".to_owned(), |name| short_scope(name));
        format!("{:indent$}{:room$}", "", fit(&name, room))
    }

    /// A line: the name and its figures.
    pub(super) fn line(&self, name: &str, figures: [String; 5]) -> String {
        let [a, b, c, d, e] = figures;
        format!("{name:<0$}{a:>10}{b:>12}{c:>12}{d:>12}{e:>12}", self.name)
    }

    /// The line above the figures.
    pub(super) fn heading(&self, title: &str, heads: [&str; 5]) -> String {
        self.line(title, heads.map(str::to_owned))
    }
}

/// `handler > check_fraud`, with the ancestors as far as they fit.
pub(super) fn path(names: &[&str], width: usize) -> String {
    let mut out = String::new();
    for name in names.iter().rev() {
        let name = short_scope(name);
        let longer = if out.is_empty() {
            name
        } else {
            format!("{name} > {out}")
        };
        if !out.is_empty() && longer.chars().count() > width {
            break;
        }
        out = longer;
    }
    fit(&out, width)
}

/// Default names are whole paths; given names are left as they are.
fn short_scope(name: &str) -> String {
    if name.contains("::") {
        short_function(name)
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_come_first_and_bring_their_ancestors() {
        // 0 > 1 > 2 > 3, 0 > 4, 0 > 5
        let parents = [None, Some(0), Some(1), Some(2), Some(0), Some(0)];
        let weights = [100, 1, 2, 50, 60, 5];
        let (rows, left_out) = tree(&parents, |at| weights[at], 2);
        let shape: Vec<_> = rows.iter().map(|row| (row.at, row.depth)).collect();
        assert_eq!(shape, [(0, 0), (4, 1), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(left_out, 1);
    }

    #[test]
    fn a_deep_tree_is_harmless() {
        let parents: Vec<Option<usize>> = (0..200_000_usize).map(|at| at.checked_sub(1)).collect();
        let (rows, left_out) = tree(&parents, |_| 1, 200_000);
        assert_eq!((rows.len(), left_out), (200_000, 0));
        assert_eq!(Table::new(80).label(None, rows[199_999].depth).len(), 22);
    }

    #[test]
    fn labels_and_paths_fit() {
        let (narrow, wide) = (Table::new(80), Table::new(500));
        assert_eq!(
            narrow.label(Some(&"shop::fraud::check".to_owned()), 1),
            "  fraud::check        "
        );
        let long = "x".repeat(99);
        assert_eq!(
            [&narrow, &wide].map(|table| table.label(Some(&long), 2).len()),
            [22, 60]
        );
        let figures = ["1", "2", "3", "4", "5"].map(str::to_owned);
        assert_eq!(wide.line(&wide.label(None, 0), figures).len(), 118);
        assert_eq!(path(&["a::b::handler", "check"], 30), "b::handler > check");
        assert_eq!(path(&["a::b::handler", "check"], 12), "check");
    }
}
