//! Reads how blocks grew.
//!
//! A part of `control`: of the record side it sees `growth` and the threads.
#![forbid(unsafe_code)]

use super::ids::IdMap;
use crate::ids::ContextId;
use crate::model::{Growth, GrowthClass};
use crate::record::growth::{CLASSES, GrowthRow, class_bytes};
use crate::record::thread::{self, ThreadState};

#[derive(Default)]
struct Sum {
    rehashed_bytes: u64,
    largest_bytes: u64,
    ended: [i64; CLASSES],
}

impl Sum {
    fn add(&mut self, row: &GrowthRow) {
        self.rehashed_bytes += row.rehashed_bytes.read();
        self.largest_bytes = self.largest_bytes.max(row.largest.read());
        for (sum, part) in self.ended.iter_mut().zip(row.ended()) {
            *sum += part;
        }
    }

    /// `None` when no block of the context grew.
    fn growth(&self) -> Option<Growth> {
        let top = (0..CLASSES)
            .rev()
            .find(|&class| class_bytes(class) <= self.largest_bytes.max(16))?;
        let classes = self.ended.iter().enumerate().filter(|(_, blocks)| **blocks > 0);
        let ended: Vec<GrowthClass> = classes
            .map(|(class, &blocks)| GrowthClass {
                // What doubles from the same beginning to the largest size has been this large.
                bytes: (self.largest_bytes >> top.saturating_sub(class)).max(1),
                blocks: blocks as u64,
            })
            .collect();
        (!ended.is_empty()).then_some(Growth {
            rehashed_bytes: self.rehashed_bytes,
            ended,
        })
    }
}

/// The growth of every context that has some.
pub(super) fn read(threads: &[&'static ThreadState], contexts: usize) -> IdMap<u32, Growth> {
    let mut sums: IdMap<u32, Sum> = IdMap::default();
    let mut add = |context: usize, row: &GrowthRow| {
        if row.largest.read() != 0 || row.ended().any(|blocks| blocks != 0) {
            sums.entry(context as u32).or_default().add(row);
        }
    };
    for thread in threads {
        thread.growth.for_each(&mut add);
    }
    for context in 0..contexts {
        if let Some(row) = thread::shared_growth(ContextId(context as u32)) {
            add(context, row);
        }
    }
    sums.into_iter()
        .filter_map(|(context, sum)| Some((context, sum.growth()?)))
        .collect()
}
