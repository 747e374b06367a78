//! Histograms of sizes and lifetimes.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn histograms_hold_every_allocation_and_every_followed_block() {
    let mut snapshot = payments();
    snapshot.contexts[0].lifetimes = Some(Box::new(crate::model::Lifetimes {
        blocks: 10,
        temporaries: crate::model::Temporaries {
            none: 4,
            one: 1,
            four: 0,
            eight: 2,
        },
    }));
    let json = snapshot.report().histograms().to_json();
    let sum = |list: &str, field: &str| {
        let rows = json[list].as_array().unwrap().iter();
        rows.map(|row| row[field].as_u64().unwrap()).sum::<u64>()
    };
    let totals = snapshot.totals;
    assert_eq!(
        sum("sizes", "allocations"),
        totals.total_allocations + totals.total_reallocations
    );
    assert_eq!(sum("sizes", "bytes"), totals.total_bytes);
    assert_eq!(sum("lifetimes", "blocks"), 10);
    let text = snapshot.report().histograms().to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(
        text.contains("no other allocation             4      40.0 %  ################"),
        "{text}"
    );
    let temporary = snapshot.report().rank(Rank::Temporary).by(Group::Line).to_json();
    let bytes = snapshot.contexts[0].counters.total_bytes as f64 * 0.7;
    let sum: u64 = temporary["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["temporary_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, bytes.round() as u64);
    assert!(
        snapshot
            .report()
            .rank(Rank::Temporary)
            .to_string()
            .contains("short-lived")
    );
}
