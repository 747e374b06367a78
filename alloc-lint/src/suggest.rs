//! What to do about a candidate, in words that fit its kind and what is done with it.
//!
//! Called by `candidates`. The advice is only given where it can work by what is seen: a value that leaves is no candidate at all.
#![forbid(unsafe_code)]

use crate::kinds::Kind;
use crate::walk::flow::{Borrow, Consumer, Creation, Depends, Stay};

/// The fix. `depends`: on what its content does. `in_loop`: there is a loop to move it out of.
pub(crate) fn suggest(creation: &Creation, stay: &Stay, depends: Depends, in_loop: bool) -> String {
    let made = &creation.made;
    let name = stay.variable.as_deref().unwrap_or("buffer");
    let ty = made.ty.as_str();
    let bare = ty.split('<').next().unwrap_or(ty);
    if made.by.is_some() {
        return called(creation, name, in_loop);
    }
    match made.kind {
        Kind::Regex => return regex(stay),
        Kind::Json => return json(depends, in_loop),
        Kind::Box | Kind::Rc | Kind::Arc => {
            return format!(
                "make the {} once before and pass a reference, or use the value itself",
                made.kind
            );
        }
        _ => {}
    }
    if let Some(fix) = by_use(creation, stay, name) {
        return fix;
    }
    match (depends, in_loop) {
        (Depends::Nothing, _) if made.kind.is_lookup() || made.kind == Kind::Vec => {
            return format!(
                "it is the same every time: `static {}: LazyLock<{ty}> = LazyLock::new(|| ..);`, or a constant array if it is small",
                constant(name)
            );
        }
        (Depends::Nothing | Depends::Outside, true) => {
            return format!("move `{name}` before the loop: nothing it is made of changes from turn to turn");
        }
        (Depends::Outside, false) => {
            return "make it where `self` changes and keep it in a field: no part of the request is in it".to_owned();
        }
        _ => {}
    }
    if in_loop {
        in_a_loop(creation, stay, name, bare)
    } else {
        in_a_request(creation, stay, name, bare)
    }
}

/// Advice that follows from what is done with it, whatever it is.
fn by_use(creation: &Creation, stay: &Stay, name: &str) -> Option<String> {
    let made = &creation.made;
    let is_text = matches!(made.kind, Kind::String | Kind::Clone | Kind::PathBuf);
    let is_formatted = made.how == "format!";
    if stay.only_borrowed_as(Borrow::Append) && is_text {
        return Some(match is_formatted || made.how == ".to_string()" {
            true => "write into the text itself: `use std::fmt::Write; write!(text, ..)?`".to_owned(),
            false => "append the borrowed value: what is appended is copied anyway".to_owned(),
        });
    }
    if stay.only_borrowed_as(Borrow::Eager) {
        return Some(
            "make it only when there is an error: `.ok_or_else(|| ..)`, `.unwrap_or_else(|| panic!(..))`".to_owned(),
        );
    }
    if stay.only_borrowed_as(Borrow::Key) {
        return Some("compare borrowed keys: `sort_by(|a, b| a.key.cmp(&b.key))`; or `sort_by_cached_key`, which makes each once".to_owned());
    }
    if stay.only_borrowed_as(Borrow::Lookup) && is_text && !is_formatted {
        return Some(
            "look up by the borrowed form: a map of `String` takes `&str`, one of `Vec<T>` takes `&[T]`".to_owned(),
        );
    }
    if stay.only_borrowed_as(Borrow::Compare) && is_text && !is_formatted {
        return Some("compare without a copy: `String` and `&str` compare with each other".to_owned());
    }
    if stay.only_borrowed_as(Borrow::Print) && made.how == ".to_string()" {
        return Some("pass the value itself: the macro formats it".to_owned());
    }
    let is_collected = made.how == ".collect()" || made.how == ".collect_vec()";
    let taken_apart = |consumer| stay.consumers == [consumer] && stay.borrows.is_empty() && !stay.grows;
    if is_collected && (taken_apart(Consumer::Iterator) || taken_apart(Consumer::Loop)) && made.kind == Kind::Vec {
        return Some("use the iterator as it is: what is collected is only gone through once".to_owned());
    }
    if is_collected && stay.only_borrowed_as(Borrow::Iterate) && made.kind == Kind::Vec {
        return Some("use the iterator as it is: what is collected is only gone through once".to_owned());
    }
    if taken_apart(Consumer::FlatMap) {
        return Some("return the iterator instead of a collection: `flat_map` takes either".to_owned());
    }
    if taken_apart(Consumer::AsRef) && is_formatted {
        return Some(format!(
            "write the name into one `String` that lives outside, and clear it: `{name}.clear(); write!({name}, ..)?`"
        ));
    }
    let is_copy = matches!(
        made.how.as_str(),
        ".clone()" | ".to_owned()" | ".to_vec()" | ".to_path_buf()"
    );
    let is_only_read = !made.is_guess && stay.consumers.is_empty() && !stay.grows && !stay.is_mut;
    (is_copy && is_only_read).then(|| "borrow it: the copy is only looked at, and dropped".to_owned())
}

