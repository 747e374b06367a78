//! Findings as people read them.
//!
//! Called by `Display`, by `baseline` and by `budget`. Read side. Invariants: no line is wider than [`WIDTH`] (code: [`CODE_WIDTH`]), there is no
//! colour, and the same findings always give the same text. Worst first; of each finding first what and where, then the cost, why, and
//! what to do.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use super::baseline::Compared;
use super::finding::{CodeLine, Cost, Finding, GrowthChains, NotEnough, ShortLived, Verdict};
use super::{Findings, LoopSeen};
use crate::inside::inside_tracker;
use crate::report::{bytes, count, fit, wrapped_to};
use crate::symbolize::{short_function, short_path};

/// Columns of the text.
const WIDTH: usize = 80;
/// Suggested code is not broken into lines, and cut only here.
const CODE_WIDTH: usize = 100;
/// Rows of each table that lists lines.
const TOP: usize = 10;
/// Findings that are told in full.
const DETAILED: usize = 20;
/// Where the heads of paragraphs begin.
const INDENT: usize = 4;
/// Where paragraphs begin.
const TEXT: usize = 10;
/// Where code begins.
const CODE: usize = 14;

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the user's formatter allocates is the program's; the text is ours.
        let text = inside_tracker(|| {
            let mut text = String::new();
            write(self, &mut text).map(|()| text)
        })?;
        f.write_str(&text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = inside_tracker(|| {
            let mut text = String::new();
            finding(self, "", &mut text).map(|()| text)
        })?;
        f.write_str(&text)
    }
}

fn write(findings: &Findings, f: &mut String) -> fmt::Result {
    let process = &findings.process;
    let title = format!(
        "Allocscope: collections rebuilt in {}, pid {}",
        process.executable, process.pid
    );
    writeln!(f, "{}", fit(&title, WIDTH))?;
    let gated = findings
        .findings
        .iter()
        .filter(|finding| finding.verdict.fails_a_gate())
        .count();
    if !findings.loops.is_empty() {
        let found = match gated {
            0 => "None found".to_owned(),
            gated => format!("{} found", count(gated as u64)),
        };
        let waiting = match findings.not_enough.len() {
            0 => String::new(),
            1 => "; 1 line needs more iterations".to_owned(),
            lines => format!("; {} lines need more iterations", count(lines as u64)),
        };
        let headline = format!("{found} in {}{waiting}.", loops_in_words(&findings.loops));
        f.write_str(&wrapped_to(&headline, 0, WIDTH))?;
    }
    for (number, found) in (1..).zip(findings.findings.iter().take(gated.min(DETAILED))) {
        writeln!(f)?;
        finding(found, &format!("{number}. "), f)?;
    }
    if gated > DETAILED {
        writeln!(
            f,
            "\nLESS SEVERE: no more than severity {}",
            findings.findings[DETAILED].severity
        )?;
        for finding in &findings.findings[DETAILED..gated] {
            let what = format!(
                "{}, severity {}, id {}, each {} of {}",
                finding.verdict,
                finding.severity,
                finding.id,
                finding.iteration.noun(),
                short_scope(&finding.iteration.name)
            );
            row(f, &title_of(&finding.line), &what)?;
        }
    }
    let (_, retained) = findings.findings.split_at(gated);
    if !retained.is_empty() {
        writeln!(f, "\nRETAINED PER ITERATION: no rebuilds; leak detection judges them")?;
        for finding in retained.iter().take(TOP) {
            let noun = finding.iteration.noun();
            let what = format!(
                "{} per {noun} of {}, id {}",
                bytes(finding.cost.bytes.round() as u64),
                short_function(&finding.iteration.name),
                finding.id
            );
            row(f, &title_of(&finding.line), &what)?;
        }
        more(f, retained.len())?;
    }
    not_enough(&findings.not_enough, f)?;
    growth(&findings.growth, f)?;
    short_lived(&findings.short_lived, f)?;
    if !findings.notes.is_empty() {
        writeln!(f)?;
    }
    for note in &findings.notes {
        f.write_str(&wrapped_to(&format!("note: {note}"), 2, WIDTH))?;
    }
    Ok(())
}

