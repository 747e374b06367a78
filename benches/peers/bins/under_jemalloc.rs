//! The workloads over `tikv-jemallocator` with profiling compiled in; `_RJEM_MALLOC_CONF` says whether and how often it samples.
//! It is another allocator, so the row without samples tells what comes from that alone.

#[global_allocator]
static ALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    allocscope_benches::child::main(|| None);
}
