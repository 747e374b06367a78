//! The blocks of one observed iteration that are alive, by address.
//!
//! Record side. Open addressing with linear probing; removing moves later entries back, so there are no marks of removed ones, and a
//! table whose blocks have all died is empty. Bounded: beyond `ROOM` blocks nothing is added. Cost: one cache line for most look-ups.

use crate::record::atomic::{AtomicU32, AtomicU64, Ordering};

const SLOTS: usize = 4096;
const ROOM: u32 = SLOTS as u32 / 4 * 3;

/// What is known of a block since it was first allocated.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) size: u64,
    /// Number of the iteration's allocation that made it.
    pub(super) born: u32,
    /// Place of its site in the iteration.
    pub(super) site: u16,
    /// How often it grew.
    pub(super) growths: u16,
    /// How often the iteration was suspended before.
    pub(super) suspensions: u32,
    /// How often it went to another thread before.
    pub(super) moves: u32,
}

#[derive(Default)]
struct Slot {
    /// 0: empty.
    key: AtomicU64,
    size: AtomicU64,
    born: AtomicU32,
    /// Site below, growths above.
    site: AtomicU32,
    suspensions: AtomicU32,
    moves: AtomicU32,
}

impl Slot {
    fn key(&self) -> u64 {
        self.key.load(Ordering::Relaxed)
    }

    fn read(&self) -> Block {
        let site = self.site.load(Ordering::Relaxed);
        Block {
            size: self.size.load(Ordering::Relaxed),
            born: self.born.load(Ordering::Relaxed),
            site: site as u16,
            growths: (site >> 16) as u16,
            suspensions: self.suspensions.load(Ordering::Relaxed),
            moves: self.moves.load(Ordering::Relaxed),
        }
    }

    fn write(&self, key: u64, block: Block) {
        self.key.store(key, Ordering::Relaxed);
        self.size.store(block.size, Ordering::Relaxed);
        self.born.store(block.born, Ordering::Relaxed);
        self.site.store(
            u32::from(block.site) | (u32::from(block.growths) << 16),
            Ordering::Relaxed,
        );
        self.suspensions.store(block.suspensions, Ordering::Relaxed);
        self.moves.store(block.moves, Ordering::Relaxed);
    }
}

/// See the file's head. INVARIANT: zeroed memory is an empty table.
pub(super) struct Table {
    used: AtomicU32,
    slots: [Slot; SLOTS],
}

impl Table {
    /// The slot at a place counted from anywhere; the table is a ring.
    fn slot(&self, place: usize) -> &Slot {
        // SAFETY: the remainder is below SLOTS.
        unsafe { self.slots.get_unchecked(place % SLOTS) }
    }

    fn home(key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
    }

    /// Where `key` is.
    fn find(&self, key: u64) -> Option<usize> {
        let mut place = Self::home(key);
        loop {
            let found = self.slot(place).key();
            if found == key {
                return Some(place % SLOTS);
            }
            if found == 0 {
                return None;
            }
            place += 1;
        }
    }

    pub(super) fn get(&self, key: u64) -> Option<Block> {
        self.find(key).map(|place| self.slot(place).read())
    }

    /// Adds a block, or puts it in the place of one of the same address. False when there is no room.
    pub(super) fn put(&self, key: u64, block: Block) -> bool {
        if let Some(place) = self.find(key) {
            self.slot(place).write(key, block);
            return true;
        }
        let used = self.used.load(Ordering::Relaxed);
        if used >= ROOM || key == 0 {
            return false;
        }
        self.used.store(used + 1, Ordering::Relaxed);
        let mut place = Self::home(key);
        while self.slot(place).key() != 0 {
            place += 1;
        }
        self.slot(place).write(key, block);
        true
    }

    pub(super) fn remove(&self, key: u64) -> Option<Block> {
        let mut hole = self.find(key)?;
        let block = self.slot(hole).read();
        self.used
            .store(self.used.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        let mut next = hole + 1;
        loop {
            let moved = self.slot(next);
            if moved.key() == 0 {
                break;
            }
            // What lies behind the hole moves into it unless that is before its home: distances are counted around the ring.
            let from_home = next.wrapping_sub(Self::home(moved.key())) % SLOTS;
            if from_home >= next - hole {
                self.slot(hole).write(moved.key(), moved.read());
                hole = next;
            }
            next += 1;
        }
        self.slot(hole).key.store(0, Ordering::Relaxed);
        Some(block)
    }

    /// Every block.
    pub(super) fn iter(&self) -> impl Iterator<Item = Block> {
        let is_empty = self.used.load(Ordering::Relaxed) == 0;
        let slots: &[Slot] = if is_empty { &[] } else { &self.slots };
        slots.iter().filter(|slot| slot.key() != 0).map(Slot::read)
    }

    pub(super) fn clear(&self) {
        if self.used.swap(0, Ordering::Relaxed) != 0 {
            for slot in &self.slots {
                slot.key.store(0, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn agrees_with_a_map_under_random_use() {
        let table = Box::new(Table {
            used: AtomicU32::new(0),
            slots: core::array::from_fn(|_| Slot::default()),
        });
        let mut model: HashMap<u64, u64> = HashMap::new();
        let mut random = 0x1234_5678_9abc_def1u64;
        for step in 0..200_000u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Few enough keys that they collide and come back, more than there is room for.
            let key = ((random >> 20) % 5000 + 1) * 16;
            if random % 5 < 3 {
                let block = Block {
                    size: step,
                    born: step as u32,
                    site: step as u16,
                    growths: (step >> 3) as u16,
                    suspensions: 1,
                    moves: 2,
                };
                let has_room = model.len() < ROOM as usize || model.contains_key(&key);
                assert_eq!(table.put(key, block), has_room);
                if has_room {
                    model.insert(key, step);
                }
            } else {
                assert_eq!(table.remove(key).map(|block| block.size), model.remove(&key));
            }
            if step % 4001 == 0 {
                for (key, size) in &model {
                    let found = table.get(*key).map(|block| (block.size, block.site));
                    assert_eq!(found, Some((*size, *size as u16)));
                }
                assert_eq!(table.iter().count(), model.len());
            }
        }
        table.clear();
        assert_eq!((table.iter().count(), table.get(16).is_none()), (0, true));
    }
}
