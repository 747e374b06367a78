//! Addresses to source frames out of files: of a process that has ended, of another machine, of a binary that runs stripped.
//!
//! Called by the user through `Snapshot::resolve_with`. Read side. Invariants: a file is used for a module only when its identity (the GNU build
//! id, or the hash of the code) is the module's; the files may be anything, and a corrupt one leaves addresses unnamed. Cost: each file is
//! read into memory while it is used, and given back before the next. Leaves out split debug information (`.dwo`, `.dwp`) and files in which
//! another one supplies parts.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use addr2line::Context;
use gimli::{AttributeValue, EndianSlice, RunTimeEndian};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::loaded::identities;
use super::names::without_generics;
use crate::inside::inside_tracker;
use crate::model::{Error, Frame, Snapshot, Symbol};
use crate::progress::Progress;

type Reader<'a> = EndianSlice<'a, RunTimeEndian>;

/// What [`Snapshot::resolve_with`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// Frames that got names.
    pub frames: usize,
    /// Modules of which frames are still without names: path and build id.
    pub missing: Vec<(String, String)>,
}

impl Snapshot {
    /// Fills the symbols of frames that have none, from files with the same build id as their modules: executables, libraries, or their debug
    /// files. A directory stands for all files in it, and in the directories inside, down to four levels (`/usr/lib/debug`).
    ///
    /// Functions get their paths and their type parameters, where the debug information has them both.
    ///
    /// # Accuracy
    /// As [`resolve`](Self::resolve).
    ///
    /// # Overhead
    /// Reads each file that fits into memory, and its debug information: seconds and hundreds of megabytes for a large one. Blocks the thread; in
    /// async programs it belongs into `spawn_blocking`.
    ///
    /// # Errors
    /// [`Error::is_io`] when a path does not exist or a fitting file cannot be read.
    pub fn resolve_with<P: AsRef<Path>>(&mut self, paths: impl IntoIterator<Item = P>) -> Result<Resolved, Error> {
        inside_tracker(|| {
            let mut files = Vec::new();
            for path in paths {
                collect(path.as_ref(), 0, &mut files)?;
            }
            resolve_with(self, &files)
        })
    }
}

/// Directories below a given one that are looked into.
const MOST_LEVELS: usize = 4;

fn collect(path: &Path, level: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let read = |error| Error::io("read", path, error);
    if !fs::metadata(path).map_err(read)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if level > MOST_LEVELS {
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = fs::read_dir(path)
        .map_err(read)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    inside.sort();
    for entry in inside {
        // Neither a dangling link, nor a directory that may not be read, nor a pipe, which would have to be waited for, is what was asked for.
        if fs::metadata(&entry).is_ok_and(|there| there.is_file() || there.is_dir()) {
            let _ = collect(&entry, level + 1, files);
        }
    }
    Ok(())
}

fn resolve_with(snapshot: &mut Snapshot, files: &[PathBuf]) -> Result<Resolved, Error> {
    let mut wanted: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, frame) in snapshot.frames.iter().enumerate() {
        if let Some(module) = frame.module.filter(|_| frame.symbols.is_empty()) {
            wanted.entry(module).or_default().push(at);
        }
    }
    let mut by_id: HashMap<&str, Vec<u32>> = HashMap::new();
    for &at in wanted.keys() {
        if let Some(module) = snapshot
            .modules
            .get(at as usize)
            .filter(|module| !module.build_id.is_empty())
        {
            by_id.entry(&module.build_id).or_default().push(at);
        }
    }
    let mut fitting: Vec<(u32, &Path)> = Vec::new();
    for file in files {
        for identity in identities(file) {
            let modules = by_id.get(identity.as_str()).into_iter().flatten();
            fitting.extend(modules.map(|&module| (module, file.as_path())));
        }
    }
    let mut resolved = Resolved::default();
    let total = fitting
        .iter()
        .map(|(module, _)| wanted.get(module).map_or(0, Vec::len))
        .sum();
    let mut progress = Progress::new("resolving addresses", total);
    for (module, file) in fitting {
        // What an earlier file had names for is done; a stripped one had only some.
        let frames: Vec<usize> = wanted.get(&module).into_iter().flatten().copied().collect();
        let bytes = fs::read(file).map_err(|error| Error::io("read", file, error))?;
        name_frames(&bytes, &mut snapshot.frames, &frames, &mut progress);
    }
    for (module, frames) in &wanted {
        let named = frames
            .iter()
            .filter(|&&at| !snapshot.frames[at].symbols.is_empty())
            .count();
        resolved.frames += named;
        if named == 0
            && let Some(module) = snapshot.modules.get(*module as usize)
        {
            resolved.missing.push((module.path.clone(), module.build_id.clone()));
        }
    }
    resolved.missing.sort();
    Ok(resolved)
}

