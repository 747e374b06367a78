//! Lists, queues and heaps that are made for one request.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hint::black_box;

use alloc_core::track_memory;

use crate::input::{number, numbers};

/// Pushed into a new list, one after the other; and into one that the worker keeps.
pub(crate) mod vec_pushed {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(largest_gap(request));
        }
    }

    #[track_memory(request)]
    fn largest_gap(request: u64) -> u64 {
        let mut seen = Vec::new();
        for price in numbers(request, 100) {
            seen.push(price); // REBUILT: reuse Vec<u64>
        }
        seen.sort_unstable();
        seen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    pub(crate) fn fixed(n: u64) {
        let mut scratch = Vec::new();
        for request in 0..n {
            black_box(largest_gap_in(request, &mut scratch));
        }
    }

    #[track_memory(request)]
    fn largest_gap_in(request: u64, seen: &mut Vec<u64>) -> u64 {
        seen.clear();
        for price in numbers(request, 100) {
            seen.push(price);
        }
        seen.sort_unstable();
        seen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }
}

/// Collected to be walked through once.
pub(crate) mod collect_chain {
    use super::*;

    struct Order {
        amount: u64,
        open: bool,
    }

    fn orders() -> Vec<Order> {
        numbers(7, 60)
            .map(|amount| Order {
                amount,
                open: amount % 3 != 0,
            })
            .collect()
    }

    pub(crate) fn bad(n: u64) {
        let orders = orders();
        for _ in 0..n {
            black_box(open_amount(&orders));
        }
    }

    #[track_memory(request)]
    fn open_amount(orders: &[Order]) -> u64 {
        let open: Vec<u64> = orders.iter().filter(|o| o.open).map(|o| o.amount).collect(); // REBUILT: reuse Vec<u64>
        black_box(&open).iter().sum()
    }

    pub(crate) fn fixed(n: u64) {
        let orders = orders();
        for _ in 0..n {
            black_box(open_amount_summed(&orders));
        }
    }

    #[track_memory(request)]
    fn open_amount_summed(orders: &[Order]) -> u64 {
        orders.iter().filter(|o| o.open).map(|o| o.amount).sum()
    }
}

/// A copy to be sorted; and a place for it that the worker keeps.
pub(crate) mod sort_scratch {
    use super::*;

    pub(crate) fn bad(n: u64) {
        let samples: Vec<u64> = numbers(3, 99).collect();
        for _ in 0..n {
            black_box(median(&samples));
        }
    }

    #[track_memory(request)]
    fn median(samples: &[u64]) -> u64 {
        let mut sorted = samples.to_vec(); // REBUILT: reuse Vec<u64>
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }

    pub(crate) fn fixed(n: u64) {
        let samples: Vec<u64> = numbers(3, 99).collect();
        let mut worker = Worker { sorted: Vec::new() };
        for _ in 0..n {
            black_box(worker.median(&samples));
        }
    }

    struct Worker {
        sorted: Vec<u64>,
    }

    impl Worker {
        #[track_memory(request)]
        fn median(&mut self, samples: &[u64]) -> u64 {
            self.sorted.clear();
            self.sorted.extend_from_slice(samples);
            let (_, median, _) = self.sorted.select_nth_unstable(samples.len() / 2);
            *median
        }
    }
}

/// A grid of rows; and one list for the whole grid.
pub(crate) mod matrix_rows {
    use super::*;

    const SIDE: usize = 12;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(trace(request));
        }
    }

    #[track_memory(request)]
    fn trace(request: u64) -> f64 {
        let mut grid = vec![vec![0.0_f64; SIDE]; SIDE]; // REBUILT: reuse Vec<Vec<f64>>
        for (row, cells) in grid.iter_mut().enumerate() {
            for (column, cell) in cells.iter_mut().enumerate() {
                *cell = number(request + (row * column) as u64) as f64;
            }
        }
        (0..SIDE).map(|at| grid[at][at]).sum()
    }

    pub(crate) fn fixed(n: u64) {
        let mut grid = [[0.0; SIDE]; SIDE];
        for request in 0..n {
            black_box(trace_in(request, &mut grid));
        }
    }

    #[track_memory(request)]
    fn trace_in(request: u64, grid: &mut [[f64; SIDE]; SIDE]) -> f64 {
        for (row, cells) in grid.iter_mut().enumerate() {
            for (column, cell) in cells.iter_mut().enumerate() {
                *cell = number(request + (row * column) as u64) as f64;
            }
        }
        (0..SIDE).map(|at| grid[at][at]).sum()
    }
}

/// The queue of a search through a graph.
pub(crate) mod queue {
    use super::*;

    /// From each number four ways lead on.
    fn neighbours(from: u32) -> [u32; 4] {
        [1, 2, 3, 4].map(|step| (from * 5 + step) % 256)
    }

