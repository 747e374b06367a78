//! pprof profiles: gzipped protobuf, as `go tool pprof` and its relatives read them.
//!
//! Called by `Export`. Read side. Messages are those of `profile.proto`, as far as they are used. Four sample types as Go's heap profile has
//! them, and a fifth for the peak; the scopes of a sample are labels. Every frame keeps its address and its module's build id, so a profile
//! that is not symbolised can be, by a tool that has the binary.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use prost::Message;

use super::Options;
use crate::model::{Frame, ScopeNodeId, Snapshot, Symbol};
use crate::report::Rank;
use crate::symbolize::{Origin, qualified_function};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub(super) sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub(super) sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(super) mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    pub(super) location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub(super) function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub(super) string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub(super) time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub(super) duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub(super) period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub(super) period: i64,
    #[prost(int64, repeated, tag = "13")]
    pub(super) comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    pub(super) default_sample_type: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueType {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    #[prost(int64, tag = "2")]
    pub(super) unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(int64, tag = "1")]
    pub(super) key: i64,
    #[prost(int64, tag = "2")]
    pub(super) text: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) memory_start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) memory_limit: u64,
    #[prost(uint64, tag = "4")]
    pub(super) file_offset: u64,
    #[prost(int64, tag = "5")]
    pub(super) filename: i64,
    #[prost(int64, tag = "6")]
    pub(super) build_id: i64,
    #[prost(bool, tag = "7")]
    pub(super) has_functions: bool,
    #[prost(bool, tag = "8")]
    pub(super) has_filenames: bool,
    #[prost(bool, tag = "9")]
    pub(super) has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    pub(super) has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Location {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub(super) address: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Line {
    #[prost(uint64, tag = "1")]
    pub(super) function_id: u64,
    #[prost(int64, tag = "2")]
    pub(super) line: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "2")]
    pub(super) name: i64,
    #[prost(int64, tag = "4")]
    pub(super) filename: i64,
}

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let bytes = profile(snapshot, options).encode_to_vec();
    // No time in the header: the same snapshot gives the same bytes.
    let mut gzip = GzBuilder::new().mtime(0).write(out, Compression::default());
    gzip.write_all(&bytes)?;
    gzip.finish().map(drop)
}

pub(super) fn profile(snapshot: &Snapshot, options: &Options) -> Profile {
    let mut build = Builder::new(snapshot);
    let bytes = build.text("bytes");
    let count = build.text("count");
    let types = [
        ("alloc_objects", count),
        ("alloc_space", bytes),
        ("inuse_objects", count),
        ("inuse_space", bytes),
        ("peak_space", bytes),
    ];
    for (name, unit) in types {
        let kind = build.text(name);
        build.profile.sample_type.push(ValueType { kind, unit });
    }
    build.profile.default_sample_type = build.text(match options.rank {
        None | Some(Rank::Live) => "inuse_space",
        Some(Rank::Allocations) => "alloc_objects",
        Some(Rank::Peak) => "peak_space",
        Some(Rank::Bytes | Rank::Copied | Rank::Temporary) => "alloc_space",
    });
    // As Go's profiles have it: the mean number of bytes between samples, and 1 where every allocation counts. Figures are estimates of the
    // whole already.
    let kind = build.text("space");
    build.profile.period_type = Some(ValueType { kind, unit: bytes });
    let interval = snapshot.sampling.as_ref().map_or(1, |sampling| sampling.interval_bytes);
    build.profile.period = i64::try_from(interval).unwrap_or(i64::MAX);
    build.profile.time_nanos = nanos(snapshot.taken_at_unix_ms);
    build.profile.duration_nanos = nanos(snapshot.uptime_ms);
    let comment = build.text(&format!(
        "allocscope {}: {}, mode {}",
        env!("CARGO_PKG_VERSION"),
        snapshot.process.executable,
        snapshot.mode
    ));
    build.profile.comment.push(comment);

    build.mappings();
    let mut location_of: Vec<Option<u64>> = vec![None; snapshot.frames.len()];
    let places: HashMap<ScopeNodeId, usize> = snapshot.scopes.iter().map(|scope| scope.id).zip(0..).collect();
    for context in &snapshot.contexts {
        let scopes = scope_path(snapshot, &places, context.scope);
        let stack = context.stack.and_then(|stack| snapshot.stacks.get(stack as usize));
        let mut location_id = Vec::new();
        for &at in stack.map_or(&[][..], |stack| stack.frames) {
            let Some(frame) = snapshot.frames.get(at as usize) else {
                continue;
            };
            let id = *location_of[at as usize].get_or_insert_with(|| build.location(frame, options));
            // 0: nothing but the tracker's own.
            location_id.extend((id > 0).then_some(id));
        }
        if location_id.is_empty() {
            location_id = build.scope_locations(snapshot, &scopes);
        }
        let c = &context.counters;
        let value = [
            c.total_allocations,
            c.total_bytes,
            c.live_blocks,
            c.live_bytes,
            c.bytes_at_peak,
        ];
        if value == [0; 5] {
            continue;
        }
        let label = build.labels(snapshot, &scopes);
        build.profile.sample.push(Sample {
            location_id,
            value: value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)).to_vec(),
            label,
        });
    }
    build.profile
}

