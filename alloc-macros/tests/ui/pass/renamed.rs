//! A caller that knows the runtime under another name, and in whose crate the usual name is something else.

mod vendored {
    pub extern crate alloc_core as tracking;
}

extern crate core as alloc_core;

use vendored::tracking::track_memory;

#[track_memory(crate = vendored::tracking)]
fn sync() {}

#[track_memory(crate = crate::vendored::tracking, name = "x")]
async fn asynchronous() {}

mod deeper {
    #[super::track_memory(crate = super::vendored::tracking)]
    pub fn f() {}
}

#[track_memory(crate = vendored::tracking)]
impl Counter {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

struct Counter(u32);

#[track_memory(crate = crate::vendored::tracking, loops)]
async fn turns() {
    loop {
        asynchronous().await;
    }
}

fn main() {
    assert_eq!(Counter(1).next(), 2);
    let add = vendored::tracking::tracked!(crate = vendored::tracking, |n: u32| n + 1);
    assert_eq!(add(1), 2);
    let _ = turns();
    sync();
    deeper::f();
    let _ = asynchronous();
}
