//! A snapshot of almost nothing, for tests to fill.
#![forbid(unsafe_code)]

use super::{
    CallStats, Context, Counters, EpochChange, Frame, Module, ProcessInfo, SCHEMA_VERSION, ScopeId, ScopeKind,
    ScopeNode, ScopeNodeId, Snapshot, Stacks, Symbol, TrackerStats,
};

/// Run `r1`, epoch 1, nothing but the root scope.
pub(crate) fn empty() -> Snapshot {
    Snapshot {
        schema_version: SCHEMA_VERSION,
        process: ProcessInfo {
            pid: 1,
            run_id: "r1".to_owned(),
            executable: "app".to_owned(),
        },
        taken_at_unix_ms: 0,
        uptime_ms: 0,
        epoch: 1,
        epochs_exact: true,
        mode: "exact".to_owned(),
        was_off: false,
        sampling: None,
        totals: Counters::default(),
        peak_bytes: 0,
        scopes: vec![scope(1, None, "whole program")],
        contexts: Vec::new(),
        stacks: Stacks::default(),
        frames: Vec::new(),
        modules: Vec::new(),
        budgets: Vec::new(),
        loops: Vec::new(),
        contents: Vec::new(),
        tracker: TrackerStats::default(),
    }
}

pub(crate) fn scope(id: u32, parent: Option<u32>, name: &str) -> ScopeNode {
    ScopeNode {
        id: ScopeNodeId(id),
        parent: parent.map(ScopeNodeId),
        scope: ScopeId(id),
        name: name.to_owned(),
        file: String::new(),
        line: 0,
        kind: ScopeKind::Function,
        own: Counters::default(),
        inclusive: Counters::default(),
        peak_bytes: 0,
        self_peak_bytes: 0,
        own_samples: None,
        inclusive_samples: None,
        calls: CallStats::default(),
    }
}

pub(crate) fn frame(module: u32, offset: u64, function: &str, line: u32) -> Frame {
    let symbols = vec![Symbol {
        function: function.to_owned(),
        file: "src/a.rs".to_owned(),
        line,
    }];
    Frame {
        module: Some(module),
        offset,
        symbols,
    }
}

pub(crate) fn module(path: &str, build_id: &str, load_address: u64) -> Module {
    Module {
        path: path.to_owned(),
        build_id: build_id.to_owned(),
        load_address,
        code: None,
    }
}

/// A context on `stack` that was granted `live` bytes in one block.
pub(crate) fn context(scope: u32, stack: Option<u32>, live: u64) -> Context {
    let counters = Counters {
        total_allocations: 1,
        total_bytes: live,
        live_blocks: 1,
        live_bytes: live,
        ..Counters::default()
    };
    Context {
        scope: ScopeNodeId(scope),
        stack,
        counters,
        older: Vec::new(),
        samples: None,
        older_samples: Vec::new(),
        growth: None,
        lifetimes: None,
    }
}

pub(crate) fn stacks<F: AsRef<[u32]>>(all: impl IntoIterator<Item = F>) -> Stacks {
    let mut stacks = Stacks::default();
    for frames in all {
        stacks.push(frames.as_ref(), false, false);
    }
    stacks
}

/// One of everything, every field set: for the file format.
pub(crate) fn full() -> Snapshot {
    let mut snapshot = empty();
    snapshot.scopes.push(scope(7, Some(1), "a::b"));
    snapshot.scopes[1].calls.entered = 3;
    snapshot.modules.push(module("/bin/app", "abcd", 0x5500_0000_0000));
    snapshot.frames = vec![
        frame(0, 0x10, "f<u8>", 3),
        Frame {
            module: None,
            offset: u64::MAX,
            symbols: Vec::new(),
        },
    ];
    snapshot.stacks = stacks([[0, 1]]);
    snapshot.stacks.push(&[1], true, true);
    snapshot.contexts = vec![context(7, Some(0), 64), context(1, None, u64::MAX)];
    snapshot.contexts[0].older = vec![EpochChange {
        epoch: 1,
        blocks: -1,
        bytes: i64::MIN,
        frees: 1,
        granted_bytes: 9,
    }];
    snapshot.tracker.threads = 4;
    snapshot
}

/// Names of all fields in a JSON value, at any depth.
pub(crate) fn field_names(value: &serde_json::Value, names: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                names.insert(name.clone());
                field_names(value, names);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| field_names(value, names)),
        _ => {}
    }
}
