//! `observe_contents!` in a program: what it proves, what it does not, and that it leaves no trace in the program's figures.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hint::black_box;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

use alloc_core::contents::{Content, ContentHash, ContentStats, Hashed};
use alloc_core::{Snapshot, TrackingAllocator, assert_no_allocations, observe_contents, scope, track_memory};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

/// A call that comes while a snapshot reads its place is not observed. So that these tests can count, they run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the places of this name saw, in the order of their nodes.
fn seen(name: &str) -> Vec<ContentStats> {
    let contents = Snapshot::take().expect("the allocator is installed").contents;
    contents.into_iter().filter(|stats| stats.name == name).collect()
}

fn only(name: &str) -> ContentStats {
    let mut all = seen(name);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[track_memory(request)]
fn check_fraud(user: u64, list: &[u64]) -> bool {
    let risky: HashSet<u64> = list.iter().copied().collect();
    observe_contents!("rebuilt", &risky);
    risky.contains(&user)
}

#[test]
fn a_set_that_is_equal_each_time_is_proven_equal() {
    let _alone = alone();
    let list: Vec<u64> = (0..500).collect();
    for user in 0..10_000 {
        check_fraud(user, &list);
    }
    let stats = only("rebuilt");
    assert!(stats.is_equal_each_time(60), "{stats:?}");
    assert_eq!((stats.distinct_at_least, stats.distinct_at_most), (1, 1));
    assert!(stats.observed < 200, "a sample: {stats:?}");
    let source = include_str!("same_contents.rs");
    let line = source.lines().position(|line| line.contains("(\"rebuilt\", &risky)"));
    assert_eq!(line.map(|index| index as u32 + 1), Some(stats.line));
    assert!(stats.file.ends_with("tests/same_contents.rs"), "{stats:?}");
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let scope = snapshot.scopes.iter().find(|node| Some(node.id) == stats.scope);
    assert!(
        scope.is_some_and(|node| node.name.ends_with("check_fraud")),
        "{scope:?}"
    );
}

#[test]
fn contents_that_differ_are_never_called_equal() {
    let _alone = alone();
    for turn in 0..5000_u64 {
        let of_the_request: Vec<u64> = (turn..turn + 20).collect();
        observe_contents!("differs", &of_the_request);
        let in_turn: Vec<u64> = vec![turn % 2; 20];
        observe_contents!("in turn", &in_turn);
        let by_length = "x".repeat(turn as usize % 1000);
        observe_contents!("by length", &by_length);
    }
    for name in ["differs", "by length"] {
        let stats = only(name);
        assert_eq!(stats.equal_to_last, 0, "{stats:?}");
        assert!(
            stats.distinct_at_least == 8 && stats.distinct_at_most >= 40,
            "{stats:?}"
        );
    }
    let stats = only("in turn");
    assert_eq!((stats.distinct_at_least, stats.distinct_at_most), (2, 2));
    assert!(!stats.is_equal_each_time(1), "pairs of calls are compared: {stats:?}");
    assert!(stats.compared - stats.equal_to_last > stats.compared / 2, "{stats:?}");
}

#[test]
fn a_refresh_now_and_then_is_seen_as_one() {
    let _alone = alone();
    for turn in 0..4000_u64 {
        let set: HashSet<u64> = (turn / 1000..turn / 1000 + 50).collect();
        observe_contents!("refreshed", &set);
    }
    let stats = only("refreshed");
    assert_eq!((stats.distinct_at_least, stats.distinct_at_most), (4, 4), "{stats:?}");
    assert_eq!(stats.compared - stats.equal_to_last, 3, "{stats:?}");
}

/// Adds itself by way of a new string: the worst that an implementation may do.
struct Wasteful(u64);

impl Content for Wasteful {
    fn add_to(&self, hash: &mut ContentHash<'_>) {
        hash.part(&black_box(format!("{}", self.0)));
    }
}

#[test]
fn observing_allocates_nothing_and_is_charged_to_nobody() {
    let _alone = alone();
    let set: HashSet<String> = (0..100).map(|n| format!("user-{n}")).collect();
    let map: BTreeMap<u32, Vec<f64>> = BTreeMap::from([(1, vec![0.5; 10])]);
    #[derive(Hash)]
    struct Rule<'text>(&'text str, [u8; 4]);
    let rule = Rule("deny", [10, 0, 0, 1]);
    assert_no_allocations!({
        for _ in 0..100 {
            observe_contents!("no allocation", &set);
            observe_contents!("no allocation", &(&map, "text", Some([1, 2, 3])));
            observe_contents!("no allocation", &Hashed(&rule));
            observe_contents!(&map);
            observe_contents!("no allocation", &Wasteful(7));
        }
    });
    assert!(seen("no allocation").iter().all(|stats| stats.is_equal_each_time(31)));

    let _scope = scope!("wasteful");
    for _ in 0..10 {
        observe_contents!(&Wasteful(7));
    }
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let node = snapshot.scopes.iter().find(|node| node.name == "wasteful");
    let own = node.expect("it was entered").own;
    assert_eq!(
        own.total_allocations, 0,
        "what `Content` allocates is not the program's"
    );
}