    fn search(queue: &mut VecDeque<u32>, start: u32) -> u32 {
        let (mut seen, mut reached) = ([false; 256], 0);
        while let Some(from) = queue.pop_front() {
            if std::mem::replace(&mut seen[from as usize], true) {
                continue;
            }
            reached += 1;
            for to in neighbours(from) {
                queue.push_back(to);
            }
        }
        reached + start
    }

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(reachable(request as u32 % 256));
        }
    }

    #[track_memory(request)]
    fn reachable(start: u32) -> u32 {
        let mut queue = VecDeque::from([start; 4]); // REBUILT: reuse VecDeque<u32>
        search(&mut queue, start)
    }

    pub(crate) fn fixed(n: u64) {
        let mut queue = VecDeque::new();
        for request in 0..n {
            black_box(reachable_with(&mut queue, request as u32 % 256));
        }
    }

    #[track_memory(request)]
    fn reachable_with(queue: &mut VecDeque<u32>, start: u32) -> u32 {
        queue.clear();
        queue.push_back(start);
        search(queue, start)
    }
}

/// The largest ten of many.
pub(crate) mod heap {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(top(request));
        }
    }

    #[track_memory(request)]
    fn top(request: u64) -> u64 {
        let mut best = BinaryHeap::new();
        for score in numbers(request, 100) {
            best.push(Reverse(score)); // REBUILT: reuse BinaryHeap<Reverse<u64>>
            if best.len() > 10 {
                best.pop();
            }
        }
        best.iter().map(|Reverse(score)| score).sum()
    }

    pub(crate) fn fixed(n: u64) {
        let mut best = BinaryHeap::with_capacity(11);
        for request in 0..n {
            black_box(top_in(request, &mut best));
        }
    }

    #[track_memory(request)]
    fn top_in(request: u64, best: &mut BinaryHeap<Reverse<u64>>) -> u64 {
        best.clear();
        for score in numbers(request, 100) {
            best.push(Reverse(score));
            if best.len() > 10 {
                best.pop();
            }
        }
        best.iter().map(|Reverse(score)| score).sum()
    }
}

/// A sorted map of some nodes: emptying it would free them.
pub(crate) mod btree {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(histogram(request));
        }
    }

    #[track_memory(request)]
    fn histogram(request: u64) -> u64 {
        let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
        for value in numbers(request, 200) {
            *buckets.entry(value % 37).or_insert(0) += 1; // REBUILT: pool BTreeMap<u64, u64>
        }
        buckets.iter().map(|(bucket, count)| bucket * count).sum()
    }

    pub(crate) fn fixed(n: u64) {
        for request in 0..n {
            black_box(histogram_of_buckets(request));
        }
    }

    #[track_memory(request)]
    fn histogram_of_buckets(request: u64) -> u64 {
        let mut buckets = [0; 37];
        for value in numbers(request, 200) {
            buckets[(value % 37) as usize] += 1;
        }
        (0..)
            .zip(buckets)
            .map(|(bucket, count): (u64, u64)| bucket * count)
            .sum()
    }
}

/// A request that calls itself: its lists are alive together, one for each level.
pub(crate) mod recursion {
    use super::*;

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(weigh(request, 4));
        }
    }

    #[track_memory(request)]
    fn weigh(node: u64, depth: u32) -> u64 {
        let children: Vec<u64> = numbers(node, 12).collect(); // REBUILT: pool Vec<u64>
        if depth == 0 {
            return children.iter().sum();
        }
        children.iter().take(2).map(|child| weigh(*child, depth - 1)).sum()
    }

    pub(crate) fn fixed(n: u64) {
        let mut stack = Vec::new();
        for request in 0..n {
            black_box(weigh_with(request, &mut stack));
        }
    }

    #[track_memory(request)]
    fn weigh_with(node: u64, stack: &mut Vec<(u64, u32)>) -> u64 {
        let mut sum = 0;
        stack.push((node, 4));
        while let Some((node, depth)) = stack.pop() {
            if depth == 0 {
                sum += numbers(node, 12).sum::<u64>();
            } else {
                stack.extend(numbers(node, 2).map(|child| (child, depth - 1)));
            }
        }
        sum
    }
}

/// Objects behind a trait, for the length of a request.
pub(crate) mod boxed {
    use super::*;

    trait Rule {
        fn allows(&self, amount: u64) -> bool;
    }

    struct Limits {
        days: [u64; 16],
    }

    impl Rule for Limits {
        fn allows(&self, amount: u64) -> bool {
            self.days.iter().all(|limit| amount <= *limit)
        }
    }

    struct Anything;

    impl Rule for Anything {
        fn allows(&self, _: u64) -> bool {
            true
        }
    }

    pub(crate) fn bad(n: u64) {
        for request in 0..n {
            black_box(is_allowed(request, number(request)));
        }
    }

    #[track_memory(request)]
    fn is_allowed(limit: u64, amount: u64) -> bool {
        let rule: Box<dyn Rule> = if limit == u64::MAX {
            Box::new(Anything)
        } else {
            Box::new(Limits { days: [limit; 16] }) // REBUILT: reuse Box<Limits>
        };
        black_box(&rule).allows(amount)
    }

    pub(crate) fn fixed(n: u64) {
        for request in 0..n {
            black_box(is_allowed_by(request, number(request)));
        }
    }

    #[track_memory(request)]
    fn is_allowed_by(limit: u64, amount: u64) -> bool {
        let limits;
        let rule: &dyn Rule = if limit == u64::MAX {
            &Anything
        } else {
            limits = Limits { days: [limit; 16] };
            &limits
        };
        black_box(rule).allows(amount)
    }
}
