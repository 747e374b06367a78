//! Lists collections that Rust source makes anew in every turn of a loop, or in every request, without running anything.
//!
//! The static companion of Allocscope's detector of rebuilt collections: that one measures, this one reads. A reviewer gets a list of
//! places with a reason and a fix for each; with a [`Profile`] of the same program each place carries what it was measured to cost,
//! and the dear ones come first.
//!
//! ```
//! use alloc_lint::{Options, lint_source};
//!
//! let text = r#"
//! #[track_memory(request)]
//! fn is_risky(store: &Store, user: u64) -> Result<bool, Error> {
//!     let text = store.get("risky_users")?;
//!     let risky: HashSet<u64> = serde_json::from_str(&text)?;
//!     Ok(risky.contains(&user))
//! }
//! "#;
//! let report = lint_source("src/fraud.rs", text, &Options::default())?;
//! let candidate = &report.candidates[0];
//! assert_eq!((candidate.line, candidate.type_text.as_str()), (5, "HashSet<u64>"));
//! println!("{}", report.to_text());
//! # Ok::<(), alloc_lint::LintError>(())
//! ```
//!
//! What it looks for, what it cannot see, how to allow a place by a comment, and how ranks come about: `docs/linting.md`.
//! It prefers silence to noise: a value that leaves the turn it was made in is no candidate, and neither is one of which that cannot be seen.
//!
//! Nothing here depends on `alloc-core`, and nothing in `alloc-core` depends on this.
#![forbid(unsafe_code)]

mod attributes;
mod candidates;
mod comments;
mod depth;
mod error;
mod files;
mod id;
mod index;
mod kinds;
mod lint;
mod matching;
mod model;
mod names;
mod options;
mod origin;
mod outline;
mod profile;
mod rank;
mod source;
mod suggest;
mod suppress;
mod text;
mod types;
mod walk;

pub use error::LintError;
pub use kinds::Kind;
pub use lint::{lint_paths, lint_source};
pub use model::{
    Candidate, LoopKind, LoopPlace, MatchedBy, Measured, Note, NoteKind, Report, RequestPlace, SCHEMA_VERSION,
    Suppressed,
};
pub use options::{DEFAULT_MIN_RANK, Options, Tests};
pub use profile::{MeasuredSite, Profile};
