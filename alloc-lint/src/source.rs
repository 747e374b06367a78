//! A file's text, read into a tree; or why not.
//!
//! Called by `lint`, twice a file: for the index, and for the walk. Trees are not kept, so memory follows the largest file.
#![forbid(unsafe_code)]

use crate::comments::{self, Scan};
use crate::model::{Note, NoteKind};
use crate::names::Names;

/// Deeper brackets than people write. The parser and the walk go down the tree by recursion, see [`crate::lint::STACK_BYTES`].
const MAX_DEPTH: usize = 250;
/// More prefix operators in a row than people write.
const MAX_PREFIXES: usize = 1000;
/// Chains of operators and of `else if` are levels of the tree, too: no file may be all one expression.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A file that was understood.
pub(crate) struct Source {
    pub(crate) tree: syn::File,
    pub(crate) names: Names,
    pub(crate) scan: Scan,
}

/// Parses `text`; a note if it is no Rust.
pub(crate) fn parse(name: &str, text: &str) -> Result<Source, Note> {
    let note = |line, message: String| Note {
        file: name.to_owned(),
        line,
        kind: NoteKind::Unparsed,
        message,
    };
    let scan = comments::scan(text);
    if scan.depth > MAX_DEPTH || scan.prefix_run > MAX_PREFIXES || text.len() > MAX_BYTES {
        return Err(note(
            0,
            format!(
                "is nested more than {MAX_DEPTH} deep, or larger than 8 MiB: left out; generated code is best ignored"
            ),
        ));
    }
    let tree = syn::parse_file(text).map_err(|error| {
        note(
            error.span().start().line,
            format!("is not understood as Rust: {error}; left out"),
        )
    })?;
    let names = Names::read(&tree);
    Ok(Source { tree, names, scan })
}
