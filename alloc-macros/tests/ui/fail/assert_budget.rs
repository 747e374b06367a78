//! `assert_budget!` names what it accepts.
use alloc_core::assert_budget;

fn main() {
    assert_budget!(1 + 1);
    assert_budget!(1 + 1, blocks <= 3);
    assert_budget!(1 + 1, allocations > 3);
    assert_budget!(1 + 1, 3);
}
