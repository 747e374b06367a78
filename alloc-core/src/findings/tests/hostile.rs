//! Snapshots that no program makes: whatever a file says, there is an answer.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::*;
use crate::model::{Growth, GrowthClass, Lifetimes};

/// Two loops, lines that lie inside others, and what is known besides.
fn world() -> World {
    let mut world = World::new();
    let requests = world.requests(N);
    let turns = world.scope(requests, "shop::serve::rows", ScopeKind::Loop, 50);
    world.observe(turns, N);
    for scope in [requests, turns] {
        let outer = world.rebuilt(scope, &[TABLE, FROM_ITER, ("rows", "APP/src/rows.rs", 12)], 800);
        for line in [12, 13, 13] {
            world.rebuilt_with(scope, &[STRING, ("rows", "APP/src/rows.rs", line)], 100, |site| {
                site.freed_before = vec![before(outer, N); 3];
            });
        }
        let tree = ("insert<u64, u8>", "LIB/alloc/src/collections/btree/map.rs", 90);
        world.rebuilt(scope, &[tree, ("tree", "APP/src/tree.rs", 3)], 100);
    }
    for context in &mut world.snapshot.contexts {
        context.growth = Some(Box::new(Growth {
            ended: vec![GrowthClass { bytes: 64, blocks: 40 }; 2],
            ..Growth::default()
        }));
        context.lifetimes = Some(Box::new(Lifetimes::default()));
    }
    world
}

/// Every counter of loops and contexts becomes `number`; references stay.
fn spoil(value: &mut Value, number: u64) {
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(name, _)| !["context", "scope", "stack", "recent"].contains(&name.as_str()))
            .for_each(|(_, value)| spoil(value, number)),
        Value::Array(values) => values.iter_mut().for_each(|value| spoil(value, number)),
        Value::Number(_) => *value = number.into(),
        _ => {}
    }
}

#[test]
fn absurd_figures_in_a_file_are_judged() {
    let text = world().snapshot.to_json().unwrap();
    for number in [u64::MAX, 1 << 63, u64::MAX / 2, 1, 0] {
        for tables in [&["loops", "contexts", "totals"][..], &["loops"], &["contexts"]] {
            let mut value: Value = serde_json::from_str(&text).unwrap();
            tables.iter().for_each(|table| spoil(&mut value[*table], number));
            let spoilt = Snapshot::from_json(&value.to_string()).unwrap();
            let findings = Findings::of(&spoilt, &Options::default());
            assert!(!findings.to_string().is_empty() && findings.to_json().is_object());
        }
    }
}

#[test]
fn absurd_types_are_judged() {
    for type_name in [
        "reserve_rehash<([u8; 18446744073709551615], ()), alloc::alloc::Global>".to_owned(),
        "reserve_rehash<([u8; 18446744073709551615], [u64; 2305843009213693952]), alloc::alloc::Global>".to_owned(),
        format!("reserve_rehash<({}u8, ()), alloc::alloc::Global>", "&".repeat(200_000)),
        format!(
            "reserve_rehash<({}u8{}, ()), alloc::alloc::Global>",
            "(".repeat(100_000),
            ")".repeat(100_000)
        ),
    ] {
        let mut world = world();
        for symbol in world.snapshot.frames.iter_mut().flat_map(|frame| &mut frame.symbols) {
            if symbol.function == TABLE.0 {
                symbol.function.clone_from(&type_name);
            }
        }
        for site in world.snapshot.loops.iter_mut().flat_map(|stats| &mut stats.sites) {
            site.growths = 4 * N;
        }
        let findings = world.findings();
        assert!(!findings.findings.is_empty() && !findings.to_string().is_empty());
    }
}
