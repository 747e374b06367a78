//! The workloads over `alloc_tracker`, each pass a span of one operation on the calling thread.

use std::alloc::System;
use std::sync::LazyLock;

use alloc_tracker::{Allocator, Operation, Session};
use allocscope_benches::child::{self, Counted};

#[global_allocator]
static ALLOC: Allocator<System> = Allocator::system();

static SESSION: LazyLock<Session> = LazyLock::new(|| Session::new().no_stdout().no_file());
static OPERATION: LazyLock<Operation> = LazyLock::new(|| SESSION.operation("pass"));

fn main() {
    let around = |pass: &mut dyn FnMut()| {
        let _span = OPERATION.measure_thread().iterations(1);
        pass();
    };
    child::main_around(around, || {
        let report = SESSION.to_report();
        let blocks = report
            .operations()
            .map(|(_, operation)| operation.total_allocations_count())
            .sum();
        Some(Counted::blocks(blocks))
    });
}
