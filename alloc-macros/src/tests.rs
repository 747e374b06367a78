//! What is emitted, token for token: nothing but the input when nothing is to be tracked.
//!
//! What the expansion does when it runs is tested in the tests package; what it says to mistakes in `tests/ui`.
#![forbid(unsafe_code)]

use super::*;

/// One of every kind of item, with the arguments it is given.
const ITEMS: [(&str, &str); 8] = [
    ("", "fn plain(a: u32, (b, _): (u32, String)) -> u32 { a + b }"),
    (
        "name = \"x\", loops",
        "/// Docs.\n#[inline] pub(crate) fn looped() { for i in 0..3 { let _ = i; } }",
    ),
    (
        "request",
        "pub async fn asynchronous<'a, T>(&'a self, mut n: T) -> &'a T where T: Copy { other(n).await }",
    ),
    (
        "crate = ::renamed",
        "unsafe extern \"C\" fn foreign(self: Box<Self>) -> ! { loop {} }",
    ),
    (
        "",
        "fn returned() -> impl Future<Output = u32> + Send { let n = 1; async move { n } }",
    ),
    (
        "loops",
        "impl<T> Trait for Type<T> { const N: u32 = 1; fn f(&self) {} #[track_memory(skip)] fn g() {} }",
    ),
    ("", "pub trait Trait { fn f(&self) {} fn g(); type Item; }"),
    ("", "mod inner { use super::*; fn f() {} impl A { fn g() {} } }"),
];

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("the test is Rust")
}

#[test]
fn nothing_but_the_input_is_emitted_without_the_feature() {
    for (args, item) in ITEMS {
        let emitted = run(tokens(args), tokens(item), Tracking::Off).expect("no mistake in it");
        assert_eq!(emitted.to_string(), tokens(item).to_string());
        let emitted = run(tokens(args), tokens(item), Tracking::On).expect("no mistake in it");
        assert_ne!(
            emitted.to_string(),
            tokens(item).to_string(),
            "else the test shows nothing"
        );
    }
}

#[test]
fn closure_without_the_feature_is_the_closure() {
    let closure = "move |a: u32, (b, _)| a + b";
    let tracked =
        || closure::Tracked::parse(tokens(&format!("name = \"x\", loops, {closure}"))).expect("no mistake in it");
    assert_eq!(tracked().untracked().to_string(), tokens(closure).to_string());
    assert_ne!(tracked().expand().to_string(), tokens(closure).to_string());
}

#[test]
fn skipped_items_are_emitted_as_they_are() {
    for (_, item) in ITEMS {
        let emitted = run(tokens("skip"), tokens(item), Tracking::On).expect("no mistake in it");
        assert_eq!(emitted.to_string(), tokens(item).to_string());
    }
}

#[test]
fn mistakes_are_mistakes_without_the_feature_too() {
    for (args, item) in [
        ("nam = 1", "fn f() {}"),
        ("", "const fn f() {}"),
        ("name = \"x\"", "impl A { fn f() {} }"),
    ] {
        assert!(run(tokens(args), tokens(item), Tracking::Off).is_err(), "{args} {item}");
    }
}

/// Nothing of the item is lost, in whatever shape it comes out: its tokens are all there, in their order.
#[test]
fn every_token_of_a_body_is_emitted() {
    let body = "{ let one = 1 ; if one == 1 { return one + 1 ; } one }";
    for head in ["fn f() -> u32", "async fn f() -> u32", "fn f(self) -> u32"] {
        let emitted =
            run(TokenStream::new(), tokens(&format!("{head} {body}")), Tracking::On).expect("no mistake in it");
        let inner = body.trim_start_matches('{').trim_end_matches('}').trim();
        let (emitted, inner) = (emitted.to_string(), tokens(inner).to_string());
        assert!(emitted.contains(&inner), "{emitted}");
    }
}