#[test]
fn paths_are_kept_apart() {
    let _alone = alone();
    fn load(key: u64) {
        let map: HashMap<u64, u64> = [(key, key)].into_iter().collect();
        observe_contents!("two paths", &map);
    }
    for turn in 0..20 {
        {
            let _scope = scope!("same contents: a");
            load(1);
        }
        let _scope = scope!("same contents: b");
        load(turn);
    }
    let [a, b] = &seen("two paths")[..] else {
        panic!("two paths: {:#?}", seen("two paths"));
    };
    let (a, b) = if a.equal_to_last != 0 { (a, b) } else { (b, a) };
    assert!(a.is_equal_each_time(10) && b.equal_to_last == 0, "{a:?} {b:?}");
    assert_ne!(a.scope, b.scope);
}

#[test]
fn more_paths_than_there_is_room_for_are_added_up() {
    let _alone = alone();
    for n in 0..20 {
        let _scopes: Vec<_> = (0..=n % 7)
            .map(|depth| alloc_core::__private::enter(NESTED[depth]))
            .collect();
        observe_contents!("many paths", &[1_u8, 2, 3]);
    }
    let all = seen("many paths");
    assert_eq!(all.len(), 5, "{all:#?}");
    assert_eq!(all.iter().filter(|stats| stats.scope.is_none()).count(), 1);
    assert_eq!(all.iter().map(|stats| stats.observed).sum::<u64>(), 20);
}

use alloc_core::__private::ScopeSite;
static SITES: [ScopeSite; 7] = [
    ScopeSite::new("path 0", "", 0),
    ScopeSite::new("path 1", "", 0),
    ScopeSite::new("path 2", "", 0),
    ScopeSite::new("path 3", "", 0),
    ScopeSite::new("path 4", "", 0),
    ScopeSite::new("path 5", "", 0),
    ScopeSite::new("path 6", "", 0),
];
static NESTED: [&ScopeSite; 7] = [
    &SITES[0], &SITES[1], &SITES[2], &SITES[3], &SITES[4], &SITES[5], &SITES[6],
];

#[test]
fn a_generic_place_does_not_mix_types() {
    let _alone = alone();
    fn build<T: Content + Copy>(value: T) {
        observe_contents!("generic", &vec![value; 3]);
    }
    for _ in 0..10 {
        build(1_u32);
        build(1_i32);
    }
    let stats = only("generic");
    assert_eq!((stats.equal_to_last, stats.distinct_at_least), (0, 2), "{stats:?}");
}

#[test]
fn what_is_too_large_is_said_and_not_guessed() {
    let _alone = alone();
    let large: HashSet<u32> = (0..70_000).collect();
    for _ in 0..5 {
        observe_contents!("large", &large);
    }
    let stats = only("large");
    assert_eq!((stats.observed, stats.compared, stats.too_large), (0, 0, 5));
    assert!(!stats.is_equal_each_time(0));
}

#[test]
fn threads_observe_at_once() {
    let _alone = alone();
    const THREADS: usize = 8;
    let start = Barrier::new(THREADS);
    let text = String::from("the same for all");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..20_000 {
                    observe_contents!("threads", &text);
                }
            });
        }
        // Snapshots meanwhile.
        for _ in 0..20 {
            let _ = seen("threads");
        }
    });
    let stats = only("threads");
    assert!(stats.is_equal_each_time(40) && stats.observed < 2000, "{stats:?}");
    assert_eq!(stats.distinct_at_most, 1);
}

#[test]
fn a_panic_in_a_hash_leaves_the_place_usable() {
    let _alone = alone();
    struct Fails(bool);
    impl Content for Fails {
        fn add_to(&self, hash: &mut ContentHash<'_>) {
            assert!(!self.0, "on purpose");
            hash.value(&1);
        }
    }
    let observe = |fails| observe_contents!("fails", &Fails(fails));
    observe(false);
    let caught = std::panic::catch_unwind(|| observe(true));
    assert!(caught.is_err());
    observe(false);
    let stats = only("fails");
    assert_eq!((stats.observed, stats.equal_to_last), (2, 1));
    drop(black_box(vec![1_u8]));
}

#[test]
fn snapshots_keep_it_in_their_files() {
    let _alone = alone();
    observe_contents!("in a file", "text");
    observe_contents!("in a file", "text");
    let snapshot = Snapshot::take().expect("the allocator is installed");
    let json = snapshot.to_json().expect("it can be written");
    assert!(json.contains("\"in a file\""));
    assert!(!json.contains("\"hash\""), "no hash leaves the process");
}
