//! Does the service answer right, in every variant, over real HTTP?
//!
//! No tracking allocator here: the marks on the functions must do no harm without one.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use allocscope_examples::{
    clock::Clock,
    fraud::{Paths, Source, Variant},
    load::{self, Load, Outcome, Plan},
    service::Service,
    store::Store,
};

const USERS: u64 = 2_000;
const FALSE_POSITIVES: f64 = 0.01;

struct Shop {
    service: Service,
    clock: Arc<Clock>,
}

impl Shop {
    async fn open(variant: Variant) -> Shop {
        let clock = Arc::new(Clock::default());
        let source = Source {
            store: Store::create(load::risky_users(USERS)).unwrap(),
            clock: clock.clone(),
            expiry: Duration::from_secs(300),
            false_positives: FALSE_POSITIVES,
        };
        Shop {
            service: Service::start(variant, source).await.unwrap(),
            clock,
        }
    }

    async fn load(&self, requests: usize, connections: usize) -> Outcome {
        Load::new(Plan {
            requests,
            connections,
            users: USERS,
        })
        .run(self.service.address())
        .await
        .unwrap()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn exact_variants_answer_every_payment_right() {
    block_on(async {
        for variant in [Variant::Rebuild, Variant::Set, Variant::Store] {
            let shop = Shop::open(variant).await;
            let outcome = shop.load(120, 4).await;
            assert_eq!(
                (outcome.answers, outcome.honest, outcome.latencies.len()),
                (120, 60, 120),
                "{variant}"
            );
            assert_eq!((outcome.false_negatives, outcome.false_positives), (0, 0), "{variant}");
            shop.service.stop().await.unwrap();
        }
    });
}

#[test]
fn the_bloom_filter_misses_no_risky_user_and_keeps_to_its_rate() {
    block_on(async {
        let shop = Shop::open(Variant::Bloom).await;
        let outcome = shop.load(8_000, 4).await;
        assert_eq!(outcome.false_negatives, 0);
        assert_eq!(outcome.honest, 4_000);
        // 4,000 honest users at 1 %: 40 expected, with a standard deviation of 6.3.
        assert!(
            outcome.false_positives <= 80,
            "{} of 4,000 refused",
            outcome.false_positives
        );
        shop.service.stop().await.unwrap();
    });
}

#[test]
fn expiry_sends_requests_down_the_miss_path() {
    block_on(async {
        let shop = Shop::open(Variant::Rebuild).await;
        // One connection: each request ends before the next begins, so the paths can be told exactly.
        shop.load(10, 1).await;
        assert_eq!(
            shop.service.paths(),
            Some(Paths { hits: 9, misses: 1 }),
            "the first finds nothing cached"
        );
        shop.clock.advance(Duration::from_secs(290));
        shop.load(10, 1).await;
        assert_eq!(
            shop.service.paths(),
            Some(Paths { hits: 19, misses: 1 }),
            "not yet expired"
        );
        shop.clock.advance(Duration::from_secs(11));
        let outcome = shop.load(10, 1).await;
        assert_eq!(
            shop.service.paths(),
            Some(Paths { hits: 28, misses: 2 }),
            "expired once"
        );
        assert_eq!(
            (outcome.false_negatives, outcome.false_positives),
            (0, 0),
            "the miss path answers right, too"
        );
        shop.service.stop().await.unwrap();
    });
}

#[test]
fn a_kept_set_is_replaced_at_its_expiry_while_requests_are_answered() {
    block_on(async {
        for variant in [Variant::Set, Variant::Bloom] {
            let shop = Shop::open(variant).await;
            assert_eq!(
                shop.service.paths(),
                Some(Paths { hits: 0, misses: 1 }),
                "{variant}: built once before serving"
            );
            shop.clock.advance(Duration::from_secs(301));
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while shop.service.paths().unwrap().misses < 2 {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "{variant}: no refresh after the expiry"
                );
                assert_eq!(
                    shop.load(20, 2).await.false_negatives,
                    0,
                    "{variant}: answers while refreshing"
                );
            }
            assert_eq!(
                shop.load(20, 2).await.false_negatives,
                0,
                "{variant}: answers from the new one"
            );
            shop.service.stop().await.unwrap();
        }
    });
}

#[test]
fn all_requests_that_find_the_list_expired_read_the_table() {
    block_on(async {
        let shop = Shop::open(Variant::Rebuild).await;
        let outcome = shop.load(60, 6).await;
        let Paths { hits, misses } = shop.service.paths().unwrap();
        assert_eq!(hits + misses, 60);
        assert!(
            (1..=6).contains(&misses),
            "{misses} misses: at most one for each connection"
        );
        assert_eq!((outcome.false_negatives, outcome.false_positives), (0, 0));
        shop.service.stop().await.unwrap();
    });
}

#[test]
fn a_load_against_nobody_is_an_error_not_a_zero() {
    block_on(async {
        let shop = Shop::open(Variant::Store).await;
        let address = shop.service.address();
        shop.service.stop().await.unwrap();
        let plan = Plan {
            requests: 4,
            connections: 1,
            users: USERS,
        };
        assert!(Load::new(plan).run(address).await.is_err());
    });
}
