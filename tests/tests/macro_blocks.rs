//! `#[track_memory]` above a whole `impl`, trait or module, and `tracked!` around closures and `async` blocks.
//!
//! Runs against a recording stand-in for the runtime.
#![forbid(unsafe_op_in_unsafe_fn)]
#![deny(warnings)]

#[path = "macro_support/mod.rs"]
mod recorder;

use alloc_core::{track_memory, tracked};
use async_trait::async_trait;
use recorder::{Noisy, YieldOnce, block_on, log};

fn in_scope(name: &str) -> [String; 2] {
    [format!("enter {name}"), format!("leave {name}")]
}

struct Cart<T>(Vec<T>);

#[track_memory(crate = crate::recorder)]
impl<T: Clone> Cart<T>
where
    T: PartialEq,
{
    const LIMIT: usize = 3;

    fn new() -> Self {
        Self(Vec::new())
    }

    /// Documented, with attributes of its own.
    #[inline]
    #[must_use]
    fn len(&self) -> usize {
        self.0.len()
    }

    async fn wait(&self) -> usize {
        YieldOnce::default().await;
        self.0.len()
    }

    const fn limit() -> usize {
        Self::LIMIT
    }

    #[track_memory(skip)]
    fn skipped(&self) -> usize {
        self.0.len()
    }

    #[track_memory(name = "its own", crate = crate::recorder)]
    fn named(self) -> Vec<T> {
        self.0
    }
}

#[test]
fn impl_block_marks_every_function_that_can_be_a_scope() {
    let cart = Cart::<u8>::new();
    assert_eq!(recorder::__private::last_site().name, "macro_blocks::Cart::new");
    assert_eq!(log(), in_scope("new"));
    assert_eq!(cart.len() + block_on(cart.wait()), 0);
    assert_eq!(log().len(), 7);
    assert_eq!(cart.skipped() + Cart::<u8>::limit(), 3);
    assert_eq!(log(), [""; 0]);
    assert!(cart.named().is_empty());
    assert_eq!(log(), in_scope("its own"));
}

#[track_memory(crate = crate::recorder)]
trait Speak {
    fn say(&self) -> String;

    fn twice(&self) -> String {
        self.say().repeat(2)
    }
}

#[track_memory(crate = crate::recorder)]
impl Speak for &Cart<u8> {
    fn say(&self) -> String {
        "cart".to_owned()
    }
}

#[test]
fn trait_marks_its_default_methods() {
    let cart = Cart(vec![1]);
    assert_eq!((&cart).twice(), "cartcart");
    assert_eq!(log(), ["enter twice", "enter say", "leave say", "leave twice"]);
    assert_eq!(recorder::__private::last_site().name, "macro_blocks::Cart::say");
}

#[async_trait]
trait Service: Sync {
    async fn call(&self, n: u32) -> u32;
    async fn again(&self, n: u32) -> u32 {
        self.call(n).await
    }
}

struct Above;
struct Below;

#[track_memory(crate = crate::recorder)]
#[async_trait]
impl Service for Above {
    async fn call(&self, n: u32) -> u32 {
        YieldOnce::default().await;
        n
    }
}

#[async_trait]
#[track_memory(crate = crate::recorder)]
impl Service for Below {
    async fn call(&self, n: u32) -> u32 {
        YieldOnce::default().await;
        n
    }
}

#[test]
fn async_trait_blocks_in_both_orders() {
    let services: [(&dyn Service, &str); 2] = [(&Above, "Above"), (&Below, "Below")];
    for (service, owner) in services {
        assert_eq!(block_on(service.again(2)), 2);
        assert_eq!(
            log(),
            ["enter call", "leave call", "waiting", "enter call", "leave call"]
        );
        let name = recorder::__private::last_site().name;
        assert_eq!(name, format!("macro_blocks::{owner}::call"));
    }
}

#[track_memory(loops, crate = crate::recorder)]
mod shop {
    //! Its inner attributes stay.
    #![allow(dead_code)]

    use super::recorder;

    pub(super) struct Till(pub(super) u32);

    impl Till {
        pub(super) fn ring(&self) -> u32 {
            let mut rung = 0;
            while rung < self.0 {
                rung += 1;
            }
            rung
        }
    }

