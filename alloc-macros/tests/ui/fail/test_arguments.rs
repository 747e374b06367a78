//! Arguments of tests that are run several times. (What gives them is left out when no tests are built, so something else has its name.)
use alloc_core::allocation_test;
use alloc_core::track_memory as test_case;

struct NotClone;

#[allocation_test(allocations == 0, warm_up)]
#[test_case]
fn another_is_needed_for_warming_up(_given: NotClone) {}

#[allocation_test(allocations == 0, samples = 2)]
#[test_case]
async fn another_is_needed_for_a_sample(_given: NotClone, _number: u32) {}

#[allocation_test(allocations == 0)]
#[test_case]
fn none_is_needed_for_one_run(_given: NotClone) {}

fn main() {}
