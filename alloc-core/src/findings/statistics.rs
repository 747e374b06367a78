//! The few statistics that verdicts rest on.
//!
//! Called by `rules` and `growth`. Read side; pure functions. Bounds are one-sided: nobody minds that a share is larger than said.
#![forbid(unsafe_code)]

/// Standard normal quantile of a one-sided 95 % bound.
const Z: f64 = 1.644_853_627;

/// Lower 95 % bound (Wilson) of the share of which `hits` of `trials` were seen; 0 when nothing was.
pub(super) fn lower_bound(hits: u64, trials: u64) -> f64 {
    if trials == 0 {
        return 0.0;
    }
    let n = trials as f64;
    let p = hits.min(trials) as f64 / n;
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let margin = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - margin) / (1.0 + z2 / n)).clamp(0.0, 1.0)
}

/// The smallest value that at least the share `q` of the ascending values does not exceed; 0 when there are none.
pub(super) fn quantile(ascending: &[u64], q: f64) -> u64 {
    let rank = (q * ascending.len() as f64).ceil() as usize;
    ascending
        .get(rank.saturating_sub(1))
        .or(ascending.last())
        .copied()
        .unwrap_or(0)
}

/// Standard deviation by mean; `None` with fewer than two values, or when all are 0.
pub(super) fn variation(values: &[u64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| value as f64).sum::<f64>() / n;
    if values.len() < 2 || mean <= 0.0 {
        return None;
    }
    let squares = values.iter().map(|&value| (value as f64 - mean).powi(2)).sum::<f64>();
    Some((squares / (n - 1.0)).sqrt() / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-4, "{found} is not {expected}");
    }

    #[test]
    fn the_bound_agrees_with_closed_forms() {
        // All of n: n / (n + z²).
        near(lower_bound(30, 30), 30.0 / (30.0 + 2.7055));
        near(lower_bound(1000, 1000), 1000.0 / 1002.7055);
        // None: 0. Half of 100, from a table.
        near(lower_bound(0, 50), 0.0);
        near(lower_bound(50, 100), 0.4189);
        assert_eq!(lower_bound(0, 0), 0.0);
        assert!(lower_bound(9, 3) <= 1.0);
    }

    #[test]
    fn thirty_iterations_are_just_enough_and_ten_are_not() {
        assert!(lower_bound(30, 30) > 0.9 && lower_bound(10, 10) < 0.9);
        assert!(lower_bound(990, 1000) > 0.98 && lower_bound(90, 100) < 0.9);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=10).collect();
        assert_eq!([0.5, 0.9, 1.0, 0.0].map(|q| quantile(&values, q)), [5, 9, 10, 1]);
        assert_eq!((quantile(&[7], 0.9), quantile(&[], 0.9)), (7, 0));
    }

    #[test]
    fn variation_is_relative_to_the_mean() {
        assert_eq!(variation(&[8, 8, 8]), Some(0.0));
        near(variation(&[90, 110]).unwrap(), 200.0_f64.sqrt() / 100.0);
        assert_eq!((variation(&[5]), variation(&[0, 0])), (None, None));
    }
}
