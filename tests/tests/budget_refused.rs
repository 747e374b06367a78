//! Measurements that would lie are refused. A program of its own: it switches tracking off.

use std::hint::black_box;

use alloc_core::budget::{OnDenied, deny_allocations, fail_allocation, measure, measure_process};
use alloc_core::{Mode, TrackingAllocator, set_mode};

#[global_allocator]
static ALLOC: TrackingAllocator = TrackingAllocator::new();

fn refusal<R>(result: Result<R, alloc_core::Error>) -> String {
    let Err(error) = result else {
        panic!("it was not refused")
    };
    assert!(error.is_not_measured() && !error.is_not_installed());
    error.to_string()
}

fn main() {
    set_mode(Mode::Off);
    let mut was_run = false;
    let text = refusal(measure(|| was_run = true));
    assert!(
        text.starts_with("failed to measure: tracking is off; call alloc_core::set_mode(Mode::Exact)"),
        "{text}"
    );
    assert!(refusal(measure_process(|| was_run = true)).contains("tracking is off"));
    assert!(!was_run);
    assert!(refusal(deny_allocations(OnDenied::Count)).contains("cannot deny allocations: tracking is off"));
    assert!(refusal(fail_allocation(1)).contains("cannot make allocations fail: tracking is off"));

    set_mode(Mode::Exact);
    let meanwhile =
        "failed to measure: tracking was switched off meanwhile; measure without calling set_mode(Mode::Off)";
    let text = refusal(measure(|| {
        set_mode(Mode::Off);
        drop(black_box(vec![0_u8; 100]));
        set_mode(Mode::Exact);
    }));
    assert_eq!(text, meanwhile);
    assert_eq!(refusal(measure(|| set_mode(Mode::Off))), meanwhile);

    // Without call stacks the figures are the same.
    set_mode(Mode::Scopes);
    let (kept, usage) = measure(|| black_box(vec![0_u8; 100])).expect("tracking is on");
    assert_eq!((usage.allocations, usage.bytes, usage.retained_bytes), (1, 100, 100));
    drop(kept);
}
