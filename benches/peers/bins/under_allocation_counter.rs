//! The workloads over `allocation-counter`, each pass within a `measure`: counters of the calling thread.

use std::cell::Cell;

use allocscope_benches::child::{self, Counted};

thread_local! {
    static COUNTED: Cell<u64> = const { Cell::new(0) };
}

fn main() {
    let around = |pass: &mut dyn FnMut()| {
        let info = allocation_counter::measure(pass);
        COUNTED.set(COUNTED.get() + info.count_total);
    };
    child::main_around(around, || Some(Counted::blocks(COUNTED.get())));
}
