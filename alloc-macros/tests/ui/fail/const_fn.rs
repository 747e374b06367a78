//! A `const fn`, and the function is still there for those who call it.

#[alloc_core::track_memory]
const fn square(n: u32) -> u32 {
    n * n
}

struct Table;

impl Table {
    #[alloc_core::track_memory]
    pub const unsafe fn size() -> usize {
        0
    }
}

const NINE: u32 = square(3);

fn main() {
    let _ = (NINE, unsafe { Table::size() });
}
