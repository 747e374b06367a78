//! What allocations were measured to cost, read from JSON.
//!
//! The lint knows nothing of `alloc-core`: it reads the documented fields of the snapshot format (`docs/snapshot-format.md`) that it
//! needs, with structs of its own. So a tool that only lints builds no allocator and no reader of debug information, and a
//! snapshot of a later build of the same schema version is read as well.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::LintError;
use crate::origin::is_own;

/// The version of the snapshot format that is read.
const SNAPSHOT_VERSION: u64 = 1;

/// What one place was measured to cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredSite {
    /// As the debug information has it, absolute or not.
    pub file: String,
    /// From 1; 0 when only the function is known.
    #[serde(default)]
    pub line: u32,
    /// As the debug information or the scope has it; empty when not known.
    #[serde(default)]
    pub function: String,
    /// Allocations and reallocations.
    #[serde(default)]
    pub allocations: u64,
    /// Requested bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Calls of the request, or turns of the loop, that these belong to.
    #[serde(default)]
    pub iterations: Option<u64>,
    /// What a detector called it.
    #[serde(default)]
    pub verdict: Option<String>,
}

/// Measured costs of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// In any order; several for one place are added up.
    pub sites: Vec<MeasuredSite>,
}

impl Profile {
    /// Reads a snapshot (see `docs/snapshot-format.md`), or an object with a list `sites` of [`MeasuredSite`].
    ///
    /// # Accuracy
    /// An allocation of a snapshot is charged to the innermost frame of its stack that is neither of the standard library nor of a
    /// fetched crate (registry, git, `vendor`): where the program's own code asks for memory. Where no stack was recorded, or its frames were
    /// not resolved, the scope's function stands in, without a line.
    ///
    /// # Errors
    /// [`LintError::is_format`] when the text is neither of the two, such as a report, or a snapshot of a version that this build does not
    /// know.
    pub fn from_json(text: &str) -> Result<Self, LintError> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| LintError::format(format!("read a profile: found no JSON: {error}")))?;
        // A report has sites, too, with costs of other names: they would be read as none.
        if value.get("report_version").is_some() {
            let message = "read a profile: found a report (`report_version`); give a snapshot of the same run, which \
                           `ALLOCSCOPE_SNAPSHOT=path` writes";
            return Err(LintError::format(message.to_owned()));
        }
        if value.get("sites").is_some() {
            return serde_json::from_value(value)
                .map_err(|error| LintError::format(format!("read a list of measured sites: {error}")));
        }
        let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
        match (version, value.get("contexts")) {
            (Some(SNAPSHOT_VERSION), Some(_)) => {}
            (Some(version), Some(_)) => {
                let message =
                    format!("read a snapshot: found schema version {version}, this build reads {SNAPSHOT_VERSION}");
                return Err(LintError::format(message));
            }
            _ => {
                let message = "read a profile: found neither a snapshot (`contexts`) nor a list of measured `sites`";
                return Err(LintError::format(message.to_owned()));
            }
        }
        let snapshot: Snapshot =
            serde_json::from_value(value).map_err(|error| LintError::format(format!("read a snapshot: {error}")))?;
        Ok(snapshot.profile())
    }
}

#[derive(Deserialize)]
struct Snapshot {
    scopes: Vec<Scope>,
    contexts: Vec<Context>,
    stacks: Vec<Stack>,
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Scope {
    id: u64,
    parent: Option<u64>,
    name: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    kind: String,
    calls: Calls,
}

#[derive(Deserialize)]
struct Calls {
    entered: u64,
    #[serde(default)]
    completed: u64,
}

impl Calls {
    /// Outermost calls. `entered` counts recursive entries, too, so calls that are open are seen only while none has ended: then a call that
    /// recursed counts more than once.
    fn outermost(&self) -> u64 {
        match self.completed {
            0 => self.entered,
            completed => completed,
        }
    }
}

#[derive(Deserialize)]
struct Context {
    scope: u64,
    stack: Option<usize>,
    counters: Counters,
}

#[derive(Deserialize)]
struct Counters {
    total_allocations: u64,
    #[serde(default)]
    total_reallocations: u64,
    total_bytes: u64,
}

#[derive(Deserialize)]
struct Stack {
    frames: Vec<usize>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    symbols: Vec<Symbol>,
}

#[derive(Deserialize)]
struct Symbol {
    function: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    line: u32,
}

/// A place while contexts are added up.
#[derive(Default)]
struct Sum {
    allocations: u64,
    bytes: u64,
    /// Scopes whose calls are the iterations.
    iterated: BTreeSet<u64>,
}

impl Snapshot {
    fn profile(&self) -> Profile {
        let scopes: HashMap<u64, &Scope> = self.scopes.iter().map(|scope| (scope.id, scope)).collect();
        let mut sums: BTreeMap<(&str, u32, &str), Sum> = BTreeMap::new();
        for context in &self.contexts {
            let place = context.stack.and_then(|stack| self.own_place(stack));
            let scope = scopes.get(&context.scope);
            let place = place.or_else(|| scope.map(|scope| (scope.file.as_str(), 0, scope.name.as_str())));
            let Some(place) = place.filter(|(file, ..)| !file.is_empty()) else {
                continue;
            };
            let sum = sums.entry(place).or_default();
            let events = context
                .counters
                .total_allocations
                .saturating_add(context.counters.total_reallocations);
            sum.allocations = sum.allocations.saturating_add(events);
            sum.bytes = sum.bytes.saturating_add(context.counters.total_bytes);
            sum.iterated.extend(iterated(&scopes, context.scope));
        }
        let sites = sums.into_iter().map(|((file, line, function), sum)| {
            let turns = sum
                .iterated
                .iter()
                .filter_map(|id| scopes.get(id))
                .map(|scope| scope.calls.outermost());
            MeasuredSite {
                file: file.to_owned(),
                line,
                function: function.to_owned(),
                allocations: sum.allocations,
                bytes: sum.bytes,
                iterations: (!sum.iterated.is_empty()).then(|| turns.fold(0, u64::saturating_add)),
                verdict: None,
            }
        });
        Profile { sites: sites.collect() }
    }

    /// The innermost source frame in the program's own code.
    fn own_place(&self, stack: usize) -> Option<(&str, u32, &str)> {
        let frames = &self.stacks.get(stack)?.frames;
        let symbols = frames
            .iter()
            .filter_map(|frame| self.frames.get(*frame))
            .flat_map(|frame| &frame.symbols);
        symbols
            .filter(|symbol| is_own(&symbol.function, &symbol.file))
            .map(|symbol| (symbol.file.as_str(), symbol.line, symbol.function.as_str()))
            .next()
    }
}

/// The nearest request or loop around a scope, itself included.
fn iterated(scopes: &HashMap<u64, &Scope>, id: u64) -> Option<u64> {
    let mut next = Some(id);
    // A chain of parents is no longer than there are scopes, whatever the file says.
    for _ in 0..scopes.len() {
        let scope = scopes.get(&next?)?;
        if matches!(scope.kind.as_str(), "request" | "loop") {
            return Some(scope.id);
        }
        next = scope.parent;
    }
    None
}