fn in_a_loop(creation: &Creation, stay: &Stay, name: &str, bare: &str) -> String {
    let made = &creation.made;
    match made.kind {
        Kind::String if made.how == "format!" => {
            format!("`let mut {name} = String::new();` before the loop; in it `{name}.clear(); write!({name}, ..)?`")
        }
        Kind::String if made.how.starts_with('.') => {
            format!(
                "borrow it, if its type has text to borrow; else `let mut {name} = String::new();` before the loop, in it `{name}.clear(); write!({name}, ..)?`"
            )
        }
        Kind::BTreeMap | Kind::BTreeSet => format!(
            "a B-tree gives its nodes back when cleared: sort a `Vec` that is kept (`{name}.clear(); {name}.extend(..); {name}.sort()`), or keep \
             the tree and change what differs"
        ),
        Kind::Collected | Kind::Clone => {
            format!(
                "keep one `{name}` before the loop and refill it: `{name}.clear(); {name}.extend(..)`, or `{name}.clone_from(..)`"
            )
        }
        kind if kind.is_buffer() => {
            let fill = match (made.how.as_str(), stay.grows) {
                (".collect()" | ".collect_vec()", _) => format!("`{name}.clear(); {name}.extend(..)`"),
                (".to_vec()", _) => format!("`{name}.clear(); {name}.extend_from_slice(..)`"),
                ("vec!", false) => format!("`{name}.clear(); {name}.resize(..)`, or `{name}.fill(..)`"),
                _ => format!("`{name}.clear()`"),
            };
            format!("`let mut {name} = {bare}::new();` before the loop; in it {fill}: the memory stays")
        }
        kind => format!("keep one {kind} before the loop and empty it in each turn"),
    }
}

fn in_a_request(creation: &Creation, stay: &Stay, name: &str, bare: &str) -> String {
    let made = &creation.made;
    match made.kind {
        kind if kind.is_lookup() && made.how != ".clone()" && !stay.grows => format!(
            "build `{name}` where its data changes and share it: `Arc<{}>` behind a lock or `ArcSwap`, swapped as a whole; or ask the store \
             that holds the data",
            made.ty
        ),
        Kind::String if made.how == "format!" => {
            "write straight to where it goes (`write!(out, ..)`), or pass `format_args!(..)`".to_owned()
        }
        Kind::String | Kind::PathBuf | Kind::Clone if made.how.starts_with('.') => {
            "borrow it, or share it as an `Arc`".to_owned()
        }
        Kind::Collected => "go through the iterator instead, or keep what does not change between requests".to_owned(),
        Kind::Vec if made.how.starts_with("serde_json") => {
            format!(
                "parse where the text changes and share the result as an `Arc<{}>`; or ask the store that holds it",
                made.ty
            )
        }
        kind if kind.is_buffer() => format!(
            "if it does not change between requests, build it once and share it; a scratch buffer can be kept: `thread_local! {{ static {}: \
             RefCell<{bare}<..>> }}`, or a pool",
            constant(name)
        ),
        _ => "if it does not change between requests, build it once and share it as an `Arc`".to_owned(),
    }
}

fn regex(stay: &Stay) -> String {
    let name = constant(stay.variable.as_deref().unwrap_or("re"));
    format!("compile it once: `static {name}: LazyLock<Regex> = LazyLock::new(|| Regex::new(..).unwrap());`")
}

fn json(depends: Depends, in_loop: bool) -> String {
    match (depends, in_loop) {
        (Depends::Nothing | Depends::Outside, true) => "parse it before the loop: the text does not change from turn to turn".to_owned(),
        _ => "parse where the text changes and keep the result; or deserialize into a struct that borrows (`&'a str`, `Cow<'a, str>`)"
            .to_owned(),
    }
}

fn called(creation: &Creation, name: &str, in_loop: bool) -> String {
    let how = &creation.made.how;
    match (in_loop, creation.made.kind.is_buffer()) {
        (true, true) => format!(
            "let {how} fill a `&mut {}` that is kept outside of the loop; or call it before, if it gives the same",
            creation.made.kind
        ),
        (true, false) => format!("call {how} before the loop if it gives the same each time"),
        (false, _) => format!(
            "keep what {how} gives for `{name}` where its data changes and share it as an `Arc`; or ask the store that holds it"
        ),
    }
}

/// `RISKY_USERS` of `risky_users`.
fn constant(name: &str) -> String {
    name.to_uppercase()
}
