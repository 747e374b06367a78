//! The check that started it all: is this user on the list of risky users? Rebuilt for every payment, and the ways out.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::sync::{Arc, RwLock};

use alloc_core::{observe_contents, track_memory};

use crate::input::{number, user_id};

/// How many users are on the list.
const USERS: u64 = 300;
/// Payments after which the list is read anew.
const EXPIRY: u64 = 100;

fn list_of_numbers() -> Vec<u64> {
    (0..USERS).map(number).collect()
}

/// What the cache holds.
fn cached_json() -> String {
    let ids: Vec<String> = (0..USERS).map(user_id).collect();
    serde_json::to_string(&ids).expect("texts are JSON")
}

/// A set per request; and one that is built once, and refreshed.
pub(crate) mod set {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let list = list_of_numbers();
        for payment in 0..n {
            black_box(check_fraud(&list, number(payment)));
        }
    }

    #[track_memory(request)]
    fn check_fraud(list: &[u64], user: u64) -> bool {
        let risky: HashSet<u64> = list.iter().copied().collect(); // REBUILT: reuse HashSet<u64>
        risky.contains(&user)
    }

    pub(crate) fn fixed(n: u64) {
        let list = list_of_numbers();
        let mut risky = HashSet::new();
        for payment in 0..n {
            if payment % EXPIRY == 0 {
                risky = list.iter().copied().collect();
            }
            black_box(check_fraud_kept(&risky, number(payment)));
        }
    }

    #[track_memory(request)]
    fn check_fraud_kept(risky: &HashSet<u64>, user: u64) -> bool {
        risky.contains(&user)
    }
}

/// A list per request instead of the set: cheaper, and still built for one question. Mended by a Bloom filter that is swapped.
pub(crate) mod list {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let cached: String = list_of_numbers().iter().map(|user| format!("{user},")).collect();
        for payment in 0..n {
            black_box(check_fraud(&cached, number(payment)));
        }
    }

    #[track_memory(request)]
    fn check_fraud(cached: &str, user: u64) -> bool {
        let risky: Vec<u64> = cached.split(',').filter_map(|id| id.parse().ok()).collect(); // REBUILT: reuse Vec<u64>
        risky.contains(&user)
    }

    struct BloomFilter {
        bits: Vec<u64>,
    }

    impl BloomFilter {
        fn of(users: &[u64]) -> Self {
            let mut filter = Self { bits: vec![0; 64] };
            for user in users {
                for bit in Self::places(user) {
                    filter.bits[bit / 64] |= 1 << (bit % 64);
                }
            }
            filter
        }

        fn places(user: &u64) -> [usize; 4] {
            let mut hasher = DefaultHasher::new();
            user.hash(&mut hasher);
            let hash = hasher.finish();
            [0, 12, 24, 36].map(|shift| (hash >> shift) as usize % 4096)
        }

        fn may_contain(&self, user: u64) -> bool {
            Self::places(&user)
                .iter()
                .all(|bit| self.bits[bit / 64] & (1 << (bit % 64)) != 0)
        }
    }

    pub(crate) fn fixed(n: u64) {
        let list = list_of_numbers();
        let filter = RwLock::new(Arc::new(BloomFilter::of(&list)));
        for payment in 0..n {
            if payment % EXPIRY == EXPIRY - 1 {
                let fresh = Arc::new(BloomFilter::of(&list));
                *filter.write().expect("nobody panicked") = fresh;
            }
            black_box(check_fraud_filtered(&filter, number(payment)));
        }
    }

    #[track_memory(request)]
    fn check_fraud_filtered(filter: &RwLock<Arc<BloomFilter>>, user: u64) -> bool {
        let now = filter.read().expect("nobody panicked").clone();
        now.may_contain(user)
    }
}

