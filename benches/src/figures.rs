//! Medians and their spread, and the random order in which variants take their turns.

/// A median with the quartiles around it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Half of the values are below it.
    pub median: f64,
    /// A quarter of the values is below it.
    pub low: f64,
    /// A quarter of the values is above it.
    pub high: f64,
    /// Values.
    pub count: usize,
}

impl Summary {
    /// Of at least one value.
    ///
    /// # Panics
    /// Of no value at all.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "a summary needs values");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self {
            median: at(0.5),
            low: at(0.25),
            high: at(0.75),
            count: values.len(),
        }
    }

    /// Of a figure that has no spread.
    #[must_use]
    pub fn exactly(value: f64) -> Self {
        Self {
            median: value,
            low: value,
            high: value,
            count: 1,
        }
    }

    /// Of the differences of two series of paired values.
    #[must_use]
    pub fn of_differences(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs))
    }

    /// Of the ratios of two series of paired values.
    #[must_use]
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }
}

/// Geometric mean.
///
/// # Panics
/// Of no value at all.
#[must_use]
pub fn geometric_mean(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "a mean needs values");
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// Xorshift: the same sequence in every run.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// A seed of 0 is replaced.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed })
    }

    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next one below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// The numbers below `count`, in random order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for index in (1..count).rev() {
            order.swap(index, self.below(index + 1));
        }
        order
    }
}
