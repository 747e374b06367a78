//! `#[track_memory]` on every form of a sync function: it still does what it did, inside its scope.
//!
//! Runs against a recording stand-in for the runtime, so each test sees the exact order of enters, leaves and drops.
//! Async functions are in `macro_async.rs`; refused forms are under `ui/fail`.
#![forbid(unsafe_op_in_unsafe_fn)]
#![deny(warnings)]
#![allow(
    clippy::boxed_local,
    clippy::toplevel_ref_arg,
    clippy::too_many_arguments,
    clippy::type_complexity,
    reason = "odd forms are the point"
)]

#[path = "macro_support/mod.rs"]
mod recorder;

use std::fmt::{Debug, Display};
use std::pin::Pin;

use alloc_core::track_memory;
use recorder::{Noisy, log, note};

fn in_scope(name: &str) -> Vec<String> {
    vec![format!("enter {name}"), format!("leave {name}")]
}

#[track_memory(crate = crate::recorder)]
fn plain() {}

#[test]
fn scope_spans_the_call() {
    plain();
    assert_eq!(log(), in_scope("plain"));
}

#[test]
fn default_name_is_module_path_and_function_and_place_is_the_line_of_the_name() {
    mod deep {
        #[super::track_memory(crate = crate::recorder)]
        #[inline(never)]
        pub(crate) fn r#match() -> u32 {
            line!()
        }
    }
    let line_in_body = deep::r#match();
    let site = recorder::__private::last_site();
    assert_eq!(site.name, "macro_forms::deep::match");
    assert_eq!(
        site.line,
        line_in_body - 1,
        "the line of `fn`, not of the attribute two lines above"
    );
    assert!(site.file.ends_with("macro_forms.rs"));
}

#[test]
fn given_name_is_used_as_it_is() {
    #[track_memory(name = "a :: name", crate = crate::recorder)]
    fn f() {}
    f();
    assert_eq!(recorder::__private::last_site().name, "a :: name");
}

#[test]
fn arguments_may_come_in_any_order_with_a_trailing_comma() {
    #[track_memory(crate = self::recorder, name = r"x",)]
    fn f() {}
    f();
    assert_eq!(recorder::__private::last_site().name, "x");
}

struct Counter(u32);

impl Counter {
    #[track_memory(crate = crate::recorder)]
    fn new(start: u32) -> Self {
        Self(start)
    }

