//! Heap profiles of Chrome DevTools: Memory panel, "Load".
//!
//! Called by `Export`. Read side. The format holds one size for each node of a tree; DevTools calls it what is alive, so live bytes are
//! what it gets unless another rank is asked for. Written as it is walked: a tree as deep as its stacks needs no recursion.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde_json::json;

use super::Options;
use crate::model::Snapshot;
use crate::report::Rank;
use crate::report::stacks::{Name, Namer, Tree, of_contexts};

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let rank = options.rank.unwrap_or(Rank::Live);
    let mut namer = Namer::of_snapshot(snapshot, &options.own, options.library);
    let stacks = of_contexts(&mut namer, snapshot);
    let mut tree: Tree<1> = Tree::new();
    for (value, stack) in rank.weights(snapshot).into_iter().zip(stacks) {
        if value > 0 {
            tree.add(&stack, [value]);
        }
    }
    let root = Name {
        text: "(root)".to_owned(),
        file: String::new(),
        line: 0,
    };

    out.write_all(b"{\"head\":")?;
    // The nodes that are open, each with the number of its children written so far.
    let mut open: Vec<(u32, usize)> = Vec::new();
    begin(out, &root, 0, &tree)?;
    open.push((0, 0));
    while let Some((at, written)) = open.last_mut() {
        let children = &tree.nodes[*at as usize].children;
        let Some(&child) = children.get(*written) else {
            out.write_all(b"]}")?;
            open.pop();
            continue;
        };
        if *written > 0 {
            out.write_all(b",")?;
        }
        *written += 1;
        let name = &namer.names.names[tree.nodes[child as usize].name as usize];
        begin(out, name, child, &tree)?;
        open.push((child, 0));
    }
    out.write_all(b",\"samples\":[")?;
    let sized = (0_u32..).zip(&tree.nodes).filter(|(_, node)| node.own[0] > 0);
    for (ordinal, (at, node)) in sized.enumerate() {
        if ordinal > 0 {
            out.write_all(b",")?;
        }
        let sample = json!({ "size": node.own[0], "nodeId": at + 1, "ordinal": ordinal + 1 });
        write!(out, "{sample}")?;
    }
    out.write_all(b"]}")
}

/// A node up to its children.
fn begin(out: &mut dyn Write, name: &Name, at: u32, tree: &Tree<1>) -> io::Result<()> {
    // Lines and columns count from 0, and -1 stands for none.
    let frame = json!({
        "functionName": name.text,
        "scriptId": "0",
        "url": name.file,
        "lineNumber": i64::from(name.line) - 1,
        "columnNumber": -1,
    });
    let size = tree.nodes[at as usize].own[0];
    write!(
        out,
        "{{\"callFrame\":{frame},\"selfSize\":{size},\"id\":{},\"children\":[",
        at + 1
    )
}
