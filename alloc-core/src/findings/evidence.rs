//! What a verdict rests on, in sentences.
//!
//! Called by `judge`. Read side; pure functions. Every sentence carries its figure, and says of what it is one.
#![forbid(unsafe_code)]

use super::finding::{AtOnce, Finding, Share, Verdict};
use super::making::Making;
use super::rules::Seen;
use crate::report::{bytes, count};

/// Live blocks of one stack that are counted in an iteration.
const COUNTED: u64 = 256;

pub(super) fn sentences(finding: &Finding, seen: &Seen, missed: Share) -> Vec<String> {
    let noun = finding.iteration.noun();
    let nouns = finding.iteration.nouns();
    let mut sentences = Vec::new();
    let presence = finding.presence;
    sentences.push(format!(
        "built in {} of {} {}{nouns}, so in at least {} of all, with 95 % confidence",
        count(presence.hits),
        count(presence.of),
        if presence.of == finding.iteration.seen {
            ""
        } else {
            "observed "
        },
        percent(presence.lower_bound)
    ));
    let confinement = finding.confinement;
    sentences.push(if finding.verdict == Verdict::Retained {
        format!(
            "{} of {} blocks were freed in the {noun} that made them; of all it ever made, {} are alive",
            count(confinement.hits),
            count(confinement.of),
            percent(seen.alive.value())
        )
    } else if confinement.hits == confinement.of {
        format!(
            "all {} blocks that were followed were freed in the {noun} that made them",
            count(confinement.of)
        )
    } else {
        format!(
            "{} of {} blocks that were followed were freed in the {noun} that made them",
            count(confinement.hits),
            count(confinement.of)
        )
    });
    let is_said = !matches!(
        finding.verdict,
        Verdict::Retained | Verdict::ReserveCapacity | Verdict::CacheValue
    );
    if is_said && !seen.is_of_nodes && !matches!(seen.making, Some(Making::Parse(_))) {
        sentences.push(match finding.at_once {
            AtOnce::One => format!("no more than one of them alive at once, in nearly every {noun}"),
            AtOnce::Few { most } | AtOnce::Many { most } => format!("{} of them alive at once", most_alive(most)),
        });
    }
    if let Some(making) = seen
        .making
        .as_ref()
        .filter(|making| matches!(making, Making::Compile(_)))
        && finding.verdict == Verdict::CacheValue
    {
        sentences.push(format!(
            "{making} is made to be built once: what it is built from is seldom different"
        ));
    }
    if let Some(same) = seen.same_contents.filter(|same| same.of > 0) {
        sentences.push(if same.hits == same.of {
            format!(
                "its contents were equal to those before in all {} comparisons of a sample",
                count(same.of)
            )
        } else {
            format!(
                "its contents were equal to those before in {} of {} comparisons of a sample",
                count(same.hits),
                count(same.of)
            )
        });
    }
    let sizes = finding.final_bytes;
    if sizes.max > 0 {
        sentences.push(if sizes.p50 == sizes.max {
            format!("final size {}, every time", bytes(sizes.max))
        } else {
            format!(
                "final size {} (median), {} (nine of ten are not larger), {} (largest of a sample)",
                bytes(sizes.p50),
                bytes(sizes.p90),
                bytes(sizes.max)
            )
        });
    }
    if let Some(growth) = finding.growth {
        let varies = growth
            .variation
            .map(|variation| format!("; final sizes vary by {:.0} %", 100.0 * variation))
            .unwrap_or_default();
        sentences.push(format!(
            "grows {:.1} times, which copies {} per {noun}{varies}",
            growth.times,
            bytes(growth.copied_bytes.round() as u64)
        ));
    }
    if seen.grown_elsewhere >= 1.0 {
        sentences.push(format!(
            "of the cost, {} per {noun} are growths on other lines (by observed {nouns})",
            bytes(seen.grown_elsewhere.round() as u64)
        ));
    }
    for (crossed, what) in [
        (seen.crossed_await, "were alive across an .await"),
        (seen.crossed_threads, "went to another thread with their task"),
    ] {
        if crossed > 0 {
            sentences.push(format!("{} of {} blocks {what}", count(crossed), count(confinement.of)));
        }
    }
    if missed.hits > 0 {
        sentences.push(format!(
            "{} of {} events in observed {nouns} were not followed, for lack of room",
            count(missed.hits),
            count(missed.of)
        ));
    }
    sentences
}

/// `up to 12`; from 256 on nobody counts.
pub(super) fn most_alive(most: u64) -> String {
    if most >= COUNTED {
        format!("{COUNTED} or more")
    } else {
        format!("up to {}", count(most))
    }
}

/// Rounded down: a bound must not promise too much.
fn percent(share: f64) -> String {
    format!("{:.1} %", (share * 1000.0).floor() / 10.0)
}
