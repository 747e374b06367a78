//! Flame graphs as SVG, and differential ones, drawn by `inferno`.
//!
//! Called by `Export` and `DiffExport`. Read side. The file has its scripts inside: search, zoom and tooltips work offline.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use inferno::flamegraph::color::{BasicPalette, Palette};
use inferno::flamegraph::{self, Options as Drawing};

use super::Options;
use super::collapsed::{diff_lines, drawn, lines};
use crate::model::{DiffSide, Matching, Snapshot, SnapshotDiff};
use crate::report::{Rank, duration};

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let lines = lines(snapshot, options);
    let mut drawing = Drawing::default();
    drawing.title = format!(
        "{}: {} by call stack, {} after start",
        snapshot.process.executable,
        options.rank.title(),
        duration(snapshot.uptime_ms)
    );
    drawing.colors = Palette::Basic(BasicPalette::Mem);
    drawing.hash = true;
    let lines = lines.iter().map(|(stack, value)| format!("{stack} {value}"));
    draw(drawing, options, lines.collect(), out)
}

pub(super) fn write_diff(diff: &SnapshotDiff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut drawing = Drawing::default();
    let (before, after) = sides(diff);
    let what = match options.rank {
        Rank::Allocations => "allocations",
        Rank::Bytes => "bytes granted",
        Rank::Copied => "bytes copied",
        _ => "live bytes",
    };
    drawing.title = format!("Change of {what}: red grew, blue shrank");
    drawing.subtitle = Some(format!(
        "before: {before}; after: {after}. As wide as the change, and coloured where the stacks end."
    ));
    let lines = diff_lines(diff, options).into_iter().map(|(stack, change)| {
        let (before, after) = drawn(change);
        format!("{stack} {before} {after}")
    });
    draw(drawing, options, lines.collect(), out)
}

/// What the two sides are called.
fn sides(diff: &SnapshotDiff) -> (String, String) {
    let name = |side: &DiffSide| {
        let at = duration(side.uptime_ms);
        if diff.basis.matching == Matching::SameRun {
            format!("{at} after start")
        } else {
            format!("{} (pid {}, {at})", side.process.executable, side.process.pid)
        }
    };
    (name(&diff.before), name(&diff.after))
}

fn draw(mut drawing: Drawing<'_>, options: &Options, lines: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
    drawing.count_name = match options.rank {
        Rank::Allocations => "allocations".to_owned(),
        _ => "bytes".to_owned(),
    };
    if lines.is_empty() {
        // A graph of nothing is an error to the library; a person gets a picture that says so.
        return write_empty(&drawing.title, out);
    }
    flamegraph::from_lines(&mut drawing, lines.iter().map(String::as_str), out)
}

fn write_empty(title: &str, out: &mut dyn Write) -> io::Result<()> {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"80\" font-family=\"sans-serif\">\
         <rect width=\"800\" height=\"80\" fill=\"#eee\"/><text x=\"20\" y=\"32\" font-size=\"16\">{title}</text>\
         <text x=\"20\" y=\"58\" font-size=\"13\">nothing to show: every figure is zero</text></svg>"
    )
}
