//! The workloads over `heapscope`, which needs a build with frame pointers. `BENCH_VARIANT=sampled` records a sample of one in
//! 512 KiB, instead of everything.

use allocscope_benches::child::{self, Counted, variant};

#[global_allocator]
static ALLOC: heapscope::Alloc = heapscope::Alloc::system();

fn main() {
    let is_sampled = variant() == "sampled";
    let builder = heapscope::Profiler::builder()
        .max_depth(64)
        .max_live_blocks(64 << 20)
        .no_output();
    let builder = if is_sampled {
        builder.sampling(512 << 10)
    } else {
        builder
    };
    match builder.build() {
        Ok(profiler) => {
            child::main(if is_sampled { || None } else { counted });
            drop(profiler);
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn counted() -> Option<Counted> {
    let stats = heapscope::HeapStats::get().ok()?;
    Some(Counted {
        blocks: stats.total_blocks,
        bytes: stats.total_bytes,
        ..Counted::default()
    })
}