/// `2 loops: 5,000 iterations seen, 1,064 observed`.
fn loops_in_words(loops: &[LoopSeen]) -> String {
    let seen: u64 = loops.iter().map(|one| one.seen).fold(0, u64::saturating_add);
    let observed: u64 = loops.iter().map(|one| one.observed).fold(0, u64::saturating_add);
    let plural = if loops.len() == 1 { "loop" } else { "loops" };
    format!(
        "{} {plural}: {} iterations seen, {} of them observed",
        count(loops.len() as u64),
        count(seen),
        count(observed)
    )
}

fn what_of(line: &CodeLine) -> &str {
    let named = line.collection.as_deref().or(line.made_by.as_deref());
    named.unwrap_or("blocks")
}

/// `HashSet<u64>  src/fraud.rs:58  fraud::check_fraud`.
fn title_of(line: &CodeLine) -> String {
    format!("{}  {}", what_of(line), place_of(line))
}

/// `src/fraud.rs:58  fraud::check_fraud`.
fn place_of(line: &CodeLine) -> String {
    let mut title = line.place.clone();
    if !line.function.is_empty() && line.function != line.place {
        title.push_str("  ");
        title.push_str(&line.function);
    }
    title
}

fn finding(finding: &Finding, number: &str, f: &mut String) -> fmt::Result {
    let severity = format!("severity {}", finding.severity);
    let title = format!("{number}{}: {}", finding.verdict, what_of(&finding.line));
    let room = WIDTH - severity.len() - 2;
    let title = fit(&title, room);
    writeln!(f, "{title:<room$}  {severity}")?;
    paragraph(f, "at", &place_of(&finding.line))?;

    let iteration = &finding.iteration;
    let mut place = format!("each {} of {}", iteration.noun(), short_scope(&iteration.name));
    if !iteration.file.is_empty() {
        let _ = write!(place, " ({}:{})", short_path(&iteration.file, None), iteration.line);
    }
    if iteration.path.len() > 1 {
        let names: Vec<String> = iteration.path.iter().map(|name| short_scope(name)).collect();
        let _ = write!(place, ", scopes {}", names.join(" > "));
    }
    let _ = write!(
        place,
        "; {} seen, {} observed",
        count(iteration.seen),
        count(iteration.observed)
    );
    paragraph(f, "in", &place)?;
    if !finding.outer_loops.is_empty() {
        let names: Vec<String> = finding.outer_loops.iter().map(|name| short_function(name)).collect();
        paragraph(
            f,
            "",
            &format!("and so in each iteration around it: {}", names.join(", ")),
        )?;
    }
    for path in finding.other_paths.iter().take(3) {
        let names: Vec<String> = path.iter().map(|name| short_scope(name)).collect();
        paragraph(f, "", &format!("also in scopes {}", names.join(" > ")))?;
    }
    paragraph(
        f,
        "cost",
        &cost_in_words(&finding.cost, iteration.noun(), finding.verdict),
    )?;
    for inner in finding.with_it.iter().take(TOP) {
        let text = format!(
            "with it {}: {} in {} per {}",
            title_of(&inner.line),
            bytes(inner.bytes.round() as u64),
            allocations(inner.allocations),
            iteration.noun()
        );
        paragraph(f, "", &text)?;
    }
    for (at, sentence) in finding.evidence.iter().enumerate() {
        paragraph(f, if at == 0 { "why" } else { "" }, sentence)?;
    }
    paragraph(f, "fix", &finding.suggestion.explanation)?;
    if !finding.suggestion.code.is_empty() {
        for line in finding.suggestion.code.lines() {
            let line = format!("{:1$}{line}", "", CODE);
            writeln!(f, "{}", fit(line.trim_end(), CODE_WIDTH))?;
        }
    }
    let confidence = &finding.confidence;
    // Two digits, rounded down.
    let value = (confidence.value * 100.0).floor() / 100.0;
    paragraph(
        f,
        "id",
        &format!("{}, confidence {} ({value:.2})", finding.id, confidence.word),
    )
}

fn cost_in_words(cost: &Cost, noun: &str, verdict: Verdict) -> String {
    let copied = if cost.copied_bytes >= 1.0 {
        format!(", {} copied by reallocations", bytes(cost.copied_bytes.round() as u64))
    } else {
        String::new()
    };
    let what = if verdict == Verdict::Retained {
        "bytes granted"
    } else {
        "churn"
    };
    format!(
        "{} in {} per {noun}{copied}: {} of the loop's {what}, {} of the program's",
        bytes(cost.bytes.round() as u64),
        allocations(cost.allocations),
        percent(cost.share_of_loop),
        percent(cost.share_of_program),
    )
}

