//! Every rule about the function under the attribute.
//!
//! Called by the entry point between reading and writing. One function per rule, each with a test of its own in the
//! `ui` folder of the tests package; all rules run, so that two mistakes are two messages. The message says what was
//! found, what is accepted and how to write it. Rules about arguments are in `args`.
#![forbid(unsafe_code)]

use syn::{Error, Result};

use crate::item::{Body, TrackedFn};

pub(crate) fn validate(function: &TrackedFn) -> Result<()> {
    let rules = [is_not_const, has_a_body, is_marked_once, is_not_naked];
    let mut errors = rules.iter().filter_map(|rule| rule(function).err());
    match errors.next() {
        None => Ok(()),
        Some(mut first) => {
            errors.for_each(|error| first.combine(error));
            Err(first)
        }
    }
}

fn is_not_const(function: &TrackedFn) -> Result<()> {
    match &function.sig.constness {
        None => Ok(()),
        Some(keyword) => Err(Error::new(
            keyword.span,
            "found a `const fn`; `#[track_memory]` accepts functions that run only in the program, because a scope is \
             entered at run time and the compiler may run this one; write `fn` without `const`, or mark the function \
             that calls it",
        )),
    }
}

fn has_a_body(function: &TrackedFn) -> Result<()> {
    match &function.body {
        Body::Raw(_) => Ok(()),
        Body::Missing(semicolon) => Err(Error::new(
            semicolon.span,
            "found a function without a body; `#[track_memory]` accepts functions that have one; write it above the \
             function in each `impl`, or give this one a default body",
        )),
    }
}

fn is_marked_once(function: &TrackedFn) -> Result<()> {
    let found = "found `#[track_memory]` twice on one function; it is accepted once, because each call would count \
                 twice; write one attribute with all arguments: `#[track_memory(name = \"...\")]`";
    if let Some(mark) = function.second_mark() {
        return Err(Error::new_spanned(mark, found));
    }
    match &function.body {
        Body::Raw(body) if body.is_tracked() => Err(Error::new(proc_macro2::Span::call_site(), found)),
        _ => Ok(()),
    }
}

fn is_not_naked(function: &TrackedFn) -> Result<()> {
    match function.naked() {
        None => Ok(()),
        Some(attr) => Err(Error::new_spanned(
            attr,
            "found a naked function; `#[track_memory]` accepts functions whose body is Rust code, because it adds a \
             statement to it; write it above the function that calls this one",
        )),
    }
}
