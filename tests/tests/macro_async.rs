//! `#[track_memory]` on futures: the scope is entered and left around each poll, and nothing else about the function
//! changes: what its arguments do, whether its future is `Send`, what its body may return.
//!
//! Runs against a recording stand-in for the runtime. Tasks on real executors are tested with the real runtime.
#![deny(warnings)]
#![allow(
    clippy::multiple_bound_locations,
    clippy::let_and_return,
    clippy::too_many_arguments,
    reason = "odd forms are the point"
)]

#[path = "macro_support/mod.rs"]
mod recorder;

use std::fmt::Debug;
use std::pin::Pin;
use std::rc::Rc;

use alloc_core::track_memory;
use recorder::{Noisy, YieldOnce, block_on, log, note, poll_once_and_drop};

#[track_memory(crate = crate::recorder)]
async fn waits() -> u32 {
    YieldOnce::default().await;
    7
}

#[test]
fn scope_spans_each_poll_and_not_the_wait() {
    let future = waits();
    assert_eq!(log(), [""; 0], "nothing happens before the first poll");
    assert_eq!(block_on(future), 7);
    assert_eq!(
        log(),
        ["enter waits", "leave waits", "waiting", "enter waits", "leave waits"]
    );
}

#[test]
fn dropped_future_drops_what_it_holds_and_is_not_entered_again() {
    #[track_memory(crate = crate::recorder)]
    async fn holds(_held: Noisy) {
        let _local = Noisy("local");
        YieldOnce::default().await;
    }
    poll_once_and_drop(holds(Noisy("held")));
    assert_eq!(log(), ["enter holds", "leave holds", "drop local", "drop held"]);
    drop(holds(Noisy("unpolled")));
    assert_eq!(log(), ["drop unpolled"]);
}