/// Names the frames that have no name yet, as far as the file can.
fn name_frames(bytes: &[u8], frames: &mut [Frame], which: &[usize], progress: &mut Progress) {
    let Ok(file) = object::File::parse(bytes) else { return };
    let endian = if file.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    };
    let section = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
        let data = file
            .section_by_name(id.name())
            .and_then(|section| section.uncompressed_data().ok());
        Ok(data.unwrap_or_default())
    };
    let context = gimli::DwarfSections::load(section);
    let Ok(sections) = context else { return };
    let dwarf = sections.borrow(|section| EndianSlice::new(section, endian));
    let context = Context::from_dwarf(dwarf).ok();
    let functions = functions(&file);
    for &at in which {
        progress.step();
        let frame = &mut frames[at];
        if frame.symbols.iter().any(|symbol| symbol.line > 0) {
            continue;
        }
        // Inside the call, not behind it.
        let probe = frame.offset.wrapping_sub(1);
        let mut symbols = context
            .as_ref()
            .and_then(|context| symbols(context, probe))
            .unwrap_or_default();
        // The allocator's shims have lines and no entry of their own; their names are in the table of symbols.
        if let Some(outermost) = symbols.last_mut().filter(|symbol| symbol.function.is_empty()) {
            outermost.function = function_at(&functions, probe).unwrap_or_default();
        }
        if !symbols.is_empty() {
            frame.symbols = symbols;
        } else if frame.symbols.is_empty()
            && let Some(function) = function_at(&functions, probe)
        {
            frame.symbols = vec![Symbol {
                function,
                file: String::new(),
                line: 0,
            }];
        }
    }
}

/// Start, end and name of each function in the table of symbols, by start.
fn functions<'a>(file: &object::File<'a>) -> Vec<(u64, u64, &'a str)> {
    let mut functions: Vec<(u64, u64, &str)> = file
        .symbols()
        .chain(file.dynamic_symbols())
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| {
            Some((
                symbol.address(),
                symbol.address().checked_add(symbol.size())?,
                symbol.name().ok()?,
            ))
        })
        .collect();
    functions.sort_unstable();
    functions
}

fn function_at(functions: &[(u64, u64, &str)], probe: u64) -> Option<String> {
    let after = functions.partition_point(|&(start, ..)| start <= probe);
    let (_, end, name) = functions.get(after.checked_sub(1)?)?;
    (probe < *end).then(|| format!("{:#}", rustc_demangle::demangle(name)))
}

/// Source frames at an address, innermost first; `None` when the debug information does not say or makes no sense.
fn symbols(context: &Context<Reader<'_>>, probe: u64) -> Option<Vec<Symbol>> {
    let unit = context.find_dwarf_and_unit(probe).skip_all_loads();
    let mut frames = context.find_frames(probe).skip_all_loads().ok()?;
    let mut symbols = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let linkage = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let linkage = linkage.map(|name| format!("{:#}", rustc_demangle::demangle(&name)));
        let plain = unit
            .zip(frame.dw_die_offset)
            .and_then(|(unit, offset)| plain_name(unit, offset));
        let function = match (linkage, plain) {
            (Some(linkage), Some(plain)) => joined(&linkage, &plain),
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) => String::new(),
        };
        let (file, line) = frame.location.map_or(("", 0), |location| {
            (location.file.unwrap_or_default(), location.line.unwrap_or(0))
        });
        if !function.is_empty() || !file.is_empty() {
            symbols.push(Symbol {
                function,
                file: file.to_owned(),
                line,
            });
        }
    }
    Some(symbols)
}

/// The plain name (`DW_AT_name`) of a function: rustc writes type arguments into it, and no path.
fn plain_name(unit: gimli::UnitRef<'_, Reader<'_>>, offset: gimli::UnitOffset<usize>) -> Option<String> {
    let mut offset = offset;
    // An inlined call refers to the function, and that perhaps to its declaration.
    for _ in 0..4 {
        let entry = unit.entry(offset).ok()?;
        if let Some(name) = entry.attr_value(gimli::DW_AT_name) {
            return Some(unit.attr_string(name).ok()?.to_string_lossy().into_owned());
        }
        let reference = entry
            .attr_value(gimli::DW_AT_abstract_origin)
            .or_else(|| entry.attr_value(gimli::DW_AT_specification))?;
        // What lies in another unit keeps its linkage name.
        let AttributeValue::UnitRef(next) = reference else {
            return None;
        };
        offset = next;
    }
    None
}

