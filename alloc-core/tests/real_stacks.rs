//! Real call stacks of real collections: resolved, named, and attributed to the line that built them.
//!
//! Captured with the `backtrace` crate, so that nothing here depends on the record side; the snapshot goes through the
//! file format, as a saved one would.
#![cfg(target_os = "linux")]

#[path = "alloc-core/src/capturing.rs"]
mod capturing;
/// The collections under test, in a file of their own: the line of a site must lie in it.
mod cases;

use std::any::Any;
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::hint::black_box;

use alloc_core::Snapshot;
use capturing::{Capturing, stacks_of};
use serde_json::{Value, json};

#[global_allocator]
static ALLOC: Capturing = Capturing;

struct Loaded {
    path: String,
    build_id: String,
    address: u64,
    end: u64,
}

/// What the loader says is loaded: another source than the one `resolve` uses.
fn loaded() -> Vec<Loaded> {
    unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, list: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid record, and `list` is the vector handed to it below.
        let (info, list) = unsafe { (&*info, &mut *list.cast::<Vec<Loaded>>()) };
        // SAFETY: the loader's table has `dlpi_phnum` entries.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        // SAFETY: the loader's names are C strings.
        let mut path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned();
        if path.is_empty() {
            path = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        }
        let mut module = Loaded {
            path,
            build_id: String::new(),
            address: info.dlpi_addr,
            end: 0,
        };
        for header in headers {
            let start = info.dlpi_addr + header.p_vaddr;
            match header.p_type {
                libc::PT_LOAD => module.end = module.end.max(start + header.p_memsz),
                libc::PT_NOTE => {
                    // SAFETY: a note segment is loaded at its address, with its size.
                    let note = unsafe { std::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) };
                    if note.len() > 16 && note[8..16] == *b"\x03\0\0\0GNU\0" {
                        let hex = |byte: &u8| format!("{byte:02x}");
                        module.build_id = note[16..16 + usize::from(note[4])].iter().map(hex).collect();
                    }
                }
                _ => {}
            }
        }
        list.push(module);
        0
    }
    let mut list: Vec<Loaded> = Vec::new();
    // SAFETY: `visit` matches the signature, and the vector outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut list).cast()) };
    list
}

/// An object whose fields are all zero.
fn zeros(names: &str) -> Value {
    Value::Object(
        names
            .split_whitespace()
            .map(|name| (name.to_owned(), json!(0)))
            .collect(),
    )
}

/// A snapshot with one context for each stack, through the file format.
fn snapshot_of(stacks: &[Vec<usize>]) -> Snapshot {
    let loaded = loaded();
    let modules: Vec<Value> = loaded
        .iter()
        .map(|module| json!({ "path": module.path, "build_id": module.build_id, "load_address": module.address }))
        .collect();
    let mut index: HashMap<usize, usize> = HashMap::new();
    let mut frames = Vec::new();
    let mut intern = |address: usize| {
        *index.entry(address).or_insert_with(|| {
            let address = address as u64;
            let module = loaded
                .iter()
                .position(|module| module.address <= address && address < module.end);
            let base = module.map_or(0, |module| loaded[module].address);
            frames.push(json!({ "module": module, "offset": address - base }));
            frames.len() - 1
        })
    };
    let entries: Vec<Value> = stacks
        .iter()
        .map(|stack| json!({ "frames": stack.iter().map(|&address| intern(address)).collect::<Vec<_>>() }))
        .collect();
    let counters = zeros(
        "total_allocations total_reallocations total_frees total_bytes freed_bytes copied_bytes live_blocks live_bytes \
         bytes_at_peak",
    );
    let calls = zeros(
        "entered completed allocations bytes max_allocations max_bytes sum_peak_bytes max_peak_bytes retained_bytes \
         retained_blocks max_retained_bytes upper_bound_calls",
    );
    let tracker = zeros(
        "tracker_bytes tracker_bytes_limit own_live_bytes own_live_blocks threads contexts other_allocations \
         truncated_stacks foreign_stacks untracked_frees corrupt_headers dropped_events",
    );
    let contexts: Vec<Value> = (0..stacks.len())
        .map(|stack| json!({ "scope": 1, "stack": stack, "counters": counters }))
        .collect();
    let snapshot = json!({
        "schema_version": 1,
        "process": { "pid": std::process::id(), "run_id": "test", "executable": "real_stacks" },
        "taken_at_unix_ms": 0, "uptime_ms": 0, "epoch": 1, "epochs_exact": true, "mode": "exact", "was_off": false,
        "totals": counters, "peak_bytes": 0,
        "scopes": [{
            "id": 1, "parent": null, "scope": 0, "name": "whole program", "file": "", "line": 0,
            "own": counters, "inclusive": counters, "peak_bytes": 0, "self_peak_bytes": 0, "calls": calls,
        }],
        "contexts": contexts, "stacks": entries, "frames": frames, "modules": modules, "tracker": tracker,
    });
    Snapshot::from_json(&snapshot.to_string()).unwrap()
}

