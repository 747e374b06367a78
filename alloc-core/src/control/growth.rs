//! Reads how blocks grew.
//!
//! A part of `control`: of the record side it sees `growth` and the threads.
#![forbid(unsafe_code)]

use super::ids::Ascending;
use super::tables;
use crate::model::{Growth, GrowthClass};
use crate::record::growth::{CLASSES, GrowthRow, class_bytes};
use crate::record::pages::PAGE;
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

/// The growth of every context that has some. Adds what was copied to `sums`.
pub(super) fn read(threads: &[&'static ThreadState], sums: &mut [tables::Sum]) -> Ascending<Growth> {
    let mut all = Vec::new();
    let mut pages: Vec<&'static [GrowthRow]> = Vec::new();
    for (page, sums) in sums.chunks_mut(PAGE).enumerate() {
        pages.clear();
        pages.extend(threads.iter().map(|thread| thread.growth.rows_of(page)));
        pages.push(thread::shared_growth_rows(page));
        pages.retain(|rows| !rows.is_empty());
        if pages.is_empty() {
            continue;
        }
        for (place, sum) in sums.iter_mut().enumerate() {
            let mut growth = Sum::default();
            for row in pages.iter().map(|rows| &rows[place]) {
                sum.copied_bytes += row.copied_bytes.read();
                growth.add(row);
            }
            all.extend(growth.growth().map(|growth| ((page * PAGE + place) as u32, growth)));
        }
    }
    Ascending::new(all)
}
