//! Maps that are made for one request.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;

use alloc_core::track_memory;

use crate::input::{number, numbers, user_id};

/// Counted in a new map; and in one that is emptied.
pub(crate) mod counts {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(most_frequent(request));
        }
    }

    #[track_memory(request)]
    fn most_frequent(request: u64) -> Option<u64> {
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for value in numbers(request, 100) {
            *counts.entry(value % 50).or_insert(0) += 1; // REBUILT: reuse HashMap<u64, u32>
        }
        counts.iter().max_by_key(|&(_, count)| count).map(|(&value, _)| value)
    }

    pub(crate) fn fixed(n: u64) {
        let mut counts = HashMap::new();
        for request in 0..n {
            black_box(most_frequent_in(request, &mut counts));
        }
    }

    #[track_memory(request)]
    fn most_frequent_in(request: u64, counts: &mut HashMap<u64, u32>) -> Option<u64> {
        counts.clear();
        for value in numbers(request, 100) {
            *counts.entry(value % 50).or_insert(0) += 1;
        }
        counts.iter().max_by_key(|&(_, count)| count).map(|(&value, _)| value)
    }
}

/// A map of lists: one thing to mend, not three.
pub(crate) mod nested {
    use super::*;

    fn payments() -> Vec<(String, u64)> {
        numbers(1, 60).map(|amount| (user_id(amount % 12), amount)).collect()
    }

    pub(crate) fn bad(n: u64) {
        let payments = payments();
        for _ in 0..n {
            black_box(largest_customer(&payments));
        }
    }

    #[track_memory(request)]
    fn largest_customer(payments: &[(String, u64)]) -> u64 {
        let mut by_user: HashMap<String, Vec<u64>> = HashMap::new();
        for (user, amount) in payments {
            let of_user = by_user.entry(user.clone()).or_default(); // REBUILT: reuse HashMap<String, Vec<u64>>
            of_user.push(*amount);
        }
        by_user.values().map(|amounts| amounts.iter().sum()).max().unwrap_or(0)
    }

    pub(crate) fn fixed(n: u64) {
        let payments = payments();
        let mut by_user = HashMap::new();
        for _ in 0..n {
            black_box(largest_customer_in(&payments, &mut by_user));
        }
    }

    #[track_memory(request)]
    fn largest_customer_in(payments: &[(String, u64)], by_user: &mut HashMap<String, Vec<u64>>) -> u64 {
        by_user.values_mut().for_each(Vec::clear);
        for (user, amount) in payments {
            match by_user.get_mut(user.as_str()) {
                Some(of_user) => of_user.push(*amount),
                None => drop(by_user.insert(user.clone(), vec![*amount])),
            }
        }
        by_user.values().map(|amounts| amounts.iter().sum()).max().unwrap_or(0)
    }
}

/// A copy of the configuration for each request; and one that is shared.
pub(crate) mod configuration {
    use super::*;

    #[derive(Clone)]
    struct Config {
        hosts: Vec<String>,
        limits: HashMap<String, u64>,
    }

    fn config() -> Config {
        Config {
            hosts: (0..8).map(user_id).collect(),
            limits: (0..20).map(|n| (user_id(n), number(n))).collect(),
        }
    }

    pub(crate) fn bad(n: u64) {
        let config = config();
        for request in 0..n {
            black_box(limit_of(&config, request));
        }
    }

    #[track_memory(request)]
    fn limit_of(shared: &Config, request: u64) -> u64 {
        let config = shared.clone(); // REBUILT: reuse HashMap<String, u64>
        let host = &config.hosts[request as usize % config.hosts.len()];
        config.limits.get(host.as_str()).copied().unwrap_or(0)
    }

    pub(crate) fn fixed(n: u64) {
        let config = Arc::new(config());
        for request in 0..n {
            black_box(limit_of_shared(&config, request));
        }
    }

    #[track_memory(request)]
    fn limit_of_shared(shared: &Arc<Config>, request: u64) -> u64 {
        let config = Arc::clone(shared);
        let host = &config.hosts[request as usize % config.hosts.len()];
        config.limits.get(host.as_str()).copied().unwrap_or(0)
    }
}

/// A copy of a map, to change one entry; and a look at the change first.
pub(crate) mod map_copied {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let prices: HashMap<u64, u64> = (0..100).map(|product| (product, number(product))).collect();
        for request in 0..n {
            black_box(total(&prices, request % 100));
        }
    }

    #[track_memory(request)]
    fn total(prices: &HashMap<u64, u64>, discounted: u64) -> u64 {
        let mut prices = prices.clone(); // REBUILT: reuse HashMap<u64, u64>
        prices.insert(discounted, 1);
        prices.values().sum()
    }

    pub(crate) fn fixed(n: u64) {
        let prices: HashMap<u64, u64> = (0..100).map(|product| (product, number(product))).collect();
        for request in 0..n {
            black_box(total_of(&prices, request % 100));
        }
    }

    #[track_memory(request)]
    fn total_of(prices: &HashMap<u64, u64>, discounted: u64) -> u64 {
        let price = |(product, price): (&u64, &u64)| if *product == discounted { 1 } else { *price };
        prices.iter().map(price).sum()
    }
}

/// Two sets at a time, made in one function that is called twice.
pub(crate) mod two_at_once {
    use super::*;

    /// Some words of two letters.
    fn text(seed: u64) -> String {
        numbers(seed, 12).map(|word| format!("{:02} ", word % 100)).collect()
    }

    fn words(text: &str) -> HashSet<&str> {
        text.split(' ').collect() // REBUILT: pool HashSet<&str>
    }

    pub(crate) fn bad(n: u64) {
        let texts: Vec<String> = (0..=n).map(text).collect();
        for pair in texts.windows(2) {
            black_box(in_common(&pair[0], &pair[1]));
        }
    }

    #[track_memory(request)]
    fn in_common(left: &str, right: &str) -> usize {
        let (left, right) = (words(left), words(right));
        left.intersection(&right).count()
    }

    pub(crate) fn fixed(n: u64) {
        let texts: Vec<String> = (0..=n).map(text).collect();
        for pair in texts.windows(2) {
            black_box(in_common_words(&pair[0], &pair[1]));
        }
    }

    #[track_memory(request)]
    fn in_common_words(left: &str, right: &str) -> usize {
        let is_first = |at: usize, word: &str| left.split(' ').take(at).all(|other| other != word);
        let words = left.split(' ').enumerate().filter(|(at, word)| is_first(*at, word));
        words
            .filter(|(_, word)| right.split(' ').any(|other| other == *word))
            .count()
    }
}