/// The incident: JSON from the cache, parsed into a list, made into a set of strings. Mended by asking the store.
pub(crate) mod set_of_strings {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let cached = cached_json();
        for payment in 0..n {
            black_box(check_fraud(&cached, &user_id(number(payment))));
        }
    }

    #[track_memory(request)]
    fn check_fraud(cached: &str, user: &str) -> bool {
        let risky = HashSet::<String>::from_iter(serde_json::from_str::<Vec<_>>(cached).expect("a list")); // REBUILT: reuse HashSet<String>
        risky.contains(user)
    }

    pub(crate) fn fixed(n: u64) {
        let store: BTreeSet<String> = (0..USERS).map(user_id).collect();
        for payment in 0..n {
            black_box(check_fraud_in_store(&store, &user_id(number(payment))));
        }
    }

    #[track_memory(request)]
    fn check_fraud_in_store(store: &BTreeSet<String>, user: &str) -> bool {
        store.contains(user)
    }
}

/// As the incident has it: a request that finds nothing cached reads the table. One in a hundred does, and is not the problem.
pub(crate) mod hit_and_miss {
    use super::*;

    struct Row {
        user_id: String,
        active: bool,
    }

    fn table() -> Vec<Row> {
        let row = |user| Row {
            user_id: user_id(user),
            active: user % 7 != 0,
        };
        (0..USERS).map(row).collect()
    }

    pub(crate) fn bad(n: u64) {
        let table = table();
        let mut cached = None;
        for payment in 0..n {
            if payment % EXPIRY == 0 {
                cached = None;
            }
            black_box(check_fraud(&table, &mut cached, &user_id(number(payment))));
        }
    }

    #[track_memory(request)]
    fn check_fraud(table: &[Row], cached: &mut Option<String>, user: &str) -> bool {
        let Some(list) = cached else {
            let rows = table.iter().filter(|row| row.active);
            let risky: Vec<String> = rows.map(|row| row.user_id.clone()).collect();
            *cached = Some(risky.join("\n"));
            return risky.iter().any(|risky| risky == user);
        };
        let risky: HashSet<&str> = list.lines().collect(); // REBUILT: reuse HashSet<&str>
        risky.contains(user)
    }

    pub(crate) fn fixed(n: u64) {
        let table = table();
        let mut cached = None;
        for payment in 0..n {
            if payment % EXPIRY == 0 {
                cached = None;
            }
            black_box(check_fraud_kept(&table, &mut cached, &user_id(number(payment))));
        }
    }

    #[track_memory(request)]
    fn check_fraud_kept(table: &[Row], cached: &mut Option<HashSet<String>>, user: &str) -> bool {
        let risky = cached.get_or_insert_with(|| {
            let rows = table.iter().filter(|row| row.active);
            rows.map(|row| row.user_id.clone()).collect()
        });
        risky.contains(user)
    }
}

/// Sets whose contents are observed: one holds the same for every payment, the other what the payment brings.
pub(crate) mod observed {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let list = list_of_numbers();
        for payment in 0..n {
            black_box(check_fraud(&list, number(payment)));
        }
    }

    #[track_memory(request)]
    fn check_fraud(list: &[u64], user: u64) -> bool {
        let friends: HashSet<u64> = (user..user + 40).collect(); // REBUILT: reuse HashSet<u64>
        observe_contents!("friends", &friends);
        let risky: HashSet<u64> = list.iter().copied().collect(); // REBUILT: cache HashSet<u64>
        observe_contents!("risky users", &risky);
        !friends.is_disjoint(&risky)
    }

    pub(crate) fn fixed(n: u64) {
        let risky: HashSet<u64> = list_of_numbers().into_iter().collect();
        for payment in 0..n {
            black_box(check_fraud_kept(&risky, number(payment)));
        }
    }

    #[track_memory(request)]
    fn check_fraud_kept(risky: &HashSet<u64>, user: u64) -> bool {
        observe_contents!("kept", risky);
        (user..user + 40).any(|friend| risky.contains(&friend))
    }
}
