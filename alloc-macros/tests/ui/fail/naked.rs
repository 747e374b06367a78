//! A naked function: its body is one block of assembly and nothing else.

#[alloc_core::track_memory]
#[unsafe(naked)]
extern "C" fn nothing() {
    core::arch::naked_asm!("")
}

fn main() {
    nothing();
}
