//! What the attribute adds to a future: 32 bytes at most, and nothing to what it can do.
//!
//! With the real runtime. That the shape of the expansion adds nothing is tested in `macro_async.rs`.

use std::cell::Cell;
use std::rc::Rc;

use alloc_core::track_memory as unknown;
use alloc_core::{track_memory, tracked};
use allocscope_tests::YieldOnce;

async fn wait() {
    YieldOnce::default().await;
}

type Big = [u8; 1000];

struct Pair {
    left: usize,
    right: String,
}

/// Sendable, and not shareable.
struct SendOnly(Cell<u8>);

/// The same functions with and without the attribute.
macro_rules! twins {
    ($(#[$attr:meta])* $module:ident) => {
        mod $module {
            use super::*;

            $(#[$attr])*
            async fn nothing() {}
            $(#[$attr])*
            async fn one_byte(n: u8) -> u8 {
                wait().await;
                n
            }
            $(#[$attr])*
            async fn keeps(big: Big) -> u8 {
                wait().await;
                big[0]
            }
            $(#[$attr])*
            async fn takes_apart((big, text): (Big, String), mut n: u64) -> u64 {
                n += u64::from(big[0]);
                drop(text);
                wait().await;
                n
            }
            $(#[$attr])*
            async fn mutates(mut big: Big, text: String) -> u8 {
                big.fill(text.len() as u8);
                wait().await;
                big[1]
            }
            $(#[$attr])*
            async fn assigns(mut big: Big) -> u8 {
                big[1] += 1;
                wait().await;
                big[1]
            }
            $(#[$attr])*
            async fn keeps_parts((big, text): (Big, String), Pair { left, right }: Pair) -> usize {
                wait().await;
                big.len() + text.len() + left + right.len()
            }
            $(#[$attr])*
            async fn looks_at(big: Big, text: String) -> usize {
                let sum = big.len() + text.len();
                drop(text);
                wait().await;
                sum
            }
            $(#[$attr])*
            async fn gives_away(big: Big, text: String) {
                drop((big, text));
                wait().await;
            }
            $(#[$attr])*
            async fn leaves(_text: String, _: Vec<u8>, _list: [String; 10]) {
                wait().await;
            }
            $(#[$attr])*
            async fn leaves_plain(_big: Big) {
                wait().await;
            }
            $(#[$attr])*
            async fn moves_on(first: Big, text: String, more: Vec<u8>) -> usize {
                drop((text, more));
                keeps(first).await;
                wait().await;
                1
            }
            $(#[$attr])*
            async fn borrows<'a>(text: &'a str, out: &mut String) -> &'a str {
                wait().await;
                out.push_str(text);
                text
            }
            $(#[$attr])*
            async fn generic<T: Default, const N: usize>(item: [T; N]) -> T {
                wait().await;
                item.into_iter().next().unwrap_or_default()
            }
            $(#[$attr])*
            fn returned(big: Big) -> impl Future<Output = u8> {
                let first = big[0];
                async move {
                    wait().await;
                    first + big[1]
                }
            }
            $(#[$attr])*
            async fn local(shared: Rc<u8>) -> u8 {
                wait().await;
                *shared
            }
            $(#[$attr])*
            async fn send_only(cell: SendOnly) -> u8 {
                wait().await;
                cell.0.get()
            }
            #[derive(Default)]
            struct Owner {
                text: String,
            }
            impl Owner {
                $(#[$attr])*
                async fn by_ref(&self, big: Big) -> usize {
                    wait().await;
                    self.text.len() + big.len()
                }
                $(#[$attr])*
                async fn by_value(mut self, more: String) -> String {
                    self.text += &more;
                    wait().await;
                    self.text
                }
            }
            trait Work {
                async fn work(&self, big: Big) -> usize;
            }
            impl Work for Owner {
                $(#[$attr])*
                async fn work(&self, big: Big) -> usize {
                    wait().await;
                    self.text.len() + big.len()
                }
            }

            pub(super) fn sizes() -> Vec<(&'static str, usize)> {
                let (big, owner, mut text) = ([0; 1000], Owner::default(), String::new());
                vec![
                    ("nothing", size_of_val(&nothing())),
                    ("one_byte", size_of_val(&one_byte(1))),
                    ("keeps", size_of_val(&keeps(big))),
                    ("takes_apart", size_of_val(&takes_apart((big, String::new()), 1))),
                    ("mutates", size_of_val(&mutates(big, String::new()))),
                    ("looks_at", size_of_val(&looks_at(big, String::new()))),
                    ("gives_away", size_of_val(&gives_away(big, String::new()))),
                    ("assigns", size_of_val(&assigns(big))),
                    ("keeps_parts", size_of_val(&keeps_parts((big, String::new()), Pair { left: 1, right: String::new() }))),
                    ("leaves", size_of_val(&leaves(String::new(), Vec::new(), Default::default()))),
                    ("leaves_plain", size_of_val(&leaves_plain(big))),
                    ("moves_on", size_of_val(&moves_on(big, String::new(), Vec::new()))),
                    ("borrows", size_of_val(&borrows("", &mut text))),
                    ("generic", size_of_val(&generic([1_u32; 100]))),
                    ("returned", size_of_val(&returned(big))),
                    ("local", size_of_val(&local(Rc::new(1)))),
                    ("send_only", size_of_val(&send_only(SendOnly(Cell::new(1))))),
                    ("by_ref", size_of_val(&owner.by_ref(big))),
                    ("work", size_of_val(&owner.work(big))),
                    ("by_value", size_of_val(&Owner::default().by_value(String::new()))),
                ]
            }

            /// Compiles if these are `Send`; `local` is not, and a test of `macro_async.rs` sees that.
            pub(super) fn send() {
                fn is_send<T: Send>(_: T) {}
                let owner = Owner::default();
                is_send(nothing());
                is_send(takes_apart(([0; 1000], String::new()), 1));
                is_send(returned([0; 1000]));
                is_send(send_only(SendOnly(Cell::new(1))));
                is_send(owner.by_ref([0; 1000]));
                is_send(owner.work([0; 1000]));
                is_send(keeps_parts(([0; 1000], String::new()), Pair { left: 1, right: String::new() }));
                is_send(generic([1]));
            }
        }
    };
}
twins!(plain);
twins!(
    #[track_memory]
    marked
);
// With an attribute below that we do not know (and that does nothing), so the function stays `async`.
twins!(
    #[track_memory]
    #[unknown(skip)]
    kept
);

#[test]
fn a_future_grows_by_32_bytes_at_most() {
    for ((name, plain), (_, marked)) in plain::sizes().into_iter().zip(marked::sizes()) {
        println!("{name}: {plain} -> {marked}");
        assert!(marked <= plain + 32, "{name}: {plain} bytes became {marked}");
    }
    let big = [0; 1000];
    let block = async move {
        wait().await;
        big.len()
    };
    let plain = size_of_val(&block);
    let marked = size_of_val(&tracked!(async move {
        wait().await;
        big.len()
    }));
    assert!(marked <= plain + 32, "{plain} bytes became {marked}");
}

/// Attributes below ours may need the `async`: these functions keep it, and hold their arguments in the future around the tracked one.
#[test]
fn a_future_that_stays_async_grows_by_what_it_gives_away_before_it_waits() {
    let given_away = [
        ("takes_apart", size_of::<(Big, String)>() + size_of::<u64>()),
        // And what it awaits has grown, too.
        ("moves_on", size_of::<(Big, String, Vec<u8>)>() + 32),
        ("gives_away", size_of::<(Big, String)>()),
        ("leaves_plain", size_of::<Big>()),
        ("assigns", size_of::<Big>()),
    ];
    for ((name, plain), (_, kept)) in plain::sizes().into_iter().zip(kept::sizes()) {
        let more = given_away
            .iter()
            .find(|given| given.0 == name)
            .map_or(0, |given| given.1);
        println!("{name}: {plain} -> {kept}");
        assert!(kept <= plain + more + 32, "{name}: {plain} bytes became {kept}");
    }
}

#[test]
fn what_was_send_is_send() {
    plain::send();
    marked::send();
    kept::send();
}

/// Implemented twice for what is `Send`, once for what is not: only then the compiler finds `Which` by itself.
trait OnceIfNotSend<Which> {}
impl<T: ?Sized> OnceIfNotSend<()> for T {}
impl<T: ?Sized + Send> OnceIfNotSend<u8> for T {}

/// Does not compile for what is `Send`.
fn is_not_send<Which>(_: &impl OnceIfNotSend<Which>) {}

#[test]
fn a_guard_cannot_leave_its_thread() {
    is_not_send(&alloc_core::scope!("not to be sent"));
    is_not_send(&alloc_core::current().enter());
}
