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
/// Longer expressions and types than people write: chains of operators, of `return` and of `else if` are levels of the tree, too. Counted as
/// [`crate::depth`] says; of 15,834 files of a registry the longest has 1,436.
///
/// A debug build's stack holds 15,000 tokens of each of 43 ways to nest that were tried, one at a time, by making the text longer until the
/// process was killed. The dearest are `<` and `&` in types, a level with a token: 15,000 and 15,491 levels were read, 35 KB each; of `if`
/// 33,750, of `x =` 60,750. So this is a third of what fits. A test in `lint` has a third of the stack.
pub(crate) const MAX_TOKENS: usize = 5_000;
/// A tree takes many times the memory of its text.
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
    if scan.tokens > MAX_TOKENS {
        let message =
            format!("has an expression of more than {MAX_TOKENS} tokens: left out; generated code is best ignored");
        return Err(note(0, message));
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
