//! A caller with every lint on: the expansion adds no warning, and switches off none.
//!
//! `cargo clippy --all-targets` reads this file with the groups below denied, the lints of rustc forbidden: an `allow` of
//! one in the expansion would not compile. Nothing here runs for long; that it compiles is most of the test.
#![forbid(
    unsafe_code,
    unused,
    nonstandard_style,
    future_incompatible,
    keyword_idents,
    let_underscore
)]
#![forbid(
    unused_qualifications,
    unused_results,
    unused_lifetimes,
    unreachable_pub,
    missing_docs,
    trivial_casts
)]
#![forbid(single_use_lifetimes, variant_size_differences, tail_expr_drop_order, if_let_rescope)]
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery, clippy::cargo)]
#![allow(
    clippy::cargo_common_metadata,
    clippy::multiple_crate_versions,
    reason = "about the package, not the code"
)]
#![deny(
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::let_underscore_untyped,
    clippy::let_underscore_must_use,
    clippy::pattern_type_mismatch,
    clippy::semicolon_outside_block,
    clippy::question_mark_used,
    clippy::missing_trait_methods,
    clippy::default_numeric_fallback,
    clippy::infinite_loop,
    clippy::unused_trait_names,
    refining_impl_trait,
    async_fn_in_trait,
    unreachable_code,
    impl_trait_redundant_captures
)]

use alloc_core::{track_memory, tracked};

/// Has methods of every kind.
struct Caller {
    text: String,
}

/// A trait with a default method.
trait Speak {
    #[track_memory]
    fn say(&self, loud: bool) -> usize {
        usize::from(loud)
    }
}

impl Speak for Caller {
    #[track_memory]
    fn say(&self, loud: bool) -> usize {
        self.text.len() + usize::from(loud)
    }
}

impl Caller {
    #[track_memory]
    fn take(self, mut more: String, (first, _second): (u8, u8), _unused: &str) -> String {
        more.push_str(&self.text);
        more.push(char::from(first));
        more
    }

    #[track_memory]
    async fn wait(&self, mut more: String, (first, _second): (u8, u8), _unused: &str) -> String {
        more.push_str(&self.text);
        core::future::ready(()).await;
        more.push(char::from(first));
        more
    }

    #[track_memory]
    fn ignores(&self, _owned: u32, _: u8) -> usize {
        self.text.len()
    }

    #[track_memory]
    async fn nothing(&mut self) {
        self.text.clear();
        core::future::ready(()).await;
    }
}

#[track_memory]
fn returns_future(n: u32) -> impl Future<Output = u32> {
    let future = async move { n };
    core::convert::identity(future)
}

#[track_memory(name = "tail")]
fn ends_in_future(n: u32) -> impl Future<Output = u32> {
    async move { n }
}

/// Marked as a whole, with everything that can be asked for.
struct Queue {
    items: Vec<String>,
}

#[track_memory(loops)]
impl Queue {
    const fn new(items: Vec<String>) -> Self {
        Self { items }
    }

    fn join(self, separator: char) -> String {
        let mut out = String::new();
        for item in self.items {
            out.push_str(&item);
            out.push(separator);
        }
        out
    }

    async fn drain(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(item) = core::future::ready(self.items.pop()).await {
            if item.is_empty() {
                continue;
            }
            bytes += core::future::ready(item.len()).await;
        }
        loop {
            core::future::ready(()).await;
            if bytes > 0 {
                break bytes;
            }
            bytes += 1;
        }
    }

    #[track_memory(request)]
    fn boxed(&self) -> core::pin::Pin<Box<dyn Future<Output = usize> + '_>> {
        let extra = self.items.len();
        Box::pin(async move { self.items.len() + extra })
    }
}

/// Public, so that the lints about traits look at it.
pub trait Wait {
    /// Waits.
    fn wait_for(&self, turns: u32) -> impl Future<Output = u32> + Send;
}

impl Wait for u8 {
    #[track_memory]
    async fn wait_for(&self, turns: u32) -> u32 {
        core::future::ready(u32::from(*self) + turns).await
    }
}

#[track_memory]
#[must_use]
async fn must_be_used(owned: String) -> usize {
    core::future::ready(owned.len()).await
}

#[track_memory]
#[rustfmt::skip]
fn one_line(n: u32) -> u32 { n }

#[track_memory]
#[rustfmt::skip]
fn one_line_that_ends_in_a_future(n: u32) -> impl Future<Output = u32> { async move { n } }

#[track_memory]
#[rustfmt::skip]
fn one_line_that_boxes_a_future(n: u32) -> core::pin::Pin<Box<dyn Future<Output = u32>>> { Box::pin(async move { n }) }

#[track_memory]
fn nothing_at_all() {}

#[test]
fn strict_caller_compiles_and_runs() {
    let mut caller = Caller { text: "a".to_owned() };
    assert_eq!(caller.say(true), 2);
    assert_eq!(block_on(caller.wait("b".to_owned(), (b'c', 0), "")), "bac");
    block_on(caller.nothing());
    assert_eq!(caller.ignores(1, 2), 0);
    assert_eq!(caller.take("b".to_owned(), (b'c', 0), ""), "bc");
    assert_eq!(
        block_on(returns_future(1)) + block_on(ends_in_future(2)) + one_line(3),
        6
    );
    assert_eq!(
        block_on(one_line_that_ends_in_a_future(1)) + block_on(one_line_that_boxes_a_future(2)),
        3
    );
    nothing_at_all();
    let mut queue = Queue::new(vec![String::new(), "a".to_owned()]);
    assert_eq!(block_on(queue.boxed()) + block_on(queue.drain()), 5);
    assert_eq!(Queue::new(vec!["b".to_owned()]).join(','), "b,");
    assert_eq!(block_on(1_u8.wait_for(2)), 3);
    assert_eq!(block_on(must_be_used("ab".to_owned())), 2);
    let upper = tracked!(|text: &str| text.to_uppercase());
    let later = tracked!(name = "later", async { upper("c") });
    assert_eq!(block_on(later), "C");
}

/// Runs a future that never waits.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    match core::pin::pin!(future).poll(&mut context) {
        core::task::Poll::Ready(value) => value,
        core::task::Poll::Pending => panic!("the futures here never wait"),
    }
}