/// The path of the one and the type arguments of the other, where both name the same function.
///
/// `alloc::vec::Vec<T,A>::push` and `push<u64, Global>` are `alloc::vec::Vec::push<u64, Global>`: the first has parameters by their names, and they
/// say nothing.
fn joined(linkage: &str, plain: &str) -> String {
    let Some(at) = plain.find('<').filter(|&at| at > 0) else {
        return linkage.to_owned();
    };
    if linkage.starts_with('<') {
        return linkage.to_owned();
    }
    let path = without_generics(linkage);
    let has_own = linkage.contains("::<");
    match path.rsplit("::").next() {
        Some(last) if last == &plain[..at] && !has_own => format!("{path}{}", &plain[at..]),
        _ => linkage.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::collection_kind;

    #[test]
    fn the_path_of_one_name_and_the_types_of_the_other() {
        for (linkage, plain, both) in [
            (
                "alloc::vec::Vec<T,A>::push",
                "push<u64, Global>",
                "alloc::vec::Vec::push<u64, Global>",
            ),
            ("app::check", "check", "app::check"),
            ("app::check", "check<u8>", "app::check<u8>"),
            ("app::merged", "other<u8>", "app::merged"),
            ("<A as B>::go", "go<u8>", "<A as B>::go"),
            ("a::map::<u8>", "map<u8>", "a::map::<u8>"),
            ("a::{closure#0}", "{closure#0}<u8>", "a::{closure#0}<u8>"),
        ] {
            assert_eq!(joined(linkage, plain), both);
        }
        let symbol = Symbol {
            function: joined("alloc::vec::Vec<T,A>::push", "push<u64, alloc::alloc::Global>"),
            file: "/rustc/1/library/alloc/src/vec/mod.rs".to_owned(),
            line: 1,
        };
        assert_eq!(collection_kind(&symbol).unwrap().to_string(), "Vec<u64>");
    }

    #[test]
    fn this_process_is_named_out_of_its_own_file() {
        let executable = std::env::current_exe().unwrap();
        let identity = identities(&executable).remove(0);
        let mut snapshot = crate::model::fixture::empty();
        let module = crate::model::fixture::module("/elsewhere/renamed", &identity, 0);
        let loaded = super::super::loaded::modules().unwrap();
        let base = loaded
            .iter()
            .find(|module| module.build_id == identity)
            .unwrap()
            .load_address;
        let here = this_process_is_named_out_of_its_own_file as fn() as usize as u64;
        snapshot.modules.push(module);
        snapshot.frames.push(Frame {
            module: Some(0),
            offset: here - base + 8,
            symbols: Vec::new(),
        });
        let resolved = snapshot.resolve_with([&executable]).unwrap();
        assert_eq!((resolved.frames, resolved.missing.len()), (1, 0));
        let symbol = snapshot.frames[0].symbols.last().unwrap();
        assert!(
            symbol.function.ends_with("this_process_is_named_out_of_its_own_file"),
            "{symbol:?}"
        );
        assert!(
            symbol.file.ends_with("symbolize/offline.rs") && symbol.line > 0,
            "{symbol:?}"
        );
    }

    #[test]
    fn corrupt_files_name_nothing_and_never_panic() {
        let executable = std::env::current_exe().unwrap();
        let mut bytes = fs::read(executable).unwrap();
        bytes.truncate(1 << 20);
        let frames = || vec![crate::model::fixture::frame(0, 0x4_0000, "", 0)];
        for cut in [0, 10, 64, 200, 5_000, 1 << 19] {
            let mut frames = frames();
            frames[0].symbols.clear();
            let bytes = &bytes[..cut];
            name_frames(bytes, &mut frames, &[0], &mut Progress::new("", 1));
            assert!(frames[0].symbols.iter().all(|symbol| symbol.line == 0));
        }
        let missing = crate::model::fixture::empty()
            .resolve_with(["/no/such/file"])
            .unwrap_err();
        assert!(missing.is_io() && missing.path().is_some(), "{missing}");
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_in_a_directory_is_not_waited_for() {
        let directory = std::env::temp_dir().join(format!("allocscope-pipe-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(directory.join("pipe"))
            .status();
        assert!(made.unwrap().success());
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn({
            let directory = directory.clone();
            move || done.send(crate::model::fixture::empty().resolve_with([directory]).is_ok())
        });
        assert_eq!(is_done.recv_timeout(std::time::Duration::from_secs(60)), Ok(true));
        fs::remove_dir_all(&directory).unwrap();
    }
}