    #[super::track_memory(skip)]
    impl Drop for Till {
        fn drop(&mut self) {
            recorder::note("till");
        }
    }

    pub(super) mod back {
        pub(in super::super) unsafe extern "C" fn count(n: u32) -> u32 {
            n
        }
    }

    macro_rules! made {
        () => {
            pub(super) fn made() {}
        };
    }
    made!();

    pub(super) static LIMIT: u32 = 2;
    pub(super) fn limit() -> u32 {
        fn nested() -> u32 {
            LIMIT
        }
        nested()
    }
}

#[test]
fn module_marks_functions_and_methods_at_every_depth() {
    assert_eq!(shop::limit(), 2);
    assert_eq!(recorder::__private::last_site().name, "macro_blocks::shop::limit");
    assert_eq!(log(), in_scope("limit"));
    let till = shop::Till(2);
    assert_eq!(till.ring(), 2);
    assert_eq!(log().len(), 6, "two turns");
    drop(till);
    shop::made();
    assert_eq!(log(), ["till"]);
    // SAFETY: it asks for nothing.
    assert_eq!(unsafe { shop::back::count(3) }, 3);
    assert_eq!(recorder::__private::last_site().name, "macro_blocks::shop::back::count");
}

#[test]
fn skipped_blocks_are_left_alone() {
    struct Plain;
    #[track_memory(skip)]
    impl Plain {
        const fn f() -> u32 {
            1
        }
        fn g(&self) -> u32 {
            Self::f()
        }
    }
    assert_eq!(Plain.g(), 1);
    assert_eq!(log(), [""; 0]);
}

#[test]
fn closures_are_scopes() {
    let step = 2;
    let add = tracked!(name = "add", crate = crate::recorder, |n: u32| n + step);
    assert_eq!(add(1) + add(2), 7);
    assert_eq!(log(), [in_scope("add"), in_scope("add")].concat());

    let mut seen = Vec::new();
    let mut push = tracked!(crate = crate::recorder, move |(a, _b): (Noisy, Noisy), mut n| {
        n += 1;
        seen.push(n);
        if n > 5 {
            return None;
        }
        Some((a.0, seen.len()))
    });
    assert_eq!(push((Noisy("a"), Noisy("b")), 1), Some(("a", 1)));
    let name = recorder::__private::last_site().name;
    assert!(name.starts_with("macro_blocks::closure@"), "{name}");
    assert_eq!(log()[1..3], ["drop b", "drop a"], "arguments die inside the scope");

    let owned = String::from("x");
    let once = tracked!(crate = crate::recorder, move || -> String { owned });
    assert_eq!(once(), "x");
    let borrow = tracked!(crate = crate::recorder, |text: &'static str| &text[1..]);
    assert_eq!(borrow("ab"), "b");
    let kind = tracked!(request, crate = crate::recorder, || ());
    kind();
    assert_eq!(recorder::__private::last_site().kind, "request");
    let sum: u32 = [1, 2]
        .iter()
        .map(tracked!(loops, crate = crate::recorder, |n: &u32| {
            let mut left = *n;
            while left > 0 {
                left -= 1;
            }
            n + left
        }))
        .sum();
    assert_eq!(sum, 3);
    log();
}

#[test]
fn async_closures_and_blocks_are_scopes_on_each_poll() {
    fn twice(name: &str) -> Vec<String> {
        let [enter, leave] = in_scope(name);
        vec![enter.clone(), leave.clone(), "waiting".to_owned(), enter, leave]
    }
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let text = String::from("ab");
    let block = tracked!(name = "block", crate = crate::recorder, async move {
        YieldOnce::default().await;
        text.len()
    });
    assert_eq!(block_on(is_send(block)), 2);
    assert_eq!(log(), twice("block"));

    let maker = tracked!(name = "maker", crate = crate::recorder, |n: u32| async move {
        YieldOnce::default().await;
        n
    });
    assert_eq!(block_on(is_send(maker(3))), 3);
    assert_eq!(log(), twice("maker"));

    let mut total = 0;
    let mut add = tracked!(name = "add", crate = crate::recorder, async |n: u32| {
        YieldOnce::default().await;
        total += n;
    });
    block_on(add(1));
    block_on(add(2));
    assert_eq!(total, 3);
    assert_eq!(log(), [twice("add"), twice("add")].concat());
}