    #[track_memory(crate = crate::recorder)]
    fn get(&self) -> u32 {
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    fn add(&mut self, n: u32) -> &mut u32 {
        self.0 += n;
        &mut self.0
    }

    #[track_memory(crate = crate::recorder)]
    fn boxed(self: Box<Self>) -> u32 {
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    fn pinned(self: Pin<&mut Self>) -> u32 {
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    fn shared(self: &std::rc::Rc<Self>) -> u32 {
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    fn mutated(mut self) -> u32 {
        self.0 += 1;
        self.0
    }

    #[track_memory(crate = crate::recorder)]
    pub(crate) fn into(self) -> u32 {
        self.0
    }
}

#[test]
fn methods_with_every_receiver() {
    let mut counter = Counter::new(1);
    assert_eq!(counter.get(), 1);
    *counter.add(2) += 1;
    assert_eq!(Pin::new(&mut counter).pinned(), 4);
    assert_eq!(Box::new(Counter(4)).boxed(), 4);
    assert_eq!(std::rc::Rc::new(Counter(7)).shared(), 7);
    assert_eq!(Counter(4).mutated(), 5);
    assert_eq!(counter.into(), 4);
    let entered: Vec<String> = log().into_iter().filter(|line| line.starts_with("enter")).collect();
    assert_eq!(
        entered.join(" "),
        "enter new enter get enter add enter pinned enter boxed enter shared enter mutated enter into"
    );
}

trait Shape {
    const SIDES: u32;

    #[track_memory(crate = crate::recorder)]
    fn sides(&self) -> u32 {
        Self::SIDES
    }

    fn area(&self, scale: f64) -> f64;
}

impl Shape for Counter {
    const SIDES: u32 = 4;

    #[track_memory(crate = crate::recorder)]
    fn area(&self, scale: f64) -> f64 {
        f64::from(self.0) * scale
    }
}

#[test]
fn trait_implementations_and_default_methods() {
    assert_eq!(Counter(3).sides(), 4);
    assert!((Counter(3).area(2.0) - 6.0).abs() < 1e-9);
    assert_eq!(log(), [in_scope("sides"), in_scope("area")].concat());
}

/// # Safety
/// `at` must be valid for reads.
#[track_memory(crate = crate::recorder)]
unsafe fn read_it(at: *const u8) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { *at }
}

#[track_memory(crate = crate::recorder)]
extern "C" fn c_abi(a: u8, mut b: u8) -> u8 {
    b += 1;
    a + b
}

#[test]
fn unsafe_and_foreign_abi_functions() {
    // SAFETY: the reference is valid.
    assert_eq!(unsafe { read_it(&7) }, 7);
    let pointer: extern "C" fn(u8, u8) -> u8 = c_abi;
    assert_eq!(pointer(1, 2), 4);
    assert_eq!(log(), [in_scope("read_it"), in_scope("c_abi")].concat());
}

#[track_memory(crate = crate::recorder)]
fn generic<'a, T, U: Copy, const N: usize>(items: &'a [T; N], map: impl Fn(&'a T) -> U, _unused: U) -> [U; N]
where
    T: Debug + 'a,
{
    std::array::from_fn(|i| map(&items[i]))
}

#[test]
fn generics_share_one_scope() {
    assert_eq!(generic(&["a", "bc"], |s| s.len(), 0), [1, 2]);
    let first: *const _ = recorder::__private::last_site();
    assert_eq!(generic(&[1, 2, 3], |n| *n == 2, true), [false, true, false]);
    assert!(
        std::ptr::eq(first, recorder::__private::last_site()),
        "one static for all instantiations"
    );
}

#[track_memory(crate = crate::recorder)]
fn adder(n: u32) -> impl Fn(u32) -> u32 {
    move |m| n + m
}

#[track_memory(crate = crate::recorder)]
fn dispatch(wide: bool) -> Box<dyn Fn(&str) -> usize> {
    // Nothing names the type of `s`: it comes from the return type.
    if wide {
        Box::new(|s| s.len())
    } else {
        Box::new(|s| s.chars().count())
    }
}

#[track_memory(crate = crate::recorder)]
fn pointer() -> fn(&str) -> usize {
    |s| s.len()
}

#[track_memory(crate = crate::recorder)]
fn collected() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let parsed = "1 2".split(' ').map(str::parse).collect::<Result<_, _>>()?;
    Ok(parsed)
}

#[track_memory(crate = crate::recorder)]
fn borrowed(words: &[String]) -> impl Iterator<Item = &str> + '_ {
    words.iter().map(|word| word.as_str())
}

/// Gives out functions that return futures, and is none of them.
#[track_memory(crate = crate::recorder)]
fn handlers(is_named: bool) -> Box<dyn Fn(&str) -> Pin<Box<dyn Future<Output = usize> + '_>>> {
    fn handle(text: &str) -> Pin<Box<dyn Future<Output = usize> + '_>> {
        Box::pin(async move { text.len() })
    }
    if is_named {
        return Box::new(handle);
    }
    Box::new(|s| Box::pin(async move { s.len() }))
}

#[test]
fn return_types_are_inferred_as_before() {
    drop(handlers(true)("a"));
    drop(handlers(false)("a"));
    assert_eq!(log(), [in_scope("handlers"), in_scope("handlers")].concat());
    assert_eq!(adder(1)(2), 3);
    assert_eq!(dispatch(true)("é") + dispatch(false)("é"), 3);
    assert_eq!(pointer()("ab"), 2);
    assert_eq!(collected().unwrap(), [1, 2]);
    assert_eq!(borrowed(&["x".to_owned()]).collect::<String>(), "x");
}

#[track_memory(crate = crate::recorder)]
fn never(message: &'static str) -> ! {
    std::panic::panic_any(message)
}

#[test]
fn panic_leaves_the_scope() {
    let result = std::panic::catch_unwind(|| never("out"));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "out");
    assert_eq!(log(), in_scope("never"));
}

#[track_memory(crate = crate::recorder)]
fn question(text: &str) -> Option<u32> {
    if text == "early" {
        return Some(0);
    }
    let n = text.parse::<u32>().ok()?;
    Some(loop {
        if n > 0 {
            break n;
        }
    })
}

#[test]
fn early_returns_leave_the_scope() {
    assert_eq!(
        (question("early"), question("x"), question("5")),
        (Some(0), None, Some(5))
    );
    assert_eq!(
        log(),
        [in_scope("question"), in_scope("question"), in_scope("question")].concat()
    );
}

struct Owner<'a>(Noisy, &'a mut Vec<u32>);

