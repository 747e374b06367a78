//! What to change, in words and in Rust.
//!
//! Called by `judge`. Read side; pure functions. The way a line builds its value decides first (a clone is to be borrowed, whatever it holds), then the
//! verdict, the kind of loop, and the collection. Invariant: nothing is advised that cannot work where the line stands: a block that lives across an
//! `.await` or goes to another thread is never to be kept by a thread.
#![forbid(unsafe_code)]

mod idioms;
mod keep;
mod reserve;
mod share;

use super::elements::Collection;
use super::finding::{Finding, Suggestion, Verdict};
use super::making::Making;
use super::rules::Seen;
use crate::ids::ScopeKind;
use crate::report::bytes;

pub(super) use reserve::with_capacity;

/// What all advice is about.
struct About<'a> {
    finding: &'a Finding,
    collection: Collection,
    /// `request`, `turn`, `iteration`.
    noun: &'static str,
    /// Where the loop begins; empty for requests.
    loop_place: String,
}

pub(super) fn suggestion(finding: &Finding, seen: &Seen) -> Suggestion {
    let collection = finding.line.collection.as_deref().map(Collection::of);
    let about = About {
        finding,
        collection: collection.unwrap_or_default(),
        noun: finding.iteration.noun(),
        loop_place: if finding.iteration.kind == ScopeKind::Loop {
            crate::symbolize::short_path(&finding.iteration.file, None) + &format!(":{}", finding.iteration.line)
        } else {
            String::new()
        },
    };
    match (finding.verdict, &seen.making) {
        (Verdict::Retained, _) => retained(&about),
        (Verdict::ReserveCapacity, _) => reserve::suggestion(&about),
        (Verdict::CacheValue, Some(Making::Compile(compiled))) => idioms::compile(compiled),
        (Verdict::CacheValue, _) => idioms::same(&about),
        (_, Some(Making::Parse(parser))) => idioms::parse(parser, about.noun),
        (_, Some(Making::Clone)) => idioms::clone(&about),
        _ if seen.is_of_dependency => keep::of_dependency(&about),
        (_, Some(Making::Copy)) => idioms::copy(&about),
        (_, Some(Making::Sort)) => idioms::sort(),
        (Verdict::Pool, _) if seen.is_of_nodes && !finding.crosses => keep::nodes(&about),
        (_, making) if about.borrows() => keep::borrowed(&about, making.as_ref()),
        (Verdict::Pool, _) => share::suggestion(&about),
        (_, Some(Making::Format | Making::Join)) => keep::text(&about, seen.making.as_ref()),
        _ => keep::suggestion(&about, seen.making.as_ref()),
    }
}

fn retained(about: &About<'_>) -> Suggestion {
    let left = bytes(about.finding.cost.bytes.round() as u64);
    Suggestion {
        explanation: format!(
            "Each {} leaves about {left} behind. That is no rebuild, and may be meant: a cache that fills, sessions, results that are collected. \
             Leak detection judges it; two snapshots and `SnapshotDiff` show what stays.",
            about.noun
        ),
        code: String::new(),
    }
}

impl About<'_> {
    fn is_loop(&self) -> bool {
        self.finding.iteration.kind == ScopeKind::Loop
    }

    /// Its elements are references, so that it cannot outlive what they refer to.
    fn borrows(&self) -> bool {
        self.collection
            .parameters
            .iter()
            .any(|parameter| parameter.contains('&'))
    }

    fn variable(&self) -> &'static str {
        match self.collection.name.as_str() {
            "HashSet" | "BTreeSet" => "set",
            "HashMap" | "BTreeMap" => "map",
            "String" => "text",
            "VecDeque" => "queue",
            "BinaryHeap" => "heap",
            "PathBuf" | "OsString" => "path",
            _ => "buffer",
        }
    }

    /// The type as it is written: `HashSet<u64>`; examples stand for parameters that are not known.
    fn type_name(&self) -> String {
        let name = self.collection.name.as_str();
        if !self.collection.parameters.is_empty() {
            return format!("{name}<{}>", self.collection.parameters.join(", "));
        }
        match name {
            "HashMap" | "BTreeMap" => format!("{name}<Key, Value>"),
            "HashSet" | "BTreeSet" => format!("{name}<Key>"),
            "String" | "PathBuf" | "OsString" | "CString" => name.to_owned(),
            "" => "Vec<Item>".to_owned(),
            _ => format!("{name}<Item>"),
        }
    }

    /// One statement that fills the variable.
    fn fill(&self) -> String {
        let variable = self.variable();
        match self.collection.name.as_str() {
            "String" => {
                format!("let _ = write!({variable}, \"{{id}}: {{name}}\"); // `use std::fmt::Write as _;`; cannot fail")
            }
            "PathBuf" => format!("{variable}.push(directory);"),
            "OsString" => format!("{variable}.push(part);"),
            _ => format!("{variable}.extend(values);"),
        }
    }
}
