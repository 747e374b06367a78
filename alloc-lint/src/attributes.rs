//! What attributes say: tests, cold code, and `#[track_memory(request)]` in any of its forms.
//!
//! Called by `outline`. The attribute is known by the name it has where it is declared: a full path, a renamed crate, `use .. as ..`
//! and `cfg_attr(.., track_memory(request))` are all the same. Nothing of `alloc-macros` is used: an attribute with mistakes is
//! read as far as it can be, the compiler complains about it.
#![forbid(unsafe_code)]

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

use crate::names::Names;

/// The attribute that marks scopes.
const TRACK_MEMORY: &str = "track_memory";
/// Its argument for functions of which each call is a request.
const REQUEST: &str = "request";

/// The item is part of a test, or is compiled for tests alone.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let name = last_name(attribute.path());
        match name.as_deref() {
            Some(
                "test" | "bench" | "rstest" | "test_case" | "quickcheck" | "wasm_bindgen_test" | "allocation_test",
            ) => true,
            Some("cfg") => match &attribute.meta {
                Meta::List(list) => has_test(list.tokens.clone()),
                _ => false,
            },
            _ => false,
        }
    })
}

/// A statement that is only there in tests or while debugging: `#[cfg(debug_assertions)]`, `#[cfg(feature = "debug")]`.
pub(crate) fn is_for_debugging(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let text = list.tokens.to_string();
            has_test(list.tokens.clone()) || (text.contains("debug") && !text.contains("not"))
        }
        _ => false,
    })
}

/// `test` outside of `not(..)`.
fn has_test(tokens: TokenStream) -> bool {
    let mut is_negated = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if ident == "test" {
                    return true;
                }
                is_negated = ident == "not";
            }
            TokenTree::Group(group) => {
                if !is_negated && has_test(group.stream()) {
                    return true;
                }
                is_negated = false;
            }
            _ => is_negated = false,
        }
    }
    false
}

/// `#[cold]`: rarely run, by its author's word.
pub(crate) fn is_cold(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("cold"))
}

/// `#[track_memory(request)]`.
pub(crate) fn is_request(attributes: &[Attribute], names: &Names) -> bool {
    attributes.iter().any(|attribute| marks_request(&attribute.meta, names))
}

fn marks_request(meta: &Meta, names: &Names) -> bool {
    let Meta::List(list) = meta else { return false };
    if list.path.is_ident("cfg_attr") {
        let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        return parsed.is_ok_and(|metas| metas.iter().skip(1).any(|meta| marks_request(meta, names)));
    }
    names
        .full_path(&list.path)
        .last()
        .is_some_and(|name| name == TRACK_MEMORY)
        && names_request(list.tokens.clone())
}

/// `request` stands alone between commas: not as a value, not in a nested list.
pub(crate) fn names_request(tokens: TokenStream) -> bool {
    let mut is_first = true;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Ident(ident) if is_first && ident == REQUEST => {
                let ends = match tokens.peek() {
                    None => true,
                    Some(TokenTree::Punct(punct)) => punct.as_char() == ',',
                    Some(_) => false,
                };
                if ends {
                    return true;
                }
                is_first = false;
            }
            TokenTree::Punct(punct) => is_first = punct.as_char() == ',',
            _ => is_first = false,
        }
    }
    false
}

fn last_name(path: &syn::Path) -> Option<String> {
    path.segments.last().map(|segment| segment.ident.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str) -> (Names, Vec<Attribute>) {
        let file = syn::parse_file(source).expect("the sample is Rust");
        let names = Names::read(&file);
        let attributes = file
            .items
            .iter()
            .find_map(|item| match item {
                syn::Item::Fn(item) => Some(item.attrs.clone()),
                _ => None,
            })
            .expect("the sample has a function");
        (names, attributes)
    }

    #[test]
    fn a_request_is_seen_in_every_form_of_the_attribute() {
        for source in [
            "#[track_memory(request)] fn f() {}",
            "#[alloc_core::track_memory(name = \"a, request\", request, loops)] fn f() {}",
            "#[::memory::track_memory(crate = ::memory, request)] fn f() {}",
            "use alloc_core::track_memory as scope; #[scope(request)] fn f() {}",
            "use alloc_core as memory; #[memory::track_memory(request)] fn f() {}",
            "#[cfg_attr(feature = \"memory\", inline, track_memory(request))] fn f() {}",
        ] {
            let (names, attributes) = of(source);
            assert!(is_request(&attributes, &names), "{source}");
        }
    }

    #[test]
    fn a_request_is_not_seen_where_there_is_none() {
        for source in [
            "#[track_memory] fn f() {}",
            "#[track_memory(name = \"request\")] fn f() {}",
            "#[track_memory(name = request)] fn f() {}",
            "#[other(request)] fn f() {}",
            "#[track_memory(budget(request))] fn f() {}",
        ] {
            let (names, attributes) = of(source);
            assert!(!is_request(&attributes, &names), "{source}");
        }
    }

    #[test]
    fn tests_are_told_from_code_that_is_not_for_tests() {
        for (source, expected) in [
            ("#[test] fn f() {}", true),
            ("#[tokio::test] fn f() {}", true),
            ("#[cfg(test)] fn f() {}", true),
            ("#[cfg(all(unix, test))] fn f() {}", true),
            ("#[cfg(not(test))] fn f() {}", false),
            ("#[cfg(feature = \"test\")] fn f() {}", false),
        ] {
            assert_eq!(is_test(&of(source).1), expected, "{source}");
        }
    }
}
