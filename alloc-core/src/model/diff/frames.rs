//! The frames of two snapshots in one table, and what makes two of them the same.
//!
//! Read side; used by `SnapshotDiff::between`.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::{Matching, build_ids};
use crate::model::{Frame, Module, Snapshot};

/// What makes two frames the same. The string slices borrow from the snapshots.
#[derive(PartialEq, Eq, Hash)]
enum FrameKey<'a> {
    /// Module by load address, path and build id: one run.
    Address(u64, &'a str, &'a str, u64),
    /// Build id and offset: one build.
    Build(&'a str, u64),
    /// Function, file and line of each source frame.
    Source(Vec<(&'a str, &'a str, u32)>),
    /// Nothing is known that holds across builds: numbered, and equal to itself only.
    Unknown(usize),
}

/// The frames of both snapshots in one table.
pub(super) struct FrameTable<'a> {
    matching: Matching,
    /// Build ids that both sides have.
    shared: HashSet<&'a str>,
    /// File names of modules that only match by source, for the notes.
    pub(super) strangers: Vec<String>,
    /// Frames that could not be matched for want of symbols.
    pub(super) unresolved: usize,
    index: HashMap<FrameKey<'a>, u32>,
    pub(super) frames: Vec<Frame>,
    pub(super) modules: Vec<Module>,
    module_index: HashMap<(&'a str, &'a str), u32>,
}

impl<'a> FrameTable<'a> {
    pub(super) fn new(matching: Matching, before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let known: HashSet<&str> = build_ids(before).collect();
        Self {
            matching,
            shared: build_ids(after).filter(|id| known.contains(id)).collect(),
            strangers: Vec::new(),
            unresolved: 0,
            index: HashMap::new(),
            frames: Vec::new(),
            modules: Vec::new(),
            module_index: HashMap::new(),
        }
    }

    pub(super) fn intern(&mut self, snapshot: &'a Snapshot, frame: &'a Frame) -> u32 {
        let module = frame.module.and_then(|module| snapshot.modules.get(module as usize));
        let key = self.key(module, frame);
        let next = self.frames.len() as u32;
        let at = *self.index.entry(key).or_insert(next);
        if at == next {
            let module = module.map(|module| self.intern_module(module));
            self.frames.push(Frame {
                module,
                offset: frame.offset,
                symbols: frame.symbols.clone(),
            });
        } else if self.frames[at as usize].symbols.is_empty() {
            self.frames[at as usize].symbols.clone_from(&frame.symbols);
        }
        at
    }

    fn key(&mut self, module: Option<&'a Module>, frame: &'a Frame) -> FrameKey<'a> {
        if self.matching == Matching::SameRun {
            let (address, path, build_id) =
                module.map_or((0, "", ""), |m| (m.load_address, m.path.as_str(), m.build_id.as_str()));
            return FrameKey::Address(address, path, build_id, frame.offset);
        }
        if let Some(module) = module.filter(|module| self.shared.contains(module.build_id.as_str())) {
            return FrameKey::Build(&module.build_id, frame.offset);
        }
        let name = module.map_or("no module", Module::file_name);
        if !self.strangers.iter().any(|known| known == name) {
            self.strangers.push(name.to_owned());
        }
        if frame.symbols.is_empty() {
            self.unresolved += 1;
            return FrameKey::Unknown(self.unresolved);
        }
        FrameKey::Source(
            frame
                .symbols
                .iter()
                .map(|s| (s.function.as_str(), s.file.as_str(), s.line))
                .collect(),
        )
    }

    fn intern_module(&mut self, module: &'a Module) -> u32 {
        let next = self.modules.len() as u32;
        let at = *self
            .module_index
            .entry((&module.path, &module.build_id))
            .or_insert(next);
        if at == next {
            self.modules.push(module.clone());
        }
        at
    }
}
