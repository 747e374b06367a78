//! The table at the end: what must hold, what we aim for, what was measured, and what that means.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::figures::Summary;

/// One line of the table. Smaller is better, unless it says "at least".
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Unit of all its numbers.
    pub unit: &'static str,
    /// What must hold and what is aimed for; nothing for rows that only inform.
    pub targets: Option<Targets>,
    /// The measured figure.
    pub measured: Summary,
}

/// What a row is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    must: f64,
    aim: f64,
    is_at_least: bool,
}

impl Targets {
    /// At most these.
    #[must_use]
    pub const fn at_most(must: f64, aim: f64) -> Self {
        Self {
            must,
            aim,
            is_at_least: false,
        }
    }

    /// At least these.
    #[must_use]
    pub const fn at_least(must: f64, aim: f64) -> Self {
        Self {
            must,
            aim,
            is_at_least: true,
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        let holds = |target: f64| {
            if self.is_at_least {
                value >= target
            } else {
                value <= target
            }
        };
        if holds(self.aim) {
            "aim met"
        } else if holds(self.must) {
            "must met"
        } else {
            "MISSED"
        }
    }
}

impl Row {
    /// A row that is judged.
    pub fn judged(name: impl Into<String>, unit: &'static str, targets: Targets, measured: Summary) -> Self {
        Self {
            name: name.into(),
            unit,
            targets: Some(targets),
            measured,
        }
    }

    /// A row that informs.
    pub fn info(name: impl Into<String>, unit: &'static str, measured: Summary) -> Self {
        Self {
            name: name.into(),
            unit,
            targets: None,
            measured,
        }
    }

    fn verdict(&self) -> &'static str {
        self.targets.map_or("", |targets| targets.verdict(self.measured.median))
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The rows as a table for the terminal.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<58} {:>7} {:>7} {:>9}  {:<17} {:<8}\n",
        "what", "must", "aim", "measured", "quartiles", "verdict"
    );
    for row in rows {
        let target = |pick: fn(&Targets) -> f64| row.targets.as_ref().map(|targets| number(pick(targets)));
        let spread = if row.measured.count > 1 {
            format!("{} .. {}", number(row.measured.low), number(row.measured.high))
        } else {
            String::new()
        };
        let line = format!(
            "{:<58} {:>7} {:>7} {:>9}  {:<17} {:<8}",
            format!("{} ({})", row.name, row.unit),
            target(|targets| targets.must).unwrap_or_default(),
            target(|targets| targets.aim).unwrap_or_default(),
            number(row.measured.median),
            spread,
            row.verdict()
        );
        writeln!(text, "{}", line.trim_end()).expect("a string can be written to");
    }
    text
}

/// The rows as a table for a page.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut text = "| | must | aim | measured | quartiles | |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows {
        let target = |pick: fn(&Targets) -> f64| {
            row.targets
                .as_ref()
                .map_or(String::new(), |targets| number(pick(targets)))
        };
        let spread = format!("{} to {}", number(row.measured.low), number(row.measured.high));
        let verdict = match row.verdict() {
            "MISSED" => "**missed**",
            verdict => verdict,
        };
        writeln!(
            text,
            "| {} ({}) | {} | {} | {} | {} | {verdict} |",
            row.name,
            row.unit,
            target(|targets| targets.must),
            target(|targets| targets.aim),
            number(row.measured.median),
            if row.measured.count > 1 { spread } else { String::new() },
        )
        .expect("a string can be written to");
    }
    text
}

/// The target that this was built for.
#[must_use]
pub fn target() -> &'static str {
    env!("BENCH_TARGET")
}

/// The compiler that built this.
#[must_use]
pub fn compiler() -> &'static str {
    env!("BENCH_COMPILER")
}

/// The C library that runs this: its allocator is what everything is compared with.
#[must_use]
pub fn c_library() -> String {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Our modes, cheapest first.
pub const MODES: [&str; 4] = ["off", "scopes", "sampled", "exact"];

/// Today, as `2026-01-31`.
///
/// # Errors
/// When there is no `date` command.
pub fn today() -> std::io::Result<String> {
    let date = Command::new("date").args(["-u", "+%F"]).output()?;
    Ok(String::from_utf8_lossy(&date.stdout).trim().to_owned())
}

/// What the numbers were measured on: a line each.
#[must_use]
pub fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let kernel = read("/proc/sys/kernel/osrelease");
    vec![
        format!("target: {}", target()),
        format!("toolchain: {}, bench profile", compiler()),
        format!("C library: {}", c_library()),
        format!("machine: {}, {cores} cores", model.map_or("unknown", |(_, name)| name)),
        format!("kernel: {}", kernel.split('-').next().unwrap_or_default().trim()),
        format!("load: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" ")),
    ]
}

/// Writes the rows to `benches/record/<target>/<date>.csv`; returns the path below `benches`.
///
/// # Errors
/// When the file cannot be written or there is no `date` command.
pub fn record(rows: &[Row]) -> std::io::Result<String> {
    let date = today()?;
    let mut text = String::new();
    for line in machine() {
        writeln!(text, "# {line}").expect("a string can be written to");
    }
    text.push_str("what,unit,must,aim,measured,low_quartile,high_quartile,values,verdict\n");
    for row in rows {
        let target = |pick: fn(&Targets) -> f64| {
            row.targets
                .as_ref()
                .map_or(String::new(), |targets| pick(targets).to_string())
        };
        let Summary {
            median,
            low,
            high,
            count,
        } = row.measured;
        writeln!(
            text,
            "\"{}\",{},{},{},{median:.4},{low:.4},{high:.4},{count},{}",
            row.name,
            row.unit,
            target(|targets| targets.must),
            target(|targets| targets.aim),
            row.verdict()
        )
        .expect("a string can be written to");
    }
    let name = format!("record/{}/{date}.csv", target());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
    std::fs::write(&path, text)?;
    Ok(name)
}
