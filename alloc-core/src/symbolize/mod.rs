//! Addresses to source frames, and what the frames say: whose code it is, which collection it builds.
//!
//! `Snapshot::resolve` is called by the user and by `control` at exit; `report` calls the classification. Read side.
//! Invariants: resolving twice changes nothing; an address of another run is resolved only where the module's build id
//! says that the same code is loaded here, else it stays unresolved rather than wrong. Cost: about 25 µs for each new
//! address, and tens of megabytes while it runs, because the debug information is read; both are given back at the end.
//! Leaves out symbol servers and separate debug files beyond what the `backtrace` crate finds.
#![forbid(unsafe_code)]

mod kinds;
mod loaded;
mod names;
#[cfg(feature = "offline")]
mod offline;

#[cfg(feature = "offline")]
pub use offline::Resolved;

use crate::inside::inside_tracker;
use crate::model::{Module, Snapshot, Symbol};
use crate::progress::Progress;

pub(crate) use kinds::{belongs_to_collection, collection_kind, deciding_frame, split_arguments};
pub(crate) use loaded::identity;
pub(crate) use names::{
    Origin, Own, crate_of_file, enclosing_function, is_conduit, qualified_function, short_function, short_path,
    without_generics,
};

impl Snapshot {
    /// Fills [`Frame::symbols`](crate::model::Frame::symbols) from the debug information of this process.
    ///
    /// Frames of another run are resolved when the same build of their module is loaded here; otherwise they are left
    /// as they are. Frames that have symbols already are not looked at again.
    ///
    /// # Accuracy
    /// As good as the debug information: with line tables, inlined functions and lines are known; without, only the
    /// names of functions that were not inlined. The compiler may merge identical functions, and only one name is left.
    ///
    /// # Overhead
    /// Reads the debug information of every module involved: tens of milliseconds, and tens of megabytes for that time, given back at the end. The
    /// thread is busy meanwhile: in async programs this belongs onto a thread of its own
    /// ([`report::background`](crate::report::background)), or onto another machine.
    pub fn resolve(&mut self) {
        inside_tracker(|| resolve(self));
    }
}

fn resolve(snapshot: &mut Snapshot) {
    let own = snapshot.process.pid == std::process::id();
    match loaded::modules() {
        Some(loaded) => resolve_where(snapshot, |module| address_here(module?, &loaded, own)),
        // Nobody tells what is loaded here: trust the addresses of this very process, and no others.
        None if own => resolve_where(snapshot, |module| Some(module.map_or(0, |module| module.load_address))),
        None => {}
    }
}

/// Where the module of a snapshot lies in this process. `own`: the snapshot says that it is from this process.
fn address_here(module: &Module, loaded: &[Module], own: bool) -> Option<u64> {
    let same_file = |candidate: &&Module| candidate.file_name() == module.file_name();
    let same_code = |candidate: &&Module| {
        if module.build_id.is_empty() {
            // Without a build id only the very same mapping is known to be the same code.
            own && candidate.path == module.path && candidate.load_address == module.load_address
        } else {
            candidate.build_id == module.build_id
        }
    };
    loaded
        .iter()
        .filter(same_file)
        .find(same_code)
        .map(|candidate| candidate.load_address)
}

/// Resolves every frame for whose module `address_of` knows the load address.
fn resolve_where(snapshot: &mut Snapshot, address_of: impl Fn(Option<&Module>) -> Option<u64>) {
    let bases: Vec<Option<u64>> = snapshot.modules.iter().map(|module| address_of(Some(module))).collect();
    let base_of_none = address_of(None);
    let mut any = false;
    let mut progress = Progress::new("resolving addresses", snapshot.frames.len());
    for frame in snapshot.frames.iter_mut().filter(|frame| frame.symbols.is_empty()) {
        let base = match frame.module {
            Some(module) => bases.get(module as usize).copied().flatten(),
            None => base_of_none,
        };
        if let Some(base) = base {
            frame.symbols = symbols_at(base.wrapping_add(frame.offset));
            progress.step();
            any = true;
        }
    }
    if any {
        backtrace::clear_symbol_cache();
    }
}

/// Source frames at a return address, innermost first.
fn symbols_at(return_address: u64) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    // `resolve` looks up the byte before the address it is given, which is inside the call instruction.
    backtrace::resolve(std::ptr::without_provenance_mut(return_address as usize), |symbol| {
        // The alternate form leaves the hash out.
        let function = symbol.name().map(|name| format!("{name:#}")).unwrap_or_default();
        let file = symbol
            .filename()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !function.is_empty() || !file.is_empty() {
            symbols.push(Symbol {
                function,
                file,
                line: symbol.lineno().unwrap_or(0),
            });
        }
    });
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, build_id: &str, load_address: u64) -> Module {
        Module {
            path: path.to_owned(),
            build_id: build_id.to_owned(),
            load_address,
            code: None,
        }
    }

    #[test]
    fn the_same_build_at_another_address_is_found() {
        let loaded = [module("/lib/libc.so", "cc", 0x100), module("/bin/app", "aa", 0x200)];
        for own in [true, false] {
            assert_eq!(
                address_here(&module("/bin/app", "aa", 0x999), &loaded, own),
                Some(0x200)
            );
            assert_eq!(
                address_here(&module("/elsewhere/app", "aa", 0x999), &loaded, own),
                Some(0x200)
            );
        }
    }

    #[test]
    fn another_build_is_never_taken_for_this_one() {
        let loaded = [module("/bin/app", "aa", 0x200), module("/bin/plain", "bb", 0x300)];
        assert_eq!(address_here(&module("/bin/app", "bb", 0x200), &loaded, true), None);
        assert_eq!(address_here(&module("/bin/plain", "", 0x301), &loaded, true), None);
        assert_eq!(address_here(&module("/opt/plain", "", 0x300), &loaded, true), None);
        assert_eq!(address_here(&module("/bin/plain", "", 0x300), &loaded, false), None);
        assert_eq!(
            address_here(&module("/bin/plain", "", 0x300), &loaded, true),
            Some(0x300)
        );
    }
}
