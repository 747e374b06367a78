//! The sizes that growing blocks have in the end, per call stack, against what the programs do.

use std::collections::HashMap;
use std::hint::black_box;

use alloc_core::model::Context;
use alloc_core::{Snapshot, TrackingAllocator, scope};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// Sizes and blocks of all growth in the scope, and the bytes of tables that were replaced.
fn growth(name: &str) -> (Vec<(u64, u64)>, u64) {
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let node = snapshot
        .scopes
        .iter()
        .find(|scope| scope.name == name)
        .expect("it was entered")
        .id;
    let contexts: Vec<&Context> = snapshot
        .contexts
        .iter()
        .filter(|context| context.scope == node)
        .collect();
    let grown = || contexts.iter().filter_map(|context| context.growth.as_ref());
    let mut ended: Vec<(u64, u64)> = grown()
        .flat_map(|growth| growth.ended.iter().map(|class| (class.bytes, class.blocks)))
        .collect();
    ended.sort_unstable();
    (ended, grown().map(|growth| growth.rehashed_bytes).sum())
}

fn list(elements: u64) -> Vec<u64> {
    let mut list = Vec::new();
    for at in 0..elements {
        list.push(black_box(at));
    }
    list
}

#[test]
fn lists_that_were_freed_and_lists_that_live_count_at_their_last_size() {
    let mut kept = Vec::with_capacity(10);
    {
        let _scope = scope!("lists");
        for round in 0..30 {
            // 4 to 128 elements, 4 to 16, and 4 without growth.
            let lists = [list(100), list(10), list(3)];
            if round < 10 {
                kept.push(lists);
            }
        }
    }
    assert_eq!(growth("lists"), (vec![(128, 30), (1024, 30)], 0));
    drop(kept);
    assert_eq!(
        growth("lists"),
        (vec![(128, 30), (1024, 30)], 0),
        "a free changes nothing"
    );
}

#[test]
fn a_list_that_goes_on_growing_elsewhere_counts_there() {
    let mut lists: Vec<Vec<u64>> = {
        let _scope = scope!("first");
        (0..7).map(|_| list(8)).collect()
    };
    {
        let _scope = scope!("second");
        for list in &mut lists {
            list.extend_from_slice(&[0; 9]);
        }
    }
    assert_eq!(growth("first").0, []);
    assert_eq!(growth("second").0, [(17 * 8, 7)]);
}

#[test]
fn lists_of_many_threads_add_up() {
    {
        let handles: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| {
                    let _scope = scope!("threads");
                    for _ in 0..5 {
                        black_box(list(100));
                    }
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("it ends");
        }
    }
    assert_eq!(growth("threads").0, [(1024, 40)]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn hash_tables_grow_without_realloc() {
    {
        let _scope = scope!("tables");
        for _ in 0..30 {
            let mut map = HashMap::new();
            for at in 0..100_u64 {
                map.insert(at, [at; 3]);
            }
            black_box(&map);
            let small: HashMap<u64, [u64; 3]> = (0..3).map(|at| (at, [at; 3])).collect();
            black_box(&small);
        }
    }
    // Tables of 4, 8, 16, 32, 64, 128 buckets of 32 bytes, one byte for each, and 16 more.
    let old: u64 = [4, 8, 16, 32, 64].map(|buckets| buckets * 33 + 16).iter().sum();
    assert_eq!(growth("tables"), (vec![(128 * 33 + 16, 30)], 30 * old));
}

#[test]
fn blocks_that_are_freed_at_once_are_told_from_those_that_stay() {
    let mut kept = Vec::new();
    {
        let _scope = scope!("lifetimes");
        // Enough bytes for some windows.
        for round in 0..40_000 {
            drop(black_box(Vec::<u8>::with_capacity(2000)));
            if round % 2 == 0 {
                kept.push(black_box(Box::new([round; 10])));
            }
        }
    }
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let node = snapshot
        .scopes
        .iter()
        .find(|scope| scope.name == "lifetimes")
        .expect("it was entered")
        .id;
    let of_size = |bytes: u64| {
        let mut found = snapshot.contexts.iter().filter(|context| {
            context.scope == node && context.counters.total_bytes == bytes * context.counters.total_allocations
        });
        found
            .find_map(|context| context.lifetimes.as_deref())
            .expect("some were followed")
    };
    let (short, long) = (of_size(2000), of_size(40));
    assert!(short.blocks > 64 && short.temporaries.none == short.blocks, "{short:?}");
    assert!(long.blocks > 32 && long.temporaries == Default::default(), "{long:?}");
    // About two in three, as they are made.
    assert!(
        (short.blocks / 3..short.blocks).contains(&long.blocks),
        "{short:?} {long:?}"
    );
}
