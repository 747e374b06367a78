//! Writes what `#[allocation_test]` makes of a function.
//!
//! ```text
//! #[allocation_test(allocations <= 3)]        #[::core::prelude::v1::test]
//! fn parses() { body }                   =>   fn parses() { run_once(&settings, || { body }) }
//!
//! #[allocation_test(bytes <= 100)]            #[::core::prelude::v1::test]
//! async fn loads() { body }              =>   fn loads() { run_in_runtime(&settings, || async { body }) }
//!
//! #[allocation_test(bytes <= 100)]            #[tokio::test]
//! #[tokio::test]                         =>   async fn loads() { run_future(&settings, async move { body }).await }
//! async fn loads() { body }
//! ```
#![forbid(unsafe_code)]

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, ItemFn, Result, ReturnType};

use crate::test_args::TestArgs;

/// True for `#[test]`, `#[tokio::test]`, `#[rstest]`, `#[test_case(..)]` and their like: they make the function a test themselves.
fn makes_a_test(attribute: &Attribute) -> bool {
    const NAMES: [&str; 6] = [
        "test",
        "rstest",
        "test_case",
        "case",
        "parameterized",
        "wasm_bindgen_test",
    ];
    let path = attribute.path();
    let last = path.segments.last();
    last.is_some_and(|segment| NAMES.iter().any(|name| segment.ident == name))
}

pub(crate) fn expand(args: &TestArgs, item: TokenStream) -> Result<TokenStream> {
    let ItemFn {
        attrs,
        vis,
        mut sig,
        block,
    } = syn::parse2(item).map_err(|error| {
        let message = "found something that is no function with a body; #[allocation_test] goes on a test function";
        Error::new(error.span(), message)
    })?;
    let is_test = attrs.iter().any(makes_a_test);
    let has_arguments = !sig.inputs.is_empty();
    let is_repeated = args.warm_up || args.samples.is_some();
    if let Some(constness) = &sig.constness {
        let message = "found a `const fn`, and a test is run; remove `const`";
        return Err(Error::new(constness.span(), message));
    }
    if has_arguments && is_repeated {
        let message =
            "found a test with arguments, which can be run only once; remove `warm_up` and `samples`, or the arguments";
        return Err(Error::new(sig.inputs.span(), message));
    }
    if has_arguments && !is_test {
        let message =
            "found arguments, and no attribute below that gives them, as #[rstest]; put #[allocation_test] above it";
        return Err(Error::new(sig.inputs.span(), message));
    }
    let krate = args
        .krate
        .as_ref()
        .map_or_else(|| quote!(::alloc_core), |path| quote!(#path));
    let settings = settings(args, &krate, &sig.ident);
    let test = (!is_test).then(|| quote!(#[::core::prelude::v1::test]));
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, kind) => quote!(#kind),
    };
    let span = sig.ident.span();
    let body = match (sig.asyncness, is_test) {
        (None, _) if is_repeated => {
            quote_spanned!(span=> #krate::__private::run(#settings, || -> #output #block))
        }
        (None, _) => quote_spanned!(span=> #krate::__private::run_once(#settings, move || -> #output #block)),
        (Some(_), false) => {
            sig.asyncness = None;
            quote_spanned!(span=> #krate::__private::run_in_runtime(#settings, || async {
                let __allocscope_output: #output = #block;
                __allocscope_output
            }))
        }
        (Some(asyncness), true) if is_repeated => {
            let message = "found `warm_up` or `samples` on an async test that another attribute runs; remove that attribute, or these";
            return Err(Error::new(asyncness.span(), message));
        }
        (Some(_), true) => quote_spanned!(span=> #krate::__private::run_future(#settings, async move {
            let __allocscope_output: #output = #block;
            __allocscope_output
        }).await),
    };
    Ok(quote! {
        #test
        #(#attrs)*
        #vis #sig { #body }
    })
}

fn settings(args: &TestArgs, krate: &TokenStream, name: &syn::Ident) -> TokenStream {
    let limits = &args.limits;
    let warm_up = args.warm_up;
    let samples = args
        .samples
        .as_ref()
        .map_or_else(|| quote!(1), |samples| quote!(#samples));
    let workers = args
        .workers
        .as_ref()
        .map_or_else(|| quote!(2), |workers| quote!(#workers));
    // Raw identifiers are shown as they are called.
    let name = name.to_string();
    let name = name.strip_prefix("r#").unwrap_or(&name);
    let path = quote!(::core::concat!(::core::module_path!(), "::", #name));
    let recorded = if limits.is_empty() {
        quote!(::core::option::Option::Some(#krate::__private::Recorded {
            manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
            target: ::core::env!("CARGO_CRATE_NAME"),
            test: #krate::__private::without_crate(#path),
            is_debug: ::core::cfg!(debug_assertions),
        }))
    } else {
        quote!(::core::option::Option::None)
    };
    quote! {
        &#krate::__private::TestSettings {
            subject: #krate::__private::Subject {
                what: #krate::__private::without_crate(#path),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            checks: &#krate::__allocscope_checks!([] #limits),
            recorded: #recorded,
            warm_up: #warm_up,
            samples: #samples,
            workers: #workers,
        }
    }
}
