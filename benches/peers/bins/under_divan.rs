//! The workloads over `divan`'s `AllocProfiler`: counters of each thread, which only its own benches can read.

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    allocscope_benches::child::main(|| None);
}
