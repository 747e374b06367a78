//! Advice for one instance that could serve all iterations: where to keep it, and how to empty it.
#![forbid(unsafe_code)]

use super::About;
use crate::findings::finding::Suggestion;
use crate::findings::making::Making;

pub(super) fn suggestion(about: &About<'_>, making: Option<&Making>) -> Suggestion {
    let name = about.collection.name.as_str();
    if matches!(name, "Box" | "Rc" | "Arc") {
        return boxed(about);
    }
    let mut words = Vec::new();
    let is_lookup = matches!(name, "HashMap" | "HashSet");
    if is_lookup && !about.is_loop() {
        words.push(
            "If it holds the same each time, build it once: a `LazyLock`, or an `Arc` in the state that is replaced when the data change; or ask \
             where the data are."
                .to_owned(),
        );
    }
    if making == Some(&Making::Collect) && !is_lookup {
        words.push(
            "If it is walked once, do not collect: pass the iterator on. Else fill one that is kept, by `extend`."
                .to_owned(),
        );
    }
    words.push(match where_to_keep(about).strip_prefix("Keep") {
        Some(rest) if is_lookup => format!("Else keep{rest}"),
        Some(rest) => format!("Keep{rest}"),
        None => where_to_keep(about),
    });
    Suggestion {
        explanation: words.join(" "),
        code: if name.is_empty() || about.collection.keeps_its_block() {
            code(about, &about.fill())
        } else {
            String::new()
        },
    }
}

/// What is kept cannot hold references into what is gone by the next iteration.
pub(super) fn borrowed(about: &About<'_>, making: Option<&Making>) -> Suggestion {
    let each = about.noun;
    let walked = if making == Some(&Making::Collect) {
        "If it is walked once, do not collect: pass the iterator on. "
    } else {
        ""
    };
    let kept = if about.is_loop() {
        format!(
            "one above the loop at {} can hold only what lives longer than the loop",
            about.loop_place
        )
    } else {
        format!("one that is kept between {each}s cannot hold them")
    };
    Suggestion {
        explanation: format!(
            "{walked}Its elements are references: {kept}. If what they refer to stays the same, build it once, of owned values. Else keep positions, \
             which refer to nothing: ranges or indices, sorted where they are searched."
        ),
        code: "ranges.clear(); // a Vec<Range<usize>> that is kept\nranges.extend(parts);\nlet part = &text[ranges[0].clone()];".to_owned(),
    }
}

/// One that a dependency makes inside of a call: a type that is not its, or not public, cannot be handed in.
pub(super) fn of_dependency(about: &About<'_>) -> Suggestion {
    let (each, kept) = (
        about.noun,
        if about.is_loop() {
            format!("above the loop at {}", about.loop_place)
        } else {
            "with the worker, or in what is passed in".to_owned()
        },
    );
    Suggestion {
        explanation: format!(
            "The function of a dependency that this line calls makes it, and it is gone by the end of the {each}. Look among its neighbours for one that takes              a buffer or a state that you keep ({kept}), or that gives less: regex's `captures_read` takes `CaptureLocations`, and `find_iter` needs              none. If there is none, call it less often."
        ),
        code: String::new(),
    }
}

/// `format!` and `join`.
pub(super) fn text(about: &About<'_>, making: Option<&Making>) -> Suggestion {
    let how = if making == Some(&Making::Join) {
        "Push the parts into a String that is kept, or write them where they go."
    } else {
        "Write into a String that is kept, or straight to where the text goes: `write!` takes what `format!` takes."
    };
    let fill = if making == Some(&Making::Join) {
        "for part in parts {\n    text.push_str(part);\n}".to_owned()
    } else {
        "let _ = write!(text, \"{id}: {name}\"); // `use std::fmt::Write as _;`; cannot fail".to_owned()
    };
    let mut of_text = About {
        collection: about.collection.clone(),
        loop_place: about.loop_place.clone(),
        ..*about
    };
    of_text.collection.name = "String".to_owned();
    of_text.collection.parameters.clear();
    Suggestion {
        explanation: format!("{how} {}", where_to_keep(about)),
        code: code(&of_text, &fill),
    }
}

