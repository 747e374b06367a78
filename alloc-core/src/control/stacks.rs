//! Gives the stacks, frames and modules of a snapshot their places in it.
//!
//! A part of `control`. Cost: a hash look-up for each stack, and one for each frame of a new stack that the last one has not at that place;
//! what a frame is, is found out once.
#![forbid(unsafe_code)]

use std::collections::hash_map::Entry;
use std::ops::RangeInclusive;

use super::ids::IdMap;
use crate::model::{Code, Frame, Module, Stacks};
use crate::record::context::{ContextInfo, Packed};
use crate::record::sys;
use crate::record::thread::NoFork;
use crate::symbolize::identity;

/// Gives every distinct stack of a snapshot its index.
pub(super) struct StackTable {
    stacks: Stacks,
    /// By what the record side knows a stack by: its hash and its flags.
    known: IdMap<u64, u32>,
    /// The frames of the last new stack, and their indices.
    last: &'static [Packed],
    indices: Vec<u32>,
    frames: FrameTable,
}

/// Gives every distinct frame and module of a snapshot its index.
struct FrameTable {
    /// All that are loaded, by address.
    modules: Vec<(RangeInclusive<usize>, Module)>,
    used_modules: Vec<Module>,
    module_index: IdMap<usize, u32>,
    frames: Vec<Frame>,
    /// By address.
    known: IdMap<usize, u32>,
}

/// A module as snapshots have it. `name` is the loader's; it gives the executable none.
fn describe(load_address: usize, name: &[u8], build_id: &[u8], code: Option<[u64; 3]>) -> Module {
    let path = if name.is_empty() {
        super::executable().map_or_else(String::new, |path| path.to_string_lossy().into_owned())
    } else {
        String::from_utf8_lossy(name).into_owned()
    };
    // The file's name as it can be opened.
    let build_id = match (build_id, name) {
        ([], []) => identity("/proc/self/exe"),
        ([], _) => identity(&path),
        (id, _) => Some(id.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    Module {
        path,
        build_id: build_id.unwrap_or_default(),
        load_address: load_address as u64,
        code: code.map(|[address, file_offset, bytes]| Code {
            address,
            file_offset,
            bytes,
        }),
    }
}

impl StackTable {
    /// With room for so many stacks.
    pub(super) fn new(expected: usize) -> Self {
        Self {
            stacks: Stacks::with_capacity(expected),
            known: IdMap::with_capacity_and_hasher(expected, Default::default()),
            last: &[],
            indices: Vec::new(),
            frames: FrameTable::new(),
        }
    }

    pub(super) fn intern(&mut self, info: &'static ContextInfo) -> u32 {
        let index = self.stacks.len() as u32;
        match self.known.entry(info.stack_key()) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(place) => place.insert(index),
        };
        let (frames, table) = (info.frames(), &mut self.frames);
        // PERF: beside the last stack, outermost frames side by side: stacks that were made one after the other have most in common,
        // and what is the same needs no look-up.
        let common = frames.len().min(self.last.len());
        let (inner, outer) = frames.split_at(frames.len() - common);
        let last = &self.last[self.last.len() - common..];
        if frames.len() != self.last.len() {
            let inner = inner.iter().map(|frame| table.index_of(frame.address()));
            drop(self.indices.splice(..self.last.len() - common, inner));
        }
        let indices = &mut self.indices[frames.len() - common..];
        for (at, (frame, last)) in outer.iter().zip(last).enumerate() {
            if frame != last {
                indices[at] = table.index_of(frame.address());
            }
        }
        self.last = frames;
        self.stacks.push(&self.indices, info.is_truncated(), info.is_foreign());
        index
    }

    pub(super) fn finish(mut self) -> (Stacks, Vec<Frame>, Vec<Module>) {
        self.stacks.shrink_to_fit();
        (self.stacks, self.frames.frames, self.frames.used_modules)
    }
}

impl FrameTable {
    fn new() -> Self {
        let mut loaded = Vec::new();
        // LIMIT: where the loader cannot be asked, frames keep their bare addresses.
        if let Some(_no_fork) = NoFork::begin_with_loader() {
            sys::for_each_module(|module| {
                loaded.push((
                    module.range,
                    module.load_address,
                    module.path.to_vec(),
                    module.build_id.to_vec(),
                    module.code,
                ));
            });
        }
        // Files are read only now, without the loader's lock.
        let mut modules: Vec<_> = loaded
            .into_iter()
            .map(|(range, load_address, name, id, code)| (range, describe(load_address, &name, &id, code)))
            .collect();
        modules.sort_by_key(|(range, _)| *range.start());
        Self {
            modules,
            used_modules: Vec::new(),
            module_index: IdMap::default(),
            frames: Vec::new(),
            known: IdMap::default(),
        }
    }

    fn index_of(&mut self, address: usize) -> u32 {
        if let Some(&index) = self.known.get(&address) {
            return index;
        }
        let frame = self.frame(address);
        self.frames.push(frame);
        let index = self.frames.len() as u32 - 1;
        self.known.insert(address, index);
        index
    }

    fn frame(&mut self, address: usize) -> Frame {
        // The return address may be one past the end of the last function of a module.
        let after = self.modules.partition_point(|(range, _)| *range.start() < address);
        let found = after
            .checked_sub(1)
            .filter(|&index| self.modules[index].0.contains(&(address - 1)));
        let (module, offset) = match found {
            Some(index) => {
                let module = &self.modules[index].1;
                let used = *self.module_index.entry(index).or_insert_with(|| {
                    self.used_modules.push(module.clone());
                    self.used_modules.len() as u32 - 1
                });
                (Some(used), address as u64 - module.load_address)
            }
            None => (None, address as u64),
        };
        Frame {
            module,
            offset,
            symbols: Vec::new(),
        }
    }
}
