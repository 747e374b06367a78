#![no_main]

#[global_allocator]
static ALLOC: alloc_core::TrackingAllocator = alloc_core::TrackingAllocator::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| allocscope_fuzz::allocations(data));
