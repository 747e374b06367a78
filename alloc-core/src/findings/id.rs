//! Names of findings that survive edits.
//!
//! Called by `judge`. Read side; pure functions. An id is made of what a person calls things: the loop's scope, the function, the kind of
//! collection; and of a number where these are the same, in the order of lines. Neither lines, nor verdicts, nor type parameters are in it.
#![forbid(unsafe_code)]

use super::elements::Collection;
use super::finding::CodeLine;

/// What two findings of one id have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    scope: String,
    function: String,
    kind: String,
}

impl Key {
    pub(super) fn of(scope: &str, line: &CodeLine) -> Self {
        let collection = line.collection.as_deref().map(Collection::of);
        Self {
            scope: scope.to_owned(),
            // Without symbols a line is its address, and the id is good for one build.
            function: if line.function.is_empty() {
                line.place.clone()
            } else {
                line.function.clone()
            },
            kind: collection.map(|collection| collection.name).unwrap_or_default(),
        }
    }

    /// FNV-1a of the parts with a zero between them, the upper 48 bits.
    pub(super) fn id(&self, ordinal: usize) -> String {
        let ordinal = ordinal.to_string();
        let parts = [&self.scope, &self.function, &self.kind, &ordinal];
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{:012x}", hash >> 16)
    }
}
