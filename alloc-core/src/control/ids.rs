//! Tables by ids, addresses and hashes of our own making.
//!
//! A part of `control`. PERF: a snapshot asks them for every context. Contexts and scope nodes are numbered without gaps and visited in
//! that order, which needs no hash; for the rest the hasher is a cheap one, since nobody chooses these keys.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::vec;

pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Multiplies by an odd constant and folds both halves of the product, so that all bits of the key reach all bits of the hash.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(self.0 ^ key) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_u32(&mut self, key: u32) {
        self.write_u64(u64::from(key));
    }

    fn write_usize(&mut self, key: usize) {
        self.write_u64(key as u64);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }
}

/// Where what has an id stands in the snapshot.
pub(super) struct Places(Vec<u32>);

impl Places {
    const NOWHERE: u32 = u32::MAX;

    /// For ids below `count`, which stand nowhere yet.
    pub(super) fn of(count: usize) -> Self {
        Self(vec![Self::NOWHERE; count])
    }

    pub(super) fn put(&mut self, id: u32, place: usize) {
        if let Some(known) = self.0.get_mut(id as usize) {
            *known = place as u32;
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<usize> {
        let place = *self.0.get(id as usize)?;
        (place != Self::NOWHERE).then_some(place as usize)
    }
}

/// What few contexts have, by ascending id.
pub(crate) struct Ascending<T>(vec::IntoIter<(u32, T)>);

impl<T> Ascending<T> {
    pub(super) fn new(mut all: Vec<(u32, T)>) -> Self {
        all.sort_by_key(|(id, _)| *id);
        Self(all.into_iter())
    }

    /// What `id` has, one after the other. Whoever asks does so for ascending ids.
    pub(super) fn next_of(&mut self, id: u32) -> Option<T> {
        while self.first()? < id {
            self.0.next();
        }
        (self.first()? == id)
            .then(|| self.0.next())
            .flatten()
            .map(|(_, value)| value)
    }

    #[cfg(allocscope_model)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.as_slice().iter().map(|(_, value)| value)
    }

    fn first(&self) -> Option<u32> {
        self.0.as_slice().first().map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_nobody_asks_for_are_passed_over() {
        let mut all = Ascending::new(vec![(7, 'd'), (2, 'a'), (5, 'b'), (5, 'c')]);
        let mut of = |id| std::iter::from_fn(|| all.next_of(id)).collect::<String>();
        assert_eq!([1, 2, 4, 5, 6, 9].map(&mut of), ["", "a", "", "bc", "", ""]);
    }
}
