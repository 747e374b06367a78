//! The static score: how likely and how dear, from the source alone.
//!
//! Called by `candidates`. A sum of a few numbers, in `docs/linting.md` for readers of reports; a change here is a change there.
#![forbid(unsafe_code)]

use crate::kinds::Kind;
use crate::walk::flow::{Creation, Depends, Loop};

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    No,
    /// The function is one.
    Own,
    /// A function that is one calls it.
    Called,
}

/// A clone whose type is not seen may be of anything: it stays below the default threshold wherever it is.
const MOST_OF_A_GUESSED_CLONE: i32 = 20;

/// 0 to 100.
pub(crate) fn rank(creation: &Creation, depends: Depends, loops: &[&Loop], request: Request) -> u8 {
    let made = &creation.made;
    let mut rank = base(made.kind, &made.how);
    if made.is_guess {
        rank -= 10;
    }
    rank += match request {
        Request::No => 0,
        Request::Own => 20,
        Request::Called => 10,
    };
    if !loops.is_empty() {
        rank += 15 + 10 * (loops.len() as i32 - 1).min(2);
    }
    rank += match depends {
        Depends::Nothing | Depends::Outside => 15,
        Depends::Turn => 0,
    };
    if creation.is_conditional {
        rank -= 10;
    }
    if loops.last().is_some_and(|inner| inner.is_short || inner.waits) {
        rank -= 20;
    }
    if made.kind == Kind::Clone && made.is_guess {
        rank = rank.min(MOST_OF_A_GUESSED_CLONE);
    }
    rank.clamp(0, 100) as u8
}

fn base(kind: Kind, how: &str) -> i32 {
    match kind {
        Kind::Regex => 60,
        Kind::HashMap | Kind::HashSet | Kind::BTreeMap | Kind::BTreeSet | Kind::BinaryHeap => 45,
        Kind::Vec | Kind::VecDeque => 40,
        Kind::Clone => 35,
        Kind::Json => 35,
        Kind::Collected => 35,
        Kind::String if how == "format!" => 30,
        Kind::String if how.starts_with(['.', '`']) => 25,
        Kind::String => 35,
        Kind::PathBuf => 25,
        Kind::Box | Kind::Rc | Kind::Arc => 10,
    }
}
