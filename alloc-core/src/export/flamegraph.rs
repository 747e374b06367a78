//! Flame graphs as SVG, and differential ones, drawn by `inferno`.
//!
//! Called by `Export` and `DiffExport`. Read side. The file has its scripts inside: search, zoom and tooltips work offline.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use inferno::flamegraph::color::{BasicPalette, Palette};
use inferno::flamegraph::{self, Options as Drawing};

use super::Options;
use super::collapsed::{diff_lines, drawn, lines};
use crate::inside::inside_tracker;
use crate::model::{DiffSide, Matching, Snapshot, SnapshotDiff};
use crate::report::{Rank, duration};

pub(super) fn write(snapshot: &Snapshot, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut room = Room::new();
    let lines = lines(snapshot, options).into_iter();
    let picture = Picture {
        title: format!(
            "{}: {} by call stack, {} after start",
            snapshot.process.executable,
            options.rank().title(),
            duration(snapshot.uptime_ms)
        ),
        subtitle: None,
        unit: unit(options.rank()),
        lines: lines
            .map(|(stack, value)| format!("{stack} {}", room.take(value)))
            .collect(),
    };
    picture.write(out)
}

pub(super) fn write_diff(diff: &SnapshotDiff, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let (before, after) = sides(diff);
    let what = match options.rank() {
        Rank::Allocations => "allocations",
        Rank::Bytes => "bytes granted",
        Rank::Copied => "bytes copied",
        _ => "live bytes",
    };
    let (mut room_before, mut room_after) = (Room::new(), Room::new());
    let lines = diff_lines(diff, options).into_iter().map(|(stack, change)| {
        let (before, after) = drawn(change);
        format!("{stack} {} {}", room_before.take(before), room_after.take(after))
    });
    let picture = Picture {
        title: format!("Change of {what}: red grew, blue shrank"),
        subtitle: Some(format!(
            "before: {before}; after: {after}. As wide as the change, and coloured where the stacks end."
        )),
        unit: unit(options.rank()),
        lines: lines.collect(),
    };
    picture.write(out)
}

/// What is left of the figures that the library can add up. No program gets there, but a file can say anything.
struct Room(u64);

impl Room {
    fn new() -> Self {
        Self(i64::MAX as u64)
    }

    fn take(&mut self, value: u64) -> u64 {
        let taken = value.min(self.0);
        self.0 -= taken;
        taken
    }
}

fn unit(rank: Rank) -> &'static str {
    match rank {
        Rank::Allocations => "allocations",
        _ => "bytes",
    }
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

/// What is drawn.
struct Picture {
    title: String,
    subtitle: Option<String>,
    unit: &'static str,
    lines: Vec<String>,
}

impl Picture {
    fn write(self, out: &mut dyn Write) -> io::Result<()> {
        if self.lines.is_empty() {
            // A graph of nothing is an error to the library; a person gets a picture that says so.
            return write_empty(&self.title, out);
        }
        // On a thread of its own: the library keeps things for its thread, and at the end of the program those of the first thread are gone.
        let thread = std::thread::Builder::new().name("allocscope-draw".to_owned());
        let drawn = thread.spawn(move || inside_tracker(|| self.draw()))?.join();
        let bytes = drawn.unwrap_or_else(|_| Err(io::Error::other("drawing failed")))?;
        out.write_all(&bytes)
    }

    fn draw(self) -> io::Result<Vec<u8>> {
        let mut drawing = Drawing::default();
        drawing.title = self.title;
        drawing.subtitle = self.subtitle;
        drawing.count_name = self.unit.to_owned();
        drawing.colors = Palette::Basic(BasicPalette::Mem);
        drawing.hash = true;
        let mut bytes = Vec::new();
        flamegraph::from_lines(&mut drawing, self.lines.iter().map(String::as_str), &mut bytes)?;
        Ok(bytes)
    }
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