#[test]
fn every_collection_is_named_at_the_line_that_builds_it() {
    let values: Vec<u64> = (0..black_box(100)).collect();
    type Case = fn(&[u64]) -> Box<dyn Any>;
    let cases: [(&str, Case, &str); 12] = [
        ("hash_set", |v| Box::new(cases::hash_set(v)), "HashSet<u64>"),
        ("hash_map", |v| Box::new(cases::hash_map(v)), "HashMap<u64, String>"),
        ("vec_push", |v| Box::new(cases::vec_push(v)), "Vec<u8>"),
        ("vec_collect", |v| Box::new(cases::vec_collect(v)), "Vec<u32>"),
        ("string_push", |v| Box::new(cases::string_push(v)), "String"),
        ("string_format", |v| Box::new(cases::string_format(v)), "String"),
        ("btree_map", |v| Box::new(cases::btree_map(v)), "BTreeMap<u64, String>"),
        ("btree_set", |v| Box::new(cases::btree_set(v)), "BTreeSet<u64>"),
        ("vec_deque", |v| Box::new(cases::vec_deque(v)), "VecDeque<u32>"),
        ("boxed", |v| Box::new(cases::boxed(v)), "Box<Big>"),
        ("arc", |v| Box::new(cases::arc(v)), "Arc<Big>"),
        ("rc", |v| Box::new(cases::rc(v)), "Rc<Small>"),
    ];
    // All in one snapshot: reading the debug information takes most of the time.
    let stacks: Vec<Vec<usize>> = cases
        .iter()
        .flat_map(|(_, build, _)| stacks_of(|| build(&values)))
        .collect();
    let mut snapshot = snapshot_of(&stacks);
    snapshot.resolve();
    let once = snapshot.clone();
    snapshot.resolve();
    for (first, second) in once.frames.iter().zip(&snapshot.frames) {
        assert_eq!(first, second, "resolving twice changes nothing");
    }
    let report = snapshot.report().top(1000).to_json();
    // The boxes around the results are this file's.
    let own = |site: &&Value| {
        site["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("tests/cases/mod.rs"))
    };
    let sites: Vec<&Value> = report["sites"].as_array().unwrap().iter().filter(own).collect();
    let text = |site: &&Value| format!("{} {} {}", site["place"], site["function"], site["collection"]);
    let all: Vec<String> = sites.iter().map(text).collect();
    for (function, _, collection) in cases {
        let lines = cases::lines(function);
        // Unoptimised code has no inlined frames, and the names of the others carry no type arguments.
        let expected = |site: &&&Value| {
            let label = site["collection"].as_str().unwrap_or_default();
            let bare = collection.split('<').next().unwrap();
            label == collection || cfg!(debug_assertions) && label == bare
        };
        let in_lines = |site: &&&Value| lines.contains(&site["line"].as_u64().unwrap());
        let found = sites.iter().filter(in_lines).find(expected);
        assert!(
            found.is_some(),
            "{function}: no {collection} in lines {lines:?} among {all:#?}"
        );
        let named = found.unwrap()["function"].as_str().unwrap();
        assert_eq!(named.rsplit("::").next(), Some(function), "{all:#?}");
    }
}

#[test]
fn a_snapshot_of_another_build_stays_unresolved() {
    let stacks = stacks_of(|| cases::vec_push(&[1, 2, 3]));
    let mut snapshot = snapshot_of(&stacks);
    snapshot.modules[0].build_id = "00112233".to_owned();
    snapshot.resolve();
    let in_executable = snapshot.frames.iter().filter(|frame| frame.module == Some(0));
    assert!(in_executable.clone().count() > 3);
    assert!(in_executable.clone().all(|frame| frame.symbols.is_empty()));
    let report = snapshot.report().to_json();
    let place = report["sites"][0]["place"].as_str().unwrap();
    assert!(place.starts_with("real_stacks-") && place.contains("+0x"), "{report:#}");
    assert!(
        report["notes"][0].as_str().unwrap().contains("has a name"),
        "{report:#}"
    );
}