struct Service(#[expect(dead_code, reason = "only its drop matters")] Noisy);

/// The same function twice, with and without the attribute.
macro_rules! twins {
    ($(#[$attr:meta])* $name:ident) => {
        impl Service {
            $(#[$attr])*
            #[allow(unused_variables, reason = "arguments that the body does not touch are the point")]
            async fn $name(self, a: Noisy, mut b: Noisy, (c, d): (Noisy, Noisy), _: Noisy, _e: Noisy, f: Noisy, mut g: Noisy) {
                let _local = Noisy("local");
                b.0 = "b";
                YieldOnce::default().await;
                drop(f);
                g.0 = "g";
                let _moved = a;
                note(format!("end {}", c.0));
            }
        }
    };
}
twins!(plain);
twins!(
    #[track_memory(crate = crate::recorder)]
    tracked
);

#[test]
fn arguments_drop_in_the_order_of_a_plain_async_fn() {
    macro_rules! run {
        ($method:ident, $how:ident) => {{
            let n = Noisy;
            $how(Service(n("self")).$method(n("a"), n("b?"), (n("c"), n("d")), n("_"), n("e"), n("f"), n("g?")));
            log()
        }};
    }
    let only_drops = |log: Vec<String>| {
        log.into_iter()
            .filter(|line| line.starts_with("drop"))
            .collect::<Vec<_>>()
    };
    let tracked = run!(tracked, block_on);
    let end = tracked.iter().position(|line| line == "drop self").expect("self dies");
    assert_eq!(tracked[end + 1], "leave tracked", "inside the scope: {tracked:?}");
    assert_eq!(only_drops(tracked), only_drops(run!(plain, block_on)));
    assert_eq!(
        only_drops(run!(tracked, poll_once_and_drop)),
        only_drops(run!(plain, poll_once_and_drop))
    );
}

struct Pair {
    left: Noisy,
    right: [Noisy; 2],
}

/// Below ours, `must_use` keeps the `async`: the arguments are held by a future around the tracked one.
macro_rules! used_twins {
    ($(#[$attr:meta])* $name:ident) => {
        impl Service {
            $(#[$attr])*
            #[must_use]
            async fn $name(
                self,
                a: Noisy,
                mut b: Noisy,
                (c, mut d): (Noisy, Noisy),
                Pair { left, right: [e, f] }: Pair,
                _: Noisy,
                _g: Noisy,
                h: Noisy,
                (i, _): (Noisy, Noisy),
                mut j: Noisy,
            ) -> u8 {
                b.0 = "b";
                d.0 = "d";
                j.0 = "j";
                YieldOnce::default().await;
                drop(e);
                note(format!("end {} {} {} {} {} {}", a.0, c.0, left.0, f.0, h.0, i.0));
                1
            }
        }
    };
}
used_twins!(plain_used);
used_twins!(
    #[track_memory(crate = crate::recorder)]
    tracked_used
);

#[test]
fn arguments_drop_in_the_same_order_where_async_is_kept() {
    macro_rules! run {
        ($method:ident, $how:ident) => {{
            let n = Noisy;
            let pair = Pair {
                left: n("left"),
                right: [n("e"), n("f")],
            };
            let (cd, i) = ((n("c"), n("d?")), (n("i"), n("rest of i")));
            let _ = $how(Service(n("self")).$method(n("a"), n("b?"), cd, pair, n("_"), n("_g"), n("h"), i, n("j?")));
            log()
                .into_iter()
                .filter(|line| line.starts_with("drop"))
                .collect::<Vec<_>>()
        }};
    }
    let plain = run!(plain_used, block_on);
    assert_eq!(plain.len(), 14);
    assert_eq!(run!(tracked_used, block_on), plain);
    assert_eq!(
        run!(tracked_used, poll_once_and_drop),
        run!(plain_used, poll_once_and_drop)
    );
}

#[track_memory(crate = crate::recorder)]
async fn borrows<'a, T: ?Sized + Debug, const N: usize>(text: &'a str, item: &T, mut out: impl FnMut(&str)) -> &'a str
where
    T: Sync,
{
    YieldOnce::default().await;
    out(&format!("{item:?}{N}"));
    &text[1..]
}

#[track_memory(crate = crate::recorder)]
async fn opaque(n: u32) -> impl Fn(u32) -> u32 {
    YieldOnce::default().await;
    move |m| n + m
}

#[track_memory(crate = crate::recorder)]
async fn boxed_closure() -> Result<Box<dyn Fn(&str) -> usize>, Box<dyn std::error::Error>> {
    if "1".parse::<u8>()? == 2 {
        return Err("two".into());
    }
    Ok(Box::new(|s| s.len()))
}

#[track_memory(crate = crate::recorder)]
async fn nested_opaque<'a>(words: &'a [&'a str]) -> Option<impl Iterator<Item = usize> + 'a> {
    let words = words.get(1..)?;
    Some(words.iter().map(|word| word.len()))
}

#[track_memory(crate = crate::recorder)]
async fn unit() {
    let _: () = YieldOnce::default().await;
}

#[test]
fn return_types_are_inferred_as_before() {
    let mut seen = String::new();
    let rest = block_on(borrows::<_, 2>("abc", "x", |text| seen.push_str(text)));
    assert_eq!((rest, seen.as_str()), ("bc", "\"x\"2"));
    assert_eq!(block_on(opaque(1))(2), 3);
    assert_eq!(block_on(boxed_closure()).unwrap()("ab"), 2);
    assert_eq!(block_on(nested_opaque(&["a", "bc"])).unwrap().collect::<Vec<_>>(), [2]);
    block_on(unit());
}

#[track_memory(crate = crate::recorder)]
async fn never(turns: u32) -> ! {
    let mut left = turns;
    loop {
        if left == 0 {
            std::panic::panic_any("out");
        }
        left -= 1;
        YieldOnce::default().await;
    }
}

#[test]
fn async_function_that_never_returns() {
    let result = std::panic::catch_unwind(|| block_on(async { never(1).await }));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "out");
    assert_eq!(
        log(),
        ["enter never", "leave never", "waiting", "enter never", "leave never"]
    );
}

trait Store {
    async fn get(&self, key: &str) -> Option<String>;

    #[track_memory(crate = crate::recorder)]
    async fn has(&self, key: &str) -> bool {
        self.get(key).await.is_some()
    }
}

struct One(String);

impl Store for One {
    #[track_memory(crate = crate::recorder)]
    async fn get(&self, key: &str) -> Option<String> {
        YieldOnce::default().await;
        (key == self.0).then(|| self.0.clone())
    }
}

#[test]
fn native_async_in_traits() {
    assert!(block_on(One("k".to_owned()).has("k")));
    assert_eq!(
        log(),
        [
            "enter has",
            "enter get",
            "leave get",
            "leave has",
            "waiting",
            "enter has",
            "enter get",
            "leave get",
            "leave has"
        ]
    );
}

struct Steps(u32);

impl Steps {
    #[track_memory(crate = crate::recorder)]
    async fn by_mut(&mut self, n: u32) -> &mut u32 {
        self.0 += n;
        &mut self.0
    }

    #[track_memory(crate = crate::recorder)]
    async fn by_box(mut self: Box<Self>) -> u32 {
        self.0 += 1;
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    async fn by_pin(self: Pin<&mut Self>) -> u32 {
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    async fn by_value(mut self) -> u32 {
        self.0 += 1;
        self.0
    }

    /// # Safety
    /// `at` must be valid for reads while the future lives.
    #[track_memory(crate = crate::recorder)]
    async unsafe fn read(at: *const u32) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { *at }
    }
}

#[test]
fn async_methods_with_every_receiver() {
    let mut steps = Steps(1);
    *block_on(steps.by_mut(1)) += 1;
    assert_eq!(block_on(Pin::new(&mut steps).by_pin()), 3);
    assert_eq!(block_on(steps.by_value()), 4);
    assert_eq!(block_on(Box::new(Steps(8)).by_box()), 9);
    // SAFETY: the reference outlives the future.
    assert_eq!(block_on(unsafe { Steps::read(&5) }), 5);
    assert_eq!(log().len(), 10);
}

#[test]
fn recursion_through_a_box() {
    #[track_memory(crate = crate::recorder)]
    async fn down(n: u32) -> u32 {
        if n == 0 { 0 } else { 1 + Box::pin(down(n - 1)).await }
    }
    assert_eq!(block_on(down(2)), 2);
    assert_eq!(log().len(), 6);
}

/// Sendable, and not shareable.
struct SendOnly(#[expect(dead_code, reason = "only its traits matter")] std::cell::Cell<u8>);

/// Neither.
struct Local(#[expect(dead_code, reason = "only its traits matter")] Rc<u8>);

#[track_memory(crate = crate::recorder)]
async fn keeps_send(owned: SendOnly, (a, _b): (SendOnly, SendOnly)) -> SendOnly {
    YieldOnce::default().await;
    let _moved = a;
    owned
}

#[track_memory(crate = crate::recorder)]
async fn is_local(owned: Local) {
    let _moved = owned;
}

/// Whether the value is of the trait. Sees through opaque types.
macro_rules! is {
    ($bound:ident: $value:expr) => {{
        struct Probe<T>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "one of the two traits answers")]
        trait Fallback {
            fn answer(&self) -> bool {
                false
            }
        }
        impl<T> Fallback for &Probe<T> {}
        #[allow(dead_code, reason = "one of the two traits answers")]
        trait Exact {
            fn answer(&self) -> bool {
                true
            }
        }
        impl<T: $bound> Exact for Probe<T> {}
        fn probe<T>(_: &T) -> Probe<T> {
            Probe(std::marker::PhantomData)
        }
        (&probe(&$value)).answer()
    }};
}

#[test]
fn future_is_send_exactly_when_its_arguments_are() {
    let cell = || SendOnly(std::cell::Cell::new(1));
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    drop(assert_send(keeps_send(cell(), (cell(), cell()))));
    assert!(is!(Send: keeps_send(cell(), (cell(), cell()))), "the probe sees `Send`");
    assert!(!is!(Send: is_local(Local(Rc::new(1)))));
}

#[track_memory(crate = crate::recorder)]
fn returns_async_block(n: u32) -> impl Future<Output = Result<Box<dyn Debug>, std::num::ParseIntError>> {
    note("before");
    async move {
        YieldOnce::default().await;
        let parsed: u32 = "1".parse()?;
        Ok(Box::new(n + parsed))
    }
}

#[track_memory(crate = crate::recorder)]
fn returns_box<'a>(text: &'a str) -> Pin<Box<dyn Future<Output = Box<dyn Debug + 'a>> + Send + 'a>> {
    note("before");
    if text.is_empty() {
        return Box::pin(async { Box::new("empty") as _ });
    }
    std::boxed::Box::pin(async move { Box::new(text) as _ })
}

#[test]
fn function_that_ends_in_a_future_covers_its_polls() {
    let value = block_on(returns_async_block(1)).unwrap();
    assert_eq!(format!("{value:?}"), "2");
    let (enter, leave) = ("enter returns_async_block", "leave returns_async_block");
    assert_eq!(log(), [enter, "before", leave, enter, leave, "waiting", enter, leave]);
    for text in ["a", ""] {
        assert!(format!("{:?}", block_on(returns_box(text))).len() > 2);
        let (enter, leave) = ("enter returns_box", "leave returns_box");
        assert_eq!(log(), [enter, "before", leave, enter, leave]);
    }
}

#[track_memory(crate = crate::recorder)]
fn delegates(n: u32) -> impl Future<Output = u32> + Send + Unpin {
    std::future::ready(n)
}

#[track_memory(crate = crate::recorder)]
fn chooses<'a>(wide: bool, text: &'a str) -> Pin<Box<dyn Future<Output = usize> + 'a>> {
    match wide {
        true => Box::pin(async move { text.len() }),
        false => {
            let future = std::future::ready(1_usize);
            Box::pin(future) as _
        }
    }
}

#[track_memory(crate = crate::recorder)]
fn fails_early(n: Option<u32>) -> impl Future<Output = u32> {
    let Some(n) = n else {
        std::panic::panic_any("none");
    };
    let future = async move { n };
    future
}

#[test]
fn every_future_that_a_function_returns_is_covered() {
    fn calls(name: &str) -> [String; 4] {
        ["enter", "leave", "enter", "leave"].map(|word| format!("{word} {name}"))
    }
    assert_eq!(block_on(delegates(3)), 3);
    assert_eq!(log(), calls("delegates"));
    assert_eq!(block_on(chooses(true, "ab")) + block_on(chooses(false, "ab")), 3);
    assert_eq!(log(), [calls("chooses"), calls("chooses")].concat());
    assert_eq!(block_on(fails_early(Some(1))), 1);
    assert_eq!(log(), calls("fails_early"));
    assert!(std::panic::catch_unwind(|| fails_early(None)).is_err());
    assert_eq!(log(), ["enter fails_early", "end fails_early"]);
}

#[test]
fn function_that_only_mentions_a_future_is_a_sync_scope() {
    #[track_memory(crate = crate::recorder)]
    fn runs() -> u32 {
        block_on(async { 3 })
    }
    assert_eq!(runs(), 3);
    assert_eq!(log(), ["enter runs", "leave runs"]);
}

/// Both need to see an `async fn`, whichever of them comes first.
mod beside_an_attribute_that_wants_async {
    use super::*;

    #[tokio::test]
    #[track_memory(crate = crate::recorder)]
    async fn above() {
        tokio::task::yield_now().await;
        assert_eq!(log().len(), 1, "that one has made it a sync function");
    }

    #[track_memory(crate = crate::recorder)]
    #[tokio::test]
    async fn below() {
        tokio::task::yield_now().await;
        assert_eq!(log().len(), 3, "entered, left, entered");
    }

    #[track_memory(crate = crate::recorder)]
    #[cfg_attr(all(), must_use, inline)]
    async fn behind_a_condition() -> u32 {
        1
    }

    #[track_memory(crate = crate::recorder)]
    #[cfg_attr(any(), must_use)]
    /// Inert ones in between.
    #[allow(clippy::unused_async)]
    async fn with_inert_ones() -> u32 {
        1
    }

    #[test]
    fn conditional_attributes() {
        assert_eq!(block_on(behind_a_condition()) + block_on(with_inert_ones()), 2);
    }
}

type Big = [u64; 100];

/// Bodies that keep an argument, give it away before they wait, or never look at it; with and without the attribute.
macro_rules! sizes {
    ($(#[$attr:meta])* $module:ident) => {
        mod $module {
            use super::*;

            $(#[$attr])*
            pub(super) async fn keeps(big: Big) -> u64 {
                YieldOnce::default().await;
                big.iter().sum()
            }
            $(#[$attr])*
            pub(super) async fn gives_away(big: Big, text: String, more: Vec<u8>) -> u64 {
                drop((text, more));
                let sum = big.iter().sum();
                YieldOnce::default().await;
                sum
            }
            $(#[$attr])*
            #[allow(unused_variables, reason = "an argument that the body does not touch is the point")]
            pub(super) async fn ignores(big: Big, (a, _): (Big, Big), mut n: u8) -> u8 {
                YieldOnce::default().await;
                n += 1;
                n
            }
            $(#[$attr])*
            pub(super) async fn nothing() {}
            $(#[$attr])*
            pub(super) fn returned(big: Big) -> impl Future<Output = u64> {
                async move {
                    YieldOnce::default().await;
                    big.iter().sum()
                }
            }
            pub(super) struct Owner(pub(super) Big);
            impl Owner {
                $(#[$attr])*
                pub(super) async fn method(self, big: Big) -> u64 {
                    YieldOnce::default().await;
                    big[0] + self.0[0]
                }
            }
            $(#[$attr])*
            #[must_use]
            pub(super) async fn stays_async(big: Big, text: String) -> u64 {
                YieldOnce::default().await;
                big.iter().sum::<u64>() + text.len() as u64
            }
            pub(super) fn all() -> [usize; 7] {
                let big = || [0; 100];
                [
                    size_of_val(&keeps(big())),
                    size_of_val(&gives_away(big(), String::new(), Vec::new())),
                    size_of_val(&ignores(big(), (big(), big()), 0)),
                    size_of_val(&nothing()),
                    size_of_val(&returned(big())),
                    size_of_val(&Owner(big()).method(big())),
                    size_of_val(&stays_async(big(), String::new())),
                ]
            }
        }
    };
}
sizes!(plain_sizes);
sizes!(
    #[track_memory(crate = crate::recorder)]
    tracked_sizes
);

/// The wrapper of the stand-in is a pointer; what the real one adds is tested with the real one.
#[test]
fn futures_grow_by_the_wrapper_and_not_by_their_arguments() {
    for (plain, tracked) in plain_sizes::all().into_iter().zip(tracked_sizes::all()) {
        assert!(tracked <= plain + 24, "{tracked} against {plain}");
    }
}

/// A function whose signature the attribute rewrites is for traits what it was.
pub trait Refined {
    /// Written as an `async fn`.
    fn written(&self, text: &str) -> impl Future<Output = Option<usize>> + Send;
}

impl Refined for One {
    #[deny(refining_impl_trait)]
    #[track_memory(crate = crate::recorder)]
    async fn written(&self, text: &str) -> Option<usize> {
        YieldOnce::default().await;
        self.0.find(text)
    }
}

#[test]
fn rewritten_signature_fits_the_trait_and_its_bounds() {
    fn sends<T: Refined + Sync>(value: &T, text: &str) -> Option<usize> {
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        block_on(is_send(value.written(text)))
    }
    assert_eq!(sends(&One("ab".to_owned()), "b"), Some(1));
}

#[test]
fn future_is_unpin_exactly_when_it_was() {
    assert!(is!(Unpin: std::future::ready(1)), "the probe sees `Unpin`");
    assert!(is!(Unpin: delegates(1)), "what it returns is");
    assert!(!is!(Unpin: waits()), "no async function is");
    assert!(!is!(Unpin: returns_async_block(1)));
}
