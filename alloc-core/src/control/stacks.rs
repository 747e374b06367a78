//! Gives the stacks, frames and modules of a snapshot their places in it.
//!
//! A part of `control`. Cost: a hash look-up for each stack, and one for each frame of a new stack.
#![forbid(unsafe_code)]

use super::ids::IdMap;
use crate::model::{Code, Frame, Module, Stack};
use crate::record::thread::NoFork;
use crate::record::{context, sys};
use crate::symbolize::identity;

/// Gives every distinct stack, frame and module of a snapshot its index.
pub(super) struct StackTable {
    modules: Vec<(std::ops::RangeInclusive<usize>, Module)>,
    used_modules: Vec<Module>,
    module_index: IdMap<usize, u32>,
    frames: Vec<Frame>,
    frame_index: IdMap<usize, u32>,
    stacks: Vec<Stack>,
    /// By what the record side knows a stack by: its hash and its flags.
    stack_index: IdMap<u64, u32>,
    /// Addresses of the last stack, outermost first, and their indices.
    last: Vec<(usize, u32)>,
}

/// A module as snapshots have it. `name` is the loader's; it gives the executable none.
fn describe(load_address: usize, name: &[u8], build_id: &[u8], code: Option<[u64; 3]>) -> Module {
    let path = if name.is_empty() {
        std::env::current_exe().map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned())
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
    pub(super) fn new() -> Self {
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
            frame_index: IdMap::default(),
            stacks: Vec::new(),
            stack_index: IdMap::default(),
            last: Vec::new(),
        }
    }

    pub(super) fn intern(&mut self, info: &'static context::ContextInfo) -> u32 {
        let key = info.stack_key();
        if let Some(&index) = self.stack_index.get(&key) {
            return index;
        }
        // PERF: from the outside, because stacks that were made one after the other begin alike: most frames need no look-up.
        for (depth, address) in info.frames().iter().rev().enumerate() {
            match self.last.get(depth) {
                Some(&(known, _)) if known == address => {}
                Some(_) => self.last[depth] = (address, self.frame(address)),
                None => {
                    let found = (address, self.frame(address));
                    self.last.push(found);
                }
            }
        }
        let outermost_first = &self.last[..info.frames().len()];
        self.stacks.push(Stack {
            frames: outermost_first.iter().rev().map(|(_, index)| *index).collect(),
            truncated: info.is_truncated(),
            foreign: info.is_foreign(),
        });
        let index = self.stacks.len() as u32 - 1;
        self.stack_index.insert(key, index);
        index
    }

    fn frame(&mut self, address: usize) -> u32 {
        if let Some(&index) = self.frame_index.get(&address) {
            return index;
        }
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
        self.frames.push(Frame {
            module,
            offset,
            symbols: Vec::new(),
        });
        let index = self.frames.len() as u32 - 1;
        self.frame_index.insert(address, index);
        index
    }

    pub(super) fn finish(self) -> (Vec<Stack>, Vec<Frame>, Vec<Module>) {
        (self.stacks, self.frames, self.used_modules)
    }
}