impl<'a> Owner<'a> {
    #[track_memory(crate = crate::recorder)]
    fn by_value(self) -> &'static str {
        self.0.0
    }

    #[track_memory(crate = crate::recorder)]
    fn by_box(self: Box<Self>, more: Noisy) -> Option<usize> {
        let first = self.1.first()?;
        Some(usize::try_from(*first).ok()? + more.0.len())
    }

    /// What it hands out outlives the receiver.
    #[track_memory(crate = crate::recorder)]
    fn into_slot(self, at: usize) -> &'a mut u32 {
        &mut self.1[at]
    }

    #[track_memory(crate = crate::recorder)]
    fn into_iter(self, add: &mut u32) -> impl Iterator<Item = u32> {
        *add += 1;
        self.1.push(*add);
        self.1.clone().into_iter()
    }

    #[track_memory(crate = crate::recorder)]
    fn shared(self: std::rc::Rc<Self>) -> ! {
        std::panic::panic_any(self.0.0)
    }

    #[track_memory(crate = crate::recorder)]
    unsafe fn calls_unsafe(self, at: *const u8) -> u8 {
        // SAFETY: the caller's promise.
        unsafe { *at + self.0.0.len() as u8 }
    }
}

#[test]
fn receivers_by_value_die_inside_the_scope() {
    fn died_inside(name: &str) {
        let expected = [format!("enter {name}"), "drop self".to_owned(), format!("leave {name}")];
        assert_eq!(log(), expected);
    }
    let mut list = vec![3];
    assert_eq!(Owner(Noisy("self"), &mut list).by_value(), "self");
    died_inside("by_value");
    assert_eq!(Box::new(Owner(Noisy("self"), &mut list)).by_box(Noisy("more")), Some(7));
    assert_eq!(
        log(),
        ["enter by_box", "drop more", "drop self", "leave by_box"],
        "in the order of their drops in a plain method"
    );
    *Owner(Noisy("self"), &mut list).into_slot(0) += 1;
    died_inside("into_slot");
    let mut add = 1;
    assert!(Owner(Noisy("self"), &mut list).into_iter(&mut add).eq([4, 2]));
    died_inside("into_iter");
    let panic = std::panic::catch_unwind(|| std::rc::Rc::new(Owner(Noisy("self"), &mut Vec::new())).shared());
    assert!(panic.is_err());
    died_inside("shared");
    // SAFETY: the reference is valid.
    assert_eq!(unsafe { Owner(Noisy("self"), &mut list).calls_unsafe(&1) }, 5);
    died_inside("calls_unsafe");
}

struct Pair {
    left: Noisy,
    right: Noisy,
}

