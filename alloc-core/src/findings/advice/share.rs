//! Advice where one instance is not enough: a few, a pool, an arena.
#![forbid(unsafe_code)]

use super::About;
use crate::findings::evidence::most_alive;
use crate::findings::finding::{AtOnce, Suggestion};

pub(super) fn suggestion(about: &About<'_>) -> Suggestion {
    if about.finding.crosses {
        return pool(about);
    }
    match about.finding.at_once {
        AtOnce::One | AtOnce::Few { .. } => few(about),
        AtOnce::Many { .. } => arena(about),
    }
}

fn pool(about: &About<'_>) -> Suggestion {
    let variable = about.variable();
    let type_name = about.type_name();
    let before_the_loop = if about.is_loop() {
        " Or declare it before the loop, in the same async function: the future holds it across every `.await`."
    } else {
        ""
    };
    Suggestion {
        explanation: format!(
            "It lives across an `.await` or moves between threads, so no thread can keep it. A pool that all {}s share hands it out and takes it back: a \
             `Mutex<Vec<_>>`, a channel, or the crate `deadpool` or `object-pool`.{before_the_loop} What belongs to a connection is best kept by it.",
            about.noun
        ),
        code: format!(
            "static POOL: Mutex<Vec<{type_name}>> = Mutex::new(Vec::new());\nlet mut {variable} = POOL.lock().unwrap().pop().unwrap_or_default();\n\
             {variable}.clear();\nfill(&mut {variable}).await;\nPOOL.lock().unwrap().push({variable}); // or in the Drop of a guard"
        ),
    }
}

fn few(about: &About<'_>) -> Suggestion {
    let most = sentence(&most_alive(about.finding.at_once.most()));
    let place = if about.is_loop() {
        format!("above the loop at {}", about.loop_place)
    } else {
        "in a `thread_local!` or in what the worker owns".to_owned()
    };
    let type_name = about.type_name();
    Suggestion {
        explanation: format!(
            "{most} are alive at once: keep that many {place}, and take and return them. Small ones need no block at all: an array, or \
             `SmallVec` / `ArrayVec`."
        ),
        code: format!(
            "let mut free: Vec<{type_name}> = Vec::new(); // kept\nlet mut {variable} = free.pop().unwrap_or_default();\n// ...\n\
             {variable}.clear();\nfree.push({variable});",
            variable = about.variable()
        ),
    }
}

fn arena(about: &About<'_>) -> Suggestion {
    let most = sentence(&most_alive(about.finding.at_once.most()));
    let collection = about.collection.name.as_str();
    let side_by_side = match collection {
        "String" => " Or put all of them into one String that is kept, and remember ranges.",
        "Vec" => {
            " Or put all of them into one Vec that is kept, and remember ranges: rows of a matrix are slices of one block."
        }
        _ => "",
    };
    let reset = if about.is_loop() {
        format!("above the loop at {}, reset in each turn", about.loop_place)
    } else {
        format!("one per {}, or kept by the worker and reset", about.noun)
    };
    Suggestion {
        explanation: format!(
            "{most} small blocks are alive at once and all die with the {}: an arena grants them by moving a pointer and frees them together \
             (`bumpalo`; {reset}).{side_by_side}",
            about.noun
        ),
        code: match collection {
            "String" => "let arena = Bump::new();\nlet text = bumpalo::format!(in &arena, \"{id}: {name}\");".to_owned(),
            "Vec" => "let arena = Bump::new();\nlet mut row = bumpalo::collections::Vec::new_in(&arena);\nrow.extend(values);".to_owned(),
            _ => "let arena = Bump::new();\nlet node = arena.alloc(Node::default());".to_owned(),
        },
    }
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect()
}
