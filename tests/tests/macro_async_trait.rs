//! `#[track_memory]` on methods that the `async-trait` crate has rewritten into `Pin<Box<dyn Future>>`.
//!
//! An attribute on an item runs before those inside it, so the method's attribute always sees the rewritten form; what
//! varies is where it stands among the method's other attributes. Runs against a recording stand-in for the runtime.
#![deny(warnings)]

#[path = "macro_support/mod.rs"]
mod recorder;

use alloc_core::track_memory;
use async_trait::async_trait;
use recorder::{Noisy, YieldOnce, block_on, log};

#[async_trait]
trait Store: Sync {
    async fn put(&mut self, key: String, _guard: Noisy) -> Result<usize, Box<dyn std::error::Error>>;

    #[track_memory(crate = crate::recorder)]
    async fn ping(&self) -> u32 {
        YieldOnce::default().await;
        1
    }
}

struct Map(Vec<String>);

#[async_trait]
impl Store for Map {
    #[inline]
    #[track_memory(name = "put", crate = crate::recorder)]
    #[allow(
        clippy::missing_inline_in_public_items,
        reason = "an attribute on either side is the point"
    )]
    async fn put(&mut self, key: String, _guard: Noisy) -> Result<usize, Box<dyn std::error::Error>> {
        YieldOnce::default().await;
        if key.is_empty() {
            Err("empty")?;
        }
        self.0.push(key);
        Ok(self.0.len())
    }
}

#[async_trait(?Send)]
trait Local {
    async fn get<T: Clone + 'static>(&self, item: &T) -> T;
}

#[async_trait(?Send)]
impl Local for Map {
    #[track_memory(crate = crate::recorder)]
    async fn get<T: Clone + 'static>(&self, item: &T) -> T {
        item.clone()
    }
}

fn polled_twice(name: &str) -> Vec<String> {
    ["enter", "leave", "waiting", "enter", "leave"]
        .map(|word| {
            if word == "waiting" {
                word.to_owned()
            } else {
                format!("{word} {name}")
            }
        })
        .to_vec()
}

#[test]
fn rewritten_methods_are_entered_on_each_poll() {
    let mut map = Map(Vec::new());
    assert_eq!(block_on(map.put("k".to_owned(), Noisy("guard"))).unwrap(), 1);
    let mut seen = log();
    assert_eq!(seen.remove(4), "drop guard", "the argument dies inside the scope");
    assert_eq!(seen, polled_twice("put"));
    assert!(block_on(map.put(String::new(), Noisy("guard"))).is_err());
    log();
    assert_eq!(block_on(map.ping()), 1);
    assert_eq!(log(), polled_twice("ping"));
    assert_eq!(block_on(map.get(&5)), 5);
    assert_eq!(log(), ["enter get", "leave get"]);
}