/// The same function twice, with and without the attribute.
macro_rules! twins {
    ($(#[$attr:meta])* $name:ident) => {
        $(#[$attr])*
        fn $name(
            a: Noisy,
            (b, _, mut c): (Noisy, Noisy, Noisy),
            Pair { left, right: r }: Pair,
            _: Noisy,
            mut d: Noisy,
            _e: Noisy,
            ref f: Noisy,
            whole @ Pair { .. }: Pair,
            &(g, ref h): &(u8, String),
        ) -> usize {
            let _local = Noisy("local");
            d.0 = "d";
            c.0 = "c";
            drop(left);
            note(format!("body {}{}{}{}{}", a.0, b.0, r.0, f.0, whole.left.0));
            usize::from(g) + h.len()
        }
    };
}
twins!(plain_drops);
twins!(
    #[track_memory(crate = crate::recorder)]
    tracked_drops
);

#[test]
fn arguments_drop_in_their_order_and_inside_the_scope() {
    macro_rules! run {
        ($function:ident) => {{
            let n = Noisy;
            let pair = |left, right| Pair {
                left: n(left),
                right: n(right),
            };
            let triple = (n("b"), n("skipped"), n("c?"));
            let borrowed = &(1, "h".to_owned());
            assert_eq!(
                $function(
                    n("a"),
                    triple,
                    pair("l", "r"),
                    n("_"),
                    n("d?"),
                    n("e"),
                    n("f"),
                    pair("wl", "wr"),
                    borrowed
                ),
                2
            );
            log()
        }};
    }
    let seen = run!(tracked_drops);
    assert_eq!(seen.first().unwrap(), "enter tracked_drops");
    assert_eq!(
        seen.last().unwrap(),
        "leave tracked_drops",
        "all arguments died inside the scope: {seen:?}"
    );
    assert_eq!(seen[1..seen.len() - 1], run!(plain_drops));
}

#[test]
#[rustfmt::skip]
fn one_line_bodies_are_quiet_too() {
    #[track_memory(crate = crate::recorder)]
    fn f(x: u32) -> u32 { x }
    #[track_memory(crate = crate::recorder)]
    fn g() {}
    g();
    assert_eq!(f(1), 1);
}

#[test]
fn nested_items_and_recursion() {
    #[track_memory(crate = crate::recorder)]
    fn outer(depth: u32) -> u32 {
        #[track_memory(crate = crate::recorder)]
        fn inner(n: u32) -> u32 {
            const STEP: u32 = 1;
            n - STEP
        }
        if depth == 0 { 0 } else { outer(inner(depth)) }
    }
    assert_eq!(outer(1), 0);
    assert_eq!(
        log(),
        [
            "enter outer",
            "enter inner",
            "leave inner",
            "enter outer",
            "leave outer",
            "leave outer"
        ]
    );
}

#[test]
fn body_may_start_with_inner_attributes_and_labels() {
    #[track_memory(crate = crate::recorder)]
    fn f(x: u32) -> u32 {
        #![allow(unused_variables)]
        let unused = 1;
        let mut left = x;
        'out: loop {
            left += 1;
            for step in 1..=3 {
                if left + step > 8 {
                    break 'out left;
                }
            }
        }
    }
    assert_eq!(f(3), 6);
}

#[test]
fn other_attributes_stay() {
    #[must_use]
    #[track_memory(crate = crate::recorder)]
    /// Documented below.
    #[inline]
    #[cfg(test)]
    #[deprecated = "on purpose"]
    fn f(#[cfg(not(test))] gone: Missing, #[cfg(test)] here: String) -> usize {
        here.len()
    }
    #[expect(deprecated, reason = "the attribute under test is still there")]
    let n = f("abc".to_owned());
    assert_eq!(n, 3);
    assert_eq!(log(), in_scope("f"));
}

#[test]
fn lints_of_arguments_are_those_of_their_names() {
    #[track_memory(crate = crate::recorder)]
    fn f(#[expect(unused_variables, reason = "the point")] kept: String, #[allow(unused_variables)] pair: (u8, u8)) {}
    #[track_memory(crate = crate::recorder)]
    async fn waits(#[expect(unused_variables, reason = "the point")] kept: String) {
        std::future::ready(()).await;
    }
    f(String::new(), (1, 2));
    drop(waits(String::new()));
    assert_eq!(log(), in_scope("f"));
}

/// The compiler still says what nobody calls.
mod dead {
    use alloc_core::track_memory;

    #[track_memory]
    #[expect(dead_code, reason = "the point")]
    fn sync() {}

    #[track_memory]
    #[expect(dead_code, reason = "the point")]
    async fn waits(text: String) -> usize {
        std::future::ready(text.len()).await
    }

    #[track_memory]
    #[expect(dead_code, reason = "the point")]
    fn returns_a_future(text: String) -> impl Future<Output = usize> {
        std::future::ready(text.len())
    }
}

#[test]
fn who_calls_is_seen_through_it() {
    use std::panic::Location;

    struct Order(String);
    impl Order {
        #[track_memory(crate = crate::recorder)]
        #[track_caller]
        fn close(self) -> (u32, usize) {
            (Location::caller().line(), self.0.len())
        }

        #[cfg_attr(all(), track_caller)]
        #[track_memory(crate = crate::recorder)]
        fn look(&self, _owned: String) -> u32 {
            drop(self.0.clone());
            Location::caller().line()
        }
    }
    let order = Order("abc".to_owned());
    assert_eq!(order.look(String::new()), line!());
    assert_eq!(order.close(), (line!(), 3));
    assert_eq!(log(), [in_scope("look"), in_scope("close")].concat());
}

#[test]
fn function_made_by_a_macro_by_example() {
    macro_rules! make {
        ($name:ident, $arg:ident : $ty:ty => $body:expr) => {
            #[track_memory(crate = crate::recorder)]
            fn $name($arg: $ty, hidden: u32) -> $ty {
                let _ = hidden;
                $body
            }
        };
    }
    make!(made, x: String => x + "!");
    assert_eq!(made("a".to_owned(), 1), "a!");
    assert_eq!(log(), in_scope("made"));
}

#[test]
fn body_cannot_see_the_guard() {
    let __guard = 1;
    #[track_memory(crate = crate::recorder)]
    fn f(__guard: u32) -> u32 {
        __guard
    }
    assert_eq!(f(__guard), 1);
}

#[track_memory(crate = crate::recorder)]
fn show(item: &dyn Display, at: *const u8) -> String {
    format!("{item}{}", at.is_null())
}

#[test]
fn borrowed_and_pointer_arguments() {
    assert_eq!(show(&1, std::ptr::null()), "1true");
    assert_eq!(log(), in_scope("show"));
}