fn where_to_keep(about: &About<'_>) -> String {
    if about.is_loop() {
        return format!(
            "Declare it above the loop at {} and empty it in each turn: `clear()` keeps the memory.",
            about.loop_place
        );
    }
    format!(
        "Keep one between {}s and empty it each time with `clear()`, which keeps the memory. It may lie in a `thread_local!`, belong to the worker, \
         or be passed in as a `&mut`.",
        about.noun
    )
}

fn code(about: &About<'_>, fill: &str) -> String {
    let variable = about.variable();
    let type_name = about.type_name();
    let constructor = type_name.split('<').next().unwrap_or(&type_name);
    let indented = fill.replace('\n', "\n    ");
    if about.is_loop() {
        return format!(
            "let mut {variable}: {type_name} = {constructor}::new(); // above the loop\nfor item in items {{\n    {variable}.clear();\n    {indented}\n}}"
        );
    }
    let constant = variable.to_uppercase();
    format!(
        "thread_local! {{\n    static {constant}: RefCell<{type_name}> = RefCell::default();\n}}\n{constant}.with_borrow_mut(|{variable}| \
         {{\n    {variable}.clear();\n    {indented}\n    // use it in here\n}});"
    )
}

/// What gives its blocks back when it is emptied.
pub(super) fn nodes(about: &About<'_>) -> Suggestion {
    if about.collection.name == "LinkedList" {
        list()
    } else {
        tree(about)
    }
}

fn tree(about: &About<'_>) -> Suggestion {
    let (kept, sort) = if about.collection.name == "BTreeMap" {
        ("Vec<(Key, Value)>", "entries.sort_unstable_by_key(|entry| entry.0);")
    } else {
        ("Vec<Key>", "entries.sort_unstable();\nentries.dedup();")
    };
    let kept = match about.collection.parameters.as_slice() {
        [] => kept.to_owned(),
        [key] => format!("Vec<{key}>"),
        parameters => format!("Vec<({})>", parameters.join(", ")),
    };
    Suggestion {
        explanation: format!(
            "`clear()` frees the nodes of a {}, so keeping it saves nothing. Keep a Vec instead ({}): fill it, sort it, search it by halves. Where order \
             does not matter, a hash table that is cleared; where the tree must stay, an arena for its nodes.",
            about.collection.name,
            if about.is_loop() {
                format!("above the loop at {}", about.loop_place)
            } else {
                "as a `&mut`, in a `thread_local!`, or in what the worker owns".to_owned()
            }
        ),
        code: format!("let entries: &mut {kept} = /* kept */;\nentries.clear();\nentries.extend(values);\n{sort}")
            .replace(" = /* kept */;", " = &mut scratch.entries;"),
    }
}

fn list() -> Suggestion {
    Suggestion {
        explanation: "Each element is a block of its own, and clearing frees them. A VecDeque has the same ends, one block, and keeps it when cleared.".to_owned(),
        code: "queue.clear(); // a VecDeque that is kept\nqueue.extend(values);".to_owned(),
    }
}

fn boxed(about: &About<'_>) -> Suggestion {
    let is_dyn = about
        .collection
        .parameters
        .iter()
        .any(|parameter| parameter.starts_with("dyn "));
    let name = &about.collection.name;
    Suggestion {
        explanation: if is_dyn {
            format!(
                "The {name} lives no longer than the {}: borrow the value as `&dyn Trait`, or make the choices an enum.",
                about.noun
            )
        } else {
            format!(
                "The {name} lives no longer than the {}: keep the value itself, borrow it where it is used, or keep one {name} and assign through it.",
                about.noun
            )
        },
        code: if is_dyn {
            "let shape: &dyn Shape = &circle; // no block".to_owned()
        } else {
            String::new()
        },
    }
}