fn nanos(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

/// Places of a scope and those around it, innermost first, the root left out.
fn scope_path(snapshot: &Snapshot, places: &HashMap<ScopeNodeId, usize>, scope: ScopeNodeId) -> Vec<usize> {
    let mut path = Vec::new();
    let mut at = places.get(&scope).copied();
    while let Some(place) = at.filter(|&place| place > 0) {
        path.push(place);
        // Parents come first; anything else would be a cycle.
        let parent = snapshot.scopes[place]
            .parent
            .and_then(|parent| places.get(&parent).copied());
        at = parent.filter(|&parent| parent < place);
    }
    path
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    scope_locations: HashMap<usize, u64>,
}

impl<'a> Builder<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let profile = Profile {
            // The first text must be the empty one.
            string_table: vec![String::new()],
            ..Profile::default()
        };
        Self {
            snapshot,
            profile,
            texts: HashMap::from([(String::new(), 0)]),
            functions: HashMap::new(),
            scope_locations: HashMap::new(),
        }
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(&at) = self.texts.get(text) {
            return at;
        }
        let at = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), at);
        at
    }

    /// One mapping for each module. Tools take the first for the program itself: that comes first, whatever module comes first in the snapshot.
    fn mappings(&mut self) {
        let snapshot = self.snapshot;
        let mut limits = vec![0_u64; snapshot.modules.len()];
        let mut named = vec![(true, false, false); snapshot.modules.len()];
        for frame in &snapshot.frames {
            let Some(at) = frame
                .module
                .map(|module| module as usize)
                .filter(|at| *at < limits.len())
            else {
                continue;
            };
            limits[at] = limits[at].max(frame.offset);
            let (functions, files, inlined) = &mut named[at];
            *functions &= !frame.symbols.is_empty();
            *files |= frame.symbols.iter().any(|symbol| !symbol.file.is_empty());
            *inlined |= frame.symbols.len() > 1;
        }
        for (at, module) in snapshot.modules.iter().enumerate() {
            let (has_functions, has_filenames, has_inline_frames) = named[at];
            let filename = self.text(&module.path);
            // Where the linker wrote no id, ours means nothing to other tools.
            let is_gnu = !module.build_id.is_empty() && module.build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
            let build_id = self.text(if is_gnu { &module.build_id } else { "" });
            // To the byte, not to the page: `go tool pprof` takes the beginning for the link-time address of the code, others compute it from
            // the place in the file, and to both of them this is right. Of a module without its code, all up to its last address.
            let code = module.code.unwrap_or_default();
            let end = code
                .address
                .saturating_add(code.bytes)
                .max(limits[at].saturating_add(1));
            self.profile.mapping.push(Mapping {
                id: at as u64 + 1,
                memory_start: module.load_address.saturating_add(code.address),
                memory_limit: module.load_address.saturating_add(end),
                file_offset: code.file_offset,
                filename,
                build_id,
                has_functions,
                has_filenames: has_functions && has_filenames,
                has_line_numbers: has_functions && has_filenames,
                has_inline_frames: has_functions && has_inline_frames,
            });
        }
        if let Some(program) = super::program_of(snapshot) {
            self.profile.mapping[..=program].rotate_right(1);
        }
    }

    /// The location of a frame; 0 for one that is nothing but the tracker's.
    fn location(&mut self, frame: &Frame, options: &Options) -> u64 {
        let symbols = frame.symbols.iter();
        let shown: Vec<&Symbol> = symbols
            .filter(|symbol| options.own.origin(symbol) != Origin::Tracker)
            .collect();
        if shown.is_empty() && !frame.symbols.is_empty() {
            return 0;
        }
        let line = shown
            .into_iter()
            .map(|symbol| {
                let name = qualified_function(symbol);
                let name = if name.is_empty() { "?" } else { &name };
                Line {
                    function_id: self.function(name, &symbol.file),
                    line: i64::from(symbol.line),
                }
            })
            .collect();
        let modules = &self.snapshot.modules;
        let module = frame.module.and_then(|at| Some((at, modules.get(at as usize)?)));
        let base = module.map_or(0, |(_, module)| module.load_address);
        let mapping_id = module.map_or(0, |(at, _)| u64::from(at) + 1);
        // Inside the call instruction, not behind it.
        let address = base.wrapping_add(frame.offset).wrapping_sub(1);
        self.push_location(mapping_id, address, line)
    }

    fn push_location(&mut self, mapping_id: u64, address: u64, line: Vec<Line>) -> u64 {
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location {
            id,
            mapping_id,
            address,
            line,
        });
        id
    }

    /// What stands for the stack where none was recorded: the scopes, innermost first.
    fn scope_locations(&mut self, snapshot: &Snapshot, scopes: &[usize]) -> Vec<u64> {
        let unknown = std::iter::once(0);
        let places: Vec<usize> = unknown.chain(scopes.iter().copied()).collect();
        places
            .into_iter()
            .map(|place| {
                if let Some(&known) = self.scope_locations.get(&place) {
                    return known;
                }
                let node = &snapshot.scopes[place];
                let name = if place == 0 {
                    "(no call stack recorded)"
                } else {
                    &node.name
                };
                let function_id = self.function(name, &node.file);
                let line = Line {
                    function_id,
                    line: i64::from(node.line),
                };
                let id = self.push_location(0, 0, vec![line]);
                self.scope_locations.insert(place, id);
                id
            })
            .collect()
    }

    /// Without a system name: `go tool pprof` would take what is in angle brackets off a name that equals it.
    fn function(&mut self, name: &str, file: &str) -> u64 {
        let (name, filename) = (self.text(name), self.text(file));
        if let Some(&known) = self.functions.get(&(name, filename)) {
            return known;
        }
        let id = self.profile.function.len() as u64 + 1;
        self.profile.function.push(Function { id, name, filename });
        self.functions.insert((name, filename), id);
        id
    }

    /// `scope`: the innermost; `scope_path`: all of them, where there are several.
    fn labels(&mut self, snapshot: &Snapshot, scopes: &[usize]) -> Vec<Label> {
        let mut labels = Vec::new();
        if let Some(&innermost) = scopes.first() {
            let (key, text) = (self.text("scope"), self.text(&snapshot.scopes[innermost].name));
            labels.push(Label { key, text });
        }
        if scopes.len() > 1 {
            let names: Vec<&str> = scopes
                .iter()
                .rev()
                .map(|&at| snapshot.scopes[at].name.as_str())
                .collect();
            let (key, text) = (self.text("scope_path"), self.text(&names.join(" > ")));
            labels.push(Label { key, text });
        }
        labels
    }
}
