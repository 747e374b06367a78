//! Writes what `#[allocation_test]` makes of a function.
//!
//! ```text
//! #[allocation_test(allocations <= 3)]        #[::core::prelude::v1::test]
//! fn parses() { body }                   =>   fn parses() { run_once(&settings, || { body }, failed) }
//!
//! #[allocation_test(bytes <= 100)]            #[::core::prelude::v1::test]
//! async fn loads() { body }              =>   fn loads() { run_in_runtime(&settings, || async move { body }, failed) }
//!
//! #[allocation_test(bytes <= 100)]            #[tokio::test]
//! #[tokio::test]                         =>   async fn loads() { run_future(&settings, async move { body }, failed).await }
//! async fn loads() { body }
//!
//! #[allocation_test(bytes <= 100, warm_up)]   #[rstest]
//! #[rstest]                              =>   fn loads(db: Db) {
//! fn loads(db: Db) { body }                       let mut __arg0 = Argument::new(&settings, db);
//!                                                 run_samples(&settings, |sample| {
//!                                                     let db = __arg0.for_the_next_run();
//!                                                     sample.run(move || { body })
//!                                                 }, failed)
//!                                             }
//! ```
//! `failed` says whether the test's value is an `Err`. With a test attribute above, the same is written into what that one has made of the function: see `test_above`.
#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Block, Error, FnArg, ItemFn, Pat, Result, ReturnType, Signature, parse_quote};

use crate::test_above::{self, Parts};
use crate::test_args::TestArgs;

/// What runs the test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// Its caller, at once.
    Thread,
    /// Somebody else's runtime.
    Future,
    /// The runtime that we make.
    Runtime,
}

