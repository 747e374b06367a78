//! Curves as SVG, by `plotters`.

use std::path::Path;

use plotters::prelude::*;

/// Some series over one axis.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// Name of the file, and of the place in the page.
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    /// By name: points from left to right.
    pub(super) series: Vec<(String, Vec<(f64, f64)>)>,
}

/// Writes `<directory>/<file>.svg`. The horizontal axis is logarithmic; so is the vertical one if its values are far apart.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(directory: &Path, curve: &Curve) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = directory.join(format!("{}.svg", curve.file));
    draw(&path, curve).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw(path: &Path, curve: &Curve) -> Result<(), Box<dyn std::error::Error>> {
    let points = || curve.series.iter().flat_map(|(_, points)| points);
    let edge = |pick: fn(&(f64, f64)) -> f64, fold: fn(f64, f64) -> f64| points().map(pick).reduce(fold).unwrap_or(1.0);
    let (left, right) = (edge(|point| point.0, f64::min), edge(|point| point.0, f64::max));
    let (low, high) = (edge(|point| point.1, f64::min), edge(|point| point.1, f64::max));
    let root = SVGBackend::new(path, (760, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root);
    chart
        .caption(curve.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64);
    let across = (left..right.max(left * 1.01)).log_scale();
    let colours = |place: usize| Palette99::pick(place).to_rgba();
    // One arm per kind of axis: they are types of their own.
    macro_rules! finish {
        ($chart:expr) => {{
            let mut chart = $chart;
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .x_desc(curve.x)
                .y_desc(curve.y)
                .x_label_formatter(&|value| figure(*value))
                .y_label_formatter(&|value| figure(*value))
                .draw()?;
            for (place, (name, points)) in curve.series.iter().enumerate() {
                let colour = colours(place);
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()?;
        }};
    }
    if low > 0.0 && high / low > 30.0 {
        finish!(chart.build_cartesian_2d(across, (low * 0.8..high * 2.0).log_scale())?);
    } else {
        finish!(chart.build_cartesian_2d(across, low.min(0.0)..high.max(1.0) * 1.3)?);
    }
    root.present()?;
    Ok(())
}

/// 1,500,000 as `1.5M`.
pub(super) fn figure(value: f64) -> String {
    let (value, unit) = match value.abs() {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}
