//! Advice for what grows to about the same size each time: the `with_capacity` to write.
#![forbid(unsafe_code)]

use super::About;
use crate::findings::elements::Collection;
use crate::findings::finding::Suggestion;
use crate::report::{bytes, count};

pub(super) fn suggestion(about: &About<'_>) -> Suggestion {
    let p90 = about.finding.final_bytes.p90;
    let variable = about.variable();
    let call = with_capacity(&about.collection, p90);
    let times = about.finding.growth.map_or(0.0, |growth| growth.times);
    Suggestion {
        explanation: format!(
            "It ends at about the same size each time, nine of ten at {} or less, and gets there in {times:.1} steps that copy what is there. Ask for it at \
             once{}.",
            bytes(p90),
            if about.finding.line.made_by.as_deref() == Some("collect") {
                "; where the iterator cannot tell its length, `collect` starts small, so make it yourself and `extend` it"
            } else {
                ""
            }
        ),
        code: match about.collection.name.as_str() {
            "String" => format!("let mut {variable} = {call};\nlet _ = write!({variable}, \"{{id}}: {{name}}\");"),
            _ => format!("let mut {variable} = {call};\n{}", about.fill()),
        },
    }
}

/// `Vec::with_capacity(100)`; where the size of an element is not known, how to compute the number.
pub(in crate::findings) fn with_capacity(collection: &Collection, p90: u64) -> String {
    let name = match collection.name.as_str() {
        "" => "Vec",
        name => name,
    };
    if let Some(capacity) = collection.capacity_of(p90) {
        return format!("{name}::with_capacity({capacity})");
    }
    let element = match collection.parameters.as_slice() {
        [] if name == "HashMap" => "(Key, Value)".to_owned(),
        [] if name == "HashSet" => "Key".to_owned(),
        [] => "Item".to_owned(),
        [element] => element.clone(),
        several => format!("({})", several.join(", ")),
    };
    match name {
        // 7 of 8 buckets are used, each has a control byte, and there are 16 more.
        "HashMap" | "HashSet" => {
            let buckets = p90.saturating_sub(16);
            format!("{name}::with_capacity({buckets} / (size_of::<{element}>() + 1) * 7 / 8)")
        }
        "BTreeMap" | "BTreeSet" | "LinkedList" => format!("no capacity: {} bytes of nodes", count(p90)),
        _ => format!("{name}::with_capacity({p90} / size_of::<{element}>())"),
    }
}
