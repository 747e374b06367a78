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

fn main() {
    sync();
    deeper::f();
    let _ = asynchronous();
}