pub(crate) fn expand(args: &TestArgs, item: TokenStream) -> Result<TokenStream> {
    let mut function: ItemFn = syn::parse2(item).map_err(|error| {
        let message = "found something that is no function with a body; #[allocation_test] goes on a test function";
        Error::new(error.span(), message)
    })?;
    if let Some(constness) = &function.sig.constness {
        let message = "found a `const fn`, and a test is run; remove `const`";
        return Err(Error::new(constness.span(), message));
    }
    let mut is_test = function.attrs.iter().any(|attr| test_above::makes_a_test(attr.path()));
    let has_arguments = !function.sig.inputs.is_empty();
    let measured = Measured::new(args, &function.sig);
    let is_async = function.sig.asyncness.is_some();
    let is_wrapped = !is_async
        && test_above::replace_async_body(&mut function.block, |body| {
            measured.run(Runner::Future, body, TokenStream::new())
        })?;
    let mut runner = Runner::Future;
    if is_wrapped {
        is_test = true;
    } else {
        runner = match (is_async, is_test && function.attrs.iter().any(test_above::runs_async)) {
            (false, _) => Runner::Thread,
            (true, true) => Runner::Future,
            (true, false) => Runner::Runtime,
        };
        if has_arguments && !is_test {
            let message = "found arguments, and no attribute below that gives them, as #[rstest]; put #[allocation_test] above it";
            return Err(Error::new(function.sig.inputs.span(), message));
        }
        let (declared, renewed) = measured.arguments(&mut function.sig, runner);
        let call = measured.run(runner, &function.block, renewed)?;
        *function.block = parse_quote!({ #declared #call });
    }
    if let Some(workers) = args.workers.as_ref().filter(|_| runner != Runner::Runtime) {
        let message = "found `workers`, and no runtime is made for this test: it is not `async`, or another attribute runs it; remove `workers`";
        return Err(Error::new(workers.span(), message));
    }
    if runner == Runner::Runtime {
        function.sig.asyncness = None;
    }
    let test = (!is_test).then(|| quote!(#[::core::prelude::v1::test]));
    Ok(quote!(#test #function))
}

/// The names that the code around a test is written with.
struct Measured {
    runtime: TokenStream,
    settings: TokenStream,
    output: TokenStream,
    is_repeated: bool,
    name: Span,
    ours: Span,
}

impl Measured {
    fn new(args: &TestArgs, sig: &Signature) -> Self {
        let krate = args
            .krate
            .as_ref()
            .map_or_else(|| quote!(::alloc_core), ToTokens::to_token_stream);
        Self {
            settings: settings(args, &krate, &sig.ident),
            runtime: quote!(#krate::__private),
            output: match &sig.output {
                ReturnType::Default => quote!(()),
                ReturnType::Type(_, kind) => kind.to_token_stream(),
            },
            is_repeated: args.warm_up || args.samples.is_some(),
            name: sig.ident.span(),
            ours: Span::mixed_site().located_at(sig.ident.span()),
        }
    }

    /// ```text
    /// (db: Db, (a, b): (A, B))
    /// =>
    /// (db: Db, __arg1: (A, B))    let mut __arg0 = Argument::new(&settings, db);    let db = __arg0.for_the_next_run();
    ///                             let mut __arg1 = Argument::new(&settings, __arg1);    let (a, b) = __arg1.for_the_next_run();
    /// ```
    /// The one stands before all runs, the other before each. What is run once simply takes the arguments.
    fn arguments(&self, sig: &mut Signature, runner: Runner) -> (TokenStream, TokenStream) {
        let (mut declared, mut renewed) = (TokenStream::new(), TokenStream::new());
        if !self.is_repeated && runner != Runner::Runtime {
            return (declared, renewed);
        }
        let (runtime, settings) = (&self.runtime, &self.settings);
        for (index, argument) in sig.inputs.iter_mut().enumerate() {
            let FnArg::Typed(argument) = argument else { continue };
            // Where its type stands, a missing `Clone` is reported.
            let place = self.ours.located_at(argument.ty.span());
            let ours = self.ours;
            let kept = format_ident!("__arg{index}", span = place);
            let mut given: Pat = parse_quote!(#kept);
            let mut inside = argument.pat.to_token_stream();
            if let Pat::Ident(name) = &mut *argument.pat {
                // `#[rstest]` goes by the name. The `mut` moves along.
                let mutability = name.mutability.take();
                let name = &name.ident;
                inside = quote!(#mutability #name);
                given = parse_quote!(#name);
            }
            declared.extend(quote_spanned!(ours=> let mut #kept = #runtime::Argument::new(#settings, #given);));
            let value = if self.is_repeated {
                quote_spanned!(place=> #kept.for_the_next_run())
            } else {
                quote_spanned!(place=> #kept.for_the_only_run())
            };
            renewed.extend(quote_spanned!(ours=> let #inside = #value;));
            *argument.pat = given;
        }
        (declared, renewed)
    }

    /// Whether the value that a test came to is an `Err`: of the two methods the first is taken where it fits. It stands last among the arguments,
    /// where the compiler knows what that value is.
    fn failed(&self) -> TokenStream {
        let Self { runtime, ours, .. } = self;
        quote_spanned! {*ours=>
            |__output| {
                use #runtime::{OtherOutcome as _, ResultOutcome as _};
                (&#runtime::Outcome(__output)).is_failure()
            }
        }
    }

    /// The expression that runs and judges a test.
    fn run(&self, runner: Runner, body: &Block, renewed: TokenStream) -> Result<TokenStream> {
        let Self {
            runtime,
            settings,
            output,
            ours,
            ..
        } = self;
        let Parts { before, measured } = test_above::parts(body, self.name)?;
        let before = quote!(#renewed #before);
        let is_plain = !self.is_repeated && before.is_empty();
        let future = quote_spanned! {*ours=>
            async move {
                let __output: #output = #measured;
                __output
            }
        };
        let failed = self.failed();
        Ok(match runner {
            Runner::Thread if is_plain => {
                quote_spanned!(*ours=> #runtime::run_once(#settings, move || -> #output { #measured }, #failed))
            }
            Runner::Thread => quote_spanned! {*ours=>
                #runtime::run_samples(#settings, |__sample| {
                    #before
                    __sample.run(move || -> #output { #measured })
                }, #failed)
            },
            Runner::Future if is_plain => {
                quote_spanned!(*ours=> #runtime::run_future(#settings, #future, #failed).await)
            }
            Runner::Future => quote_spanned! {*ours=>
                #runtime::run_futures(#settings, async |__sample| {
                    #before
                    __sample.run_future(#future).await
                }, #failed)
                .await
            },
            Runner::Runtime => quote_spanned! {*ours=>
                #runtime::run_in_runtime(#settings, || {
                    #before
                    #future
                }, #failed)
            },
        })
    }
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
