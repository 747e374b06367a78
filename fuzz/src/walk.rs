//! Unwind information of any bytes, and walks over stacks of any words.

use std::cell::RefCell;
use std::sync::OnceLock;

use alloc_core::__private::probe::{self, Found, Probe};

use super::Bytes;

/// Any bytes as unwind information, at any address, with the header anywhere.
///
/// The first byte says how much of a header the input brings itself; then the header's place and the address that is looked up.
pub fn unwind_rows(data: &[u8]) {
    let mut input = Bytes(data);
    let kind = input.byte();
    let (header, target) = (input.number(2), input.number(3));
    let address = if kind & 1 == 0 { 0x40_0000 } else { usize::MAX - 0x8000 };
    let mut bytes = input.0.to_vec();
    if kind & 2 != 0 && bytes.len() >= 12 {
        // Version, encodings as linkers write them, so that more inputs come to the tables.
        bytes[..4].copy_from_slice(&[1, 0x1b, 0x03, 0x3b]);
        let count = (bytes.len() - 12) / 8;
        bytes[8..12].copy_from_slice(&(count as u32).to_le_bytes());
    }
    let header = address.wrapping_add(if kind & 2 != 0 { 0 } else { header });
    let target = address.wrapping_add(target);
    if let Some(Some((_, offset, slot))) = probe::rule_from(&bytes, address, header, target) {
        // What the bounds of a walk rest on.
        assert!(offset >= 8 && slot >= 8 && slot <= offset && offset % 8 == 0 && slot % 8 == 0);
    }
}

/// Return addresses of this program that have a rule.
fn addresses() -> &'static [usize] {
    static ADDRESSES: OnceLock<Vec<usize>> = OnceLock::new();
    ADDRESSES.get_or_init(|| {
        probe::init_process();
        let code = (addresses as fn() -> _) as usize;
        let nearby = (0..20_000).map(|step| code + 11 * step);
        nearby.filter(|&pc| probe::rule_at(pc).is_some()).collect()
    })
}

fn ready() -> Box<Probe> {
    let mut probe = Box::new(Probe::zeroed());
    probe.init_thread();
    probe
}

thread_local! {
    static MEMORY: RefCell<[usize; 256]> = const { RefCell::new([0; 256]) };
}

/// Any words as a stack, changed between walks: no read outside of it, and a walk that remembers the one before finds what one
/// without a memory finds.
pub fn stack_walk(data: &[u8]) {
    let pool = addresses();
    let mut input = Bytes(data);
    let mut remembering = ready();
    MEMORY.with_borrow_mut(|stack| {
        // LIMIT: no word is 0. One outside the first function says that there is nothing more; that it stays so while the function
        // runs is not looked at again.
        stack.fill(1);
        let base = stack.as_ptr().addr();
        // Frames that follow one another, as far as the input has them.
        let mut at = 0;
        while at < stack.len() && !pool.is_empty() {
            let pc = pool[input.number(2) % pool.len()];
            stack[at] = pc;
            at += probe::rule_at(pc).map_or(1, |(_, offset, _)| 1 + offset / 8);
        }
        let mut walks = 0;
        while !input.is_empty() && walks < 64 {
            let place = usize::from(input.byte());
            match input.byte() % 6 {
                0 => stack[place] = input.number(8).max(1),
                1 => stack[place] = base.wrapping_add(input.number(2) % 4096),
                2 if !pool.is_empty() => stack[place] = pool[input.number(2) % pool.len()],
                3 => stack.swap(place, usize::from(input.byte())),
                _ => {
                    let rbp = match input.byte() % 3 {
                        0 => input.number(8),
                        1 => base.wrapping_add(8 * usize::from(input.byte())),
                        _ => 0usize.wrapping_sub(usize::from(input.byte())),
                    };
                    let depth = usize::from(input.byte() % 128) + 1;
                    let found = walk(&mut remembering, stack, place, rbp, depth);
                    assert_eq!(found, walk(&mut ready(), stack, place, rbp, depth));
                    walks += 1;
                }
            }
        }
    });
}

fn walk(probe: &mut Probe, stack: &[usize; 256], entry: usize, rbp: usize, depth: usize) -> (Found, Vec<usize>) {
    let found = probe.walk_memory(stack, entry, rbp, depth);
    let mut frames = [0; 128];
    let count = probe.frames(&mut frames);
    (found, frames[..count].to_vec())
}
