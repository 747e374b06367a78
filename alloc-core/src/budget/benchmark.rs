//! Running a closure many times: time and allocations, smallest, mean and median.
//!
//! Called by users. Read side. Each run is a measurement of its own on one scope site. Cost: as `measure` per run, outside the time that is shown.
#![forbid(unsafe_code)]

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use super::measure::Running;
use crate::inside::inside_tracker;
use crate::model::Error;

/// Smallest, mean and median of one figure over all runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread<T> {
    /// Of the best run.
    pub min: T,
    /// Sum over runs by number of runs, rounded down.
    pub mean: T,
    /// Of the run in the middle; of an even number of runs, the lower one.
    pub median: T,
}

/// What [`benchmark`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Benchmark {
    /// As given.
    pub name: String,
    /// Runs measured.
    pub runs: usize,
    /// Wall-clock time of a run.
    pub time: Spread<Duration>,
    /// Requests granted in a run (events).
    pub allocations: Spread<u64>,
    /// Bytes granted in a run.
    pub bytes: Spread<u64>,
    /// Peak of a run, bytes.
    pub peak_bytes: Spread<u64>,
}

/// Runs `work` once to warm up, then `runs` times, and says what a run takes.
///
/// The value that `work` returns is dropped after the run, outside its figures.
///
/// # Accuracy
/// Allocations as [`measure()`](super::measure()). Times include what tracking costs.
///
/// # Errors
/// As [`measure()`](super::measure()), and when `runs` is 0.
///
/// # Examples
/// ```
/// use alloc_core::{TrackingAllocator, budget::benchmark};
///
/// #[global_allocator]
/// static ALLOC: TrackingAllocator = TrackingAllocator::new();
///
/// let found = benchmark("collect", 20, || (0..100).collect::<Vec<u32>>())?;
/// assert_eq!((found.allocations.min, found.bytes.median), (1, 400));
/// println!("{found}");
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn benchmark<R>(name: &str, runs: usize, mut work: impl FnMut() -> R) -> Result<Benchmark, Error> {
    if runs == 0 {
        return Err(Error::not_measured(format!(
            "benchmark \"{name}\" was asked for 0 runs; ask for 1 or more"
        )));
    }
    drop(black_box(work()));
    let (mut times, mut allocations, mut bytes, mut peaks) =
        inside_tracker(|| std::array::from_fn::<Vec<u64>, 4, _>(|_| Vec::with_capacity(runs)).into());
    for _ in 0..runs {
        let running = Running::begin()?;
        let start = Instant::now();
        let result = black_box(work());
        let time = start.elapsed();
        let usage = running.end()?;
        drop(result);
        times.push(time.as_nanos() as u64);
        allocations.push(usage.allocations);
        bytes.push(usage.bytes);
        peaks.push(usage.peak_bytes);
    }
    Ok(inside_tracker(|| {
        let time = spread(times);
        Benchmark {
            name: name.to_owned(),
            runs,
            time: Spread {
                min: Duration::from_nanos(time.min),
                mean: Duration::from_nanos(time.mean),
                median: Duration::from_nanos(time.median),
            },
            allocations: spread(allocations),
            bytes: spread(bytes),
            peak_bytes: spread(peaks),
        }
    }))
}

/// Of at least one value.
fn spread(mut values: Vec<u64>) -> Spread<u64> {
    values.sort_unstable();
    let sum: u128 = values.iter().map(|&value| u128::from(value)).sum();
    Spread {
        min: values[0],
        mean: (sum / values.len() as u128) as u64,
        median: values[(values.len() - 1) / 2],
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = inside_tracker(|| {
            let count = |spread: Spread<u64>| [spread.min, spread.mean, spread.median].map(|value| value.to_string());
            let time = self.time;
            let rows = [
                (
                    "time",
                    [time.min, time.mean, time.median].map(|time| format!("{time:.1?}")),
                ),
                ("allocations", count(self.allocations)),
                ("bytes", count(self.bytes)),
                ("peak bytes", count(self.peak_bytes)),
            ];
            let mut text = format!(
                "{}: {} runs\n{:<13}{:>14}{:>14}{:>14}",
                self.name, self.runs, "", "min", "mean", "median"
            );
            for (name, [min, mean, median]) in rows {
                text += &format!("\n  {name:<11}{min:>14}{mean:>14}{median:>14}");
            }
            text
        });
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_lower_one() {
        let found = spread(vec![9, 1, 3, 7]);
        assert_eq!((found.min, found.mean, found.median), (1, 5, 3));
        let found = spread(vec![u64::MAX, u64::MAX]);
        assert_eq!(found.mean, u64::MAX);
    }
}
