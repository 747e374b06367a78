//! What is built for a reason: kept, given away, built once, or built now and then. Nothing here is to be mended.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hint::black_box;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use alloc_core::track_memory;

use crate::input::{line, number, numbers, user_id};

/// A cache that puts the oldest out when it is full.
pub(crate) mod bounded_cache {
    use super::*;

    #[derive(Default)]
    struct Cache {
        pages: HashMap<u64, String>,
        order: VecDeque<u64>,
    }

    pub(crate) fn silent(n: u64) {
        let mut cache = Cache::default();
        let texts: Vec<String> = (0..50).map(line).collect();
        for request in 0..n {
            black_box(cache.page(request, &texts[request as usize % texts.len()]));
        }
    }

    impl Cache {
        #[track_memory(request)]
        fn page(&mut self, key: u64, text: &str) -> usize {
            if self.pages.len() >= 20
                && let Some(oldest) = self.order.pop_front()
            {
                self.pages.remove(&oldest);
            }
            self.order.push_back(key);
            self.pages.entry(key).or_insert_with(|| text.to_owned()).len()
        }
    }
}

/// Results, made in their size, which the caller drops.
pub(crate) mod returned {
    use super::*;

    pub(crate) fn silent(n: u64) {
        for request in 0..n {
            let (amounts, title) = answer(request);
            black_box(amounts.len() + title.len());
        }
    }

    #[track_memory(request)]
    fn answer(request: u64) -> (Vec<u64>, String) {
        let mut amounts = Vec::with_capacity(32);
        amounts.extend(numbers(request, 32));
        (
            amounts,
            "accepted and on its way to the bank; the receipt follows by mail ".repeat(2),
        )
    }
}

/// Tables that are built before the first request comes.
pub(crate) mod at_start {
    use super::*;

    pub(crate) fn silent(n: u64) {
        let prices: BTreeMap<String, u64> = (0..500).map(|product| (user_id(product), number(product))).collect();
        let names: Vec<String> = (0..500).map(user_id).collect();
        for request in 0..n {
            black_box(price(&prices, &names[request as usize % names.len()]));
        }
    }

    #[track_memory(request)]
    fn price(prices: &BTreeMap<String, u64>, name: &str) -> Option<u64> {
        prices.get(name).copied()
    }
}

/// Built by the first request that needs it.
pub(crate) mod lazily {
    use super::*;

    pub(crate) fn silent(n: u64) {
        for request in 0..n {
            black_box(is_prime(request));
        }
    }

    #[track_memory(request)]
    fn is_prime(number: u64) -> bool {
        static PRIMES: OnceLock<Vec<u64>> = OnceLock::new();
        let primes = PRIMES.get_or_init(|| {
            let mut primes = Vec::new();
            for candidate in 2..1000 {
                if primes.iter().all(|prime| candidate % prime != 0) {
                    primes.push(candidate);
                }
            }
            primes
        });
        primes.binary_search(&number).is_ok()
    }
}

/// One request of many has a batch to do.
pub(crate) mod batches {
    use super::*;

    pub(crate) fn silent(n: u64) {
        for request in 0..5 * n {
            black_box(handle(request, 5 * n / 2));
        }
    }

    #[track_memory(request)]
    fn handle(request: u64, batch: u64) -> u64 {
        if request == batch {
            let mut all: Vec<u64> = numbers(request, 5000).collect();
            all.sort_unstable();
            return all[2500];
        }
        request
    }
}

/// Sessions that live through some requests.
pub(crate) mod sessions {
    use super::*;

    struct Session {
        user: String,
        pages: Vec<u64>,
    }

    pub(crate) fn silent(n: u64) {
        let mut sessions = VecDeque::new();
        for request in 0..n {
            handle(&mut sessions, request);
        }
        black_box(
            sessions
                .iter()
                .map(|session| session.user.len() + session.pages.len())
                .sum::<usize>(),
        );
    }

    #[track_memory(request)]
    fn handle(sessions: &mut VecDeque<Session>, request: u64) {
        if sessions.len() == 10 {
            sessions.pop_front();
        }
        sessions.push_back(Session {
            user: user_id(request),
            pages: vec![request; 16],
        });
    }
}

/// The last hundred lines of a log.
pub(crate) mod ring {
    use super::*;

    pub(crate) fn silent(n: u64) {
        let mut ring: Vec<String> = vec![String::new(); 100];
        let lines: Vec<String> = (0..50).map(line).collect();
        for request in 0..n {
            log(&mut ring, request, &lines[request as usize % lines.len()]);
        }
        black_box(ring);
    }

    #[track_memory(request)]
    fn log(ring: &mut [String], request: u64, text: &str) {
        let at = request as usize % ring.len();
        ring[at] = text.to_owned();
    }
}

/// A picture of the state for all readers, replaced now and then.
pub(crate) mod snapshots {
    use super::*;

    pub(crate) fn silent(n: u64) {
        let rates = RwLock::new(Arc::new(rates_at(0)));
        for request in 0..n {
            black_box(convert(&rates, request));
        }
    }

    fn rates_at(moment: u64) -> HashMap<u64, u64> {
        (0..50).map(|currency| (currency, number(moment + currency))).collect()
    }

    #[track_memory(request)]
    fn convert(rates: &RwLock<Arc<HashMap<u64, u64>>>, request: u64) -> u64 {
        if request % 40 == 39 {
            let fresh = Arc::new(rates_at(request));
            *rates.write().expect("nobody panicked") = fresh;
        }
        let now = rates.read().expect("nobody panicked").clone();
        now[&(request % 50)]
    }
}

/// A few bytes are no finding, however often.
pub(crate) mod small_change {
    use super::*;

    pub(crate) fn silent(n: u64) {
        for request in 0..n {
            black_box(handle(request));
        }
    }

    #[track_memory(request)]
    fn handle(request: u64) -> usize {
        let code = request.to_string();
        black_box(&code).len()
    }
}

/// Kept for ever: nothing to reuse, and a matter of leaks. A note says so.
pub(crate) mod for_ever {
    use super::*;

    static AUDIT: Mutex<Vec<String>> = Mutex::new(Vec::new());

    pub(crate) fn silent(n: u64) {
        let text = line(1);
        for _ in 0..n {
            handle(&mut AUDIT.lock().expect("nobody panicked"), &text);
        }
    }

    #[track_memory(request)]
    fn handle(audit: &mut Vec<String>, text: &str) {
        audit.push(text.to_owned()); // RETAINED
    }
}