/// A paragraph in the column of texts, with its head in the column before.
fn paragraph(f: &mut String, head: &str, text: &str) -> fmt::Result {
    let lines = wrapped_to(&format!("{:TEXT$}{text}", ""), TEXT, WIDTH);
    let rest = lines.get(INDENT + head.len()..).unwrap_or_default();
    write!(f, "{:INDENT$}{head}{rest}", "")
}

fn not_enough(lines: &[NotEnough], f: &mut String) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nNOT ENOUGH DATA YET")?;
    for waiting in lines.iter().take(TOP) {
        let iteration = &waiting.iteration;
        let what = format!(
            "{} of {} {} of {}, {} each",
            count(iteration.observed),
            count(waiting.needed),
            iteration.nouns(),
            short_function(&iteration.name),
            bytes(waiting.bytes.round() as u64)
        );
        row(f, &title_of(&waiting.line), &what)?;
    }
    more(f, lines.len())
}

fn growth(lines: &[GrowthChains], f: &mut String) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nGROWTH: blocks that grow step by step, in the whole program")?;
    for chains in lines.iter().take(TOP) {
        let what = format!(
            "{} blocks, {} copied; final size {} (median), {} (nine of ten are not larger): {}",
            count(chains.chains),
            bytes(chains.copied_bytes),
            bytes(chains.final_bytes.p50),
            bytes(chains.final_bytes.p90),
            chains.with_capacity
        );
        row(f, &title_of(&chains.line), &what)?;
    }
    more(f, lines.len())
}

fn short_lived(lines: &[ShortLived], f: &mut String) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\nSHORT-LIVED: blocks freed within eight allocations, of those that were followed"
    )?;
    for line in lines.iter().take(TOP) {
        let what = format!(
            "{} of {} blocks, {} of them before anything else was allocated; {} in all",
            count(line.soon),
            count(line.blocks),
            count(line.at_once),
            bytes(line.bytes)
        );
        row(f, &title_of(&line.line), &what)?;
    }
    more(f, lines.len())
}

fn row(f: &mut String, title: &str, what: &str) -> fmt::Result {
    writeln!(f, "  {}", fit(title, WIDTH - 2))?;
    f.write_str(&wrapped_to(&format!("{:INDENT$}{what}", ""), INDENT, WIDTH))
}

fn more(f: &mut String, lines: usize) -> fmt::Result {
    match lines.saturating_sub(TOP) {
        0 => Ok(()),
        left => writeln!(f, "  and {} more", count(left as u64)),
    }
}

/// A mean number of them: one decimal while it matters.
fn allocations(value: f64) -> String {
    if (value - 1.0).abs() < 0.005 {
        "1 allocation".to_owned()
    } else {
        format!("{} allocations", figure(value))
    }
}

fn figure(value: f64) -> String {
    if value >= 100.0 || (value - value.round()).abs() < 0.005 {
        count(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Names that were given are left as they are.
fn short_scope(name: &str) -> String {
    if name.contains("::") {
        short_function(name)
    } else {
        name.to_owned()
    }
}

/// Findings that no baseline accepts.
pub(super) fn new_findings(compared: &Compared<'_>) -> String {
    let mut text = String::new();
    // A `String` takes whatever is written to it.
    let _ = write_new(compared, &mut text);
    text.truncate(text.trim_end().len());
    text
}

fn write_new(compared: &Compared<'_>, f: &mut String) -> fmt::Result {
    let plural = if compared.new.len() == 1 {
        "collection is"
    } else {
        "collections are"
    };
    let accepted = match compared.accepted.len() {
        0 => String::new(),
        accepted => format!(" ({} more are accepted)", count(accepted as u64)),
    };
    writeln!(
        f,
        "{} {plural} rebuilt in iteration after iteration{accepted}",
        count(compared.new.len() as u64)
    )?;
    for (number, new) in (1..).zip(&compared.new) {
        writeln!(f)?;
        finding(new, &format!("{number}. "), f)?;
    }
    let text = "If one of them is to stay, accept it in the baseline, with a reason: { \"id\": ..., \"reason\": ..., \"what\": ... }.";
    writeln!(f)?;
    f.write_str(&wrapped_to(text, 0, WIDTH))?;
    for stale in &compared.stale {
        let text = format!("Accepted, and not found any more: {} {}", stale.id, stale.what);
        f.write_str(&wrapped_to(&text, 2, WIDTH))?;
    }
    Ok(())
}
